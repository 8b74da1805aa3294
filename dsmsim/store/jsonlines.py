"""The log of a run: one JSON object a line, readable while the run goes on and after it was killed."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from dsmsim.errors import StoreError
from dsmsim.store.files import flush_directory, store_error


class JsonLines:
    """A log open for appending. A last line that a killed writer left unfinished is removed on opening.

    Raises:
        StoreError: the file cannot be opened or written.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            self._file = open(self.path, "a+b", buffering=0)  # noqa: SIM115 (closed by close)
            self._file.seek(0)
            content = self._file.read()
            if content and not content.endswith(b"\n"):
                self._file.truncate(content.rfind(b"\n") + 1)
            flush_directory(self.path.parent)
        except OSError as error:
            raise store_error("write", self.path, error) from error

    def write(self, record: Mapping[str, Any]) -> None:
        """Append one record. Numbers that JSON does not know (infinities, NaN) become null."""
        line = (json.dumps(_plain(record), allow_nan=False) + "\n").encode()
        try:
            # Unbuffered, so that a reader sees whole lines; a full disk takes a part first, then refuses.
            while line:
                line = line[self._file.write(line) :]
        except OSError as error:
            raise store_error("write", self.path, error) from error

    def sync(self) -> int:
        """Have everything that was written on the disk; the length in bytes."""
        try:
            os.fsync(self._file.fileno())
            return os.fstat(self._file.fileno()).st_size
        except OSError as error:
            raise store_error("write", self.path, error) from error

    def cut(self, size: int) -> int:
        """Remove what lies beyond `size` bytes, which a resumed run writes again.

        Returns:
            How many of these bytes are missing: 0, unless the log was damaged.
        """
        try:
            there = os.fstat(self._file.fileno()).st_size
            if there > size:
                self._file.truncate(size)
        except OSError as error:
            raise store_error("write", self.path, error) from error
        return max(0, size - there)

    def close(self) -> None:
        """Close the file; writing is an error from then on."""
        self._file.close()

    def __enter__(self) -> JsonLines:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_jsonlines(path: str | Path) -> list[dict[str, Any]]:
    """The records of a log, also of one that is being written: an unfinished last line is left out.

    Raises:
        StoreError: the file cannot be read, or a finished line is no JSON object.
    """
    try:
        lines = Path(path).read_bytes().split(b"\n")[:-1]
    except OSError as error:
        raise store_error("read", Path(path), error) from error
    records = []
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
        except ValueError as error:
            raise StoreError(f"{path}, line {number}, is no JSON: {error}; remove the line") from error
        if not isinstance(record, dict):
            raise StoreError(f"{path}, line {number}, is no JSON object: remove the line")
        records.append(record)
    return records


def _plain(value: Any) -> Any:
    """`value` as JSON's own types."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.generic | np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
