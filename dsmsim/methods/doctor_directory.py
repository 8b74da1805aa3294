"""What the file system of a directory can do of all that a run needs of it.

A run locks its directory, writes every file under another name and renames it, and flushes it to the disk.
Ranks on other hosts must see the same directory.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dsmsim.parallel import World

SMALL, LARGE = 4096, 32 * 2**20  # bytes of the files that are written
REPEATS = 5
TOKEN = "token"


@dataclass(frozen=True)
class DirectoryFacts:
    """A directory as rank 0 found it.

    Attributes:
        path: the directory.
        kind: of its file system, such as "ext4", "nfs4" or "lustre"; "" where it cannot be found out.
        error: why it cannot be written, "" if it can; then nothing below it was measured.
        locks: whether a lock of one process keeps out the next.
        renames: whether renaming replaces a file.
        fsync_seconds: median time to write a small file to the disk.
        bytes_per_second: of a large file, until it is on the disk.
        free: bytes that a user may still write.
        blind: hosts whose ranks do not see what rank 0 wrote.
    """

    path: str
    kind: str
    error: str = ""
    locks: bool = False
    renames: bool = False
    fsync_seconds: float = 0.0
    bytes_per_second: float = 0.0
    free: int = 0
    blind: tuple[str, ...] = ()


def examine_directory(path: Path, world: World) -> DirectoryFacts:
    """Try a directory out, in one below it that is removed again.

    Called by all ranks, each with the path as it is on its host; what is returned counts on rank 0.
    """
    scratch: Path | None = None
    facts = DirectoryFacts(str(path), file_system(path))
    try:
        if world.rank == 0:
            try:
                scratch = Path(tempfile.mkdtemp(prefix=".dsmsim-doctor-", dir=path))
                facts = _measured(scratch, facts)
                (scratch / TOKEN).write_text(TOKEN)
            except OSError as error:
                facts = DirectoryFacts(str(path), facts.kind, error.strerror or str(error))
        name = world.broadcast_object("" if scratch is None else scratch.name)
        sees = not name or (path / name / TOKEN).is_file()
        everyone = world.gather("" if sees else world.host) or []
        blind = tuple(sorted({host for host in everyone if host}))
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)
    return DirectoryFacts(**(vars(facts) | {"blind": blind}))


def file_system(path: Path) -> str:
    """Kind of the file system that holds a path, "" where there is no /proc."""
    found, longest = "", -1
    with suppress(OSError):
        place = str(path.resolve())
        for line in Path("/proc/self/mounts").read_text().splitlines():
            _, mount, kind, *_ = line.split()
            inside = place == mount or place.startswith(mount.rstrip("/") + "/")
            if inside and len(mount) >= longest:
                found, longest = kind, len(mount)
    return found


def _measured(scratch: Path, facts: DirectoryFacts) -> DirectoryFacts:
    small = [_seconds(lambda: _write(scratch / "small", SMALL)) for _ in range(REPEATS)]
    large = _seconds(lambda: _write(scratch / "large", LARGE))
    return DirectoryFacts(
        facts.path,
        facts.kind,
        locks=_locks(scratch / "lock"),
        renames=_renames(scratch),
        fsync_seconds=statistics.median(small),
        bytes_per_second=LARGE / large,
        free=shutil.disk_usage(scratch).free,
    )


def _seconds(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _write(file: Path, size: int) -> None:
    with file.open("wb") as stream:
        stream.write(os.urandom(SMALL) * (size // SMALL))
        stream.flush()
        os.fsync(stream.fileno())


def _locks(file: Path) -> bool:
    with file.open("w") as first, file.open("w") as second:
        try:
            fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # no locks here
            return False
        try:
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _renames(scratch: Path) -> bool:
    old, new = scratch / "old", scratch / "new"
    old.write_text("old")
    new.write_text("new")
    new.replace(old)
    return old.read_text() == "new" and not new.exists()
