"""The command `sample`: independent samples of |psi(x, t)|^2 from the fields of a finished run."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dsmsim import __version__
from dsmsim.config import Config
from dsmsim.errors import ConfigError, StoreError
from dsmsim.methods.times import asked_times

if TYPE_CHECKING:
    from dsmsim.store import RunDirectory

DRAWS = ("independent", "antithetic", "sobol")


@dataclass(frozen=True)
class Wanted:
    """What the command line asks for.

    Attributes:
        count: samples.
        times: as given: a number of times, or the times themselves.
        nu: diffusion of the process; None: as the run's evaluation.
        draws: a word of `DRAWS`; None: as the run's evaluation.
        seed: None: that of the run.
        out: directory of the samples.
        overwrite: whether other samples there may be replaced.
    """

    count: int
    times: int | tuple[float, ...]
    nu: float | None
    draws: str | None
    seed: int | None
    out: Path
    overwrite: bool


def wanted(
    directory: Path,
    count: str,
    times: str,
    nu: float | None,
    draws: str | None,
    seed: int | None,
    out: Path | None,
    overwrite: bool,
) -> Wanted:
    """The options of the command line, checked as far as they can be without the run.

    Raises:
        ConfigError: a value is wrong.
    """
    if nu is not None and not 0.0 <= nu < math.inf:
        raise ConfigError(f"--nu {nu:g}: must be a finite number >= 0, e.g. 0 for the flow without noise")
    if draws is not None and draws not in DRAWS:
        raise ConfigError(f"--draws {draws}: write one of {', '.join(DRAWS)}")
    if seed is not None and not 0 <= seed < 2**63:
        raise ConfigError(f"--seed {seed}: must be an integer from 0 to 2^63 - 1")
    target = out or directory.with_name(f"{directory.resolve().name}-samples")
    return Wanted(_count(count, draws), asked_times(times), nu, draws, seed, target, overwrite)


def _count(text: str, draws: str | None) -> int:
    """A number of samples, also one written like 1e6."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 2 <= number < 2**53 or number != int(number):
        raise ConfigError(f"-n {text}: write a whole number of samples, at least 2, e.g. 1e6")
    if draws == "antithetic" and number % 2:
        raise ConfigError(f"-n {text}: antithetic samples come in pairs; write an even number")
    return int(number)


def _within(times: int | tuple[float, ...], end: float) -> list[float]:
    """The times themselves, once the end of the run is known."""
    if isinstance(times, int):
        return [end * (k / (times - 1)) for k in range(times)]
    outside = [time for time in times if not 0.0 <= time <= end]
    if outside:
        raise ConfigError(f"--times {outside[0]:g}: the fields of this run are known from 0 to {end:g}")
    return list(times) or [end]


def sample(directory: Path, want: Wanted) -> None:
    """`dsmsim sample`: on every rank; rank 0 then says where the samples are.

    Raises:
        ConfigError: an option does not suit the run, or other samples are in the way.
        StoreError: there is no finished run, or files cannot be read or written.
        DivergedError, StoppedEarly: see `dsmsim.errors`.
    """
    from contextlib import ExitStack

    from dsmsim.parallel import StopRequest, start
    from dsmsim.store import RunDirectory, SampleDirectory, locked, read_results
    from dsmsim.system import build_initial, build_system
    from dsmsim.terminal import ProgressWatcher
    from dsmsim.training.drawing import draw, drawing_config, drawing_key
    from dsmsim.training.trained import trained_fields
    from dsmsim.training.work import Solved

    run = RunDirectory.open(directory)
    if not run.results.is_file():
        raise StoreError(
            f"{run.path} has no results.h5 yet: let `dsmsim resume {run.path}` finish it, then draw samples"
        )
    trained, fields = trained_fields(read_results(run.results))
    config = _config(drawing_config, trained, want)
    with ExitStack() as stack:
        world = stack.enter_context(start(config.run.device, config.run.timeout_seconds))
        stop = stack.enter_context(StopRequest(config.run.time_limit_seconds))
        stop.heed_job_end(world, config.run.margin_seconds)
        fields = fields.to(world.device)
        place = SampleDirectory(want.out, drawing_key(config, fields))
        watcher = ProgressWatcher() if world.rank == 0 else None
        if watcher is not None:
            stack.callback(watcher.close)

        def begin() -> Any:
            stack.enter_context(locked(want.out))
            return place.begin(want.overwrite)

        done = world.on_root(begin)
        if watcher is not None:
            watcher.message(_announced(run, config, world.size, sum(shard.count for shard in done)))
        solved = Solved(build_system(config), build_initial(config), fields, {})
        began = time.monotonic()
        progress = watcher.sampling if watcher else lambda done, total: None
        source = {"run": str(run.path), "dsmsim_version": __version__}
        drawn = draw(config, solved, world, place, done, stop, progress, source)
        seconds = time.monotonic() - began
    if watcher is not None:
        watcher.message(_drawn(drawn, seconds, world.size))
        watcher.message(f"samples   {place.samples}")


def _config(make: Any, trained: Config, want: Wanted) -> Config:
    """The input that draws the samples; what it forbids is said of the run and the options."""
    times = _within(want.times, trained.time.end)
    try:
        config: Config = make(trained, want.count, times, want.nu, want.draws, want.seed)
    except ConfigError as error:
        raise ConfigError(f"the run cannot be sampled like this: {error}", key=error.key) from error
    return config


def _announced(run: RunDirectory, config: Config, ranks: int, done: int) -> str:
    evaluation, times = config.evaluation, config.time.save_times
    words = ", ".join(f"{t:g}" for t in times[:6]) + (", ..." if len(times) > 6 else "")
    text = (
        f"{run.path}: {evaluation.samples:,} samples at t = {words}, {evaluation.draws}, on {ranks} "
        f"rank{'s' if ranks > 1 else ''}"
    )
    return f"{text}; {done:,} of them are there" if done else text


def _drawn(count: int, seconds: float, ranks: int) -> str:
    if not count:
        return "all samples are there: nothing to draw"
    rate = count / max(seconds, 1e-9)
    return f"drew {count:,} samples in {seconds:.1f} s: {rate:,.0f} a second on {ranks} rank" + (
        "s" if ranks > 1 else ""
    )
