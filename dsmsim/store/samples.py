"""Samples that were drawn from a finished run, in a directory of their own.

    part-0000.h5, ...   consecutive samples, laid out like a group "trajectories" of results.h5
    samples.h5          all parts as one, by reference to them (HDF5 virtual datasets)
    manifest.json       what was drawn from what, and the samples, size and SHA-256 of every part

Which samples a part holds does not depend on the ranks, and a part has its name only once it is complete and
on the disk. So the parts that a stopped drawing leaves are used by the same drawing begun again, and parts
are the same to the last byte on whatever ranks they were drawn. Without dsmsim all samples open as one:

    xarray.open_dataset("samples.h5", group="trajectories", engine="h5netcdf")

Shapes: T times, B samples, N particles, D axes.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from dsmsim.errors import ConfigError, StoreError
from dsmsim.store import schema
from dsmsim.store.files import hdf5_image, open_hdf5, store_error, write_atomically
from dsmsim.store.results import write_group
from dsmsim.store.rundir import RunDirectory
from dsmsim.store.shards import GROUP, MANIFEST, Shard, ShardWriter, Trajectories, described

SAMPLES = "samples.h5"
KEY = "drawing"  # attribute of a part: what was asked for, in a few digits
_PARTS = "part-*.h5"
_TEMPORARY = re.compile(r"\.(part-\d+\.h5|samples\.h5|manifest\.json)\.\d+\.tmp")


class SampleDirectory:
    """The place of one drawing; nothing is created or read by naming it.

    Args:
        path: the directory.
        key: what is drawn, in a few digits: parts with another one belong to something else.
    """

    def __init__(self, path: str | Path, key: str) -> None:
        self.path, self.key = Path(path), key

    @property
    def samples(self) -> Path:
        """The file that shows all parts as one."""
        return self.path / SAMPLES

    @property
    def manifest(self) -> Path:
        """The manifest, the last file that is written."""
        return self.path / MANIFEST

    def begin(self, overwrite: bool) -> list[Shard]:
        """Make room for the drawing, or take up what an earlier session of it has left.

        Args:
            overwrite: remove samples that are there. Only files that dsmsim writes are removed.

        Returns:
            The parts that are there, in order.

        Raises:
            ConfigError: the directory holds a run, or other samples and `overwrite` is false.
            StoreError: a file cannot be read or removed.
        """
        if RunDirectory(self.path).resolved.exists():
            raise ConfigError(f"--out {self.path}: this is the directory of a run; name another one")
        found = sorted(self.path.glob(_PARTS))
        others = {_key_of(file) for file in found} - {self.key} or (self.manifest.exists() and not found)
        if others and not overwrite:
            raise ConfigError(
                f"--out {self.path}: other samples are there, drawn from another run or with other options: "
                "replace them with --overwrite, or name another directory"
            )
        try:
            for file in self.path.glob(".*.tmp"):
                if _TEMPORARY.fullmatch(file.name):
                    file.unlink(missing_ok=True)
            for file in (self.samples, self.manifest, *found) if overwrite else ():
                file.unlink(missing_ok=True)
        except OSError as error:
            raise store_error("remove", file, error) from error
        return [] if overwrite else self._intact([_found(file) for file in found])

    def _intact(self, shards: list[Shard]) -> list[Shard]:
        """These parts, unless one of them is no longer what the manifest says."""
        if not self.manifest.exists():
            return shards
        written = {entry["file"]: entry["sha256"] for entry in _read_manifest(self.manifest)["shards"]}
        for shard in shards:
            if written.get(shard.file) != shard.sha256:
                raise StoreError(
                    f"{self.path / shard.file} is damaged, its checksum is not that in {self.manifest}: "
                    "remove it, and the same command draws these samples again"
                )
        return shards

    def part(
        self, number: int, coordinates: Mapping[str, NDArray[Any]], attributes: Mapping[str, Any]
    ) -> ShardWriter:
        """The writer of a part; arguments and errors as `ShardWriter`."""
        return ShardWriter(self.path, f"part-{number:04d}.h5", coordinates, {KEY: self.key, **attributes})

    def finish(self, shards: Sequence[Shard], about: Mapping[str, Any]) -> None:
        """Write samples.h5 and the manifest, once all parts are in place.

        Args:
            shards: of all parts, in order.
            about: what the manifest says of them, plain values: at least `time`, `particles`, `dimensions`.

        Raises:
            StoreError: they cannot be written.
        """
        count = sum(shard.count for shard in shards)
        manifest = {**about, KEY: self.key, "count": count, "shards": [asdict(shard) for shard in shards]}
        write_atomically(self.samples, hdf5_image(lambda file: _refer(file, shards, manifest)))
        write_atomically(self.manifest, (json.dumps(manifest, indent=1) + "\n").encode())


def _key_of(part: Path) -> str:
    with open_hdf5(part) as file:
        return str(file.attrs.get(KEY, ""))


def _found(part: Path) -> Shard:
    """What the manifest says of a part that an earlier session wrote."""
    with open_hdf5(part) as file:
        numbers = file[GROUP]["trajectory"]
        first, count = int(numbers[0]), len(numbers)
    try:
        with open(part, "rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        size = part.stat().st_size
    except OSError as error:
        raise store_error("read", part, error) from error
    return Shard(None, part.name, first, count, size, digest)


def _refer(file: h5py.File, shards: Sequence[Shard], manifest: Mapping[str, Any]) -> None:
    """Fill samples.h5: every array as long as all parts together, its content left where it is."""
    file.attrs["Conventions"] = schema.CONVENTIONS
    file.attrs["dsmsim_schema_version"] = schema.SCHEMA_VERSION
    file.attrs.update(
        {name: value for name, value in manifest.items() if isinstance(value, str | int | float)}
    )
    group = file.create_group(GROUP)
    own = {
        "time": np.asarray(manifest["time"]),
        "particle": np.arange(manifest["particles"]),
        "axis": np.arange(manifest["dimensions"]),
    }
    write_group(group, GROUP, own)
    sizes = {name: len(values) for name, values in own.items()} | {"trajectory": manifest["count"]}
    for name, number in (("trajectory", "i8"), ("position", "f8")):
        entry = schema.variable(GROUP, name)
        layout = h5py.VirtualLayout(tuple(sizes[dim] for dim in entry.dims), number)
        along = entry.dims.index("trajectory")
        for shard in shards:
            place = [slice(None)] * len(entry.dims)
            place[along] = slice(shard.first, shard.first + shard.count)
            shape = tuple(shard.count if dim == "trajectory" else sizes[dim] for dim in entry.dims)
            layout[tuple(place)] = h5py.VirtualSource(shard.file, f"{GROUP}/{name}", shape, number)
        # a part that is missing shows as no numbers at all
        filling = {"fillvalue": np.nan} if number == "f8" else {"fillvalue": -1}
        dataset = group.create_virtual_dataset(name, layout, **filling)
        dataset.attrs["units"], dataset.attrs["long_name"] = entry.units, entry.long_name
    group["trajectory"].make_scale("trajectory")
    for axis, dim in enumerate(schema.variable(GROUP, "position").dims):
        group["position"].dims[axis].attach_scale(group[dim])


def open_samples(directory: str | Path) -> Trajectories:
    """The samples that `dsmsim sample` wrote; no position is read yet.

    Raises:
        StoreError: there are none, the drawing is not complete, or a part is missing or cut.
    """
    path = Path(directory) / MANIFEST
    if not path.exists() and any(Path(directory).glob(_PARTS)):
        raise StoreError(f"{directory}: the drawing was stopped, the same `dsmsim sample` goes on with it")
    return described(Path(directory), _read_manifest(path))


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads(path.read_bytes())
    except OSError as error:
        raise store_error("read", path, error) from error
    except ValueError as error:
        raise StoreError(f"{path} is damaged: {error}; draw the samples again with --overwrite") from error
    return manifest
