"""The cores of a host after its ranks have finished: one rank works on, the others leave theirs idle.

A launcher that binds gives each rank cores of its own, and a launcher's threads variable is meant for one
rank. When the world has closed, rank 0 may use what all ranks of its host had: `cores_of_this_host` widens
the affinity of its threads to the union of their cores and raises `OMP_NUM_THREADS`, by which solvers choose
their number of threads, and the counts of torch and of BLAS.

numba fixes its largest number of threads when it is first imported, which a prediction of the cost may do
before training, so it is told beforehand (`announce_cores`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from threadpoolctl import threadpool_limits

if TYPE_CHECKING:
    from dsmsim.parallel.world import World

_THREADS, _NUMBA = "OMP_NUM_THREADS", "NUMBA_NUM_THREADS"


def announce_cores(world: World) -> None:
    """Let numba, if it is not loaded yet, make ready for the threads of all ranks of this host."""
    if world.size > 1 and "numba" not in sys.modules:
        os.environ.setdefault(_NUMBA, str(threads_of_this_host(world, os.environ.get(_THREADS))))


def threads_of_this_host(world: World, wanted: str | None) -> int:
    """Threads of all ranks of this host together: `wanted` ones each, but no more than their cores.

    Args:
        world: the ranks.
        wanted: OMP_NUM_THREADS, None where it is not set: as many as there are cores.
    """
    cores = max(1, len(world.host_cores))
    first = (wanted or "").split(",")[0].strip()
    if not first.isdigit() or int(first) == 0:
        return cores
    return min(cores, int(first) * world.local_size)


@contextmanager
def cores_of_this_host(world: World) -> Iterator[int]:
    """While the context is open, this process uses the cores that the ranks of its host had together.

    For rank 0, after `start` has ended; with one rank nothing changes. Yields the number of threads.
    """
    import torch

    before = os.environ.get(_THREADS)
    if world.size == 1:
        yield threads_of_this_host(world, before)
        return
    affinities, torch_threads = _widen(world.host_cores), torch.get_num_threads()
    count = threads_of_this_host(world, before)
    if hasattr(os, "sched_getaffinity"):  # the batch system may refuse some of them
        count = min(count, len(os.sched_getaffinity(0)))
    os.environ[_THREADS] = str(count)
    torch.set_num_threads(count)
    limits = _limit_blas(count)
    _set_numba(count)
    try:
        yield count
    finally:
        limits.restore_original_limits()
        torch.set_num_threads(torch_threads)
        if before is None:
            del os.environ[_THREADS]
        else:
            os.environ[_THREADS] = before
        for thread, cores in affinities.items():
            with suppress(OSError):  # it has ended
                os.sched_setaffinity(thread, cores)


def _widen(cores: frozenset[int]) -> dict[int, set[int]]:
    """Let every thread of this process run on `cores`; where each could run before."""
    if not cores or not hasattr(os, "sched_setaffinity"):
        return {}
    try:
        threads = [int(name) for name in os.listdir("/proc/self/task")]
    except OSError:
        threads = [0]
    before: dict[int, set[int]] = {}
    for thread in threads:
        with suppress(OSError):
            before[thread] = os.sched_getaffinity(thread)
            os.sched_setaffinity(thread, cores)
    return before


def _set_numba(count: int) -> None:
    """At most `count` threads for numba, where it is loaded; it is not loaded for that."""
    numba = sys.modules.get("numba")
    if numba is not None:
        numba.set_num_threads(min(count, numba.config.NUMBA_NUM_THREADS))


def _limit_blas(count: int) -> Any:
    """BLAS libraries with `count` threads, for as long as the result lives."""
    return threadpool_limits(limits=count, user_api="blas")
