"""results.h5 opens elsewhere, with names, dimensions and units: netCDF4-python, xarray through it, h5py."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from example_results import ATTRIBUTES, everything

from dsmsim.store import schema, write_results

GROUPS = [group for group in everything() if not schema.is_model(group)]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("readers") / "results.h5"
    write_results(path, everything(), ATTRIBUTES)
    return path


def units_of(group: str, name: str) -> str:
    """What a dataset of the example has for units."""
    return "length^2" if name.startswith("breathing") else schema.variable(group, name).units


def test_netcdf4_reads_all_of_it(file: Path) -> None:
    netcdf = pytest.importorskip("netCDF4")
    results = everything()
    with netcdf.Dataset(file) as opened:
        assert opened.Conventions == "CF-1.11"
        assert opened["observables"].samples == ATTRIBUTES["observables"]["samples"]
        for group in GROUPS:
            assert set(opened[group].variables) == set(results[group])
            for name, array in results[group].items():
                variable = opened[group][name]
                assert variable.dimensions == schema.variable(group, name).dims
                assert variable.units == units_of(group, name)
                assert variable.long_name
                np.testing.assert_array_equal(variable[...], array)
        weight = opened["model/u/blocks/0/weight"]
        np.testing.assert_array_equal(weight[...], results["model/u"]["blocks/0/weight"])


@pytest.mark.parametrize("group", GROUPS)
def test_xarray_reads_every_group_through_netcdf4(file: Path, group: str) -> None:
    pytest.importorskip("netCDF4")
    xarray = pytest.importorskip("xarray")
    with xarray.open_dataset(file, group=group, engine="netcdf4") as dataset:
        for name, array in everything()[group].items():
            assert dataset[name].dims == schema.variable(group, name).dims
            assert dataset[name].attrs["units"] == units_of(group, name)
            np.testing.assert_array_equal(dataset[name], array)


def test_h5py_reads_dimensions_and_units(file: Path) -> None:
    with h5py.File(file) as opened:
        for group in GROUPS:
            for name in everything()[group]:
                dataset = opened[group][name]
                dims = schema.variable(group, name).dims
                assert dataset.attrs["units"] == units_of(group, name)
                assert dataset.attrs["long_name"]
                if dims != (name,):
                    assert [dataset.dims[axis][0].name for axis in range(dataset.ndim)] == [
                        f"/{group}/{dim}" for dim in dims
                    ]
