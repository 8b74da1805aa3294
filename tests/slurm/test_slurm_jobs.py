"""Jobs of a real Slurm: on two nodes by both launchers, as arrays, and cancelled."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from commands import call
from run_files import assert_close_run, assert_same_run, finished_run, log_of
from slurm_cluster import Cluster, wait_until
from slurm_runs import QUIET, READY, SLOW, dsmsim_slurm, log, on_path
from tiny import write_input

from dsmsim.store import RunDirectory, read_results


def test_two_nodes_by_both_launchers(jobs: Cluster, tmp_path: Path) -> None:
    file = write_input(tmp_path / "tiny.toml", QUIET)
    numbers = {}
    for launcher in ("srun", "mpirun"):
        where = ["--out", f"runs/{launcher}", "--script", f"{launcher}.sh", "--launcher", launcher]
        wanted = ["--nodes", 2, "--ntasks-per-node", 2]
        if launcher == "mpirun" and shutil.which("mpirun") is None:
            continue
        numbers[launcher] = dsmsim_slurm(jobs, tmp_path, file.name, *where, *wanted)
    plain = finished_run(tmp_path, QUIET)
    for launcher, number in numbers.items():
        assert jobs.wait(number) == ["COMPLETED"], log(tmp_path)
        assert jobs.job(number)["NumNodes"] == "2"
        run = tmp_path / "runs" / launcher
        about = read_results(RunDirectory(run).results).attributes["provenance"]
        assert (about["launcher"], about["world_size"]) == (launcher, 4)
        assert_close_run(run, plain)


def test_arrays_of_inputs_and_of_seeds(jobs: Cluster, tmp_path: Path) -> None:
    changes = [QUIET | {"train.epochs": epochs} for epochs in (2, 3)]
    files = [write_input(tmp_path / f"input{i}.toml", each).name for i, each in enumerate(changes)]
    ready = jobs.submit("--array=0-1", READY / "array.sh", *files, cwd=tmp_path, **on_path())
    # stopped after about two of its four epochs, every task goes back into the queue by itself
    whole = SLOW | {"train.epochs": 4}
    write_input(tmp_path / "stopped.toml", whole | {"run.time_limit": "1.5 s"})
    wanted = ["--requeue", "--setup", "export DSMSIM_TEST_PAUSE=0.6"]
    seeds = dsmsim_slurm(jobs, tmp_path, "stopped.toml", "--seeds", "7,9", *wanted)
    for seed in (7, 9):
        (tmp_path / f"plain{seed}").mkdir()
        finished_run(tmp_path / f"plain{seed}", whole | {"seed": seed})
    assert jobs.wait(ready) == ["COMPLETED"] * 2, log(tmp_path)
    assert [len(log_of(tmp_path / "runs" / f"input{i}")) for i in (0, 1)] == [2, 3]
    assert jobs.wait(seeds, 120) == ["COMPLETED"] * 2, log(tmp_path)
    for task, seed in enumerate((7, 9)):
        assert int(jobs.job(f"{seeds}_{task}")["Restarts"]) >= 1
        assert_same_run(tmp_path / "runs" / f"stopped-seed-{seed}", tmp_path / f"plain{seed}" / "run")


@pytest.mark.parametrize("launcher", ["srun", "mpirun"])
def test_scancel_leaves_a_run_that_goes_on(launcher: str, jobs: Cluster, tmp_path: Path) -> None:
    if launcher == "mpirun" and shutil.which("mpirun") is None:
        pytest.skip("there is no mpirun")
    file = write_input(tmp_path / "slow.toml", SLOW)
    run = tmp_path / "runs" / "slow"
    wanted = ["--ntasks-per-node", 2, "--requeue", "--launcher", launcher]
    wanted += ["--setup", "export DSMSIM_TEST_PAUSE=0.5"]
    number = dsmsim_slurm(jobs, tmp_path, file.name, *wanted)
    wait_until(lambda: RunDirectory(run).log.exists() and len(log_of(run)) >= 2, 90, lambda: log(tmp_path))
    jobs.command("scancel", number)
    assert jobs.wait(number) == ["CANCELLED"]
    # it saved when it was told, and did not put itself back into the queue
    wait_until(lambda: jobs.command("squeue", "--noheader") == "", 60)
    assert jobs.states(number) == ["CANCELLED"]
    assert jobs.job(number)["Restarts"] == "0"
    assert "the state is saved" in log(tmp_path)
    assert 2 <= len(log_of(run)) < SLOW["train.epochs"]
    assert call("run", file, "--out", run, "--resume").code == 0
    assert_close_run(run, finished_run(tmp_path, SLOW))
