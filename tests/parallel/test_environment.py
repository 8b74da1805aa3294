"""Which launcher, which rank: one row for every environment that a launcher was seen to make."""

from __future__ import annotations

import subprocess
import sys

import pytest

from dsmsim.parallel import LaunchEnvironment, launch_environment
from dsmsim.parallel.environment import first_node, tasks_per_node

HYDRA = {"PMI_RANK": "3", "PMI_SIZE": "4", "MPI_LOCALRANKID": "1", "MPI_LOCALNRANKS": "2", "PMI_FD": "9"}
OPEN_MPI = {
    "OMPI_COMM_WORLD_RANK": "1",
    "OMPI_COMM_WORLD_SIZE": "2",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
    "PMIX_RANK": "1",
}
TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "none",
    "RANK": "5",
    "WORLD_SIZE": "8",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "4",
    "MASTER_ADDR": "localhost",
    "MASTER_PORT": "29500",
}
BATCH_SCRIPT = {"SLURM_JOB_ID": "2", "SLURM_PROCID": "0", "SLURM_NTASKS": "3", "SLURM_LOCALID": "0"}
SALLOC_SHELL = {"SLURM_JOB_ID": "2", "SLURM_NTASKS": "3", "SLURM_TASKS_PER_NODE": "2,1"}
INTERACTIVE_STEP = BATCH_SCRIPT | {"SLURM_STEP_ID": "4294967290", "SLURM_STEP_NUM_TASKS": "1"}
SRUN = {
    "SLURM_JOB_ID": "2",
    "SLURM_STEP_ID": "0",
    "SLURM_PROCID": "2",
    "SLURM_NTASKS": "3",
    "SLURM_STEP_NUM_TASKS": "3",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "1",
    "SLURM_STEP_TASKS_PER_NODE": "2,1",
}
# mpirun starts one helper per node through srun; its ranks inherit the helper's place in that step.
HELPER = SRUN | {"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_TASKS_PER_NODE": "1(x2)"}

CASES = {
    "nothing": ({}, LaunchEnvironment(0, 1, 0, 1, "none")),
    "mpich": (HYDRA, LaunchEnvironment(3, 4, 1, 2, "mpirun")),
    "open mpi": (OPEN_MPI, LaunchEnvironment(1, 2, 1, 2, "mpirun")),
    "cray": (
        {"PMI_RANK": "3", "PMI_SIZE": "4", "PMI_LOCAL_RANK": "0", "PMI_LOCAL_SIZE": "1"},
        LaunchEnvironment(3, 4, 0, 1, "mpirun"),
    ),
    "pmi without a place on the host": (
        {"PMI_RANK": "1", "PMI_SIZE": "2"},
        LaunchEnvironment(1, 2, None, None, "mpirun"),
    ),
    "torchrun": (TORCHRUN, LaunchEnvironment(5, 8, 1, 4, "torchrun")),
    "torchrun inside srun": (SRUN | TORCHRUN, LaunchEnvironment(5, 8, 1, 4, "torchrun")),
    "torch's variables by hand": (
        {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "a", "MASTER_PORT": "1"},
        LaunchEnvironment(1, 2, None, None, "torchrun"),
    ),
    "WORLD_SIZE left over": ({"WORLD_SIZE": "2", "RANK": "1"}, LaunchEnvironment(0, 1, 0, 1, "none")),
    "srun": (SRUN, LaunchEnvironment(2, 3, 0, 1, "srun")),
    "srun --mpi=pmi2": (
        SRUN | {"PMI_RANK": "2", "PMI_SIZE": "3", "PMI_FD": "11"},
        LaunchEnvironment(2, 3, 0, 1, "srun"),
    ),
    "batch script": (BATCH_SCRIPT, LaunchEnvironment(0, 1, 0, 1, "none")),
    "salloc shell": (SALLOC_SHELL, LaunchEnvironment(0, 1, 0, 1, "none")),
    "interactive step": (INTERACTIVE_STEP, LaunchEnvironment(0, 1, 0, 1, "none")),
    "mpirun inside a batch job": (HELPER | HYDRA, LaunchEnvironment(3, 4, 1, 2, "mpirun")),
}


@pytest.mark.parametrize(("variables", "expected"), CASES.values(), ids=CASES.keys())
def test_launcher_is_recognised(variables: dict[str, str], expected: LaunchEnvironment) -> None:
    assert launch_environment(variables) == expected


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"PMI_SIZE": "2"}, ["PMI_SIZE=2", "PMI_RANK is not"]),
        ({"PMI_SIZE": "two", "PMI_RANK": "0"}, ["PMI_SIZE='two'"]),
        ({"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "2"}, ["must be below"]),
        ({"TORCHELASTIC_RUN_ID": "x", "RANK": "0"}, ["WORLD_SIZE is not"]),
        ({"PMIX_RANK": "1"}, ["PMIX_RANK=1", "how many ranks"]),
    ],
)
def test_contradictions_are_reported_by_rank_zero(variables: dict[str, str], words: list[str]) -> None:
    found = launch_environment(variables)
    assert found.rank == 0
    assert found.problem is not None
    assert all(word in found.problem for word in words)


def test_slurm_abbreviations() -> None:
    assert tasks_per_node("2(x3),1") == [2, 2, 2, 1]
    assert tasks_per_node("4") == [4]
    assert tasks_per_node("nonsense") == []
    assert first_node("gpu[07-09,12],login1") == "gpu07"
    assert first_node("n[1,5]-ib") == "n1-ib"
    assert first_node("login1,gpu[1-2]") == "login1"
    assert first_node("host-a.site") == "host-a.site"


def test_asking_for_the_launcher_loads_nothing_heavy() -> None:
    code = (
        "import sys; import dsmsim.parallel as p; p.launch_environment(); p.StopRequest(); "
        "sys.exit(sum(name in sys.modules for name in ('torch', 'mpi4py', 'numpy', 'h5py')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
