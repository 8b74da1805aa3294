"""What the directory of a run says while somebody else works in it. Nothing is locked or written here.

The log may be cut by a run that goes on from a checkpoint, a last line may be half written, and the file may
be on another host's disk: whatever is found, reading goes on.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import re
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dsmsim.store.checkpoint import checkpoint_files
from dsmsim.store.lock import NAME
from dsmsim.store.rundir import RunDirectory

_HOLDER = re.compile(r"process (\d+) on (\S+) since (\S+)")
_REMEMBERED = 200  # bytes that were read last: as long as they are where they were, the log has only grown


@dataclass
class LogTail:
    """The records of a log that grows, read as they come.

    Attributes:
        path: of the log; it need not be there yet.
        records: all so far. After a log was cut they are those that it holds now.
    """

    path: Path
    records: list[dict[str, Any]] = field(default_factory=list)
    _place: int = 0
    _before: bytes = b""

    def read(self) -> None:
        """Take up what has come since the last time; lines that are no JSON objects are passed over."""
        try:
            with open(self.path, "rb") as file:
                start = max(0, self._place - len(self._before))
                file.seek(start)
                if file.read(self._place - start) != self._before:
                    file.seek(0)
                    self.records, self._place, self._before = [], 0, b""
                news = file.read()
        except OSError:  # not there yet, or the file system is away for a moment
            return
        whole = news[: news.rfind(b"\n") + 1]
        self._place += len(whole)
        self._before = (self._before + whole)[-_REMEMBERED:]
        for line in whole.splitlines():
            with contextlib.suppress(ValueError):
                record = json.loads(line)
                if isinstance(record, dict):
                    self.records.append(record)


@dataclass(frozen=True)
class Holder:
    """The process that works in a directory, or that died in it.

    Attributes:
        process, host: its number and its machine.
        since: seconds since 1970.
    """

    process: int
    host: str
    since: float

    @property
    def is_alive(self) -> bool | None:
        """Whether the process is there; None if its machine is another one, so that nobody here can tell."""
        if self.host != socket.gethostname():
            return None
        try:
            os.kill(self.process, 0)  # signal 0 asks and sends nothing
        except ProcessLookupError:
            return False
        except OSError:  # somebody else's process
            return True
        return True


def holder_of(directory: str | Path) -> Holder | None:
    """Who works in a directory, as its lock says; None where nobody does or files cannot be locked."""
    try:
        text = (Path(directory) / NAME).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    found = _HOLDER.match(text)
    if found is None:
        return None
    try:
        since = datetime.datetime.fromisoformat(found[3]).timestamp()
    except ValueError:
        return None
    return Holder(int(found[1]), found[2], since)


def changed_at(path: Path) -> float | None:
    """When a file was last written, seconds since 1970; None where it is not there."""
    try:
        return path.stat().st_mtime
    except OSError:
        return None


def newest_checkpoint(run: RunDirectory) -> Path | None:
    """The latest checkpoint of a run, None where there is none."""
    return max(checkpoint_files(run.checkpoints), key=lambda file: changed_at(file) or 0.0, default=None)


def last_sign(run: RunDirectory) -> float | None:
    """When the run last wrote one of its files, seconds since 1970; None where there are none."""
    files = [run.resolved, run.log, run.march, run.results, run.checkpoints, run.references, run.figures]
    times = [time for file in files if (time := changed_at(file)) is not None]
    return max(times, default=None)
