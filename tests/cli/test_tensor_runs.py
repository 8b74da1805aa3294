"""Runs with tensor layers: what check says, what a run with ranks of its own leaves, and its resumption."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import call
from matplotlib.image import imread
from run_files import assert_same_run, interrupted_copy, log_of
from tiny import write_input

from dsmsim.store import RunDirectory, read_results

TENSOR = {"rank": "auto", "rank_start": 4, "adapt_every": 1, "tolerance": 0.35}
AUTO = {"network.tensor": TENSOR, "train.epochs": 6, "output.figures": True}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The directory of a run with rank = "auto", and what it said."""
    directory = tmp_path_factory.mktemp("auto")
    outcome = call("run", write_input(directory / "input.toml", AUTO), "--out", directory / "run")
    assert outcome.code == 0, outcome.err
    return directory / "run", outcome.err


def test_ranks_in_log_results_figure_and_on_the_screen(finished: tuple[Path, str]) -> None:
    run, said = RunDirectory(finished[0]), finished[1]
    stored = read_results(run.results)
    training = stored.results["training"]
    assert training["rank"].shape == training["bond_entropy"].shape == (6, 4)
    assert training["rank"].max() <= 4
    assert training["rank"][-1].sum() < 16
    assert training["bond"][0] == "u.blocks.0.first:1"
    np.testing.assert_array_equal(training["rank"], [record["rank"] for record in log_of(finished[0])])
    last = dict(zip(training["bond"], training["rank"][-1], strict=True))
    for bond, rank in last.items():
        name = bond.partition(":")[0].replace(".", "/")
        about = stored.attributes[f"model/{name}"]
        assert about["ranks"] == [1, rank, 1]
        network, _, rest = name.partition("/")
        assert stored.results[f"model/{network}"][f"{rest}/cores/1"].shape == (rank, 4, 4, 1)
    parameters = sum(stored.attributes[f"model/{net}"]["parameters"] for net in "uv")
    assert f"ranks found: u.blocks.0.first 1-{training['rank'][-1][0]}-1" in said
    assert f"{parameters} parameters" in said
    assert stored.attributes["training"]["gradient_bytes"] == 8 * parameters
    assert imread(run.figures / "ranks.png").shape[1] == 1020


def test_labels_open_in_xarray(finished: tuple[Path, str]) -> None:
    xarray = pytest.importorskip("xarray")
    with xarray.open_dataset(RunDirectory(finished[0]).results, group="training", engine="h5netcdf") as data:
        assert data["rank"].dims == ("epoch", "bond")
        assert int(data["rank"].sel(bond="v.blocks.0.second:1")[-1]) >= 1


def test_a_killed_run_goes_on_bit_by_bit(finished: tuple[Path, str], tmp_path: Path) -> None:
    again = interrupted_copy(finished[0], tmp_path / "run", 2)
    outcome = call("resume", again)
    assert outcome.code == 0, outcome.err
    assert_same_run(again, finished[0])


def test_the_trained_fields_are_compared_with_the_closed_form(finished: tuple[Path, str]) -> None:
    outcome = call("compare", finished[0], "closed_form")
    assert outcome.code == 0, outcome.err
    assert "E_u" in outcome.out


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"network.tensor": {"rank": 2}}, ["tt modes (out x in) 2x2 4x4", "tt ranks 1 2 1", "fused engine"]),
        (
            {"network.tensor": TENSOR},
            ["tt ranks, to begin with 1 4 1", "cores of a layer 80", "with dense layers"],
        ),
        (
            {"network.tensor": {"format": "cp", "rank": 3}, "train.engine": "torch_func"},
            ["cp ranks 3", "decomposed layers in training:", "rebuilt", "one by one"],
        ),
        (
            {"network.kind": "potential", "network.tensor": {"format": "lowrank", "rank": 2}},
            ["lowrank modes (out x in) 8x8", "decomposed layers in sampling: rebuilt, because jets"],
        ),
    ],
)
def test_check_says_sizes_and_strategy(changes: dict[str, Any], words: list[str], tmp_path: Path) -> None:
    outcome = call("check", write_input(tmp_path / "input.toml", changes))
    assert (outcome.code, outcome.err) == (0, "")
    text = " ".join(outcome.out.replace("│", " ").split())
    for word in words:
        assert word in text, text


@pytest.mark.parametrize(
    "tensor",
    [{"rank": 2, "format": "tr", "core_rate": 1.5}, {"rank": 2, "format": "blockterm", "blocks": 3}],
    ids=["ring", "block terms"],
)
def test_a_run_with_another_format(tensor: dict[str, Any], tmp_path: Path) -> None:
    changes = {"network.tensor": tensor, "train.epochs": 2, "evaluation.samples": 60}
    outcome = call("run", write_input(tmp_path / "input.toml", changes), "--out", tmp_path / "run")
    assert outcome.code == 0, outcome.err
    stored = read_results(RunDirectory(tmp_path / "run").results)
    assert stored.attributes["model/u/blocks/0/first"]["format"] == tensor["format"]
    assert ("rank" in stored.results["training"]) == (tensor["format"] == "tr")
