"""One command starts, continues or finishes a run; changes of its input are told or refused."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest
from commands import call
from launchers import clean_environment
from run_files import assert_same_run, finished_run, interrupted_copy, losses_of
from tiny import write_input

from dsmsim.errors import StoreError
from dsmsim.store import RunDirectory, checkpoint_files, locked, read_results


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with checkpoints after 0, 2, 4 and 6 epochs."""
    return finished_run(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_input(tmp_path / "input.toml")


def test_nothing_there_is_started(file: Path, whole: Path, tmp_path: Path) -> None:
    outcome = call("run", file, "--out", tmp_path / "run", "--resume")
    assert outcome.code == 0, outcome.err
    assert_same_run(tmp_path / "run", whole)


def test_a_checkpoint_is_continued(file: Path, whole: Path, tmp_path: Path) -> None:
    run = interrupted_copy(whole, tmp_path / "run", 4)
    outcome = call("run", file, "--out", run, "--resume")
    assert outcome.code == 0, outcome.err
    assert "ckpt-000004.h5 at epoch 4" in outcome.err
    assert_same_run(run, whole)


def test_what_is_finished_is_only_reported(file: Path, whole: Path, tmp_path: Path) -> None:
    run = RunDirectory(interrupted_copy(whole, tmp_path / "run", 6))
    run.results.write_bytes((whole / "results.h5").read_bytes())
    for checkpoint in checkpoint_files(run.checkpoints):
        checkpoint.unlink()  # somebody has made room
    outcome = call("run", file, "--out", run.path, "--resume")
    assert outcome.code == 0, outcome.err
    assert f"{run.results} is complete: nothing to train" in outcome.err
    assert "training " not in outcome.err
    assert "closed_form" in outcome.out
    assert_same_results(run.results, whole / "results.h5")


def assert_same_results(left: Path, right: Path) -> None:
    found, expected = read_results(left).results, read_results(right).results
    assert found.keys() == expected.keys()
    for group, arrays in expected.items():
        assert found[group].keys() == arrays.keys()
        for name, value in arrays.items():
            assert found[group][name].tobytes() == value.tobytes(), f"{group}/{name}"


@pytest.mark.parametrize("left", [[], ["resolved.toml"], ["resolved.toml", "input.toml", "log.jsonl"]])
def test_a_run_killed_before_its_first_checkpoint_is_started_again(
    left: list[str], file: Path, whole: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    for name in left:
        (run / name).write_bytes((whole / name).read_bytes())
    command = ["resume", run] if left else ["run", file, "--out", run]
    outcome = call(*command)
    assert outcome.code == 0, outcome.err
    assert_same_run(run, whole)


def test_results_without_checkpoints_are_not_replaced(file: Path, whole: Path, tmp_path: Path) -> None:
    run = RunDirectory(interrupted_copy(whole, tmp_path / "run", 6))
    run.results.write_bytes((whole / "results.h5").read_bytes())
    for checkpoint in checkpoint_files(run.checkpoints):
        checkpoint.unlink()
    other = write_input(tmp_path / "other.toml", {"train.epochs": 8})
    outcome = call("run", other, "--out", run.path, "--resume")
    assert outcome.code == 2
    assert "holds results.h5, but no checkpoint to continue from" in outcome.err
    assert run.results.read_bytes() == (whole / "results.h5").read_bytes()


def test_damaged_results_are_written_again(whole: Path, tmp_path: Path) -> None:
    run = RunDirectory(interrupted_copy(whole, tmp_path / "run", 6))
    run.results.write_bytes((whole / "results.h5").read_bytes()[:-500])
    outcome = call("resume", run.path)
    assert outcome.code == 0, outcome.err
    assert "is truncated" in outcome.err
    assert_same_run(run.path, whole)


def test_replacing_and_continuing_exclude_each_other(file: Path, tmp_path: Path) -> None:
    outcome = call("run", file, "--out", tmp_path / "run", "--resume", "--overwrite")
    assert outcome.code == 2
    assert "--overwrite --resume" in outcome.err


def test_a_changed_output_goes_on_exactly(whole: Path, tmp_path: Path) -> None:
    """A quarter of the samples, and other checkpoints: the training is the same to the last bit."""
    run = RunDirectory(interrupted_copy(whole, tmp_path / "run", 4))
    changed = write_input(
        tmp_path / "changed.toml", {"evaluation.samples": 60, "output.checkpoint_every": "1 epochs"}
    )
    outcome = call("resume", run.path, "--input", changed)
    assert outcome.code == 0, outcome.err
    assert "goes on otherwise" not in outcome.err
    assert losses_of(run.path) == losses_of(whole)
    assert [file.name[5:11] for file in checkpoint_files(run.checkpoints)][-2:] == ["000005", "000006"]
    stored = read_results(run.results)
    assert stored.attributes["observables"]["samples"] == 60
    assert "changes" not in stored.attributes["provenance"]
    assert "samples = 60" in run.resolved.read_text()
    assert run.input.read_text() == changed.read_text()


def test_a_changed_training_is_told_and_remembered(whole: Path, tmp_path: Path) -> None:
    run = RunDirectory(interrupted_copy(whole, tmp_path / "run", 4))
    changed = write_input(tmp_path / "changed.toml", {"train.epochs": 7, "seed": 5})
    outcome = call("resume", run.path, "--input", changed)
    assert outcome.code == 0, outcome.err
    assert "goes on otherwise than it began: seed: 1 -> 5; train.epochs: 6 -> 7" in outcome.err
    assert len(losses_of(run.path)) == 7
    assert losses_of(run.path)[:4] == losses_of(whole)[:4]
    assert losses_of(run.path)[4:6] != losses_of(whole)[4:]
    changes = read_results(run.results).attributes["provenance"]["changes"]
    assert changes == ["from epoch 4: seed: 1 -> 5", "from epoch 4: train.epochs: 6 -> 7"]


def test_a_changed_physics_is_refused_with_both_values(whole: Path, tmp_path: Path) -> None:
    run = interrupted_copy(whole, tmp_path / "run", 4)
    changed = write_input(tmp_path / "changed.toml", {"system.hbar": 0.6, "initial.mean": 0.1})
    outcome = call("resume", run, "--input", changed)
    assert outcome.code == 2
    assert "\n  system.hbar: 0.5 -> 0.6\n  initial.mean: 0.2 -> 0.1\n" in outcome.err


def test_the_best_networks_can_be_measured(whole: Path, tmp_path: Path) -> None:
    """A learning rate that is far too large in the end: the last networks are not the best."""
    run = RunDirectory(interrupted_copy(whole, tmp_path / "run", 6))
    changed = {"train.epochs": 9, "train.learning_rate": 1.0, "train.schedule": "constant"}
    for name, parameters in (("last", "last"), ("best", "best")):
        file = write_input(tmp_path / f"{name}.toml", changed | {"evaluation.parameters": parameters})
        outcome = call("resume", run.path, "--input", file)
        assert outcome.code == 0, outcome.err
        stored = read_results(run.results)
        epoch = stored.attributes["observables"]["epoch"]
        assert epoch == 9 if parameters == "last" else epoch < 9
        loss = stored.results["training"]["loss"]
        assert loss[-1] > 2.0 * loss[epoch - 1] or parameters == "last"


HOLD = """
import sys, time
from dsmsim.store import locked
with locked(sys.argv[1]):
    print("held", flush=True)
    time.sleep(600.0)
"""


def test_a_directory_belongs_to_one_process_at_a_time(file: Path, whole: Path, tmp_path: Path) -> None:
    run = interrupted_copy(whole, tmp_path / "run", 4)
    command = [sys.executable, "-c", HOLD, str(run)]
    with subprocess.Popen(command, env=clean_environment(), stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            for arguments in (["resume", run], ["run", file, "--out", run, "--overwrite"]):
                outcome = call(*arguments)
                assert outcome.code == 4
                assert f"{run} is in use by process {holder.pid} on " in outcome.err
            assert len(losses_of(run)) == 6
        finally:
            holder.kill()
    assert call("resume", run).code == 0  # the lock ends with its holder, even a killed one
    assert_same_run(run, whole)


def test_a_file_system_without_locks_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(38, os.strerror(38))

    with locked(tmp_path) as held:
        assert held
        with pytest.raises(StoreError, match="in use by process"), locked(tmp_path):
            pass
    monkeypatch.setattr(fcntl, "flock", refuse)
    with locked(tmp_path) as held:
        assert not held


def test_lost_trajectories_are_made_again(tmp_path: Path) -> None:
    run = finished_run(tmp_path, {"output.trajectories": 10})
    (shard,) = (run / "trajectories").glob("rank-*.h5")
    before = shard.read_bytes()
    shard.unlink()
    outcome = call("resume", run)
    assert outcome.code == 0, outcome.err
    assert f"{shard} (trajectories 0 to 9 of rank 0) is missing" in outcome.err
    assert shard.read_bytes() == before
