"""results.h5: plain HDF5 shaped like netCDF-4 with CF attributes, so that it opens labelled without dsmsim.

    xarray.open_dataset("results.h5", group="density", engine="h5netcdf")

Every group carries its own dimension scales, so a group opens by itself; names, dimensions and units are
those of `schema`. A file is always written anew and moved into place: whoever reads it finds the earlier one
or the later one, complete. An XDMF file beside it shows ParaView what it can draw (`xdmf`).

The version on the file counts changes of the layout. Version 2 added groups and variables and changed none,
so a file of version 1 is read as it is; one of a later version is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from dsmsim.errors import StoreError
from dsmsim.store import schema
from dsmsim.store.files import hdf5_image, open_hdf5, write_atomically
from dsmsim.store.xdmf import write_xdmf

Results: TypeAlias = dict[str, dict[str, NDArray[Any]]]
Attributes: TypeAlias = dict[str, dict[str, Any]]

_ONLY_A_DIMENSION = "This is a netCDF dimension but not a netCDF variable."
_LABELS = ("units", "long_name")
_RESERVED = ("Conventions", "dsmsim_schema_version")


class StoredResults(NamedTuple):
    """What a results.h5 holds.

    Attributes:
        results: arrays by group and name.
        attributes: by group, "" the file itself; also by "user/NAME" what says more of that array.
        version: of the layout that it was written in.
    """

    results: Results
    attributes: Attributes
    version: int = schema.SCHEMA_VERSION


def write_results(
    path: str | Path,
    results: Mapping[str, Mapping[str, ArrayLike]],
    attributes: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Write a results.h5, replacing an earlier one in a single step, and its XDMF file.

    Args:
        path: the file; its directory must exist.
        results: arrays by group and name, with the dimensions of `schema`; `model/NAME` takes any names,
            nested by "/".
        attributes: by group (also `provenance`, groups inside `model/NAME`, and "" for the file): text,
            numbers, truth values, and lists of text or of numbers. By "user/NAME" the `units` and the
            `long_name` of that array.

    Raises:
        StoreError: a file cannot be written; of results.h5 the earlier one is then untouched.
        ValueError: a group, a name, a shape or a type does not fit the catalogue (a programmer's mistake).
    """

    def fill(file: h5py.File) -> None:
        file.attrs["Conventions"] = schema.CONVENTIONS
        file.attrs["dsmsim_schema_version"] = schema.SCHEMA_VERSION
        for group, arrays in results.items():
            if schema.is_model(group):
                _write_model(file.require_group(group), arrays)
            else:
                write_group(file.require_group(group), group, arrays)
        for group, values in (attributes or {}).items():
            if _is_of_an_array(group):
                _relabel(file, group, values)
            else:
                _check_attribute_group(group)
                _write_attributes(file.require_group(group or "/"), values)

    write_atomically(Path(path), hdf5_image(fill))
    write_xdmf(Path(path), results)


def read_results(path: str | Path) -> StoredResults:
    """Read a whole results.h5: the same arrays and attributes as were written (truth values as 0 and 1).

    Raises:
        StoreError: the file is missing, damaged, not of dsmsim, or of a later version.
    """
    with open_hdf5(Path(path)) as file:
        version = file.attrs.get("dsmsim_schema_version")
        if version is None:
            raise StoreError(f"{path} is an HDF5 file, but not results of dsmsim")
        if version > schema.SCHEMA_VERSION:
            raise StoreError(
                f"{path} was written by a later dsmsim (schema {version}): update dsmsim to read it"
            )
        stored = StoredResults({}, {}, int(version))
        _keep_attributes(stored, "", file)
        for name, group in file.items():
            if name in ("errors", "model"):
                for child in group:
                    _read_group(stored, f"{name}/{child}", group[child])
            else:
                _read_group(stored, name, group)
    return stored


def update_results(
    path: str | Path,
    results: Mapping[str, Mapping[str, ArrayLike]],
    attributes: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Replace or add groups of a results.h5; the others stay.

    A group in `results` is replaced as a whole, its attributes included. Attributes of other groups are added
    to those there.

    Raises:
        StoreError, ValueError: as `read_results` and `write_results`.
    """
    old = read_results(path)
    merged: dict[str, Mapping[str, ArrayLike]] = {**old.results, **results}
    kept: Attributes = {
        group: values
        for group, values in old.attributes.items()
        if not any(group == new or group.startswith(f"{new}/") for new in results)
    }
    for group, values in (attributes or {}).items():
        kept.setdefault(group, {}).update(values)
    write_results(path, merged, kept)


def write_group(group: h5py.Group, path: str, arrays: Mapping[str, ArrayLike]) -> None:
    """Fill one group of a file with arrays of the catalogue, labelled by dimension scales.

    Raises:
        ValueError: as `write_results`.
    """
    schema.variables_of(path)  # refuses an unknown group also when it is empty
    entries = {name: schema.variable(path, name) for name in arrays}
    sizes: dict[str, int] = {}
    for name, entry in entries.items():
        data = _plain_array(f"{path}/{name}", arrays[name], entry)
        for dim, length in zip(entry.dims, data.shape, strict=True):
            if sizes.setdefault(dim, length) != length:
                raise ValueError(
                    f"{path}/{name} has {length} along {dim!r}, other variables have {sizes[dim]}"
                )
        dataset = group.create_dataset(
            name, data=data, dtype=h5py.string_dtype() if data.dtype.kind == "O" else None
        )
        dataset.attrs["units"] = entry.units
        dataset.attrs["long_name"] = entry.long_name
    for dim, length in sizes.items():
        if dim in entries:
            group[dim].make_scale(dim)
        else:
            scale = group.create_dataset(dim, data=np.zeros(length, dtype=np.float32))
            scale.make_scale(f"{_ONLY_A_DIMENSION}{length:10d}")
    for name, entry in entries.items():
        for position, dim in enumerate(entry.dims):
            if name != dim:
                group[name].dims[position].attach_scale(group[dim])


def _plain_array(where: str, value: ArrayLike, entry: schema.Variable) -> NDArray[Any]:
    """`value` as an array that fits `entry`, text as objects for h5py."""
    data = np.asarray(value)
    if data.ndim != len(entry.dims):
        raise ValueError(f"{where} has shape {data.shape}, the catalogue says {entry.dims}")
    if entry.kind == "text":
        if data.dtype.kind != "U" and not all(isinstance(text, str) for text in data.flat):
            raise ValueError(f"{where} must hold text, not {data.dtype}")
        return data.astype(object)
    if data.dtype.kind not in ("biu" if entry.kind == "int" else "biuf"):
        raise ValueError(f"{where} must hold {entry.kind} numbers, not {data.dtype}")
    # netCDF has no truth values.
    return data.astype(np.int8) if data.dtype.kind == "b" else data


def _write_model(group: h5py.Group, arrays: Mapping[str, ArrayLike]) -> None:
    for name, value in arrays.items():
        data = np.asarray(value)
        if data.dtype.kind not in "biuf":
            raise ValueError(f"{group.name}/{name} must hold real numbers, not {data.dtype}")
        group.create_dataset(name, data=data.astype(np.int8) if data.dtype.kind == "b" else data)


def _check_attribute_group(group: str) -> None:
    if group and not schema.is_model(group):
        schema.variables_of(group)


def _is_of_an_array(group: str) -> bool:
    """Whether "user/NAME" is meant, whose units and name are the user's own."""
    parent, _, name = group.partition("/")
    return bool(name) and schema.is_open(parent)


def _relabel(file: h5py.File, place: str, values: Mapping[str, Any]) -> None:
    """Give a user's array the units and the name that it has."""
    if place not in file or not set(values) <= set(_LABELS):
        raise ValueError(f"{place} must be an array of the file, with no other attributes than {_LABELS}")
    file[place].attrs.update(values)
    error = file.get(f"{place}_stderr")
    if error is not None:
        for name, value in values.items():
            error.attrs[name] = f"standard error of {value}" if name == "long_name" else value


def _write_attributes(group: h5py.Group, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        if group.name == "/" and name in _RESERVED:
            raise ValueError(f"the attribute {name!r} of the file is written by the store itself")
        data = np.asarray(value)
        if data.dtype.kind == "U":
            group.attrs[name] = str(value) if data.ndim == 0 else data.astype(object)
        elif data.dtype.kind in "biuf":
            group.attrs[name] = data.astype(np.int8) if data.dtype.kind == "b" else data
        else:
            raise ValueError(
                f"attribute {group.name}/{name} must be text, numbers or a list of them, not {value!r}"
            )


def _read_group(stored: StoredResults, path: str, group: h5py.Group) -> None:
    """Collect one group of the catalogue; a model's nested groups become names with slashes."""
    arrays = stored.results.setdefault(path, {})

    def collect(name: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Group):
            _keep_attributes(stored, f"{path}/{name}", item)
        elif not _is_only_a_dimension(item):
            text = h5py.check_string_dtype(item.dtype) is not None
            arrays[name] = np.asarray(item.asstr()[()], dtype=str) if text else np.asarray(item[()])
            if schema.is_open(path) and not name.endswith("_stderr"):
                _keep_labels(stored, f"{path}/{name}", item, schema.variable(path, name))

    group.visititems(collect)
    _keep_attributes(stored, path, group)
    if not arrays:
        del stored.results[path]


def _keep_labels(stored: StoredResults, path: str, dataset: h5py.Dataset, entry: schema.Variable) -> None:
    """Keep the units and the name of an array where they are the user's own."""
    values = {label: str(dataset.attrs.get(label, getattr(entry, label))) for label in _LABELS}
    own = {label: value for label, value in values.items() if value != getattr(entry, label)}
    if own:
        stored.attributes[path] = own


def _is_only_a_dimension(dataset: h5py.Dataset) -> bool:
    name = dataset.attrs.get("NAME", b"")
    text = name.decode() if isinstance(name, bytes) else str(name)
    return text.startswith(_ONLY_A_DIMENSION)


def _keep_attributes(stored: StoredResults, path: str, group: h5py.Group) -> None:
    values = {name: _plain_value(value) for name, value in group.attrs.items()}
    if not path:
        values = {name: value for name, value in values.items() if name not in _RESERVED}
    if values:
        stored.attributes[path] = values


def _plain_value(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else value
