"""A directory of samples: parts that open as one, and what else may lie in the way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from dsmsim.errors import ConfigError, StoreError
from dsmsim.store import SampleDirectory, Shard, open_samples, schema

TIMES = np.array([0.0, 0.5])
ABOUT = {"time": TIMES.tolist(), "particles": 3, "dimensions": 2, "nu": 0.0, "draws": "sobol"}
COUNTS = (4, 1, 3)


def positions() -> np.ndarray:
    """(T, samples, N, D) of all parts."""
    return np.random.default_rng(1).normal(size=(2, sum(COUNTS), 3, 2))


def write_part(place: SampleDirectory, number: int) -> Shard:
    first, count = sum(COUNTS[:number]), COUNTS[number]
    coordinates: dict[str, Any] = {
        "time": TIMES,
        "trajectory": np.arange(first, first + count),
        "particle": np.arange(3),
        "axis": np.arange(2),
    }
    with place.part(number, coordinates, {"nu": 0.0}) as writer:
        for index in range(2):
            writer.add(first, index, positions()[index, first : first + count].reshape(count, 6))
        shard = writer.finish()
        writer.publish()
    return shard


@pytest.fixture
def place(tmp_path: Path) -> SampleDirectory:
    """A complete directory of three parts."""
    made = SampleDirectory(tmp_path / "samples", "abc")
    assert made.begin(False) == []
    made.finish([write_part(made, number) for number in range(3)], ABOUT)
    return made


def test_parts_come_back_as_one(place: SampleDirectory) -> None:
    samples = open_samples(place.path)
    assert (samples.count, samples.particles, samples.dimensions) == (8, 3, 2)
    np.testing.assert_array_equal(samples.positions(), positions())
    np.testing.assert_array_equal(samples.positions([1]), positions()[1:])
    assert json.loads(place.manifest.read_text())["drawing"] == "abc"


@pytest.mark.parametrize("engine", ["h5netcdf", "netcdf4"])
def test_all_samples_open_labelled_in_xarray(engine: Any, place: SampleDirectory, tmp_path: Path) -> None:
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("h5netcdf" if engine == "h5netcdf" else "netCDF4")
    with xarray.open_dataset(place.samples, group="trajectories", engine=engine) as samples:
        assert samples["position"].dims == ("time", "trajectory", "particle", "axis")
        assert samples["trajectory"].values.tolist() == list(range(8))
        np.testing.assert_array_equal(samples["position"], positions())
        for name, entry in schema.variables_of("trajectories").items():
            assert samples[name].attrs["units"] == entry.units


def test_the_directory_can_be_moved(place: SampleDirectory, tmp_path: Path) -> None:
    moved = place.path.rename(tmp_path / "elsewhere")
    with h5py.File(moved / "samples.h5") as file:
        np.testing.assert_array_equal(file["trajectories/position"], positions())
        assert file.attrs["draws"] == "sobol"
    np.testing.assert_array_equal(open_samples(moved).positions(), positions())


def test_the_same_drawing_takes_up_what_is_there(place: SampleDirectory) -> None:
    place.manifest.unlink()
    (place.path / "part-0001.h5").unlink()
    left = place.path / ".part-0001.h5.4711.tmp"
    left.write_bytes(b"killed")
    found = place.begin(False)
    assert not left.exists()
    shards = sorted([*found, write_part(place, 1)], key=lambda shard: shard.first)
    place.finish(shards, ABOUT)
    np.testing.assert_array_equal(open_samples(place.path).positions(), positions())


def test_another_drawing_is_refused_or_replaces_it(place: SampleDirectory) -> None:
    mine = place.path / "part-list.txt"
    mine.write_text("mine")
    other = SampleDirectory(place.path, "other")
    with pytest.raises(ConfigError, match="--overwrite"):
        other.begin(False)
    np.testing.assert_array_equal(open_samples(place.path).positions(), positions())
    assert other.begin(True) == []
    assert [path.name for path in place.path.iterdir()] == ["part-list.txt"]


def test_a_run_is_no_place_for_samples(tmp_path: Path) -> None:
    (tmp_path / "resolved.toml").write_text("")
    for overwrite in (False, True):
        with pytest.raises(ConfigError, match="directory of a run"):
            SampleDirectory(tmp_path, "abc").begin(overwrite)


def test_trajectories_of_a_run_are_no_samples(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(ConfigError, match="other samples"):
        SampleDirectory(tmp_path, "abc").begin(False)


def test_a_missing_part_is_an_error_and_never_a_number(place: SampleDirectory) -> None:
    (place.path / "part-0000.h5").unlink()
    with pytest.raises(StoreError, match=r"part-0000.h5 \(trajectories 0 to 3\) is missing"):
        open_samples(place.path)
    with h5py.File(place.samples) as file:
        assert np.isnan(file["trajectories/position"][:, :4]).all()


def test_a_damaged_part(place: SampleDirectory) -> None:
    part = place.path / "part-0002.h5"
    content = bytearray(part.read_bytes())
    content[-3] ^= 1
    part.write_bytes(content)
    with pytest.raises(StoreError, match=r"part-0002\.h5.*checksum is wrong"):
        open_samples(place.path).positions()
    with pytest.raises(StoreError, match=r"part-0002\.h5 is damaged.*remove it"):
        place.begin(False)
    part.unlink()
    assert [shard.file for shard in place.begin(False)] == ["part-0000.h5", "part-0001.h5"]


def test_samples_that_are_not_complete(place: SampleDirectory) -> None:
    place.manifest.unlink()
    with pytest.raises(StoreError, match="the drawing was stopped"):
        open_samples(place.path)
    place.manifest.write_text("{")
    with pytest.raises(StoreError, match="is damaged"):
        open_samples(place.path)
