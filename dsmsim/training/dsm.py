"""The method "dsm": find velocity fields that fulfil Nelson's equations, sample, measure, write results.h5.

This is where values meet: system, fields, loop, measurement and files are made here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from dsmsim.config import Config
from dsmsim.errors import DivergedError, StoppedEarly, StoreError
from dsmsim.parallel import StopRequest, World, start
from dsmsim.store import (
    JsonLines,
    RunDirectory,
    Stopwatch,
    locked,
    provenance,
    write_results,
)
from dsmsim.training.beginning import Beginning, begin
from dsmsim.training.evaluate import Evaluation, Solution, evaluate
from dsmsim.training.loop import Groups, Hooks
from dsmsim.training.sampling import SavedSums
from dsmsim.training.trained import MARCHED
from dsmsim.training.trajectory_files import TrajectoryFiles
from dsmsim.training.work import Work, build_work


class Observer(Protocol):
    """Watches a run on rank 0; see `dsmsim.terminal` for the one that draws progress bars."""

    def message(self, text: str) -> None:
        """Say something once."""

    def training(self, done: int, total: int, loss: float) -> None:
        """`done` of `total` epochs are trained."""

    def marching(self, time: float, end: float, residual: float) -> None:
        """The march has come to `time` of `end`."""

    def distilling(self, done: int, total: int, loss: float) -> None:
        """`done` of `total` epochs in which networks learn known fields are done."""

    def sampling(self, done: int, total: int) -> None:
        """`done` of `total` samples of this rank are drawn."""


class Silent:
    """An observer that says nothing: every rank but the first has it."""

    def message(self, text: str) -> None:
        """Say nothing."""

    def training(self, done: int, total: int, loss: float) -> None:
        """Say nothing."""

    def marching(self, time: float, end: float, residual: float) -> None:
        """Say nothing."""

    def distilling(self, done: int, total: int, loss: float) -> None:
        """Say nothing."""

    def sampling(self, done: int, total: int) -> None:
        """Say nothing."""


def solve(
    config: Config,
    out: Path,
    *,
    input_text: str = "",
    overwrite: bool = False,
    resume: bool = False,
    prepare: Callable[[World], None] = lambda world: None,
    observer: Callable[[World], Observer] = lambda world: Silent(),
) -> int:
    """Run or resume deep stochastic mechanics in the directory `out`, on all ranks that were started.

    Args:
        input_text: the input file as given, kept in the run's directory.
        overwrite: replace the files of an earlier run in `out`.
        resume: continue the run in `out` from its newest valid checkpoint; start it where there is none.
        prepare: done on rank 0 once the world stands, before anything is written; what it raises of
            `dsmsim.errors` ends all ranks in order.
        observer: made once the world stands; called on rank 0 only.

    Returns:
        This process's rank; rank 0 has written `results.h5`.

    Raises:
        ConfigError, DivergedError, StoreError, LaunchError, StoppedEarly: see `dsmsim.errors`.
    """
    with start(config.run.device, config.run.timeout_seconds) as world:
        world.on_root(lambda: prepare(world))
        solve_in(
            world,
            config,
            out,
            input_text=input_text,
            overwrite=overwrite,
            resume=resume,
            observer=observer,
        )
        return world.rank


def solve_in(
    world: World,
    config: Config,
    out: Path,
    *,
    input_text: str = "",
    overwrite: bool = False,
    resume: bool = False,
    observer: Callable[[World], Observer] = lambda world: Silent(),
) -> None:
    """`solve` in a world that stands, called by all its ranks; `World()` is this process alone.

    Raises:
        ConfigError, DivergedError, StoreError, LaunchError, StoppedEarly: see `dsmsim.errors`.
    """
    started = Stopwatch.start()
    with ExitStack() as stack:
        stop = stack.enter_context(StopRequest(config.run.time_limit_seconds))
        stop.heed_job_end(world, config.run.margin_seconds)

        logs: list[JsonLines] = []  # of the root

        def open_directory() -> Beginning:
            stack.enter_context(locked(out))
            beginning = begin(config, out, input_text, overwrite, resume)
            if not beginning.finished:
                logs.append(stack.enter_context(_open_log(beginning)))
            return beginning

        beginning = world.on_root(open_directory)
        run, log = beginning.run, logs[0] if logs else None
        watcher = observer(world) if world.rank == 0 else Silent()
        for line in beginning.messages:
            watcher.message(line)
        if beginning.finished:
            return
        work = build_work(config, world)
        _restore(work, beginning, world)
        costs = _Costs(world, started, work.cpu_seconds)

        def about() -> dict[str, Any]:
            facts = world.gather((world.host, str(world.device))) or []
            return {
                "world_size": world.size,
                "launcher": world.launcher,
                "hosts": [host for host, _ in facts],
                "devices": [device for _, device in facts],
                "started": started,
                "cpu_seconds": costs.total(),
                "input_text": input_text,
                "changes": work.changes,
            }

        def stage(solved: Solution, groups: Groups, attributes: Groups) -> None:
            """Measure what is found so far, unless an earlier session has."""
            if world.on_root(run.march.is_file):
                return
            spent = costs.total()
            evaluation = _agreed(evaluate, world)(config, solved, world, watcher.sampling, stop)
            facts = about() | {"solve_cpu_seconds": spent}
            found = (groups, attributes)
            world.on_root(lambda: _write(run.march, MARCHED, found, evaluation, provenance(config, **facts)))

        hooks = _hooks(config, work, run, world, log, watcher, costs, stage)
        if beginning.checkpoint is None:
            hooks.save()  # what is there already shows that files can be written
        solved = work.run(stop, hooks)
        spent = costs.total()
        files = stack.enter_context(TrajectoryFiles(config, world, run))
        saved = SavedSums.of_run(config, solved.fields, run.checkpoints, watcher.message)
        evaluation = _agreed(evaluate, world)(config, solved, world, watcher.sampling, stop, files.add, saved)
        evaluation = replace(evaluation, facts={**evaluation.facts, **solved.facts})
        facts = about() | {"solve_cpu_seconds": spent}
        paths = files.commit()

        def write() -> None:
            found = work.groups(run.log)
            _write(run.results, work.method, found, evaluation, provenance(config, **facts), paths)

        world.on_root(write)
        world.on_root(saved.remove)
        reason = stop.agreed(world)
        if reason is not None:
            raise StoppedEarly(
                f"stopped after the solution and its evaluation ({reason}): {run.results} is written; "
                "what remains is to compare it with references and to draw it"
            )


@dataclass(frozen=True)
class _Costs:
    """CPU seconds of a run over all ranks, and over earlier sessions, which a checkpoint remembers."""

    world: World
    started: Stopwatch
    earlier: float

    def total(self) -> float:
        """Until now; all ranks must ask together."""
        return self.earlier + self.world.total(self.started.cpu_seconds)


def _restore(work: Work, beginning: Beginning, world: World) -> None:
    """Become the state of the checkpoint, on every rank."""
    if beginning.checkpoint is None:
        return
    try:
        work.load(beginning.checkpoint)
    except StoreError as error:  # the same on every rank: all hold the same input and checkpoint
        raise world.agreed(error) from None
    work.changes.extend(f"from {work.place}: {change}" for change in beginning.changes)


def _open_log(beginning: Beginning) -> JsonLines:
    """The log as it was at the checkpoint: what came after it is written again."""
    log = JsonLines(beginning.run.log)
    if beginning.checkpoint is not None:
        missing = log.cut(beginning.checkpoint.attributes["log_bytes"])
        if missing:
            beginning.messages.append(f"{log.path} lacks {missing} bytes: the training's history has a gap")
    return log


def _hooks(
    config: Config,
    work: Work,
    run: RunDirectory,
    world: World,
    log: JsonLines | None,
    watcher: Observer,
    costs: _Costs,
    stage: Callable[[Solution, Groups, Groups], None],
) -> Hooks:
    def save() -> None:
        spent, snapshot = costs.total(), work.snapshot()

        def write() -> None:
            assert log is not None  # on the root it is there
            # the log first: it must not lag behind a checkpoint
            work.save(snapshot, run.checkpoints, spent, log.sync())

        world.on_root(write)

    def record(entry: dict[str, Any]) -> None:
        if log is not None:
            log.write(entry)

    def progress(epoch: int, loss: float) -> None:
        watcher.training(epoch, config.train.epochs, loss)

    return Hooks(record, progress, save, watcher.message, watcher.marching, watcher.distilling, stage)


def _agreed(measure: Callable[..., Evaluation], world: World) -> Callable[..., Evaluation]:
    """`measure`, whose failure all ranks know of."""

    def measured(*arguments: Any) -> Evaluation:
        try:
            return measure(*arguments)
        except DivergedError as error:
            raise world.agreed(error) from None

    return measured


def _write(
    path: Path,
    method: str,
    found: tuple[Groups, Groups],
    evaluation: Evaluation,
    about: dict[str, Any],
    trajectories: dict[str, Any] | None = None,
) -> None:
    groups, attributes = found
    attributes = attributes | {
        "provenance": about,
        "observables": {
            "samples": evaluation.sums.samples,
            "method": method,
            **evaluation.facts,
            **evaluation.sums.field_errors(),
        },
        "density": {"samples": evaluation.sums.samples},
        **evaluation.sums.attributes(),
    }
    if trajectories:
        attributes["trajectories"] = trajectories
    write_results(path, evaluation.groups() | groups, attributes)
