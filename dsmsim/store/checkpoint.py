"""Checkpoints: everything that a run needs to go on exactly where it stopped.

One HDF5 file for each, `ckpt-000120.h5` for epoch 120. The first 512 bytes (HDF5's user block, which its
readers skip) hold the SHA-256 of all that follows: names, types, shapes, values, attributes and HDF5's own
bookkeeping. It is compared before HDF5 reads a single byte, so a torn or flipped file is never interpreted;
the checkpoint before it is used instead.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from dsmsim.errors import StoreError
from dsmsim.store.files import hdf5_image, store_error, write_atomically

_BLOCK = 512
_NAME = re.compile(r"ckpt-(\d{6,})\.h5")
_SUMS = "samples.h5"


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint read back.

    Attributes:
        epoch: number of epochs completed.
        arrays: by name.
        attributes: plain values by name, as they were saved.
        path: the file it came from.
        warnings: why later checkpoints were passed over, one sentence each.
    """

    epoch: int
    arrays: dict[str, NDArray[Any]]
    attributes: dict[str, Any]
    path: Path
    warnings: list[str] = field(default_factory=list)


def checkpoint_files(directory: str | Path) -> list[Path]:
    """The checkpoints in `directory`, valid or not, earliest epoch first; none if it does not exist."""
    try:
        found = [path for path in Path(directory).iterdir() if _NAME.fullmatch(path.name)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise store_error("read", Path(directory), error) from error
    return sorted(found, key=_epoch)


def save_checkpoint(
    directory: str | Path,
    epoch: int,
    arrays: Mapping[str, ArrayLike],
    attributes: Mapping[str, Any],
    keep: int,
) -> Path:
    """Save a checkpoint, then remove all but the last `keep` up to this epoch.

    Args:
        directory: created if it is not there.
        epoch: number of epochs completed.
        arrays: by name, "/" nests; any numeric type.
        attributes: values that JSON can hold (infinities, NaN and integers of any size included), and numpy
            numbers.
        keep: how many checkpoints stay, >= 1.

    Returns:
        The file.

    Raises:
        StoreError: the file cannot be written; the earlier checkpoints are all there.
    """
    if keep < 1 or epoch < 0:
        raise ValueError(f"need keep >= 1 and epoch >= 0, got keep={keep}, epoch={epoch}")
    path = Path(directory) / f"ckpt-{epoch:06d}.h5"
    _write(path, epoch, arrays, attributes)
    for old in [other for other in checkpoint_files(directory) if _epoch(other) <= epoch][:-keep]:
        _remove(old)
    return path


def save_sums(directory: str | Path, arrays: Mapping[str, ArrayLike], attributes: Mapping[str, Any]) -> None:
    """Save how far an evaluation has come, in the place of what it saved before; as `save_checkpoint`."""
    _write(Path(directory) / _SUMS, 0, arrays, attributes)


def load_sums(directory: str | Path) -> Checkpoint | None:
    """How far an evaluation had come; None if it has saved nothing. StoreError if the file is damaged."""
    path = Path(directory) / _SUMS
    return _read(path, []) if path.is_file() else None


def remove_sums(directory: str | Path) -> None:
    """Forget how far an evaluation had come. StoreError if the file cannot be removed."""
    _remove(Path(directory) / _SUMS)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise store_error("remove", path, error) from error


def _write(path: Path, epoch: int, arrays: Mapping[str, ArrayLike], attributes: Mapping[str, Any]) -> None:
    def fill(file: h5py.File) -> None:
        file.attrs["epoch"] = epoch
        file.attrs["attributes"] = json.dumps(dict(attributes), default=_plain)
        group = file.create_group("arrays")
        for name, value in arrays.items():
            group.create_dataset(name, data=np.asarray(value))

    image = hdf5_image(fill, user_block=_BLOCK)
    image[:_BLOCK] = _header(image[_BLOCK:])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise store_error("create", path.parent, error) from error
    write_atomically(path, image)


def load_checkpoint(directory: str | Path) -> Checkpoint:
    """The latest valid checkpoint of `directory`; `warnings` tells why later ones were passed over.

    Raises:
        StoreError: there is no checkpoint, or none is valid.
    """
    files = checkpoint_files(directory)
    if not files:
        raise StoreError(
            f"{directory} holds no checkpoint: the run ended before it saved one; start it with `dsmsim run`"
        )
    warnings: list[str] = []
    for path in reversed(files):
        try:
            checkpoint = _read(path, warnings)
        except StoreError as error:
            warnings.append(str(error))
            continue
        return checkpoint
    raise StoreError(f"none of the {len(files)} checkpoints in {directory} is valid:\n" + "\n".join(warnings))


def _read(path: Path, warnings: list[str]) -> Checkpoint:
    try:
        data = memoryview(path.read_bytes())
    except OSError as error:
        raise store_error("read", path, error) from error
    if bytes(data[:_BLOCK]) != _header(data[_BLOCK:]):
        raise StoreError(f"{path} is damaged: its content does not match its checksum")
    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            arrays: dict[str, NDArray[Any]] = {}

            def collect(name: str, item: h5py.Group | h5py.Dataset) -> None:
                if isinstance(item, h5py.Dataset):
                    arrays[name] = np.asarray(item[()])

            file["arrays"].visititems(collect)
            return Checkpoint(
                int(file.attrs["epoch"]), arrays, json.loads(file.attrs["attributes"]), path, warnings
            )
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise StoreError(f"{path} cannot be read by this HDF5 library: {error}") from error


def _header(content: memoryview) -> bytes:
    """The user block that belongs to `content`."""
    return f"dsmsim checkpoint 1\nsha256 {hashlib.sha256(content).hexdigest()}\n".encode().ljust(
        _BLOCK, b"\0"
    )


def _epoch(path: Path) -> int:
    match = _NAME.fullmatch(path.name)
    assert match is not None
    return int(match[1])


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"a checkpoint's attributes are plain values, not {type(value).__name__}")
