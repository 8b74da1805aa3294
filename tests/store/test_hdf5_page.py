"""docs/hdf5.md describes every dataset and attribute that dsmsim writes, and its examples work as written."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import h5py
import pytest
from commands import call
from run_files import finished_run
from tiny import write_input

import dsmsim
from dsmsim.measure.build import BUILDERS
from dsmsim.store import describe, read_results, schema

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "hdf5.md").read_text(encoding="utf-8")
VERSION_1 = ROOT / "tests" / "data" / "version_1"
# what HDF5 and netCDF write for themselves
OF_LIBRARIES = {"CLASS", "NAME", "DIMENSION_LIST", "REFERENCE_LIST", "_Netcdf4Dimid", "_Netcdf4Coordinates"}
OF_TRAJECTORIES = "Files of trajectories and samples"
OF_LABELS = {"units", "long_name"}

Row = tuple[str, ...]


def sections() -> dict[str, tuple[dict[str, Row], set[str]]]:
    """Of every group that the page has: the rows of its datasets by name, and its attributes."""
    found = {}
    for part in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]:
        title, _, body = part.partition("\n")
        datasets: dict[str, Row] = {}
        attributes: set[str] = set()
        kind = ""
        for line in body.splitlines():
            cells = tuple(cell.strip(" `").replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1])
            if cells[:1] in (("dataset",), ("attribute",)):
                kind = cells[0]
            elif kind == "dataset" and len(cells) == 5:
                datasets[cells[0]] = cells[1:]
            elif kind == "attribute" and len(cells) == 2:
                attributes.add(cells[0])
        found[title.strip("`")] = (datasets, attributes)
    return found


def undocumented(path: Path) -> Iterator[str]:
    """What a results file holds that the page does not describe, or describes otherwise."""
    page = sections()
    methods = page["Attributes of other methods"][1] | page["observables"][1]

    def look(name: str, item: h5py.Group | h5py.Dataset) -> Iterator[str]:
        parent, _, rest = name.partition("/")
        group = f"{parent}/NAME" if parent in ("errors", "model") else parent
        if group not in page:
            yield name
            return
        datasets, attributes = page[group]
        if isinstance(item, h5py.Group):
            known = attributes | methods | (OF_LABELS if group == "user" else set())
            version = re.compile(r"(\w+_version|slurm_\w+)")  # the page names one of each and says "likewise"
            given = {key for key in item.attrs if not (group == "provenance" and version.fullmatch(key))}
            yield from (f"{name}: attribute {key}" for key in given - known)
        elif group != "model/NAME":
            dataset = rest.rpartition("/")[2]
            only_a_dimension = str(item.attrs.get("NAME", "")).startswith(("b'This", "This"))
            row = datasets.get(dataset) or datasets.get(dataset.removesuffix("_stderr"))
            row = row or (datasets.get("any name") if group == "user" else None)
            if not only_a_dimension and (row is None or not fits(row, item, dataset)):
                yield name
            yield from (f"{name}: attribute {key}" for key in set(item.attrs) - OF_LIBRARIES - OF_LABELS)

    with h5py.File(path) as file:
        of_file = page["The file"][1] | (set() if "provenance" in file else page[OF_TRAJECTORIES][1])
        yield from (f"attribute {key}" for key in set(file.attrs) - of_file)
        names: list[str] = []
        file.visit(names.append)
        for name in names:
            if name not in ("errors", "model"):
                yield from look(name, file[name])


def fits(row: Row, dataset: h5py.Dataset, name: str) -> bool:
    """Whether a dataset has the dimensions, the type and the units of its row."""
    dims, kind, units, _ = row
    own = [Path(scale[0].name).name for scale in dataset.dims if len(scale)]
    if not own and dataset.ndim:
        own = [name]
    type_of = {"f": "float", "i": "integer", "O": "text"}[dataset.dtype.kind]
    same_units = units == dataset.attrs["units"] or units == "mixed"
    return (", ".join(own) or "-") == dims and type_of == kind and same_units


def test_the_tables_are_those_of_the_catalogue() -> None:
    assert describe.renewed(PAGE) == PAGE, "run `python -m dsmsim.store.describe docs/hdf5.md`"
    assert set(describe.GROUPS) == set(schema.CATALOGUE)
    assert set(describe.ATTRIBUTES) - {"", "model/*"} <= set(schema.CATALOGUE)


def test_the_page_says_which_version_it_describes() -> None:
    assert f"this page describes version {schema.SCHEMA_VERSION}." in PAGE
    assert f"\n| {schema.SCHEMA_VERSION} | " in PAGE


def test_a_page_without_its_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="must hold the lines"):
        describe.renewed(PAGE.replace(describe.END, ""))


@pytest.mark.parametrize("file", ["results.h5", "march.h5", "references/relative_grid/results.h5"])
def test_an_earlier_version_is_described(file: str) -> None:
    assert list(undocumented(VERSION_1 / file)) == []


def test_what_a_run_writes_is_described(tmp_path: Path) -> None:
    changes = {
        "network.kind": "potential",
        "network.tensor": {"format": "tt", "rank": 2},
        "compare.with": ["closed_form"],
        "output.trajectories": 4,
        "output.observables": list(BUILDERS),
        "output.expressions": {"radius": "x1**2 + x2**2"},
        "output.precision": "float32",
    }
    run = finished_run(tmp_path, changes)
    assert list(undocumented(run / "results.h5")) == []
    held = read_results(run / "results.h5").results
    assert {"correlations", "momentum", "distributions", "shots", "user"} <= set(held)
    (shard,) = (run / "trajectories").glob("rank-*.h5")
    assert list(undocumented(shard)) == []
    outcome = call("sample", run, "-n", "200", "--times", "2", "--out", tmp_path / "samples")
    assert outcome.code == 0, outcome.err
    for file in ("part-0000.h5", "samples.h5"):
        assert list(undocumented(tmp_path / "samples" / file)) == []
    samples = dsmsim.open(tmp_path / "samples")["trajectories/position"]
    assert samples.sizes == {"time": 2, "trajectory": 200, "particle": 2, "axis": 1}
    assert samples.notnull().all()


@pytest.mark.parametrize("name", ["split_step", "crank_nicolson", "relative_grid", "fock", "tvmc", "pinn"])
def test_what_another_method_writes_is_described(tmp_path: Path, name: str) -> None:
    changes = {
        "system.interaction": {"kind": "gaussian", "g": 0.3, "s2": 0.1},
        "initial": {"kind": "trap_ground_state"},
        "time.end": 0.2,
        "baselines.tvmc": {"walkers": 400},
        "baselines.pinn": {"epochs": 4},
    }
    outcome = call("baseline", name, write_input(tmp_path / "input.toml", changes), "--out", tmp_path / "out")
    assert outcome.code == 0, outcome.err
    assert list(undocumented(tmp_path / "out" / "results.h5")) == []


def test_an_undescribed_dataset_is_found(tmp_path: Path) -> None:
    file = tmp_path / "results.h5"
    shutil.copy(VERSION_1 / "results.h5", file)
    with h5py.File(file, "r+") as opened:
        opened["density/entropy"] = [1.0]
        opened["density/entropy"].attrs["units"] = "1"
        opened["observables/energy"].attrs["units"] = "length"
        opened["checks"].attrs["colour"] = "green"
        opened["notes/a"] = 1.0
    expected = ["checks: attribute colour", "density/entropy", "notes", "notes/a", "observables/energy"]
    assert sorted(undocumented(file)) == expected


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a run in runs/demo, as the page has it."""
    place = tmp_path_factory.mktemp("page")
    shutil.copytree(VERSION_1, place / "runs" / "demo")
    references = place / "runs" / "demo" / "references"
    (references / "relative_grid").rename(references / "exact")
    return place


def blocks(language: str) -> list[str]:
    """The page's examples in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("number", range(len(blocks("python"))))
def test_the_examples_in_python_work(
    demo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    for module in ("xarray", "netCDF4", "matplotlib"):
        pytest.importorskip(module)
    monkeypatch.chdir(demo)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    code = blocks("python")[number]
    exec(compile(code, f"example {number}", "exec"), {})
    assert ("print(" in code) == bool(capsys.readouterr().out.strip())


COMMANDS = [line[2:] for block in blocks("console") for line in block.splitlines() if line.startswith("$ ")]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_work(demo: Path, command: str) -> None:
    if shutil.which(command.split()[0]) is None:
        pytest.skip(f"{command.split()[0]} is not installed")
    done = subprocess.run(command, shell=True, cwd=demo, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "energy" in done.stdout or "density" in done.stdout
