"""Writing a file so that a reader finds the old one or the new one, never a part, and saying what went wrong.

A file is written beside its place, flushed to the disk, and moved over the old one in a single step. HDF5
files are built in memory first: a full disk is then an ordinary error of the operating system, and not a
half-closed HDF5 file.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py

from dsmsim.errors import StoreError

_ADVICE = {
    errno.ENOSPC: "the disk is full: free some space",
    errno.EDQUOT: "your quota is used up: free some space",
    errno.EFBIG: "the file would exceed the limit on file sizes (`ulimit -f`)",
    errno.EACCES: "you may not write there: check the permissions or choose another directory with --out",
    errno.EPERM: "you may not write there: check the permissions or choose another directory with --out",
    errno.EROFS: "the file system is read-only: choose another directory with --out",
    errno.ENOENT: "the directory does not exist: create it first",
    errno.EIO: "the device reports an input/output error: check the disk",
}

# Errors of opening that say nothing about the content of the file.
_NOT_THE_CONTENT = (errno.ENOENT, errno.EACCES, errno.EPERM, errno.EISDIR)


def store_error(action: str, path: Path, error: OSError) -> StoreError:
    """The StoreError for `action` ("write", "read", ...) on `path`, with advice where the cause is known."""
    advice = _ADVICE.get(error.errno or 0)
    if action == "read" and error.errno in (errno.ENOENT, errno.EACCES, errno.EPERM):
        advice = None
    reason = error.strerror or str(error)
    return StoreError(f"cannot {action} {path}: {reason}" + (f"; {advice}" if advice else ""))


def write_atomically(path: Path, data: bytes | memoryview) -> None:
    """Replace `path` by a file holding `data`; on any error the earlier file stays as it was.

    Raises:
        StoreError: the operating system refused.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        try:
            with open(temporary, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        flush_directory(path.parent)
    except OSError as error:
        raise store_error("write", path, error) from error


def flush_directory(directory: Path) -> None:
    """Make a new name in `directory` last through a power failure; some network file systems cannot.

    Raises:
        OSError: it cannot be opened or flushed.
    """
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def hdf5_image(fill: Callable[[h5py.File], None], user_block: int = 0) -> memoryview:
    """The bytes of an HDF5 file that `fill` fills, after `user_block` bytes for other use."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", userblock_size=user_block) as file:
        fill(file)
    return buffer.getbuffer()


@contextlib.contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file for reading.

    What h5py finds wrong with it, now or while the context is open, becomes a StoreError. Locking is
    best effort, because NFS and Lustre are often mounted without it.
    """
    options = {"locking": "best-effort"} if h5py.version.hdf5_version_tuple >= (1, 12, 1) else {}
    try:
        if path.stat().st_size and not h5py.is_hdf5(path):
            raise StoreError(f"{path} is not an HDF5 file: not written by dsmsim, or damaged at its start")
        with h5py.File(path, "r", **options) as file:
            yield file
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        if isinstance(error, OSError) and error.errno in _NOT_THE_CONTENT:
            raise store_error("read", path, error) from error
        truncated = "truncated" in str(error) or "eof" in str(error).lower()
        kind = "is truncated: it was copied only in part" if truncated else "is damaged"
        raise StoreError(f"{path} {kind} ({error}); restore it from a copy, or write it again") from error
