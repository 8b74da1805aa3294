"""Files of an earlier version are read by everything; those of a later one are refused by everything.

tests/data/version_1 is a run that version 1 of the layout wrote: a march, the network that learnt from it,
kept trajectories, and an exact reference of which a few points are kept.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from commands import call

from dsmsim.store import RunDirectory, read_results, read_trajectories, schema, update_results
from dsmsim.training.trained import trained_fields

VERSION_1 = Path(__file__).resolve().parents[1] / "data" / "version_1"
FILES = ["results.h5", "march.h5", "references/relative_grid/results.h5"]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The run, to work on."""
    return Path(shutil.copytree(VERSION_1, tmp_path / "run"))


@pytest.mark.parametrize("file", FILES)
def test_nothing_that_version_1_wrote_has_changed_its_meaning(file: str) -> None:
    """What is read as it is must still be what the catalogue says.

    If this fails the layout has changed: `read_results` must then convert what files of version 1 hold.
    """
    stored = read_results(VERSION_1 / file)
    assert stored.version == 1
    with h5py.File(VERSION_1 / file) as opened:
        for group, arrays in stored.results.items():
            for name in () if schema.is_model(group) else arrays:
                dataset, entry = opened[group][name], schema.variable(group, name)
                assert dataset.attrs["units"] == entry.units
                assert dataset.ndim == len(entry.dims)
                scales = [Path(scale[0].name).name for scale in dataset.dims if len(scale)]
                assert tuple(scales) == entry.dims or entry.dims == (name,)


# (u, v) at the three kept trajectories, t = 0.25, as the program that wrote the files had them
FIELDS = {
    "results.h5": [
        [[0.7074786, -0.1608335], [-0.7911382, 0.3385908], [0.0622223, -0.1444036]],
        [[-0.1448812, 0.1423766], [0.1037274, -0.1050199], [-0.1451839, 0.1452244]],
    ],
    "march.h5": [
        [[0.7050238, -0.1583697], [-0.8139142, 0.3636102], [0.0559041, -0.1358437]],
        [[-0.1452773, 0.1452521], [0.1136039, -0.1135831], [-0.1415479, 0.1415516]],
    ],
}


@pytest.mark.parametrize("file", FIELDS)
def test_its_fields_are_those_of_then(file: str) -> None:
    config, fields = trained_fields(read_results(VERSION_1 / file))
    assert config.title == "two bosons, written by schema version 1"
    x = torch.as_tensor(read_trajectories(VERSION_1)["position"][2, :, :, 0])
    t = torch.full((3, 1), 0.25, dtype=x.dtype)
    kind = next((parameter.dtype for parameter in fields.parameters()), x.dtype)
    for found, expected in zip(fields(x.to(kind), t.to(kind)), FIELDS[file], strict=True):
        np.testing.assert_allclose(found.numpy(), expected, atol=2e-6)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["compare", "RUN", "RUN/references/relative_grid"], "density"),
        (["compare", "RUN", "RUN/march.h5", "RUN/references/relative_grid"], "density"),
        (["plot", "RUN"], "figures"),
        (["info", "RUN"], "two bosons"),
        (["watch", "RUN", "--once"], "two bosons"),
        (["report", "RUN"], "report.html"),
        (["sample", "RUN", "-n", "100", "--times", "2", "--out", "RUN-samples"], "100"),
    ],
)
def test_every_command_reads_it(run: Path, arguments: list[str], words: str) -> None:
    outcome = call(*[argument.replace("RUN", str(run)) for argument in arguments])
    assert outcome.code == 0, outcome.err
    assert words in outcome.out + outcome.err


def test_what_is_added_makes_it_a_file_of_this_version(run: Path) -> None:
    old = read_results(run / "results.h5")
    update_results(run / "results.h5", {"user": {"time": np.zeros(1), "parity": np.ones(1)}})
    new = read_results(run / "results.h5")
    assert new.version == schema.SCHEMA_VERSION
    assert set(new.results) == {*old.results, "user"}
    for name, values in old.results["march"].items():
        np.testing.assert_array_equal(new.results["march"][name], values)


@pytest.mark.parametrize("command", ["compare", "plot", "info", "compress"])
def test_a_later_version_is_refused_by_name(run: Path, command: str) -> None:
    with h5py.File(RunDirectory(run).results, "r+") as opened:
        opened.attrs["dsmsim_schema_version"] = schema.SCHEMA_VERSION + 1
    more = [run / "references" / "relative_grid"] if command == "compare" else []
    outcome = call(command, run, *more)
    assert outcome.code == 4
    assert "results.h5 was written by a later dsmsim" in outcome.err
    assert "update dsmsim" in outcome.err
