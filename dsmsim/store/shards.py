"""Trajectories of a run: one file a rank and a manifest, so that no rank holds those of the others.

    trajectories/rank-0000.h5     consecutive trajectories, laid out like a group "trajectories" of results.h5
    trajectories/manifest.json    which file holds which trajectories, its size and its SHA-256

A rank writes its file piece by piece under another name. Once all are complete and on the disk they are moved
into place, the manifest comes next, and results.h5 with the SHA-256 of the manifest last. So whatever is read
back belongs to those results, and a file that is missing, cut, damaged or of another evaluation is an error.
Without dsmsim each file opens labelled, with the numbers of its trajectories, by which they can be combined:

    xarray.open_dataset("trajectories/rank-0000.h5", group="trajectories", engine="h5netcdf")

Shapes: T saved times, B trajectories, N particles, D axes.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from dsmsim.errors import StoreError
from dsmsim.store import schema
from dsmsim.store.files import flush_directory, hdf5_image, open_hdf5, store_error, write_atomically
from dsmsim.store.results import read_results, write_group
from dsmsim.store.rundir import RunDirectory

Array = NDArray[np.float64]

GROUP = "trajectories"
MANIFEST = "manifest.json"
_SHARDS = "rank-*.h5"
_REMEDY = "restore it from a copy, or remove it and let `dsmsim resume` (or `dsmsim sample`) make it again"


@dataclass(frozen=True)
class Shard:
    """One entry of the manifest.

    Attributes:
        rank: which rank wrote the file; None where files do not depend on the ranks.
        file: its name.
        first, count: it holds the trajectories `first` to `first + count - 1`.
        bytes, sha256: its size and checksum.
    """

    rank: int | None
    file: str
    first: int
    count: int
    bytes: int
    sha256: str


class ShardWriter:
    """Writes one rank's trajectories in pieces, in any order; leaves no file unless `publish` is called.

    Args:
        directory: made if it is not there.
        rank: of the writer, after which the file is named; or the name of a file that belongs to no rank.
        coordinates: arrays "time", "trajectory" (consecutive numbers, at least one), "particle" and "axis".
        attributes: of the file: text and numbers.

    Raises:
        StoreError: the file cannot be made, or the disk has no room for it.
    """

    def __init__(
        self,
        directory: Path,
        rank: int | str,
        coordinates: Mapping[str, NDArray[Any]],
        attributes: Mapping[str, Any],
    ) -> None:
        self.path = directory / (rank if isinstance(rank, str) else f"rank-{rank:04d}.h5")
        self._temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")
        self._rank = None if isinstance(rank, str) else rank
        self._first = int(coordinates["trajectory"][0])
        self._row = 8 * len(coordinates["particle"]) * len(coordinates["axis"])
        # what is still to come, by saved time and trajectory
        self._missing = np.ones((len(coordinates["time"]), len(coordinates["trajectory"])), dtype=bool)
        image, self._offset = _empty_file(coordinates, attributes)
        self._file: FileIO | None = None
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._file = open(self._temporary, "w+b", buffering=0)  # noqa: SIM115 (closed by __exit__)
            _write_at(self._file, image, 0)
            _reserve(self._file, self._offset, self._missing.size * self._row)
        except OSError as error:
            self._abandon()
            raise store_error("write", self.path, error) from error

    def add(self, first: int, index: int, positions: NDArray[Any]) -> None:
        """Write trajectories `first`, `first + 1`, ... at one saved time.

        Args:
            index: of the saved time.
            positions: (B, N * D), length.

        Raises:
            StoreError: they cannot be written.
        """
        assert self._file is not None, "the file is closed"
        data, place = np.ascontiguousarray(positions, dtype=np.float64), first - self._first
        count = self._missing.shape[1]
        if data[0].nbytes != self._row or not 0 <= place <= count - len(data):
            raise ValueError(f"{data.shape} from trajectory {first} on do not fit into {self.path}")
        try:
            _write_at(self._file, data.data.cast("B"), self._offset + (index * count + place) * self._row)
        except OSError as error:
            raise store_error("write", self.path, error) from error
        self._missing[index, place : place + len(data)] = False

    def finish(self) -> Shard:
        """Have the whole file on the disk, still under its temporary name; what the manifest says of it.

        Raises:
            StoreError: it cannot be written.
        """
        assert self._file is not None, "the file is closed"
        if self._missing.any():
            raise ValueError(f"{int(self._missing.sum())} positions of {self.path} were never written")
        try:
            os.fsync(self._file.fileno())
            self._file.seek(0)
            digest = hashlib.file_digest(self._file, "sha256").hexdigest()
            size = os.fstat(self._file.fileno()).st_size
        except OSError as error:
            raise store_error("write", self.path, error) from error
        return Shard(self._rank, self.path.name, self._first, self._missing.shape[1], size, digest)

    def publish(self) -> None:
        """Move the finished file into its place.

        Raises:
            StoreError: it cannot be moved.
        """
        try:
            os.replace(self._temporary, self.path)
            flush_directory(self.path.parent)
        except OSError as error:
            raise store_error("write", self.path, error) from error

    def _abandon(self) -> None:
        if self._file is not None:
            self._file.close()
        with contextlib.suppress(OSError):
            self._temporary.unlink()

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._abandon()


def _empty_file(
    coordinates: Mapping[str, NDArray[Any]], attributes: Mapping[str, Any]
) -> tuple[memoryview, int]:
    """The bytes of a shard without its positions, and the place in the file where they belong."""
    entry = schema.variable(GROUP, "position")
    offset = 0

    def fill(file: h5py.File) -> None:
        nonlocal offset
        file.attrs["Conventions"] = schema.CONVENTIONS
        file.attrs["dsmsim_schema_version"] = schema.SCHEMA_VERSION
        file.attrs.update(attributes)
        group = file.create_group(GROUP)
        write_group(group, GROUP, coordinates)
        position = group.create_dataset(
            "position", shape=[len(coordinates[dim]) for dim in entry.dims], dtype="f8"
        )
        position.attrs["units"], position.attrs["long_name"] = entry.units, entry.long_name
        for axis, dim in enumerate(entry.dims):
            position.dims[axis].attach_scale(group[dim])
        # The first number that is written has HDF5 reserve room for all, behind everything else.
        position[0, 0, 0, 0] = 0.0
        offset = int(position.id.get_offset())

    return hdf5_image(fill), offset


def _reserve(file: FileIO, offset: int, size: int) -> None:
    """Find out that the disk is full before the work and not after it, where the file system can tell."""
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), offset, size)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise


def _write_at(file: FileIO, data: memoryview, offset: int) -> None:
    while data:
        written = os.pwrite(file.fileno(), data, offset)
        data, offset = data[written:], offset + written


def write_manifest(directory: Path, shards: Sequence[Shard], about: Mapping[str, Any]) -> dict[str, Any]:
    """Write the manifest of shards that are in place.

    Args:
        shards: of all ranks that have one, in order; with none of them nothing is written.
        about: what else the manifest says, plain values.

    Returns:
        Attributes of the group "trajectories" of results.h5, by which `open_trajectories` finds the shards.

    Raises:
        StoreError: it cannot be written.
    """
    if not shards:
        return {}
    count = sum(shard.count for shard in shards)
    manifest = {**about, "count": count, "shards": [asdict(shard) for shard in shards]}
    content = (json.dumps(manifest, indent=1) + "\n").encode()
    write_atomically(directory / MANIFEST, content)
    return {
        "count": count,
        "manifest": f"{directory.name}/{MANIFEST}",
        "manifest_sha256": hashlib.sha256(content).hexdigest(),
        "files": [f"{directory.name}/{shard.file}" for shard in shards],
    }


def remove_shards(directory: Path) -> None:
    """Remove the manifest and all shards, also those that an earlier evaluation on more ranks left.

    Raises:
        StoreError: one of them cannot be removed.
    """
    for path in [directory / MANIFEST, *sorted(directory.glob(_SHARDS))]:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise store_error("remove", path, error) from error


@dataclass(frozen=True)
class Trajectories:
    """The trajectories of a run, read when they are asked for; made by `open_trajectories`.

    Attributes:
        directory: where the shards are.
        times: (T,) saved times.
        count, particles, dimensions: number of trajectories, N and D.
        shards: the files, in the order of the trajectories.
    """

    directory: Path
    times: Array
    count: int
    particles: int
    dimensions: int
    shards: tuple[Shard, ...]
    _verified: set[str] = field(default_factory=set)

    def parts(self, times: Sequence[int] | None = None) -> Iterator[Array]:
        """The positions file by file, so that only one of them is in memory.

        Args:
            times: indices of saved times; absent: all.

        Yields:
            (times, B, N, D) positions, in order of the trajectories.

        Raises:
            StoreError: the content of a file is not what was written.
        """
        chosen = range(len(self.times)) if times is None else times
        for shard in self.shards:
            path = self.directory / shard.file
            self._verify(shard, path)
            with open_hdf5(path) as file:
                position = file[GROUP]["position"]
                found = np.empty((len(chosen), *position.shape[1:]))
                for k, index in enumerate(chosen):
                    found[k] = position[index]
            yield found

    def positions(self, times: Sequence[int] | None = None) -> Array:
        """(times, count, N, D) positions of all trajectories; arguments and errors as `parts`."""
        return np.concatenate(list(self.parts(times)), axis=1)

    def first(self, count: int) -> Array:
        """(T, at most count, N, D) positions of the first trajectories, without reading the others.

        Raises:
            StoreError: a file cannot be read. Checksums, which take a whole file, are not compared.
        """
        found: list[Array] = []
        for shard in self.shards:
            with open_hdf5(self.directory / shard.file) as file:
                found.append(file[GROUP]["position"][:, :count])
            count -= found[-1].shape[1]
            if count <= 0:
                break
        return np.concatenate(found, axis=1)

    def _verify(self, shard: Shard, path: Path) -> None:
        """Compare a file with its checksum, the first time that it is read."""
        if shard.file in self._verified:
            return
        try:
            with open(path, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise store_error("read", path, error) from error
        if digest != shard.sha256:
            raise _unfit(path, shard, "is damaged or belongs to another evaluation: its checksum is wrong")
        self._verified.add(shard.file)


def open_trajectories(run: str | Path) -> Trajectories:
    """The trajectories of a finished run; no position is read yet.

    Args:
        run: its directory.

    Raises:
        StoreError: the run kept none, or the manifest or a file is missing, cut or of another evaluation.
    """
    places = RunDirectory(run)
    about = read_results(places.results).attributes.get(GROUP, {})
    if "manifest_sha256" not in about:
        raise StoreError(
            f"{places.results} has no trajectories: set output.trajectories to how many are to be kept"
        )
    path = places.trajectories / MANIFEST
    try:
        content = path.read_bytes()
    except OSError as error:
        raise store_error("read", path, error) from error
    if hashlib.sha256(content).hexdigest() != about["manifest_sha256"]:
        raise StoreError(f"{path} is damaged or belongs to other results than {places.results}: {_REMEDY}")
    return described(places.trajectories, json.loads(content))


def described(directory: Path, manifest: Mapping[str, Any]) -> Trajectories:
    """The trajectories of a manifest whose files lie in `directory`.

    Raises:
        StoreError: a file is missing, or has another size than was written.
    """
    shards = tuple(Shard(**entry) for entry in manifest["shards"])
    for shard in shards:
        _require(directory / shard.file, shard)
    sizes = {name: manifest[name] for name in ("count", "particles", "dimensions")}
    return Trajectories(directory, np.asarray(manifest["time"]), shards=shards, **sizes)


def read_trajectories(run: str | Path) -> dict[str, NDArray[Any]]:
    """All trajectories of a finished run: the arrays of the group "trajectories" of `schema`.

    Raises:
        StoreError: as `open_trajectories`, or the content of a file is not what was written.
    """
    found = open_trajectories(run)
    return {
        "time": found.times,
        "trajectory": np.arange(found.count),
        "particle": np.arange(found.particles),
        "axis": np.arange(found.dimensions),
        "position": found.positions(),
    }


def _require(path: Path, shard: Shard) -> None:
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        raise _unfit(path, shard, "is missing") from None
    except OSError as error:
        raise store_error("read", path, error) from error
    if size != shard.bytes:
        raise _unfit(path, shard, f"has {size} bytes, but {shard.bytes} were written")


def _unfit(path: Path, shard: Shard, what: str) -> StoreError:
    held = f"trajectories {shard.first} to {shard.first + shard.count - 1}"
    if shard.rank is not None:
        held += f" of rank {shard.rank}"
    return StoreError(f"{path} ({held}) {what}; {_REMEDY}")
