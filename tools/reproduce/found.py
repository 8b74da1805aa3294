"""What the tasks left on disk, for those who show it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from tools.reproduce.columns import read_attributes, read_columns
from tools.reproduce.task import Task

if TYPE_CHECKING:
    from dsmsim.analysis import Entry
    from dsmsim.config import Config
    from dsmsim.store import StoredResults

RESULTS, MEASUREMENT = "results.h5", "measurement.h5"
SIGNATURE, REASON = "task.json", "reason.txt"
CLOSED_FORM = "closed_form"


@dataclass
class Found:
    """Results of tasks below one directory.

    Attributes:
        out: the directory; a task's is OUT/SECTION/NAME.
    """

    out: Path

    def directory(self, task: Task) -> Path:
        """Where a task's files are."""
        return self.out / task.section / task.name

    def file(self, task: Task) -> Path:
        """The HDF5 file with what came of it."""
        return self.directory(task) / (MEASUREMENT if task.method == "measure" else RESULTS)

    def state(self, task: Task) -> str:
        """ "done", "stale" (of another input or settings), "refused" (see `reason`) or "missing"."""
        refused = (self.directory(task) / REASON).is_file()
        if not refused and not self.file(task).is_file():
            return "missing"
        if not self.fits(task):
            return "stale"
        return "refused" if refused else "done"

    def fits(self, task: Task) -> bool:
        """Whether what is in its directory, finished or not, was begun with this input and these settings."""
        signature = self.directory(task) / SIGNATURE
        return (
            not signature.is_file() or json.loads(signature.read_text(encoding="utf-8")) == task.signature()
        )

    def reason(self, task: Task) -> str:
        """Why there are no results: what the program said, or that it was not run."""
        file = self.directory(task) / REASON
        return file.read_text(encoding="utf-8").strip() if file.is_file() else "not run"

    def results(self, task: Task) -> StoredResults | None:
        """Of a run or baseline; None where there are none."""
        if self.state(task) != "done":
            return None
        from dsmsim.store import read_results

        return read_results(self.file(task))

    def config(self, task: Task) -> Config | None:
        """The resolved input of a finished run; None where there is none."""
        from dsmsim.store import stored_config

        stored = self.results(task)
        return None if stored is None else stored_config(stored.attributes)

    def columns(self, task: Task) -> Mapping[str, NDArray[Any]] | None:
        """Of a measurement; None where there are none."""
        if self.state(task) != "done":
            return None
        return read_columns(self.file(task))

    def origin(self, task: Task) -> Mapping[str, Any] | None:
        """When, by what versions and at what cost it was made; None where there is nothing."""
        if self.state(task) != "done":
            return None
        if task.method == "measure":
            return read_attributes(self.file(task))
        stored = self.results(task)
        return None if stored is None else stored.attributes.get("provenance", {})

    def entry(self, task: Task, reference: Task | None) -> Entry | None:
        """Errors of a run against another task, or the closed form; None where results are missing."""
        if self.state(task) != "done" or (reference is not None and self.state(reference) != "done"):
            return None
        return self.entries([task], reference)[0]

    def entries(self, tasks: Sequence[Task], reference: Task | None) -> list[Entry]:
        """Errors of several finished runs against one reference."""
        from dsmsim.methods.comparing import compare_several

        against = Path(CLOSED_FORM) if reference is None else self.directory(reference)
        return compare_several([self.directory(task) for task in tasks], against)
