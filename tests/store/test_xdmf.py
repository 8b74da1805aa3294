"""results.xdmf names arrays that are there, in their shapes, and ParaView's reader finds their numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import h5py
import numpy as np
import pytest
from example_results import everything
from numpy.typing import NDArray

from dsmsim.store import write_results

SURFACES = ["density over x and time", "density over y and time", "density over z and time"]
SURFACES += ["momentum over p and time", "distributions over distance and time"]
SERIES = ["correlations over x and x_prime", "shots samples", "velocity_fields samples"]


def example(path: Path, dimensions: int = 3) -> dict[str, dict[str, NDArray[Any]]]:
    """Results of every kind, in a file."""
    results = everything()
    for group in ("shots", "velocity_fields", "trajectories"):
        for name, array in results[group].items():
            if array.shape[-1] == 3 and (array.ndim == 4 or name == "axis"):
                results[group][name] = array[..., :dimensions]
    results["density"]["density"] = results["density"]["density"].astype(np.float32)
    results["correlations"]["x_prime"] = 2.0 * results["correlations"]["x"]
    write_results(path, results)
    return results


def test_every_array_it_names_is_there_in_its_shape(tmp_path: Path) -> None:
    path = tmp_path / "results.h5"
    example(path)
    items = list(ElementTree.parse(path.with_suffix(".xdmf")).iter("DataItem"))
    arrays = [item for item in items if item.get("Format") == "HDF"]
    assert len(arrays) > 20
    with h5py.File(path) as file:
        for item in arrays:
            name, place = str(item.text).split(":")
            assert name == path.name
            stored = file[place]
            assert item.get("Dimensions") == " ".join(map(str, stored.shape))
            assert item.get("NumberType") == {"f": "Float", "i": "Int"}[stored.dtype.kind]
            assert item.get("Precision") == str(stored.dtype.itemsize)


def test_it_offers_what_can_be_drawn(tmp_path: Path) -> None:
    path = tmp_path / "results.h5"
    example(path)
    grids = ElementTree.parse(path.with_suffix(".xdmf")).findall("Domain/Grid")
    names = [grid.get("Name") for grid in grids]
    assert set(SURFACES + SERIES) <= set(names)
    assert len(names) == len(set(names))
    series = grids[names.index("correlations over x and x_prime")]
    times = [float(str(time.get("Value"))) for time in series.iter("Time")]
    np.testing.assert_array_equal(times, everything()["correlations"]["time"])


def test_positions_along_a_line_are_no_points_in_space(tmp_path: Path) -> None:
    path = tmp_path / "results.h5"
    example(path, dimensions=1)
    assert "samples" not in path.with_suffix(".xdmf").read_text()


def test_without_anything_to_draw_there_is_no_file(tmp_path: Path) -> None:
    write_results(tmp_path / "results.h5", {"checks": everything()["checks"]})
    write_results(tmp_path / "moments.h5", {"observables": everything()["observables"]})
    assert not list(tmp_path.glob("*.xdmf"))


def loaded(reader: Any, time: float) -> dict[str, dict[str, NDArray[Any]]]:
    """Arrays at a time by the bounds of their grid, as ParaView has them."""
    from vtkmodules.util.numpy_support import vtk_to_numpy

    reader.UpdateTimeStep(time)
    blocks = reader.GetOutputDataObject(0).NewIterator()
    found: dict[str, dict[str, NDArray[Any]]] = {}
    while not blocks.IsDoneWithTraversal():
        grid = blocks.GetCurrentDataObject()
        data = grid.GetPointData()
        arrays = {
            data.GetArrayName(k): vtk_to_numpy(data.GetArray(k)) for k in range(data.GetNumberOfArrays())
        }
        if grid.GetClassName() == "vtkUnstructuredGrid":
            arrays["points"] = vtk_to_numpy(grid.GetPoints().GetData())
        else:
            arrays["right"] = vtk_to_numpy(grid.GetXCoordinates())
            arrays["up"] = vtk_to_numpy(grid.GetYCoordinates())
        found["+".join(sorted(arrays))] = arrays
        blocks.GoToNextItem()
    return found


@pytest.mark.parametrize("dimensions", [2, 3])
def test_paraviews_reader_finds_the_numbers(tmp_path: Path, dimensions: int) -> None:
    reading = pytest.importorskip("vtkmodules.vtkIOXdmf2")
    results = example(tmp_path / "results.h5", dimensions)
    reader = reading.vtkXdmfReader()
    reader.SetFileName(str(tmp_path / "results.xdmf"))
    reader.UpdateInformation()
    grids = list(loaded(reader, 0.5).values())

    def grid_with(name: str) -> dict[str, NDArray[Any]]:
        (found,) = (grid for grid in grids if name in grid)
        return found

    density = results["density"]
    surface = grid_with("density")
    np.testing.assert_array_equal(surface["density"].reshape(5, 8), density["density"])
    np.testing.assert_array_equal(surface["right"], density["x"])
    np.testing.assert_array_equal(surface["up"], density["time"])

    pairs, at = results["correlations"], 2  # of the five times the one at 0.5
    plane = grid_with("pair_density")
    np.testing.assert_array_equal(plane["pair_density"].reshape(8, 8), pairs["pair_density"][at])
    np.testing.assert_array_equal(plane["up"], pairs["x"])
    np.testing.assert_array_equal(plane["right"], pairs["x_prime"])

    fields = results["velocity_fields"]
    cloud = grid_with("current_velocity")
    for name, key in (("position", "points"), ("current_velocity", "current_velocity")):
        expected = np.zeros((8, 3))
        expected[:, :dimensions] = fields[name][at].reshape(8, dimensions)
        np.testing.assert_allclose(
            cloud[key], expected, rtol=1e-6
        )  # ParaView's points are of single precision
