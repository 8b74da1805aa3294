"""What a person sees while a run goes on: progress bars with rate and time left, or plain lines.

A launcher's pipe is no terminal, so under mpirun the bar is drawn only if the launcher says that a person
watches (`DSMSIM_PROGRESS=bar`); otherwise a line is printed every few seconds, which also suits batch logs.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from dsmsim.config import MarchPlan, Plan, shown_size

LINE_EVERY = 5.0  # seconds between progress lines where no bar is drawn
LOG_WIDTH = 120  # columns where the output is no terminal: a log has no edge that a table must be cut at


def report_console() -> Console:
    """Standard output for tables: as wide as the terminal, or wide enough for every table."""
    narrow = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(width=None if narrow else LOG_WIDTH)


class ProgressWatcher:
    """Draws the progress of a run on standard error; an `Observer` of `dsmsim.training.dsm`."""

    def __init__(self, console: Console | None = None) -> None:
        wanted = os.environ.get("DSMSIM_PROGRESS", "auto")
        self.console = console or Console(stderr=True, force_terminal=True if wanted == "bar" else None)
        self._bar = self.console.is_terminal and wanted != "lines"
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._phase, self._began, self._printed, self._first = "", 0.0, 0.0, 0

    def message(self, text: str) -> None:
        """Say something once."""
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def training(self, done: int, total: int, loss: float) -> None:
        """`done` of `total` epochs are trained."""
        self._update("training", done, total, "epochs", f"loss {loss:.2e}")

    def marching(self, time: float, end: float, residual: float) -> None:
        """The march has come to `time` of `end`: shown in percent of it."""
        note = f"t {time:.3g}, residual {residual:.3f}"
        self._update("marching", round(100.0 * time / end), 100, "%", note)

    def distilling(self, done: int, total: int, loss: float) -> None:
        """`done` of `total` epochs in which networks learn known fields are done."""
        self._update("learning", done, total, "epochs", f"loss {loss:.2e}")

    def sampling(self, done: int, total: int) -> None:
        """`done` of `total` samples are drawn."""
        self._update("sampling", done, total, "samples", "")

    def _update(self, phase: str, done: int, total: int, unit: str, note: str) -> None:
        now = time.monotonic()
        if phase != self._phase:
            self._phase, self._began, self._printed, self._first = phase, now, now, done
        rate = (done - self._first) / (now - self._began) if now > self._began else 0.0
        if self._bar:
            self._draw(phase, done, total, f"{rate:.1f} {unit}/s {note}")
        elif done == total or now - self._printed >= LINE_EVERY:
            left = f"{(total - done) / rate:.0f} s left" if rate > 0.0 and done < total else "done"
            text = f"{phase} {done}/{total} {unit}, {rate:.1f}/s, {left}"
            print(f"{text}, {note}" if note else text, file=sys.stderr, flush=True)
            self._printed = now

    def _draw(self, phase: str, done: int, total: int, note: str) -> None:
        if self._progress is None:
            columns = (
                "{task.description}",
                BarColumn(),
                "{task.completed}/{task.total}",
                TimeRemainingColumn(),
            )
            self._progress = Progress(*columns, TextColumn("{task.fields[note]}"), console=self.console)
            self._task = self._progress.add_task(phase, total=total, note=note)
            self._progress.start()
        assert self._task is not None
        self._progress.update(self._task, description=phase, completed=done, total=total, note=note)
        if done >= total:
            self.close()

    def close(self) -> None:
        """Leave the last state of the bar on the screen and release the terminal."""
        if self._progress is not None:
            self._progress.stop()
        self._progress, self._task = None, None


def plan_table(plan: Plan, directory: Path) -> Group:
    """What `dsmsim check` prints: work, memory, files, and what is probably not meant."""
    work = Table(title=f"Plan for {plan.ranks} rank{'s' if plan.ranks > 1 else ''}", title_justify="left")
    work.add_column("quantity", no_wrap=True)
    work.add_column("value", justify="right", no_wrap=True)
    if plan.march is not None:
        for quantity, value in _march_rows(plan.march):
            work.add_row(quantity, value)
    if plan.networks:
        work.add_row(f"parameters of {' and '.join(plan.networks)}", f"{plan.parameters:,}")
    if plan.tensor is not None:
        work.add_row("  with dense layers", f"{plan.tensor.dense_parameters:,}")
        modes = zip(plan.tensor.modes_out, plan.tensor.modes_in, strict=True)
        form = plan.tensor.format
        work.add_row(f"  {form} modes (out x in)", " ".join(f"{out}x{into}" for out, into in modes))
        ranks = f"{form} ranks, to begin with" if plan.tensor.adaptive else f"{form} ranks"
        work.add_row(f"  {ranks}", " ".join(map(str, plan.tensor.ranks)))
        work.add_row("  cores of a layer", f"{plan.tensor.parameters:,}")
    if plan.networks:
        work.add_row("trajectories per rank", f"{plan.trajectories_per_rank:,}")
        work.add_row("residual points per rank", f"{plan.points_per_rank:,}")
        work.add_row("network evaluations per epoch", f"{plan.network_evaluations:,}")
        work.add_row("multiply-adds per epoch", f"{plan.multiply_adds:.3g}")
    work.add_row("memory of the largest rank", f"about {shown_size(plan.memory.total)}")
    work.add_row("  of it the program", shown_size(plan.memory.program))
    files = Table(title=f"Files in {escape(str(directory))}", title_justify="left")
    for column in ("file", "size", "what"):
        files.add_column(column, justify="right" if column == "size" else "left")
    for file in plan.files:
        files.add_row(file.path, "" if file.size is None else shown_size(file.size), file.meaning)
    applied = () if plan.tensor is None else map(str, plan.tensor.applications)
    return Group(
        work, *applied, files, *(f"[yellow]warning:[/yellow] {escape(text)}" for text in plan.warnings)
    )


def _march_rows(march: MarchPlan) -> list[tuple[str, str]]:
    """Quantities and values of a march."""
    numbers = "complex parameters" if march.analytic else "parameters"
    return [
        (f"{numbers} that march ({march.ansatz})", f"{march.parameters:,}"),
        ("walkers per rank", f"{march.walkers_per_rank:,}"),
        ("equations for each walker", f"{march.equations:,}"),
        ("solver", march.solver),
        ("steps in time", f"about {march.steps:,}"),
        ("seconds of marching, one core a rank", f"about {march.seconds:.2g}"),
    ]


def references_table(rows: Sequence[Sequence[str]], notes: Sequence[str]) -> Group:
    """The references of a run: name, method, size, memory and time of each, and what else is to be said."""
    table = Table(title="References", title_justify="left")
    for column in ("name", "method", "points", "memory", "one core"):
        table.add_column(column, justify="left" if column in ("name", "method") else "right")
    for row in rows:
        table.add_row(*map(escape, row))
    return Group(*([table] if rows else []), *map(escape, notes))


# attributes of a solution in the order shown, with what they are
_HOW = {
    "error_estimate": "error estimate, the worst observable",
    "error_variance": "  of the variance, relative",
    "error_density": "  of the density, L1",
    "error_wave_function": "bound of the error of psi, as a norm",
    "residual": "largest residual of the equations of motion",
    "tolerance": "tolerance",
    "edge_probability": "probability at the edge of the grid",
    "seconds": "seconds",
}


def solution_table(name: str, how: Mapping[str, Any]) -> Group:
    """How a baseline came to its numbers, and how far they can be trusted: from their attributes."""
    table = Table(title=f"Solution by {escape(name)}", title_justify="left", show_header=False)
    table.add_column("what", no_wrap=True)
    table.add_column("value", justify="right")
    table.add_row("method", escape(str(how.get("method", name))))
    for key, what in _HOW.items():
        if isinstance(how.get(key), int | float) and not math.isnan(how[key]):
            table.add_row(what, f"{float(how[key]):.3g}")
    warning = str(how.get("warning", ""))
    if not how.get("converged", True) and not warning:
        warning = "the error estimate is not below the tolerance, or there is none: do not trust this result"
    return Group(table, *([f"[bold red]not converged:[/bold red] {escape(warning)}"] if warning else []))
