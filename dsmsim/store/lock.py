"""One process at a time works in a run's directory.

Two jobs on one directory would interleave their logs and remove each other's checkpoints. The lock is the
operating system's (`flock`), so it ends with the process that holds it, however that ends. Some file systems
refuse locks (Lustre mounted without `flock`, old NFS); there nothing is locked.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from dsmsim.errors import ConfigError, StoreError
from dsmsim.store.files import store_error

NAME = ".lock"
_TAKEN = (errno.EAGAIN, errno.EACCES)
_NO_LOCKS_HERE = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)


@contextlib.contextmanager
def locked(directory: str | Path) -> Iterator[bool]:
    """While the context is open, nobody else can lock `directory`, which is made if it is not there.

    Yields:
        Whether there is a lock: False where the file system has none.

    Raises:
        ConfigError: `directory` is a file.
        StoreError: another process holds the lock (the message names it), or the file cannot be opened.
    """
    path = Path(directory)
    if path.exists() and not path.is_dir():
        raise ConfigError(f"--out {path}: this is a file, not a directory; choose another place with --out")
    try:
        path.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path / NAME, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise store_error("create", path, error) from error
    held = False
    try:
        held = _take(path, descriptor)
        if held:
            _sign(descriptor)
        yield held
    finally:
        if held:
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, 0)
        os.close(descriptor)


def _take(path: Path, descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _TAKEN:
            holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip() or "another process"
            raise StoreError(
                f"{path} is in use by {holder}: wait until it has ended, or name another directory with --out"
            ) from None
        if error.errno in _NO_LOCKS_HERE:
            return False
        raise store_error("lock", path / NAME, error) from error
    return True


def _sign(descriptor: int) -> None:
    """Write who holds the lock, for whom it is refused; a full disk must not keep a run from starting."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    text = f"process {os.getpid()} on {socket.gethostname()} since {now}\n"
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, text.encode(), 0)
