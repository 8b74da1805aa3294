"""`dsmsim.open`: runs, files and samples as labelled arrays."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from example_results import ATTRIBUTES, everything

import dsmsim
from dsmsim.errors import ConfigError, StoreError
from dsmsim.store import ShardWriter, read_trajectories, schema, update_results, write_manifest, write_results

xarray = pytest.importorskip("xarray")

RUN = Path(__file__).resolve().parents[1] / "data" / "version_1"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_results(tmp_path / "results.h5", everything(), ATTRIBUTES)
    return tmp_path / "results.h5"


def test_every_array_of_a_file_has_its_name_dimensions_and_units(file: Path) -> None:
    tree = dsmsim.open(file)
    for group, arrays in everything().items():
        if schema.is_model(group):
            continue
        for name, array in arrays.items():
            if name.endswith(("_re", "_im")):
                continue
            entry, found = schema.variable(group, name), tree[f"{group}/{name}"]
            assert found.dims == entry.dims
            np.testing.assert_array_equal(found.values, array)
            if not name.startswith("breathing"):
                assert found.attrs == {"units": entry.units, "long_name": entry.long_name}
    assert tree["user/breathing"].attrs == ATTRIBUTES["user/breathing"]
    assert tree["observables"].attrs == ATTRIBUTES["observables"]
    assert tree["provenance"].attrs == ATTRIBUTES["provenance"]
    assert tree.attrs == {"title": "two bosons", "dsmsim_schema_version": schema.SCHEMA_VERSION}
    assert "model" not in tree
    assert "user/breathing" not in [node.path.lstrip("/") for node in tree.subtree]


def test_complex_pairs_are_joined_with_their_errors(tmp_path: Path) -> None:
    results = {"correlations": everything()["correlations"]}
    pairs = results["correlations"]
    pairs |= {f"{name}_stderr": abs(pairs[name]) for name in ("g2", "g1_re", "g1_im", "natural_orbital_re")}
    write_results(tmp_path / "results.h5", results)
    found = dsmsim.open(tmp_path / "results.h5")["correlations"]
    np.testing.assert_array_equal(found["g1"], pairs["g1_re"] + 1j * pairs["g1_im"])
    np.testing.assert_array_equal(found["g1_stderr"], pairs["g1_re_stderr"] + 1j * pairs["g1_im_stderr"])
    np.testing.assert_array_equal(found["g2_stderr"], pairs["g2_stderr"])
    assert found["g1"].attrs == {"units": "1", "long_name": "first-order coherence g1"}
    assert found["g1_stderr"].attrs["long_name"].endswith("g1, real and imaginary part")
    assert found["natural_orbital"].dims == ("time", "orbital", "x")
    # an error of the real part alone stays what it is
    assert {"natural_orbital_re_stderr", "g1_stderr"} <= set(found.data_vars)
    assert not {"g1_re", "g1_im", "g1_re_stderr", "natural_orbital_re"} & set(found.data_vars)


def test_a_run_has_its_references_and_trajectories() -> None:
    tree = dsmsim.open(RUN)
    assert tree.name == "version_1"
    density, exact = tree["density/density"], tree["references/relative_grid/density/density"]
    distance = abs(density - exact.interp(x=density.x)).sum("x") * density.x.diff("x").mean()
    assert tree["errors/relative_grid/density_l1_max"] == pytest.approx(
        float(distance.max()), rel=0.25
    )  # cells are wide
    kept = read_trajectories(RUN)
    found = tree["trajectories/position"]
    np.testing.assert_array_equal(found, kept["position"])
    assert found.dims == ("time", "trajectory", "particle", "axis")
    assert tree["trajectories"].attrs["count"] == 3
    assert tree["march/theta"].dtype == complex


def test_trajectories_of_several_ranks_are_one_array(tmp_path: Path) -> None:
    directory, positions = tmp_path / "trajectories", np.random.default_rng(1).normal(size=(2, 5, 3, 1))
    times = np.array([0.0, 1.0])
    shards = []
    for rank, numbers in enumerate((range(3), range(3, 5))):
        coordinates = {"time": times, "trajectory": np.array(numbers)}
        coordinates |= {"particle": np.arange(3), "axis": np.arange(1)}
        with ShardWriter(directory, rank, coordinates, {}) as writer:
            for index in range(2):
                writer.add(numbers.start, index, positions[index, numbers].reshape(len(numbers), 3))
            shards.append(writer.finish())
            writer.publish()
    write_manifest(directory, shards, {"time": times.tolist(), "particles": 3, "dimensions": 1})
    for path in (directory, directory / "manifest.json"):
        found = dsmsim.open(path)["trajectories/position"]
        np.testing.assert_array_equal(found, positions)
        np.testing.assert_array_equal(found.trajectory, np.arange(5))
    (directory / "rank-0001.h5").write_bytes(b"short")
    with pytest.raises(StoreError, match=r"rank-0001\.h5.*has 5 bytes"):
        dsmsim.open(directory)


def test_a_file_may_be_replaced_while_it_is_open(file: Path) -> None:
    tree = dsmsim.open(file)
    update_results(file, {"density": {"x": np.arange(3.0)}})
    np.testing.assert_array_equal(tree["density/density"], everything()["density"]["density"])
    assert dict(dsmsim.open(file)["density"].sizes) == {"x": 3}


def test_arrays_that_others_added_do_not_stand_in_the_way(file: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(file, "r+") as opened:
        opened["density/mine"] = np.ones((2, 3))
        opened["notes/length"] = 1.5
    tree = dsmsim.open(file)
    assert tree["density/mine"].dims == ("mine_0", "mine_1")
    assert tree["notes/length"] == 1.5


def test_what_cannot_be_opened_says_why(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot read"):
        dsmsim.open(tmp_path / "nothing.h5")
    with pytest.raises(StoreError, match=r"no results\.h5: name the directory"):
        dsmsim.open(tmp_path)
    shutil.copy(RUN / "resolved.toml", tmp_path)
    with pytest.raises(StoreError, match="not finished: continue it with `dsmsim resume`"):
        dsmsim.open(tmp_path)
    (tmp_path / "results.h5").write_text("no")
    with pytest.raises(StoreError, match="not an HDF5 file"):
        dsmsim.open(tmp_path)


def test_without_xarray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(ConfigError, match=r"pip install 'dsmsim\[xarray\]'"):
        dsmsim.open(RUN)
