"""What the tests of launching share."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

LIMIT = 60  # s, for a whole world from start to end

_mpirun = shutil.which("mpirun", path=str(Path(sys.executable).parent)) or shutil.which("mpirun")
needs_mpirun = pytest.mark.skipif(_mpirun is None, reason="there is no mpirun")
MPIRUN = [str(_mpirun), "-n", "2", sys.executable]


def slurm_step(rank: int, job: int) -> dict[str, str]:
    """The variables of rank `rank` in a Slurm step of two tasks on one node; the port depends on `job`."""
    return {
        "SLURM_JOB_ID": str(job),
        "SLURM_STEP_ID": "0",
        "SLURM_PROCID": str(rank),
        "SLURM_LOCALID": str(rank),
        "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_STEP_NUM_NODES": "1",
        "SLURM_NODEID": "0",
        "SLURM_STEP_TASKS_PER_NODE": "2",
    }
