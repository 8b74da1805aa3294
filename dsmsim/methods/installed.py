"""The methods that are installed, found through entry points.

    dsmsim.methods        solve(config, out[, progress=][, world=]) writes out/results.h5
    dsmsim.predictions    predict(config), of the same name: what solve would cost, in less than a second

`progress` is called with one line of text at a time. A method without a prediction can still be used; nobody
then knows beforehand what it costs, or whether it can treat the problem.

A method whose solve has a parameter `world` shares its work out: `dsmsim baseline` runs it on every rank,
with the started `World`, and rank 0 writes. An error that every rank raises alike must be marked by
`world.agreed` or come out of `world.on_root`; any other ends the world at once. As a reference it is called
without a world and must work alone.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from dsmsim.errors import ConfigError

if TYPE_CHECKING:
    from dsmsim.config import Config
    from dsmsim.parallel import World

METHODS = "dsmsim.methods"
PREDICTIONS = "dsmsim.predictions"
OWN_METHOD = "dsm"  # what `dsmsim run` does itself

Progress = Callable[[str], None]


class Prediction(Protocol):
    """What a solution would cost."""

    @property
    def method(self) -> str:
        """Name of the method and its variant."""

    @property
    def points(self) -> str:
        """Size of the state in words."""

    @property
    def memory(self) -> int:
        """Bytes at the peak."""

    @property
    def seconds(self) -> float | None:
        """Rough, on one core; None where nobody can tell."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What else a user should know."""


def method_names() -> list[str]:
    """Names of the installed methods."""
    return sorted({entry.name for entry in entry_points(group=METHODS)})


def baseline_names() -> list[str]:
    """Names of the installed methods besides our own."""
    return [name for name in method_names() if name != OWN_METHOD]


def entry_of(name: str, group: str = METHODS) -> EntryPoint | None:
    """The entry point of this name, None if there is none."""
    return next(iter(entry_points(group=group, name=name)), None)


def baseline(name: str) -> Callable[..., Any]:
    """The `solve` of a baseline.

    Raises:
        ConfigError: no such method is installed, or it is our own.
    """
    if name == OWN_METHOD:
        raise ConfigError(f"{name!r} is no baseline: it is what `dsmsim run` does")
    entry = entry_of(name)
    if entry is None:
        raise ConfigError(f"baseline {name!r} is not installed; there are: {', '.join(baseline_names())}")
    solve: Callable[..., Any] = entry.load()
    return solve


def takes_world(name: str) -> bool:
    """Whether all ranks work on a solution by this baseline.

    Raises:
        ConfigError: no such method is installed.
    """
    return "world" in inspect.signature(baseline(name)).parameters


def solve_by(name: str, config: Config, out: Path, progress: Progress, world: World | None = None) -> Path:
    """Solve the input by a baseline; the path of its results.

    Args:
        progress: called on rank 0 only.
        world: the ranks that call this together, for a method that takes them; None: this process alone.

    Raises:
        ConfigError: no such method is installed, or it cannot treat the problem.
    """
    solve = baseline(name)
    options: dict[str, Any] = {}
    known = inspect.signature(solve).parameters
    if "progress" in known:
        options["progress"] = progress if world is None or world.rank == 0 else _silent
    if world is not None and "world" in known:
        options["world"] = world
    solve(config, out, **options)
    return out / "results.h5"


def _silent(line: str) -> None:
    """Say nothing: the other ranks."""


def predict(name: str, config: Config) -> Prediction | None:
    """What a baseline would cost, None where it cannot tell.

    Raises:
        ConfigError: it cannot treat the problem, or numbers of this size.
    """
    entry = entry_of(name, PREDICTIONS)
    if entry is None:
        return None
    try:
        found: Prediction = entry.load()(config)
    except ArithmeticError as error:  # 10^150 squared is too large, 10^-200 squared is 0
        from dsmsim.config.magnitudes import farthest_number

        key, value = farthest_number(config)
        raise ConfigError(
            f"{key} = {value:g}: {name} cannot work with numbers of this size ({error}); choose units in "
            "which all numbers of the problem are nearer to 1",
            key=key,
        ) from error
    return found
