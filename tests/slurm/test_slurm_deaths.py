"""A rank that is killed, fails or hangs under srun: the job fails in time, and its log says who and why."""

from __future__ import annotations

import socket
from pathlib import Path

from dying import BOUND, CHANGES, Fate, assert_all_gone
from slurm_cluster import Cluster, wait_until
from slurm_runs import READY, log, on_path
from tiny import write_input

DEEDS = {
    "kill": "no sign of life from rank 1",
    "raise": "a fault of one rank",
    "hang": "rank 1 of 2 on {host} did not come",
}


def test_a_rank_that_dies_ends_the_job(jobs: Cluster, tmp_path: Path) -> None:
    numbers = {}
    for deed in DEEDS:
        (tmp_path / deed).mkdir()
        write_input(tmp_path / deed / "input.toml", CHANGES)
        variables = Fate(deed, rank=1).variables(tmp_path / deed / "pids") | on_path()
        options = ["--ntasks-per-node=1", READY / "many_nodes.sh"]
        numbers[deed] = jobs.submit(*options, "input.toml", cwd=tmp_path / deed, **variables)
    for deed, words in DEEDS.items():
        directory = tmp_path / deed
        struck = directory / "pids" / "struck"
        wait_until(struck.exists, 120, lambda directory=directory: log(directory))
        assert_all_gone(directory / "pids", ranks=2)
        assert jobs.wait(numbers[deed], BOUND) == ["FAILED"]
        printed = log(directory)
        assert words.format(host=socket.gethostname()) in printed
        assert "ends the run" in printed
