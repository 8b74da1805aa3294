"""Jobs that reach their time limit, and go on as the next of a chain or by putting themselves back."""

from __future__ import annotations

from pathlib import Path

import pytest
from run_files import assert_same_run, finished_run
from slurm_cluster import OVER, Cluster, wait_until
from slurm_runs import SLOW, log, on_path
from tiny import write_input

from dsmsim.batch import BatchRequest, Work, render, write_script

EPOCHS = 26
# a job of one minute has 25 s from its start until it saves, and the epochs take 26 s
PAUSE, MARGIN = "1.0", "35 s"
LIMITED = SLOW | {"train.epochs": EPOCHS, "run.margin": MARGIN}
LINKS = 20  # what a very slow machine would need; those that are not needed are dropped
PATIENCE = 240.0


def script_of(directory: Path, name: str, request: BatchRequest) -> Path:
    """A script in `directory` that runs `name`.toml there."""
    # Slurm's own signal comes half a minute early or more: in so short a job, at its beginning
    work = Work(name, f"{name}.sh", inputs=(f"{name}.toml",), lead=1)
    write_input(directory / f"{name}.toml", LIMITED)
    write_script(directory / work.script, render(request, work))
    return directory / work.script


@pytest.mark.timeout(600)  # a very slow machine needs many links
def test_chain_and_requeue_end_with_the_uninterrupted_answer(jobs: Cluster, tmp_path: Path) -> None:
    variables = {"DSMSIM_TEST_PAUSE": PAUSE, **on_path()}
    script = script_of(tmp_path, "requeue", BatchRequest(time="1", requeue=True))
    requeued = jobs.submit(script, cwd=tmp_path, **variables)
    script = script_of(tmp_path, "chain", BatchRequest(time="1", chain=LINKS))
    chain = jobs.command("bash", script, cwd=tmp_path, **variables).split()
    assert len(chain) == LINKS
    plain = finished_run(tmp_path, LIMITED)

    wait_until(lambda: states_of(jobs, chain) <= OVER, PATIENCE, lambda: log(tmp_path))
    states = [jobs.job(number)["JobState"] for number in chain]
    done = states.index("COMPLETED")
    assert done >= 1, states
    assert all(jobs.job(number)["ExitCode"] == "75:0" for number in chain[:done])
    # what was not needed has never run
    assert set(states[done + 1 :]) == {"CANCELLED"}
    assert not (tmp_path / f"chain-{chain[done + 1]}.log").exists()
    assert_same_run(tmp_path / "runs" / "chain", plain)

    assert jobs.wait(requeued, PATIENCE) == ["COMPLETED"], log(tmp_path)
    assert int(jobs.job(requeued)["Restarts"]) >= 1
    assert "time limit of the batch job); the state is saved" in log(tmp_path)
    assert_same_run(tmp_path / "runs" / "requeue", plain)


def states_of(jobs: Cluster, numbers: list[str]) -> set[str]:
    """The states in which these jobs are."""
    return {jobs.job(number)["JobState"] for number in numbers}
