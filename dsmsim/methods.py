"""What the commands do: run a method, compare with references, draw, and say how good the result is.

Methods are found through the entry-point group `dsmsim.methods`, so that a baseline (ours or a user's) is
added without touching this package. A baseline is a callable `solve(config, out)` that writes
`out/results.h5`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dsmsim.config import Config, load_config
from dsmsim.config.interactions import PythonPair
from dsmsim.config.terms import PythonTerm
from dsmsim.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from dsmsim.store import Results, RunDirectory

CLOSED_FORM = "closed_form"
SPLIT_STEP_COORDINATES = 2  # up to here the split-step reference takes seconds


def method_names() -> list[str]:
    """Names of the installed methods."""
    return sorted({entry.name for entry in entry_points(group="dsmsim.methods")})


def baseline(name: str) -> Callable[[Config, Path], Any]:
    """The `solve` of a baseline.

    Raises:
        ConfigError: no such method is installed.
    """
    for entry in entry_points(group="dsmsim.methods", name=name):
        solve: Callable[[Config, Path], Any] = entry.load()
        return solve
    others = ", ".join(other for other in method_names() if other != "dsm")
    raise ConfigError(f"baseline {name!r} is not installed; there are: {others}")


def reference_names(config: Config) -> list[str]:
    """References that `[compare]` asks for; "auto" is the closed form, else split step where it is cheap.

    Raises:
        ConfigError: the closed form is asked for and there is none.
    """
    from dsmsim.system import closed_form

    wanted = config.compare.with_
    exact = closed_form(config) is not None
    if wanted == "auto":
        if exact:
            return [CLOSED_FORM]
        cheap = config.system.particles * config.system.dimensions <= SPLIT_STEP_COORDINATES
        return ["split_step"] if cheap else []
    if CLOSED_FORM in wanted and not exact:
        raise ConfigError(
            'compare.with = "closed_form": this problem has none (it needs a harmonic trap or none, a '
            'Gaussian start, and at most a harmonic interaction); write "auto" or another reference',
            key="compare.with",
        )
    return list(wanted)


def run(input_file: Path, out: Path | None, overwrite: bool) -> None:
    """`dsmsim run`: on every rank; rank 0 then compares, draws and reports."""
    config = load_config(input_file)
    directory = out or Path("runs") / input_file.stem
    text = input_file.read_text(encoding="utf-8")
    _solve_and_report(config, directory, input_text=text, overwrite=overwrite)


def resume(directory: Path) -> None:
    """`dsmsim resume`: continue a run from its newest valid checkpoint, then compare, draw and report."""
    from dsmsim.store import RunDirectory

    places = RunDirectory.open(directory)
    config = load_config(places.resolved)
    text = places.input.read_text(encoding="utf-8") if places.input.is_file() else ""
    _solve_and_report(config, directory, input_text=text, resume=True)


def has_functions(config: Config) -> bool:
    """Whether the potential calls functions of the user."""
    terms = [*config.system.one_body_terms().values(), config.system.interaction]
    return any(isinstance(term, PythonTerm | PythonPair) for term in terms)


def require_physics(config: Config) -> None:
    """Build potential and initial state once, so that a user's function fails before ranks and files exist.

    Raises:
        ConfigError: a function of the input cannot be imported, called or differentiated.
    """
    from dsmsim.system import build_initial, build_system

    build_system(config)
    build_initial(config)


def _solve_and_report(config: Config, directory: Path, **options: Any) -> None:
    from dsmsim.terminal import ProgressWatcher
    from dsmsim.training.dsm import solve

    reference_names(config)
    require_physics(config)
    if config.network.kind == "sorted":
        _warn_about_sorting()
    watchers: list[ProgressWatcher] = []

    def observe(world: Any) -> ProgressWatcher:
        watchers.append(ProgressWatcher())
        where = f"{world.size} rank{'s' if world.size > 1 else ''} on {world.device.type}"
        watchers[0].message(f"{config.title or directory.name}: {where}, results in {directory}")
        return watchers[0]

    try:
        rank = solve(config, directory, observer=observe, **options)
    finally:
        for watcher in watchers:
            watcher.close()
    if rank == 0:
        report(config, directory)


def _warn_about_sorting() -> None:
    from dsmsim.parallel import launch_environment

    if launch_environment().rank == 0:
        import sys

        print(
            'warning: network.kind = "sorted" is the published network, kept to reproduce it. Its fields '
            "jump where particles meet, and it converges to a wrong answer with a small loss: watch the "
            'checks, or use "mlp" or "equivariant".',
            file=sys.stderr,
        )


def report(config: Config, directory: Path, console: Console | None = None) -> None:
    """Compare a finished run with its references, draw it, and print errors, checks and places of files."""
    from dsmsim.analysis import checks_table, errors_table, plot_run, verdict
    from dsmsim.store import RunDirectory, read_results
    from dsmsim.terminal import report_console

    console = console or report_console()
    run_directory = RunDirectory.open(directory)
    for name in reference_names(config):
        errors = compare_with(config, run_directory, name)
        console.print(errors_table(errors, reference=name))
    checks = read_results(run_directory.results).results["checks"]
    console.print(checks_table(checks))
    console.print(verdict(checks))
    files: Sequence[Path] = []
    if config.output.figures:
        try:
            files = plot_run(directory)
        except ConfigError as error:  # matplotlib is an extra: a run without it is still a run
            console.print(f"no figures: {error}", markup=False)
    console.print(f"results   {run_directory.results}", markup=False, highlight=False, soft_wrap=True)
    for file in files:
        console.print(f"figure    {file}", markup=False, highlight=False, soft_wrap=True)


def compare_with(config: Config, run_directory: RunDirectory, name: str) -> dict[str, Any]:
    """Errors of the run against one reference, also written to `/errors/<name>` of its results.h5.

    The reference is computed into `references/<name>/` unless it is there already, for the same problem.
    """
    from dsmsim.analysis import compare
    from dsmsim.store import read_results, update_results

    stored = read_results(run_directory.results)
    reference = reference_results(config, run_directory, name, stored.results)
    errors = compare(stored.results, reference)
    attributes = stored.attributes.get("observables", {})
    for field in ("E_u", "E_v_field"):  # measured on the samples themselves, against the closed form
        if name == CLOSED_FORM and field in attributes:
            errors[field] = attributes[field]
    update_results(run_directory.results, {f"errors/{name}": errors})
    return errors


def reference_results(config: Config, run_directory: RunDirectory, name: str, results: Results) -> Results:
    """Observables and density of a reference on this problem.

    Raises:
        ConfigError: no such reference, or it cannot treat the problem.
    """
    from dsmsim.analysis import closed_form_like
    from dsmsim.store import read_results

    if name == CLOSED_FORM:
        exact = closed_form_like(config, results)
        assert exact is not None, "reference_names has checked it"
        return exact
    file = run_directory.references / name / "results.h5"
    if file.is_file():
        stored = read_results(file)
        # what is left of an earlier run in this directory may answer another question
        if stored.attributes.get("provenance", {}).get("physics_hash") == config.physics_hash():
            return stored.results
    file.parent.mkdir(parents=True, exist_ok=True)
    baseline(name)(config, file.parent)
    return read_results(file).results
