"""Worlds of srun without PMI, played by processes with the variables of a Slurm step."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable

from launchers import LIMIT, slurm_step

Begin = Callable[..., "subprocess.Popen[str]"]


def test_slurm_step_without_mpi(begin: Begin) -> None:
    processes = [begin([], "sum", **slurm_step(rank, job=os.getpid())) for rank in range(2)]
    outputs = [process.communicate(timeout=LIMIT) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert outputs[0][0] == "total 3.0 2.0 [(0, 2, 'srun', 0), (1, 2, 'srun', 1)]\n"


def test_slurm_step_with_a_missing_rank(begin: Begin) -> None:
    process = begin([], "sum", timeout=1.0, **slurm_step(0, job=os.getpid() + 1))
    _, errors = process.communicate(timeout=LIMIT)
    assert process.returncode == 5, errors
    assert "rank 0 of 2" in errors
    assert "did not come together within 1 s" in errors


def test_taken_port(begin: Begin) -> None:
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        process = begin([], "sum", timeout=300.0, **slurm_step(0, job=1), MASTER_PORT=port)
        _, errors = process.communicate(timeout=LIMIT)
    assert process.returncode == 5, errors
    assert f"cannot open port {port}" in errors
    assert "MASTER_PORT" in errors
