"""Trajectories in one file a rank: they come back as one, or an error names the file and the rank."""

from __future__ import annotations

import json
import os
import resource
import signal
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dsmsim.errors import StoreError
from dsmsim.store import (
    RunDirectory,
    ShardWriter,
    open_trajectories,
    read_trajectories,
    remove_shards,
    schema,
    write_manifest,
    write_results,
)

TIMES = np.array([0.0, 0.5, 2.0])
COUNTS = (5, 1, 4)  # trajectories of each rank
PARTICLES, DIMENSIONS = 2, 3
ABOUT = {"time": TIMES.tolist(), "particles": PARTICLES, "dimensions": DIMENSIONS, "physics_hash": "abc"}


def positions(seed: int = 1) -> np.ndarray:
    """(T, trajectories, N, D) of all ranks."""
    return np.random.default_rng(seed).normal(size=(len(TIMES), sum(COUNTS), PARTICLES, DIMENSIONS))


def writer(directory: Path, rank: int, first: int, count: int) -> ShardWriter:
    coordinates = {
        "time": TIMES,
        "trajectory": np.arange(first, first + count),
        "particle": np.arange(PARTICLES),
        "axis": np.arange(DIMENSIONS),
    }
    return ShardWriter(directory, rank, coordinates, {"rank": rank, "physics_hash": "abc"})


def write_run(path: Path, counts: tuple[int, ...] = COUNTS, seed: int = 1) -> Path:
    """A run with results and shards of as many ranks as there are counts."""
    path.mkdir(exist_ok=True)
    directory, everything = RunDirectory(path).trajectories, positions(seed)
    remove_shards(directory)
    shards, first = [], 0
    for rank, count in enumerate(counts):
        with writer(directory, rank, first, count) as shard:
            for index in reversed(range(len(TIMES))):
                # in two pieces, where there are two
                for places in np.array_split(np.arange(first, first + count), min(2, count)):
                    data = everything[index, places].reshape(len(places), -1)
                    shard.add(int(places[0]), index, data)
            shards.append(shard.finish())
            shard.publish()
        first += count
    about = write_manifest(directory, shards, ABOUT)
    write_results(RunDirectory(path).results, {}, {"trajectories": about})
    return path


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The directory of a run whose trajectories were written by three ranks."""
    return write_run(tmp_path / "run")


def test_what_ranks_write_comes_back_as_one(run: Path) -> None:
    found = read_trajectories(run)
    assert found.keys() == schema.variables_of("trajectories").keys()
    np.testing.assert_array_equal(found["position"], positions())
    np.testing.assert_array_equal(found["time"], TIMES)
    assert [len(found[name]) for name in ("trajectory", "particle", "axis")] == [10, 2, 3]
    assert not list(run.rglob("*.tmp"))


def test_chosen_times_of_one_file_after_the_other(run: Path) -> None:
    stored = open_trajectories(run)
    assert (stored.count, stored.particles, stored.dimensions) == (10, 2, 3)
    parts = list(stored.parts([2, 0]))
    assert [part.shape for part in parts] == [(2, count, 2, 3) for count in COUNTS]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), positions()[[2, 0]])
    np.testing.assert_array_equal(stored.positions([-1]), positions()[[2]])


def test_the_files_open_labelled_in_xarray(run: Path) -> None:
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("h5netcdf")
    files = sorted((run / "trajectories").glob("rank-*.h5"))
    with xarray.open_dataset(files[2], group="trajectories", engine="h5netcdf") as last:
        assert last["position"].dims == ("time", "trajectory", "particle", "axis")
        assert last["trajectory"].values.tolist() == [6, 7, 8, 9]
        for name, entry in schema.variables_of("trajectories").items():
            assert last[name].attrs["units"] == entry.units
        np.testing.assert_array_equal(last["position"], positions()[:, 6:])
    shards = [xarray.load_dataset(file, group="trajectories", engine="h5netcdf") for file in files]
    np.testing.assert_array_equal(xarray.combine_by_coords(shards)["position"], positions())


def test_the_same_trajectories_give_the_same_bytes(tmp_path: Path) -> None:
    one, two = (write_run(tmp_path / name) / "trajectories" for name in ("one", "two"))
    assert {p.name: p.read_bytes() for p in one.iterdir()} == {p.name: p.read_bytes() for p in two.iterdir()}


def damage(path: Path) -> None:
    """Flip one bit of the last position."""
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    """Lose the last position."""
    os.truncate(path, path.stat().st_size - 8)


def empty(path: Path) -> None:
    """Zeros of the right length, as some file systems leave them after a crash."""
    path.write_bytes(bytes(path.stat().st_size))


def replace_by_another(path: Path) -> None:
    """The file of the same rank and size from another evaluation of the same input."""
    other = write_run(path.parents[1] / "other", seed=2)
    path.write_bytes((other / "trajectories" / path.name).read_bytes())


@pytest.mark.parametrize("rank", [0, 2])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (Path.unlink, "is missing"),
        (cut, r"has \d+ bytes, but \d+ were written"),
        (damage, "checksum is wrong"),
        (empty, "checksum is wrong"),
        (replace_by_another, "belongs to another evaluation"),
    ],
)
def test_a_bad_file_is_an_error_that_names_it(
    change: Callable[[Path], None], words: str, rank: int, run: Path
) -> None:
    change(run / "trajectories" / f"rank-000{rank}.h5")
    with pytest.raises(StoreError, match=words) as caught:
        read_trajectories(run)
    assert f"rank-000{rank}.h5" in str(caught.value)
    assert f"of rank {rank})" in str(caught.value)
    assert "dsmsim resume" in str(caught.value)


def test_a_file_that_vanishes_after_opening_is_an_error(run: Path) -> None:
    stored = open_trajectories(run)
    (run / "trajectories" / "rank-0001.h5").unlink()
    with pytest.raises(StoreError, match=r"rank-0001\.h5"):
        stored.positions()


def test_a_manifest_of_other_results_is_an_error(run: Path, tmp_path: Path) -> None:
    manifest = run / "trajectories" / "manifest.json"
    content = manifest.read_text()
    manifest.write_text(content.replace('"count": 4', '"count": 3'))
    with pytest.raises(StoreError, match=r"manifest\.json is damaged or belongs to other results"):
        open_trajectories(run)
    manifest.unlink()
    with pytest.raises(StoreError, match=r"cannot read .*manifest\.json"):
        open_trajectories(run)


def test_results_without_trajectories_say_so(run: Path) -> None:
    write_results(run / "results.h5", {})
    with pytest.raises(StoreError, match=r"has no trajectories: set output\.trajectories"):
        open_trajectories(run)


def test_files_of_an_earlier_evaluation_on_more_ranks_are_removed(run: Path) -> None:
    (run / "trajectories" / "notes.txt").write_text("mine")
    write_run(run, counts=(7, 3))
    names = {path.name for path in (run / "trajectories").iterdir()}
    assert names == {"rank-0000.h5", "rank-0001.h5", "manifest.json", "notes.txt"}
    np.testing.assert_array_equal(read_trajectories(run)["position"], positions())
    manifest = json.loads((run / "trajectories" / "manifest.json").read_text())
    assert [(shard["rank"], shard["first"], shard["count"]) for shard in manifest["shards"]] == [
        (0, 0, 7),
        (1, 7, 3),
    ]


def test_no_trajectories_leave_no_file(tmp_path: Path) -> None:
    assert write_manifest(tmp_path / "trajectories", [], ABOUT) == {}
    assert list(tmp_path.iterdir()) == []


def test_a_file_with_a_gap_cannot_be_finished(tmp_path: Path) -> None:
    with writer(tmp_path, 0, 0, 3) as shard:
        for index in range(3):
            shard.add(0, index, np.ones((2, 6)))
        with pytest.raises(ValueError, match=r"3 positions of .*rank-0000\.h5 were never written"):
            shard.finish()
        with pytest.raises(ValueError, match="do not fit"):
            shard.add(2, 0, np.ones((2, 6)))
        with pytest.raises(ValueError, match="do not fit"):
            shard.add(0, 0, np.ones((1, 5)))
    assert list(tmp_path.iterdir()) == []


def test_an_evaluation_that_ends_early_changes_nothing(run: Path) -> None:
    with writer(run / "trajectories", 0, 0, 5) as shard:
        shard.add(0, 0, np.zeros((5, 6)))
        assert len(list(run.rglob("*.tmp"))) == 1
    assert not list(run.rglob("*.tmp"))
    np.testing.assert_array_equal(read_trajectories(run)["position"], positions())


def test_a_full_disk_is_found_before_the_work(run: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, limits[1]))
    try:
        with pytest.raises(StoreError, match=r"cannot write .*rank-0000\.h5.*limit on file sizes"):
            writer(run / "trajectories", 0, 0, 200)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert not list(run.rglob("*.tmp"))
    np.testing.assert_array_equal(read_trajectories(run)["position"], positions())


def test_memory_does_not_grow_with_the_trajectories(tmp_path: Path) -> None:
    """Neither that of the writer nor, time by time, that of the reader: 19 MB go through 3 MB."""
    count, times = 4000, 100
    coordinates = {
        "time": np.linspace(0.0, 1.0, times),
        "trajectory": np.arange(count),
        "particle": np.arange(PARTICLES),
        "axis": np.arange(DIMENSIONS),
    }
    slab = np.ones((count, PARTICLES * DIMENSIONS))
    tracemalloc.start()
    try:
        with ShardWriter(tmp_path / "trajectories", 0, coordinates, {}) as shard:
            for index in range(times):
                shard.add(0, index, slab)
            found = shard.finish()
            shard.publish()
        about = write_manifest(
            tmp_path / "trajectories", [found], ABOUT | {"time": coordinates["time"].tolist()}
        )
        write_results(tmp_path / "results.h5", {}, {"trajectories": about})
        stored = open_trajectories(tmp_path)
        for index in range(0, times, 10):
            assert stored.positions([index]).shape == (1, count, PARTICLES, DIMENSIONS)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.bytes > 19e6
    assert peak < 3e6
