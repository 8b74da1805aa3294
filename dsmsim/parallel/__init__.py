"""Ranks, devices, random streams and the agreed stop: the only package that knows MPI or torch.distributed.

`launch_environment` can be used before anything heavy is loaded: torch and mpi4py are imported on first use
of `start`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dsmsim.parallel.environment import LaunchEnvironment, launch_environment
from dsmsim.parallel.idle_cores import announce_cores, cores_of_this_host
from dsmsim.parallel.stopping import StopRequest

if TYPE_CHECKING:
    from dsmsim.parallel.streams import blocks_of_rank, random_stream
    from dsmsim.parallel.world import World, start

__all__ = [
    "LaunchEnvironment",
    "StopRequest",
    "World",
    "announce_cores",
    "blocks_of_rank",
    "cores_of_this_host",
    "launch_environment",
    "random_stream",
    "start",
]

_LAZY = {"World": "world", "start": "world", "random_stream": "streams", "blocks_of_rank": "streams"}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
