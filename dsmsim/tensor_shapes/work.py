"""Multiply-adds of making and applying a tensor-decomposed matrix, counted exactly.

Neighbouring cores are first merged to super-cores, one for each group of a grouping such as (1, 2). What is
left is a chain: super-core k of shape (R_{k-1}, o_k, i_k, R_k), R_0 = R_G. Trains and rings take every
grouping; the other formats become a train of two cores, with the bond

    cp         r
    tucker     min(prod of the core's sizes left of the cut, right of it), the core goes to the longer side
    blockterm  blocks times that
    lowrank    r, the train with modes (1, O) and (I, 1)

A chain is applied to x (i_1 .. i_G) from one end to the other. Each step multiplies n matrices (q, s), which
lie one after the other in memory, by one matrix (p, q); no step has to copy its operand, except a ring of
three or more groups in its last.

S: entries o_k i_k of a mode pair; n, p, q, s: sizes of a step, per row of x.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import combinations
from typing import Literal, NamedTuple

Sizes = tuple[int, ...]
Direction = Literal["left to right", "right to left"]
DIRECTIONS: tuple[Direction, ...] = ("left to right", "right to left")


class Chain(NamedTuple):
    """Super-cores (bonds[k], modes_out[k], modes_in[k], bonds[k + 1]) and the work of making them."""

    modes_out: Sizes
    modes_in: Sizes
    bonds: Sizes
    multiply_adds: int


class Step(NamedTuple):
    """A matrix (p, q) times n matrices (q, s)."""

    n: int
    p: int
    q: int
    s: int

    @property
    def multiply_adds(self) -> int:
        """n p q s."""
        return self.n * self.p * self.q * self.s


def groupings(format: str, cores: int) -> Iterator[Sizes]:
    """All groupings of so many cores that a format can be applied in: sizes of the groups, two or more."""
    if format == "lowrank":
        yield (1, 1)
        return
    most = cores if format in ("tt", "tr") else 2
    for groups in range(2, most + 1):
        for cuts in combinations(range(1, cores), groups - 1):
            yield tuple(end - start for start, end in zip((0, *cuts), (*cuts, cores), strict=True))


def chain(format: str, modes_out: Sizes, modes_in: Sizes, ranks: Sizes, grouping: Sizes) -> Chain:
    """The super-cores of a grouping.

    Args:
        format, modes_out, modes_in: of the layer.
        ranks: r_0 .. r_d of tt and tr; r of cp and lowrank; the core's sizes of tucker; the same after the
            number of blocks of blockterm.
        grouping: sizes of the groups, as from `groupings`.
    """
    if format == "lowrank":
        return Chain((1, math.prod(modes_out)), (math.prod(modes_in), 1), (1, *ranks, 1), 0)
    ends = [sum(grouping[: k + 1]) for k in range(len(grouping))]
    parts = [slice(end - size, end) for end, size in zip(ends, grouping, strict=True)]
    sizes = tuple(out * into for out, into in zip(modes_out, modes_in, strict=True))
    if format in ("tt", "tr"):
        bonds = (ranks[0], *(ranks[end] for end in ends))
        work = sum(merge(sizes[part], ranks[part.start : part.stop + 1])[0] for part in parts)
    elif format == "cp":
        bonds, work = (1, *ranks, 1), sum(_products(sizes[part]) * ranks[0] for part in parts)
    else:
        blocks, inner = (1, ranks) if format == "tucker" else (ranks[0], ranks[1:])
        bond, work = _tucker(sizes, inner, parts)
        bonds, work = (1, blocks * bond, 1), blocks * work
    grouped_out = tuple(math.prod(modes_out[part]) for part in parts)
    return Chain(grouped_out, tuple(math.prod(modes_in[part]) for part in parts), bonds, work)


@lru_cache(maxsize=4096)
def merge(sizes: Sizes, bonds: Sizes) -> tuple[int, int]:
    """Cheapest way to merge neighbouring cores of a train into one.

    Args:
        sizes: S_k of the cores.
        bonds: ranks, from the first core's left to the last one's right.

    Returns:
        Multiply-adds, and how many cores stand left of the last product (0 for a single core).
    """
    if len(sizes) == 1:
        return 0, 0
    last = bonds[0] * math.prod(sizes) * bonds[-1]
    costs = [
        merge(sizes[:k], bonds[: k + 1])[0] + merge(sizes[k:], bonds[k:])[0] + last * bonds[k]
        for k in range(1, len(sizes))
    ]
    least = min(costs)
    return least, 1 + costs.index(least)


def _products(sizes: Sequence[int]) -> int:
    """Multiplications of an outer product, one factor after the other: S_1 S_2 + S_1 S_2 S_3 + ..."""
    return sum(math.prod(sizes[: k + 1]) for k in range(1, len(sizes)))


def _tucker(sizes: Sizes, inner: Sizes, parts: Sequence[slice]) -> tuple[int, int]:
    """Bond and work of the two halves of a Tucker term; the core goes where its side is larger."""
    sides = [math.prod(inner[part]) for part in parts]
    small, large = (0, 1) if sides[0] <= sides[1] else (1, 0)
    bond, part = sides[small], parts[large]
    work = _products([size * own for size, own in zip(sizes[parts[small]], inner[parts[small]], strict=True)])
    own_sizes, own_inner = sizes[part], inner[part]
    for k in range(len(own_sizes)):
        work += bond * math.prod(own_sizes[: k + 1]) * math.prod(own_inner[k:])
    return bond, work


def product_work(halves: Chain) -> int:
    """Multiply-adds of the product of two super-cores that makes W."""
    rows, columns = math.prod(halves.modes_out), math.prod(halves.modes_in)
    return rows * columns * halves.bonds[0] * halves.bonds[1]


def steps(halves: Chain, direction: Direction) -> list[Step]:
    """The steps that apply a chain to one row of x, in order."""
    backwards = direction == "right to left"
    turn = slice(None, None, -1 if backwards else 1)
    out, into, bonds = halves.modes_out[turn], halves.modes_in[turn], halves.bonds[turn]
    ring, last, found = bonds[0], len(out) - 1, []
    for k in range(last + 1):
        done, rest = math.prod(out[:k]), math.prod(into[k + 1 :])
        own = ring if 0 < k < last else 1  # a ring's first bond waits outside the inner steps
        p = out[k] * (bonds[k + 1] if k < last else 1) * (ring if k == 0 else 1)
        q = into[k] * (bonds[k] if k > 0 else 1) * (ring if k == last else 1)
        before, after = (rest, done * own) if backwards else (done * own, rest)
        found.append(Step(before, p, q, after))
    return found
