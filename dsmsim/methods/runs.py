"""The commands `run`, `resume`, `check` and `baseline`: what is done in which order."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dsmsim.config import Config, Plan, load_config, load_input, make_plan
from dsmsim.config.interactions import PythonPair
from dsmsim.config.output_table import OBSERVABLES
from dsmsim.config.terms import PythonTerm
from dsmsim.errors import ConfigError, StoppedEarly
from dsmsim.methods.installed import predict, solve_by, takes_world
from dsmsim.methods.references import Choice, choose_references, require_memory

if TYPE_CHECKING:
    from types import FrameType

    from rich.console import Console

    from dsmsim.parallel import World
    from dsmsim.store import RunDirectory
    from dsmsim.terminal import ProgressWatcher


def run(
    input_file: Path,
    out: Path | None,
    overwrite: bool,
    resume: bool = False,
    settings: Sequence[str] = (),
) -> None:
    """`dsmsim run`: on every rank; rank 0 then compares, draws and reports.

    Args:
        settings: `KEY=VALUE` options that change the input; so for all commands here.

    Raises:
        ConfigError: also where both `overwrite` and `resume` are asked for.
    """
    if overwrite and resume:
        raise ConfigError("--overwrite --resume: a run is either replaced or continued; leave one out")
    given = load_input(input_file, settings)
    directory = out or Path("runs") / input_file.stem
    _solve_and_report(given.config, directory, input_text=given.text, overwrite=overwrite, resume=resume)


def resume(directory: Path, input_file: Path | None = None, settings: Sequence[str] = ()) -> None:
    """`dsmsim resume`: continue a run from its newest valid checkpoint, then compare, draw and report.

    Args:
        input_file: an input to go on with instead of the run's own.
    """
    from dsmsim.store import RunDirectory

    places = RunDirectory.open(directory)
    given = load_input(input_file or places.resolved, settings)
    text = given.text
    if input_file is None:  # the run keeps what the user wrote, not all the defaults
        text = places.input.read_text(encoding="utf-8") if places.input.is_file() else ""
        if settings and text:
            text = load_input(places.input, settings).text
    _solve_and_report(given.config, directory, input_text=text, resume=True)


def check(input_file: Path, ranks: int, settings: Sequence[str] = ()) -> tuple[Plan, Choice]:
    """`dsmsim check`: what a run of the input costs, and what its references cost.

    Raises:
        ConfigError: the input is wrong, or a reference cannot treat it or does not fit.
    """
    config = load_config(input_file, settings)
    if has_functions(config):  # only they need torch here, which takes seconds to load
        require_physics(config)
    try:
        return make_plan(config, ranks), choose_references(config)
    except ConfigError as error:
        raise ConfigError(f"{input_file}: {error}", key=error.key) from error


def solve_baseline(
    name: str, input_file: Path, out: Path | None, overwrite: bool, settings: Sequence[str] = ()
) -> Path | None:
    """`dsmsim baseline`: the path of the results on rank 0, None on the others.

    A method that takes a world is run by all ranks, any other by the first one, while the others leave.

    Raises:
        ConfigError: no such method, a wrong input, or one that the method cannot treat or hold.
    """
    from dsmsim.parallel import launch_environment, start
    from dsmsim.terminal import ProgressWatcher

    shared = takes_world(name)
    config = load_config(input_file, settings)
    directory = out or Path("runs") / f"{input_file.stem}-{name}"

    def progress(line: str) -> None:
        ProgressWatcher().message(f"{name}: {line}")

    if not shared:
        if launch_environment().rank != 0:
            return None
        _prepare_baseline(name, config, directory, overwrite)
        return solve_by(name, config, directory, progress)
    if has_functions(config):
        require_physics(config)
    with start(config.run.device, config.run.timeout_seconds) as world, threads_of_this_rank(world):
        world.on_root(lambda: _prepare_baseline(name, config, directory, overwrite))
        results = solve_by(name, config, directory, progress, world)
        return results if world.rank == 0 else None


def _prepare_baseline(name: str, config: Config, directory: Path, overwrite: bool) -> None:
    """Refuse what the method cannot treat or hold, then make its directory."""
    from dsmsim.store import RunDirectory

    prediction = predict(name, config)
    if prediction is not None:
        require_memory(config, name, prediction)
    RunDirectory.create(directory, overwrite)


@contextmanager
def threads_of_this_rank(world: World) -> Iterator[None]:
    """Let solvers, which ask OMP_NUM_THREADS, use this rank's share of the cores, as torch does."""
    import torch

    variable = "OMP_NUM_THREADS"
    if world.size == 1 or variable in os.environ:
        yield
        return
    os.environ[variable] = str(torch.get_num_threads())
    try:
        yield
    finally:
        del os.environ[variable]


def report_baseline(name: str, results: Path, console: Console) -> None:
    """Print how far a solution can be trusted, its checks where it has some, and the place of its file."""
    from dsmsim.analysis import checks_table, verdict
    from dsmsim.store import read_results
    from dsmsim.terminal import solution_table

    stored = read_results(results)
    console.print(solution_table(name, stored.attributes.get("observables", {})))
    checks = stored.results.get("checks")
    if checks is not None:
        console.print(checks_table(checks))
        console.print(verdict(checks, remedy=""))
    console.print(f"results   {results}", markup=False, highlight=False, soft_wrap=True)


def has_functions(config: Config) -> bool:
    """Whether the potential calls functions of the user, or what is measured may."""
    terms = [*config.system.one_body_terms().values(), config.system.interaction]
    known = (*OBSERVABLES, *config.output.expressions)
    foreign = any(name not in known for name in config.output.observables)
    return foreign or any(isinstance(term, PythonTerm | PythonPair) for term in terms)


def require_physics(config: Config) -> None:
    """Build potential, initial state and the user's observables once, before ranks and files exist.

    Raises:
        ConfigError: a function of the input cannot be imported, called or differentiated.
    """
    from dsmsim.system import build_initial, build_system
    from dsmsim.training.rehearsal import rehearse_observables

    build_system(config)
    build_initial(config)
    rehearse_observables(config)


def _solve_and_report(config: Config, directory: Path, **options: Any) -> None:
    """Train on all ranks; then rank 0 computes the references on the cores that the others leave."""
    from dsmsim.parallel import World, announce_cores, cores_of_this_host
    from dsmsim.terminal import ProgressWatcher
    from dsmsim.training.dsm import solve

    require_physics(config)
    if config.network.kind == "sorted":
        _warn_about_sorting()
    world, chosen = World(), Choice()
    watchers: list[ProgressWatcher] = []

    def prepare(started: World) -> None:
        nonlocal world, chosen
        world = started
        announce_cores(world)
        chosen = choose_references(config)

    def observe(started: World) -> ProgressWatcher:
        watchers.append(ProgressWatcher())
        where = f"{started.size} rank{'s' if started.size > 1 else ''} on {started.device.type}"
        watchers[0].message(f"{config.title or directory.name}: {where}, results in {directory}")
        if chosen.summary:
            watchers[0].message(chosen.summary)
        return watchers[0]

    try:
        rank = solve(config, directory, prepare=prepare, observer=observe, **options)
    finally:
        for watcher in watchers:
            watcher.close()
    if rank == 0:
        with cores_of_this_host(world), _stoppable(directory):
            report(config, directory, chosen.names)


@contextmanager
def _stoppable(directory: Path) -> Iterator[None]:
    """Stop by a signal while references are computed: the results are there, `resume` does the rest."""
    from dsmsim.parallel.stopping import SIGNALS

    def stop(number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        raise StoppedEarly(
            f"signal {name}: training is complete and {directory / 'results.h5'} is written, but not all "
            f"references are computed; `dsmsim resume {directory}` computes them"
        )

    earlier = {number: signal.signal(number, stop) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _warn_about_sorting() -> None:
    from dsmsim.parallel import launch_environment

    if launch_environment().rank == 0:
        print(
            'warning: network.kind = "sorted" is the published network, kept to reproduce it. Its fields '
            "jump where particles meet, and it converges to a wrong answer with a small loss: watch the "
            'checks, or use "mlp" or "equivariant".',
            file=sys.stderr,
        )


def report(
    config: Config, directory: Path, references: Sequence[str], console: Console | None = None
) -> None:
    """Compare a finished run with its references, draw it, write its page, and print errors and checks.

    A reference that fails does not take the others with it.

    Raises:
        ConfigError: at the end, where a reference that was named in the input failed.
    """
    from dsmsim.analysis import checks_table, plot_run, verdict, write_report
    from dsmsim.store import RunDirectory, read_results
    from dsmsim.terminal import report_console

    console = console or report_console()
    run_directory = RunDirectory.open(directory)
    failures = [_compare(config, run_directory, name, console) for name in references]
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
    if config.output.report:
        try:
            written = f"report    {write_report(directory)}"
        except ConfigError as error:  # its libraries are an extra, too
            written = f"no report: {error}"
        console.print(written, markup=False, highlight=False, soft_wrap=True)
    for failure in failures:
        if failure is not None and config.compare.with_ != "auto":
            raise failure


def _compare(config: Config, run: RunDirectory, name: str, console: Console) -> ConfigError | None:
    """Print the errors against one reference, or why there are none, which is returned."""
    from dsmsim.analysis import errors_table
    from dsmsim.methods.comparing import compare_stage, compare_with
    from dsmsim.terminal import ProgressWatcher

    watcher = ProgressWatcher()

    def tell(line: str) -> None:
        watcher.message(f"reference {name}: {line}")

    try:
        errors = compare_with(config, run, name, tell)
        of_march = compare_stage(config, run, name, tell)
    except ConfigError as error:
        console.print(f"no comparison with {name}: {error}", markup=False)
        return error
    if of_march is not None:
        console.print(errors_table(of_march, reference=f"{name}, of the march before training"))
    console.print(errors_table(errors, reference=name))
    return None
