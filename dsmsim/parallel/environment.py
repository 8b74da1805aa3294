"""Which launcher started this process, and which rank it is, from environment variables alone.

Nothing heavy is imported, so the command line can ask before torch or MPI is loaded, to print an error once.

| launcher   | told by                                         | rank, size and place on the host            |
|------------|-------------------------------------------------|---------------------------------------------|
| `torchrun` | `TORCHELASTIC_RUN_ID`, or `env://` set by hand  | `RANK`, `WORLD_SIZE`, `LOCAL_RANK`          |
| `mpirun`   | `OMPI_COMM_WORLD_SIZE` (Open MPI)               | `OMPI_COMM_WORLD_*`                         |
| `mpirun`   | `PMI_SIZE` (MPICH, Intel MPI, MVAPICH, Cray)    | `PMI_RANK`, `PMI_SIZE`, `MPI_LOCALRANKID`   |
| `srun`     | an ordinary Slurm step                          | `SLURM_PROCID`, `SLURM_STEP_NUM_TASKS`      |
| `none`     | none of these                                   | 0 of 1                                      |

The order matters. `mpirun` inside a Slurm job starts one helper per node through `srun`, and its ranks
inherit that helper's `SLURM_PROCID`; `srun --mpi=pmi2` sets `PMI_SIZE` as well as the Slurm variables. A
batch script and the shell of `salloc` carry `SLURM_NTASKS` too, but they are no step, or one with a reserved
number.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

Launcher = Literal["none", "mpirun", "srun", "torchrun"]

# Slurm numbers the batch script, the interactive shell and its own helpers from here upwards (slurm.h,
# SLURM_MAX_NORMAL_STEP_ID).
_FIRST_RESERVED_STEP = 0xFFFFFFF0
_TORCH_BY_HAND = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class LaunchEnvironment:
    """A process's place among the processes that were started together.

    Attributes:
        rank: this process, 0 <= rank < size.
        size: number of processes that the launcher says it started.
        local_rank: this process among those on its host; None where the launcher does not say.
        local_size: number of processes on this host; None where the launcher does not say.
        launcher: what started the processes.
        problem: what is wrong with the variables, for the LaunchError that `start` raises; None if nothing
            is. The process then counts as rank 0, so that somebody reports it.
    """

    rank: int = 0
    size: int = 1
    local_rank: int | None = 0
    local_size: int | None = 1
    launcher: Launcher = "none"
    problem: str | None = None


def launch_environment(variables: Mapping[str, str] | None = None) -> LaunchEnvironment:
    """Read the launcher, the rank and the size from `variables` (`os.environ` by default).

    Never raises, so that it can be asked while an error is being reported. Variables that contradict
    themselves (a rank that is no number or not below the size), or that do not tell the size, are described
    in `problem`.
    """
    if variables is None:
        variables = os.environ
    if "TORCHELASTIC_RUN_ID" in variables:
        return _torchrun(variables)
    if "OMPI_COMM_WORLD_SIZE" in variables:
        return _read(
            variables,
            "mpirun",
            rank="OMPI_COMM_WORLD_RANK",
            size="OMPI_COMM_WORLD_SIZE",
            local_rank="OMPI_COMM_WORLD_LOCAL_RANK",
            local_size="OMPI_COMM_WORLD_LOCAL_SIZE",
        )
    if "PMI_SIZE" in variables and ("MPI_LOCALRANKID" in variables or not _in_slurm_step(variables)):
        cray = "PMI_LOCAL_RANK" in variables
        return _read(
            variables,
            "mpirun",
            rank="PMI_RANK",
            size="PMI_SIZE",
            local_rank="PMI_LOCAL_RANK" if cray else "MPI_LOCALRANKID",
            local_size="PMI_LOCAL_SIZE" if cray else "MPI_LOCALNRANKS",
        )
    if _in_slurm_step(variables):
        return _srun(variables)
    if all(name in variables for name in _TORCH_BY_HAND):
        return _torchrun(variables)
    if "PMIX_RANK" in variables:
        return LaunchEnvironment(
            launcher="mpirun",
            problem=f"PMIX_RANK={variables['PMIX_RANK']} is set, but no variable tells how many ranks there "
            "are: start dsmsim with mpirun, srun or torchrun",
        )
    return LaunchEnvironment()


def _torchrun(variables: Mapping[str, str]) -> LaunchEnvironment:
    return _read(
        variables,
        "torchrun",
        rank="RANK",
        size="WORLD_SIZE",
        local_rank="LOCAL_RANK",
        local_size="LOCAL_WORLD_SIZE",
    )


def _in_slurm_step(variables: Mapping[str, str]) -> bool:
    step = variables.get("SLURM_STEP_ID", "")
    return step.isdigit() and int(step) < _FIRST_RESERVED_STEP and "SLURM_PROCID" in variables


def _srun(variables: Mapping[str, str]) -> LaunchEnvironment:
    size = "SLURM_STEP_NUM_TASKS" if "SLURM_STEP_NUM_TASKS" in variables else "SLURM_NTASKS"
    environment = _read(variables, "srun", rank="SLURM_PROCID", size=size, local_rank="SLURM_LOCALID")
    tasks = tasks_per_node(variables.get("SLURM_STEP_TASKS_PER_NODE", ""))
    node = variables.get("SLURM_NODEID", "")
    if node.isdigit() and int(node) < len(tasks):
        return replace(environment, local_size=tasks[int(node)])
    return environment


def tasks_per_node(text: str) -> list[int]:
    """Expand Slurm's `2(x3),1` to [2, 2, 2, 1]; an empty list for text of another shape."""
    counts: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part.strip())
        if match is None:
            return []
        counts += [int(match[1])] * int(match[2] or 1)
    return counts


def first_node(text: str) -> str:
    """The first name of Slurm's compressed node list: `gpu[07-09,12],login1` gives `gpu07`."""
    match = re.match(r"([^\[\],]*)(?:\[([^\],-]+)[^\]]*\])?([^\[\],]*)", text.strip())
    return "" if match is None else match[1] + (match[2] or "") + match[3]


def _read(
    variables: Mapping[str, str],
    launcher: Launcher,
    *,
    rank: str,
    size: str,
    local_rank: str,
    local_size: str | None = None,
) -> LaunchEnvironment:
    """Build the environment from the variables with these names; those of the host may be missing."""

    def fault(problem: str) -> LaunchEnvironment:
        return LaunchEnvironment(
            launcher=launcher, problem=f"{problem}: unset it, or start dsmsim through {launcher}"
        )

    numbers: list[int | None] = []
    for name in (rank, size, local_rank, local_size):
        text = None if name is None else variables.get(name)
        if text is not None and not text.strip().isdigit():
            return fault(f"{name}={text!r} is not a whole number")
        numbers.append(None if text is None else int(text))
    my_rank, my_size, my_local_rank, my_local_size = numbers
    if my_rank is None or my_size is None:
        there, missing = (size, rank) if my_rank is None else (rank, size)
        return fault(f"{there}={variables.get(there)} is set but {missing} is not")
    if my_rank >= my_size:
        return fault(f"{rank}={my_rank} must be below {size}={my_size}")
    return LaunchEnvironment(my_rank, my_size, my_local_rank, my_local_size, launcher)
