"""What a person sees while a run goes on: progress bars with rate and time left, or plain lines.

A launcher's pipe is no terminal, so under mpirun the bar is drawn only if the launcher says that a person
watches (`DSMSIM_PROGRESS=bar`); otherwise a line is printed every few seconds, which also suits batch logs.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

if TYPE_CHECKING:
    from dsmsim.config import Plan

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
    work.add_row("parameters of u and v", f"{plan.parameters:,}")
    if plan.tensor is not None:
        work.add_row("  with dense layers", f"{plan.tensor.dense_parameters:,}")
        modes = zip(plan.tensor.modes_out, plan.tensor.modes_in, strict=True)
        work.add_row("  TT modes (out x in)", " ".join(f"{out}x{into}" for out, into in modes))
        work.add_row("  TT ranks", " ".join(map(str, plan.tensor.ranks)))
    work.add_row("trajectories per rank", f"{plan.trajectories_per_rank:,}")
    work.add_row("residual points per rank", f"{plan.points_per_rank:,}")
    work.add_row("network evaluations per epoch", f"{plan.network_evaluations:,}")
    work.add_row("multiply-adds per epoch", f"{plan.multiply_adds:.3g}")
    work.add_row("memory of the largest rank", f"about {_size(plan.memory.total)}")
    files = Table(title=f"Files in {escape(str(directory))}", title_justify="left")
    for column in ("file", "size", "what"):
        files.add_column(column, justify="right" if column == "size" else "left")
    for file in plan.files:
        files.add_row(file.path, "" if file.size is None else _size(file.size), file.meaning)
    return Group(work, files, *(f"[yellow]warning:[/yellow] {escape(text)}" for text in plan.warnings))


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000.0:
            return f"{count:.3g} {unit}"
        count /= 1000.0
    return f"{count:.3g} TB"
