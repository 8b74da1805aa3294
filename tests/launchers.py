"""Starting programs under launchers, with nothing of an outer launcher in their environment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import dsmsim

LIMIT = 60  # s, for a whole world from start to end

_mpirun = shutil.which("mpirun", path=str(Path(sys.executable).parent)) or shutil.which("mpirun")
needs_mpirun = pytest.mark.skipif(_mpirun is None, reason="there is no mpirun")

_LAUNCHERS = ("PMI", "MPI_", "OMPI_", "SLURM_", "TORCHELASTIC_", "HYDRA_", "MASTER_")
_NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")


def mpirun(ranks: int) -> list[str]:
    """The start of a command that runs a Python program on `ranks` ranks under mpirun."""
    return [str(_mpirun), "-n", str(ranks), sys.executable]


def torchrun(ranks: int) -> list[str]:
    """The same under torchrun."""
    standalone = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    return [*standalone, "--nproc-per-node", str(ranks)]


MPIRUN = mpirun(2)


def clean_environment(**variables: str) -> dict[str, str]:
    """This process's environment without what launchers set, one thread a rank, and `variables`."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in _NAMES and not name.startswith(_LAUNCHERS)
    }
    # our packages, and potentials of the tests, such as `slow_potential`
    paths = os.pathsep.join(map(str, (Path(dsmsim.__file__).parents[1], Path(__file__).parent)))
    defaults = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive", "PYTHONPATH": paths}
    return kept | defaults | variables


def begin_dsmsim(
    *arguments: object, launcher: list[str] | None = None, cwd: Path | None = None, **variables: str
) -> subprocess.Popen[str]:
    """Start the command line with these arguments, under a launcher of this module if one is given."""
    command = [*(launcher or [sys.executable]), "-m", "dsmsim.cli", *map(str, arguments)]
    pipe = subprocess.PIPE
    environment = clean_environment(**variables)
    return subprocess.Popen(command, env=environment, cwd=cwd, stdout=pipe, stderr=pipe, text=True)


def run_dsmsim(
    *arguments: object, launcher: list[str] | None = None, cwd: Path | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    """The same, waited for; a world that hangs is killed after LIMIT."""
    with begin_dsmsim(*arguments, launcher=launcher, cwd=cwd, **variables) as process:
        try:
            out, err = process.communicate(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


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
