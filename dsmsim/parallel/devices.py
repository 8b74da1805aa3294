"""Which device and how many threads each rank gets, from what all ranks know about their hosts.

Pure functions of the facts that the ranks exchange at the start, so every rank reaches the same verdict.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from dsmsim.errors import LaunchError


@dataclass(frozen=True)
class Facts:
    """What one rank sees of its host.

    Attributes:
        rank: the rank that looked.
        host: host name.
        cores: numbers of the processor cores that the process may run on.
        gpus: one identifier per CUDA device that the process sees, in torch's order.
    """

    rank: int
    host: str
    cores: frozenset[int]
    gpus: tuple[str, ...]


def look_around(rank: int) -> Facts:
    """The facts of this process."""
    cores = (
        frozenset(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else frozenset(range(os.cpu_count() or 1))
    )
    gpus = []
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            # Two ranks that each see one device may see the same one, or one each (Slurm's binding).
            gpus.append(str(getattr(torch.cuda.get_device_properties(index), "uuid", index)))
    return Facts(rank, socket.gethostname(), cores, tuple(gpus))


def check_request(request: str) -> None:
    """Raise LaunchError unless `request` is "auto", "cpu" or "cuda"."""
    if request not in ("auto", "cpu", "cuda"):
        raise LaunchError(f"device {request!r} is unknown: use 'auto', 'cpu' or 'cuda'")


def choose_devices(request: str, facts: Sequence[Facts]) -> list[str]:
    """The device of every rank, one rank per GPU.

    Args:
        request: "cpu", "cuda", or "auto" (CUDA where every rank sees a GPU).
        facts: of all ranks, in order of rank.

    Returns:
        "cpu" or "cuda:i" for each rank; all of one kind.

    Raises:
        LaunchError: only some ranks see a GPU, none does though "cuda" was asked for, or there are more ranks
            than GPUs.
    """
    check_request(request)
    blind = [fact for fact in facts if not fact.gpus]
    if request == "cpu" or (request == "auto" and len(blind) == len(facts)):
        return ["cpu"] * len(facts)
    if blind:
        where = f"rank {blind[0].rank} on {blind[0].host} sees no CUDA device"
        raise LaunchError(
            f"device {request!r}: {where}; ask the batch system for GPUs, or set [run] device = 'cpu'"
        )
    devices = []
    for fact in facts:
        sharers = [other.rank for other in facts if other.host == fact.host and other.gpus == fact.gpus]
        index = sharers.index(fact.rank)
        if index >= len(fact.gpus):
            raise LaunchError(
                f"{len(sharers)} ranks on {fact.host} share {len(fact.gpus)} GPU(s), and each rank needs "
                f"its own: start at most {len(fact.gpus)} ranks on each host, or set [run] device = 'cpu'"
            )
        devices.append(f"cuda:{index}")
    return devices


def choose_threads(facts: Sequence[Facts], rank: int) -> int:
    """Threads for `rank`: its cores divided among the ranks that may run on them, at least one.

    A launcher that binds gives every rank cores of its own; without binding all ranks of a host share all
    cores.
    """
    mine = facts[rank]
    sharers = sum(other.host == mine.host and not other.cores.isdisjoint(mine.cores) for other in facts)
    return max(1, len(mine.cores) // max(1, sharers))
