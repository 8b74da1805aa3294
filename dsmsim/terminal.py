"""What a person sees while a run goes on: progress bars with rate and time left, or plain lines.

A launcher's pipe is no terminal, so under mpirun the bar is drawn only if the launcher says that a person
watches (`DSMSIM_PROGRESS=bar`); otherwise a line is printed every few seconds, which also suits batch logs.
"""

from __future__ import annotations

import os
import sys
import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

LINE_EVERY = 5.0  # seconds between progress lines where no bar is drawn


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
        self.console.print(text, highlight=False, markup=False)

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
            columns = "{task.description}", BarColumn(), "{task.completed}/{task.total}", TimeRemainingColumn()
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
