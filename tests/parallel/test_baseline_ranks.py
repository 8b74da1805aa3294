"""`dsmsim baseline` under a launcher: methods that share their work among the ranks, and others."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import call
from launchers import mpirun, needs_mpirun, run_dsmsim
from plugins import Plugin
from run_files import assert_close_run, assert_same_run, interrupted_copy
from tiny import write_input

from dsmsim.methods.runs import threads_of_this_rank
from dsmsim.parallel import World
from dsmsim.store import RunDirectory, load_checkpoint, read_results, stored_config

SOURCE = str(Path(__file__).parents[2])


def toy_on_two(directory: Path, **settings: Any) -> tuple[Plugin, subprocess.CompletedProcess[str]]:
    """`dsmsim baseline toy` on two ranks."""
    plugin = Plugin(directory / "toy", **settings)
    file = write_input(directory / "input.toml")
    path = os.pathsep.join([str(plugin.directory), SOURCE])
    command = ("baseline", "toy", file, "--out", directory / "out")
    return plugin, run_dsmsim(*command, launcher=mpirun(2), PYTHONPATH=path)


@needs_mpirun
@pytest.mark.parametrize(
    ("takes_world", "solved_by", "told"),
    [(False, 1, ""), (True, 2, "toy: rank 0 of 2\n")],
    ids=["alone", "all ranks"],
)
def test_a_method_that_takes_a_world_is_run_by_all_ranks(
    takes_world: bool, solved_by: int, told: str, tmp_path: Path
) -> None:
    plugin, done = toy_on_two(tmp_path, takes_world=takes_world)
    assert done.returncode == 0, done.stderr
    assert sorted(plugin.calls()) == ["predict", *["solve"] * solved_by]
    assert done.stderr == f"{told}toy: 7 points: change 0.5\n"
    assert done.stdout.count("results   ") == 1
    assert read_results(tmp_path / "out" / "results.h5").results["observables"]


@needs_mpirun
@pytest.mark.parametrize(
    ("settings", "calls"),
    [
        ({"refuses": "cannot be done"}, ["predict"]),
        ({"memory": 10**15}, ["predict"]),
        ({"fails": "cannot be done"}, ["predict", "solve", "solve"]),
    ],
    ids=["refused", "too large", "failed"],
)
def test_errors_end_all_ranks_in_order(settings: dict[str, Any], calls: list[str], tmp_path: Path) -> None:
    plugin, done = toy_on_two(tmp_path, takes_world=True, **settings)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("dsmsim: ")
    assert done.stderr.count("\n") == 1
    assert sorted(plugin.calls()) == calls
    assert (tmp_path / "out").exists() == ("solve" in calls)


def test_solvers_use_this_ranks_share_of_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    with threads_of_this_rank(World(1, 2)):
        assert os.environ["OMP_NUM_THREADS"] == str(torch.get_num_threads())
    with threads_of_this_rank(World()):
        assert "OMP_NUM_THREADS" not in os.environ
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    with threads_of_this_rank(World(1, 2)):
        assert os.environ["OMP_NUM_THREADS"] == "3"


@pytest.fixture(scope="module")
def ablation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of gaussian_sampling, on one rank."""
    directory = tmp_path_factory.mktemp("ablation")
    outcome = call(
        "baseline", "gaussian_sampling", write_input(directory / "input.toml"), "--out", directory / "run"
    )
    assert outcome.code == 0, outcome.err
    assert "gaussian_sampling: training 6/6 epochs" in outcome.err
    assert "Checks without a reference" in outcome.out
    return directory / "run"


def test_gaussian_sampling_leaves_a_run(ablation: Path) -> None:
    run = RunDirectory.open(ablation)
    assert run.log.is_file()
    stored = read_results(run.results)
    config = stored_config(stored.attributes)
    assert config is not None
    assert config.train.points_from == "gaussian"
    assert stored.attributes["observables"]["method"] == "gaussian_sampling"
    assert call("check", run.input).code == 0
    assert call("compare", ablation, "closed_form").code == 0


def test_gaussian_sampling_is_resumed(ablation: Path, tmp_path: Path) -> None:
    again = interrupted_copy(ablation, tmp_path / "run", 2)
    before = load_checkpoint(RunDirectory(again).checkpoints).attributes["cpu_seconds"]
    assert call("resume", again).code == 0
    assert_same_run(again, ablation)
    facts = read_results(RunDirectory(again).results).attributes["provenance"]
    assert facts["cpu_seconds"] > facts["solve_cpu_seconds"] > before > 0.0


@needs_mpirun
def test_gaussian_sampling_on_two_ranks(ablation: Path, tmp_path: Path) -> None:
    file = write_input(tmp_path / "input.toml")
    command = ("baseline", "gaussian_sampling", file, "--out", tmp_path / "run")
    done = run_dsmsim(*command, launcher=mpirun(2))
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("training 6/6 epochs") == 1
    assert_close_run(tmp_path / "run", ablation)
    facts = read_results(tmp_path / "run" / "results.h5").attributes["provenance"]
    assert facts["world_size"] == 2
    assert 0.0 < facts["solve_cpu_seconds"] <= facts["cpu_seconds"]


def test_gaussian_sampling_is_a_reference_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSMSIM_CACHE", "off")
    file = write_input(tmp_path / "input.toml", {"compare.with": ["gaussian_sampling"]})
    outcome = call("run", file, "--out", tmp_path / "run")
    assert outcome.code == 0, outcome.err
    assert "Errors against gaussian_sampling" in outcome.out
    stored = read_results(tmp_path / "run" / "results.h5")
    assert stored.attributes["observables"]["method"] == "dsm"
    inside = read_results(tmp_path / "run" / "references" / "gaussian_sampling" / "results.h5")
    assert inside.attributes["observables"]["method"] == "gaussian_sampling"
