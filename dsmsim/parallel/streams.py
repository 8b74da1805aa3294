"""Random streams that depend on what is drawn, never on which rank draws it.

Every stream is a counter-based Philox-4x64-10 generator (Salmon, Moraes, Dror, Shaw, SC'11,
doi:10.1145/2063384.2063405) whose 128-bit key is BLAKE2b(seed, purpose, index). Block b of epoch e draws from
`random_stream(seed, "trajectories", e, b)`, and ranks own blocks, so any number of ranks, and a resumed run,
draw the same numbers. The key does not depend on the platform.
"""

from __future__ import annotations

import hashlib
import json

import numpy as np


def random_stream(seed: int, purpose: str, *index: int) -> np.random.Generator:
    """The generator for `purpose` at `index`; the same arguments always give the same numbers.

    Args:
        seed: the run's seed, any integer.
        purpose: what the numbers are for ("trajectories", "evaluation", ...); different words give
            independent streams.
        index: any number of integers, such as (epoch, block). (1, 2) and (12,) are different streams.
    """
    # json keeps the parts apart; int() lets numpy's integers name the same stream as Python's.
    name = json.dumps([int(seed), purpose, *map(int, index)])
    digest = hashlib.blake2b(name.encode(), digest_size=16, person=b"dsmsim.streams").digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little")))


def blocks_of_rank(total: int, rank: int, size: int) -> range:
    """The blocks that `rank` owns: contiguous, in order of rank, their numbers differing by at most one.

    Args:
        total: number of blocks over all ranks, >= 0. With fewer blocks than ranks the last ranks own none.
    """
    if total < 0 or not 0 <= rank < size:
        raise ValueError(f"need total >= 0 and 0 <= rank < size, got total={total}, rank={rank}, size={size}")
    share, rest = divmod(total, size)
    first = rank * share + min(rank, rest)
    return range(first, first + share + (rank < rest))
