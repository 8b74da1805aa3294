"""How many threads a solver may use.

`OMP_NUM_THREADS` is obeyed, as it is by torch, BLAS and OpenMP. `dsmsim run` sets it for the references that
it computes after training, when the cores of the other ranks of this host are idle.
"""

from __future__ import annotations

import os
from typing import Any


def thread_count() -> int:
    """OMP_NUM_THREADS if it is set, else the number of cores that this process may run on; at least 1."""
    wanted = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if wanted.isdigit() and int(wanted) > 0:
        return int(wanted)
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def set_numba_threads(most: int | None = None) -> int:
    """Let numba's parallel loops use `thread_count()` threads, at most `most`; the number that they use.

    numba fixes the largest number when it is imported, so less than that may be had.
    """
    import numba

    config: Any = numba.config
    count = min(thread_count(), int(config.NUMBA_NUM_THREADS))
    count = count if most is None else max(1, min(count, most))
    numba.set_num_threads(count)
    return count
