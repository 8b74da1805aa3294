"""`dsmsim.open`: results and trajectories as labelled arrays of xarray.

    tree = dsmsim.open("runs/demo")
    tree["density/density"].sel(time=1.0, method="nearest").plot()
    tree["references/exact/correlations/density_matrix"]        # complex, its file has _re and _im

The groups of the file are the nodes of an `xarray.DataTree`, with the dimensions, units and descriptions of
the catalogue (`dsmsim.store.schema`). Two arrays NAME_re and NAME_im become one complex NAME. NAME_stderr
stands beside NAME; of a complex NAME it is complex too, the standard errors of its real and its imaginary
part.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from dsmsim.errors import ConfigError, StoreError
from dsmsim.store import (
    RunDirectory,
    StoredResults,
    Trajectories,
    open_samples,
    open_trajectories,
    read_results,
    schema,
)
from dsmsim.store.samples import SAMPLES
from dsmsim.store.shards import GROUP, MANIFEST

if TYPE_CHECKING:
    import xarray

_PART = re.compile(r"(?P<name>.+)_re(?P<stderr>(_stderr)?)")


def open_results(path: str | Path) -> xarray.DataTree:
    """Results as labelled arrays.

    Args:
        path: the directory of a run: its results, those of its references as `references/NAME/...`, and the
            trajectories that it kept; a results file, for what is in it; or a directory of trajectories
            or samples with a manifest.json.

    Returns:
        The groups as nodes, their attributes with them. Networks (`model/...`) are left out. Trajectories
        and samples of one file, or of `dsmsim sample`, are read when they are used; the sizes of their files
        are compared with the manifest, not the checksums. Everything else is in memory, so that the files
        may be replaced meanwhile.

    Raises:
        ConfigError: xarray is not installed, or is too old.
        StoreError: nothing of dsmsim is there, or it is damaged, or of a later version.
    """
    tree = _datatree()
    place = Path(path)
    if place.name == MANIFEST:
        place = place.parent
    if not place.is_dir():
        return tree.from_dict(dict(_datasets(read_results(place))), name=place.stem)
    if (place / MANIFEST).is_file():
        return tree.from_dict({GROUP: _positions(open_samples(place), {})}, name=place.name)
    run = RunDirectory(place)
    if not run.results.is_file():
        unfinished = "the run is not finished: continue it with `dsmsim resume`"
        reason = unfinished if run.resolved.is_file() else "name the directory that `dsmsim run` wrote"
        raise StoreError(f"{place} has no results.h5: {reason}")
    stored = read_results(run.results)
    found = dict(_datasets(stored))
    about = stored.attributes.get(GROUP, {})
    if "manifest" in about:
        found[GROUP] = _positions(open_trajectories(place), about)
    for file in sorted(run.references.glob(f"*/{run.results.name}")):
        found |= _datasets(read_results(file), f"references/{file.parent.name}/")
    return tree.from_dict(found, name=place.resolve().name)


def _datatree() -> type[xarray.DataTree]:
    try:
        from xarray import DataTree
    except ImportError as error:
        raise ConfigError(
            "dsmsim.open needs xarray 2024.10 or later: pip install 'dsmsim[xarray]'; without it, "
            "dsmsim.store.read_results gives plain numpy arrays"
        ) from error
    return DataTree


def _datasets(stored: StoredResults, prefix: str = "") -> Iterator[tuple[str, xarray.Dataset]]:
    """The groups of a file by their place in the tree, the file's own attributes at its root."""
    import xarray

    about = {"dsmsim_schema_version": stored.version, **stored.attributes.get("", {})}
    title = stored.attributes.get("provenance", {}).get("title")
    yield prefix or "/", xarray.Dataset(attrs={"title": title, **about} if title else about)
    for group in dict.fromkeys([*stored.results, *stored.attributes]):
        # attributes of one array ("user/NAME") are with the array
        of_an_array = group.partition("/")[0] in stored.results and group not in stored.results
        if group and not schema.is_model(group) and not of_an_array:
            yield prefix + group, _dataset(group, stored)


def _dataset(group: str, stored: StoredResults) -> xarray.Dataset:
    import xarray

    data: dict[str, xarray.Variable] = {}
    for name, values in stored.results.get(group, {}).items():
        dims, labels = _labels(group, name, values)
        own = stored.attributes.get(f"{group}/{name}", {})  # of a user's array
        data[name] = xarray.Variable(dims, values, {**labels, **own})
    return xarray.Dataset(_joined(data), attrs=stored.attributes.get(group, {}))


def _labels(group: str, name: str, values: NDArray[Any]) -> tuple[tuple[str, ...], dict[str, str]]:
    """Dimensions and attributes of one array, as far as the catalogue knows it."""
    try:
        entry = schema.variable(group, name)
    except ValueError:
        return tuple(f"{name}_{axis}" for axis in range(values.ndim)), {}
    return entry.dims, {"units": entry.units, "long_name": entry.long_name}


def _joined(data: Mapping[str, xarray.Variable]) -> dict[str, xarray.Variable]:
    """The variables, NAME_re and NAME_im as one complex NAME."""
    found = dict(data)
    for part in filter(None, map(_PART.fullmatch, data)):
        other = f"{part['name']}_im{part['stderr']}"
        if other in data:
            real, imaginary = found.pop(part.string), found.pop(other)
            whole = real.copy(data=real.values + 1j * imaginary.values)
            parts = ", real and imaginary part" if part["stderr"] else ""
            long_name = str(real.attrs.get("long_name", part["name"]))
            whole.attrs["long_name"] = long_name.removesuffix(", real part") + parts
            found[part["name"] + part["stderr"]] = whole
    return found


def _positions(found: Trajectories, about: Mapping[str, Any]) -> xarray.Dataset:
    """The positions of all files; those of a single one, or of one that refers to all, are not yet read."""
    import xarray

    if importlib.util.find_spec("h5netcdf") is None:
        raise ConfigError("trajectories are opened by h5netcdf: pip install 'dsmsim[xarray]'")
    together = found.directory / SAMPLES
    files = [together] if together.is_file() else [found.directory / shard.file for shard in found.shards]
    parts = [xarray.open_dataset(file, group=GROUP, engine="h5netcdf") for file in files]
    whole = parts[0] if len(parts) == 1 else xarray.concat(parts, "trajectory")
    return whole.assign_attrs(about)
