"""measurement.h5: columns of numbers or words, each with its unit, and a few attributes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray


def write_columns(
    path: Path, columns: Mapping[str, ArrayLike], attributes: Mapping[str, Any], units: Mapping[str, str]
) -> None:
    """Write a file in one go: under another name first, so that no half of one is ever taken for it.

    Args:
        columns: arrays of any shape; words as lists of str.
        attributes: of the whole file: versions, CPU seconds, settings.
        units: by name of the column.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with h5py.File(partial, "w") as file:
        for name, values in columns.items():
            array = np.asarray(values)
            file[name] = array.astype(h5py.string_dtype()) if array.dtype.kind == "U" else array
            file[name].attrs["units"] = units.get(name, "")
        file.attrs.update(attributes)
    os.replace(partial, path)


def read_columns(path: Path) -> dict[str, NDArray[Any]]:
    """All columns of a file."""
    with h5py.File(path) as file:
        return {
            name: dataset.asstr()[()] if h5py.check_string_dtype(dataset.dtype) else dataset[()]
            for name, dataset in file.items()
        }


def read_attributes(path: Path) -> dict[str, Any]:
    """The attributes of a file."""
    with h5py.File(path) as file:
        return dict(file.attrs)
