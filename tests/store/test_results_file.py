"""results.h5 comes back as it was written, opens labelled elsewhere, and is never half there."""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path

import h5py
import numpy as np
import pytest
from example_results import ATTRIBUTES, everything

from dsmsim.errors import StoreError
from dsmsim.store import read_results, schema, update_results, write_results

xarray = pytest.importorskip("xarray")


def assert_same(found: dict[str, dict[str, np.ndarray]], expected: dict[str, dict[str, np.ndarray]]) -> None:
    assert found.keys() == expected.keys()
    for group, arrays in expected.items():
        assert found[group].keys() == arrays.keys()
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[group][name], array, err_msg=f"{group}/{name}")
            assert found[group][name].dtype == array.dtype


def test_everything_comes_back(tmp_path: Path) -> None:
    write_results(tmp_path / "results.h5", everything(), ATTRIBUTES)
    stored = read_results(tmp_path / "results.h5")
    assert_same(stored.results, everything())
    assert stored.attributes == ATTRIBUTES
    assert stored.version == schema.SCHEMA_VERSION


def test_xarray_sees_names_coordinates_and_units(tmp_path: Path) -> None:
    path = tmp_path / "results.h5"
    results = everything()
    write_results(path, results, ATTRIBUTES)
    for group, arrays in results.items():
        if schema.is_model(group):
            continue
        with xarray.open_dataset(path, group=group, engine="h5netcdf") as dataset:
            assert set(dataset.variables) == set(arrays)
            for name, array in arrays.items():
                entry = schema.variable(group, name)
                found = dataset[name]
                assert found.dims == entry.dims
                if not name.startswith("breathing"):
                    assert found.attrs["units"] == entry.units
                    assert found.attrs["long_name"] == entry.long_name
                assert found.dtype.kind == array.dtype.kind  # "time" and "s" must not be taken for dates
                np.testing.assert_array_equal(found.values, array)
                assert all(dim in dataset.coords for dim in entry.dims)
    with xarray.open_dataset(path, engine="h5netcdf") as root:
        assert root.attrs["Conventions"] == "CF-1.11"
        assert root.attrs["dsmsim_schema_version"] == schema.SCHEMA_VERSION


def test_an_average_of_the_users_own_has_its_own_units(tmp_path: Path) -> None:
    path = tmp_path / "results.h5"
    write_results(path, everything(), ATTRIBUTES)
    update_results(path, {"checks": everything()["checks"]})
    with xarray.open_dataset(path, group="user", engine="h5netcdf") as user:
        found = {name: user[name].attrs for name in ("breathing", "breathing_stderr", "parity")}
    assert found == {
        "breathing": {"units": "length^2", "long_name": "mean squared radius"},
        "breathing_stderr": {"units": "length^2", "long_name": "standard error of mean squared radius"},
        "parity": {"units": "mixed", "long_name": "parity"},
    }


def test_dimension_without_coordinate_stays_without(tmp_path: Path) -> None:
    path = tmp_path / "results.h5"
    results = {"density": {"density": np.ones((5, 8))}}
    write_results(path, results)
    assert_same(read_results(path).results, results)
    with xarray.open_dataset(path, group="density", engine="h5netcdf") as dataset:
        assert dict(dataset.sizes) == {"time": 5, "x": 8}
        assert not dataset.coords


@pytest.mark.parametrize(
    ("results", "words"),
    [
        ({"obserables": {}}, "no group 'obserables'"),
        ({"errors": {}}, "no group 'errors'"),
        ({"density": {"rho": np.ones(3)}}, "no variable 'rho'"),
        ({"density": {"time_stderr": np.ones(3)}}, "no variable 'time_stderr'"),
        ({"density": {"density": np.ones(3)}}, r"shape \(3,\)"),
        ({"density": {"time": np.ones(3), "density": np.ones((4, 2))}}, "along 'time'"),
        ({"density": {"density": np.ones((4, 2)) * 1j}}, "float numbers"),
        ({"checks": {"check": np.arange(2)}}, "must hold text"),
        ({"training": {"epoch": np.ones(2)}}, "int numbers"),
        ({"model/u": {"a": np.array(["b"])}}, "real numbers"),
    ],
)
def test_what_does_not_fit_the_catalogue_is_refused(
    tmp_path: Path, results: dict[str, dict[str, np.ndarray]], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        write_results(tmp_path / "results.h5", results)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"nowhere": {"a": 1}}, "no group"),
        ({"density": {"a": None}}, "density/a"),
        ({"": {"Conventions": "mine"}}, "Conventions"),
        ({"user/breathing": {"units": "length^2"}}, "an array of the file"),
    ],
)
def test_attributes_that_do_not_fit_are_refused(
    tmp_path: Path, attributes: dict[str, dict[str, object]], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        write_results(tmp_path / "results.h5", {}, attributes)


def test_update_replaces_one_group_and_keeps_the_others(tmp_path: Path) -> None:
    path = tmp_path / "results.h5"
    write_results(path, everything(), ATTRIBUTES)
    changes = {"model/u": {"bias": np.ones(2)}, "errors/exact": {"E_m": np.array(0.5)}}
    update_results(path, changes, {"model/u": {"kind": "sorted"}, "provenance": {"seed": 3}})
    stored = read_results(path)
    assert_same(stored.results, everything() | changes)
    expected = {name: values for name, values in ATTRIBUTES.items() if name != "model/u/blocks/0"}
    expected["model/u"] = {"kind": "sorted"}
    expected["provenance"] = ATTRIBUTES["provenance"] | {"seed": 3}
    assert stored.attributes == expected


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_failed_write_leaves_the_earlier_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / "results.h5"
    write_results(path, everything(), ATTRIBUTES)
    before = path.read_bytes()

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, step, full)
    with pytest.raises(StoreError, match=rf"cannot write {path}.*No space left.*free some space"):
        write_results(path, {"density": {"x": np.arange(3.0)}})
    assert path.read_bytes() == before
    assert set(tmp_path.iterdir()) == {path, path.with_suffix(".xdmf")}


def test_write_beyond_the_file_size_limit_leaves_the_earlier_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "results.h5"
    write_results(path, {"density": {"x": np.arange(3.0)}})
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(StoreError, match="ulimit -f"):
            write_results(path, {"model/u": {"weight": np.zeros(50_000)}})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_missing_directory_is_explained(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="create it first"):
        write_results(tmp_path / "nowhere" / "results.h5", {})


def test_interrupted_write_leaves_no_temporary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_results(tmp_path / "results.h5", {})
    assert list(tmp_path.iterdir()) == []


def test_damaged_files_are_explained(tmp_path: Path) -> None:
    path = tmp_path / "results.h5"
    with pytest.raises(StoreError, match=r"cannot read .*No such file"):
        read_results(path)
    path.write_text("title = 'an input file'\n")
    with pytest.raises(StoreError, match="not an HDF5 file"):
        read_results(path)
    path.write_bytes(b"")
    with pytest.raises(StoreError, match=r"results\.h5 is"):
        read_results(path)
    write_results(path, everything())
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StoreError, match="is truncated"):
        read_results(path)


def test_foreign_and_later_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "results.h5"
    with h5py.File(path, "w") as file:
        file["data"] = 1
    with pytest.raises(StoreError, match="not results of dsmsim"):
        read_results(path)
    with h5py.File(path, "w") as file:
        file.attrs["dsmsim_schema_version"] = schema.SCHEMA_VERSION + 1
    with pytest.raises(StoreError, match="later dsmsim"):
        read_results(path)
