"""Jobs that reach their time limit, and go on as the next of a chain or by putting themselves back."""

from __future__ import annotations

from pathlib import Path

from run_files import assert_close_run, finished_run
from slurm_cluster import OVER, Cluster, wait_until
from test_slurm_jobs import SLOW, log, on_path
from tiny import write_input

READY = Path(__file__).parents[2] / "slurm"
EPOCHS = 26
# a job of one minute has 20 s from its start until it saves, and the epochs take 26 s
PAUSE, MARGIN = "1.0", "40 s"
LIMITED = SLOW | {"train.epochs": EPOCHS, "run.margin": MARGIN}
LINKS = 20  # what a very slow machine would need; those that are not needed are dropped
PATIENCE = 200.0


def chain_of(jobs: Cluster, directory: Path, **variables: str) -> list[str]:
    """Start a chain of many jobs; their numbers."""
    script = directory / "chain.sh"
    script.write_text((READY / "chain.sh").read_text().replace("$(seq 3)", f"$(seq {LINKS})"))
    return jobs.command("bash", script, "chain.toml", cwd=directory, **variables).split()


def test_chain_and_requeue_end_with_the_uninterrupted_answer(jobs: Cluster, tmp_path: Path) -> None:
    for name in ("requeue", "chain"):
        write_input(tmp_path / f"{name}.toml", LIMITED)
    # Slurm's own signal is so coarse that in a job of a minute it would come at its beginning
    limits = {"SBATCH_TIMELIMIT": "1", "SBATCH_SIGNAL": "B:USR1@1"}
    variables = {"DSMSIM_TEST_PAUSE": PAUSE, **on_path(), **limits}
    requeued = jobs.submit(READY / "requeue.sh", "requeue.toml", cwd=tmp_path, **variables)
    chain = chain_of(jobs, tmp_path, **variables)
    assert len(chain) == LINKS
    plain = finished_run(tmp_path, LIMITED)

    wait_until(lambda: states_of(jobs, chain) <= OVER, PATIENCE, lambda: log(tmp_path))
    states = [jobs.job(number)["JobState"] for number in chain]
    done = states.index("COMPLETED")
    assert done >= 1, states
    assert all(jobs.job(number)["ExitCode"] == "75:0" for number in chain[:done])
    # what was not needed has never run
    assert set(states[done + 1 :]) == {"CANCELLED"}
    assert not list(tmp_path.glob(f"*-{chain[done + 1]}.log"))
    assert_close_run(tmp_path / "runs" / "chain", plain)

    assert jobs.wait(requeued, PATIENCE) == ["COMPLETED"], log(tmp_path)
    assert int(jobs.job(requeued)["Restarts"]) >= 1
    assert "time limit of the batch job); the state is saved" in log(tmp_path)
    assert_close_run(tmp_path / "runs" / "requeue", plain)


def states_of(jobs: Cluster, numbers: list[str]) -> set[str]:
    """The states in which these jobs are."""
    return {jobs.job(number)["JobState"] for number in numbers}
