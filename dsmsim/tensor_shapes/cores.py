"""Ranks that bonds can have, and the shapes of the cores of every format.

A matrix W (O x I) with O = prod o_k and I = prod i_k, k = 1 .. d, is made from cores:

    tt         W = G_1[o_1, i_1] G_2[o_2, i_2] ... G_d[o_d, i_d], core k of shape (r_{k-1}, o_k, i_k, r_k) and
               r_0 = r_d = 1 (Oseledets 2011; Novikov et al. 2015; a matrix product operator)
    tr         the trace of the same product with r_0 = r_d >= 1 (Zhao et al. 2016)
    lowrank    W = A B, (O, r) and (r, I)
    cp         W = sum_q prod_k F_k[o_k, i_k, q], factor k of shape (o_k, i_k, r)
    tucker     W = sum_{q_1 .. q_d} C[q_1 .. q_d] prod_k F_k[o_k, i_k, q_k], the core C first
    blockterm  a sum of `blocks` Tucker terms, stacked along a first axis (De Lathauwer 2008)
"""

from __future__ import annotations

import math
from collections.abc import Sequence

FORMATS = ("tt", "tr", "lowrank", "cp", "tucker", "blockterm")
Shape = tuple[int, ...]


def bond_limits(modes_out: Sequence[int], modes_in: Sequence[int]) -> list[int]:
    """The largest rank that each inner bond of a TT matrix can have: the smaller side's number of entries."""
    sizes = [out * into for out, into in zip(modes_out, modes_in, strict=True)]
    return [min(math.prod(sizes[:k]), math.prod(sizes[k:])) for k in range(1, len(sizes))]


def tt_ranks(modes_out: Sequence[int], modes_in: Sequence[int], rank: int) -> list[int]:
    """Ranks r_0 .. r_d of a TT matrix: 1 at the ends, `rank` or the bond's limit, if smaller, inside."""
    return [1, *(min(rank, limit) for limit in bond_limits(modes_out, modes_in)), 1]


def ring_ranks(modes_out: Sequence[int], modes_in: Sequence[int], rank: int) -> list[int]:
    """Ranks r_0 .. r_d of a tensor ring: `rank` at every bond, the closing one included."""
    return [rank] * (len(list(zip(modes_out, modes_in, strict=True))) + 1)


def core_shapes(
    format: str, modes_out: Sequence[int], modes_in: Sequence[int], rank: int, blocks: int = 1
) -> list[Shape]:
    """Shapes of all cores of a format, see the module's docstring.

    Raises:
        ValueError: an unknown format.
    """
    pairs = list(zip(modes_out, modes_in, strict=True))
    if format in ("tt", "tr"):
        ranks = (tt_ranks if format == "tt" else ring_ranks)(modes_out, modes_in, rank)
        bonds = zip(ranks[:-1], pairs, ranks[1:], strict=True)
        return [(left, out, into, right) for left, (out, into), right in bonds]
    if format == "lowrank":
        rows, columns = math.prod(modes_out), math.prod(modes_in)
        rank = min(rank, rows, columns)
        return [(rows, rank), (rank, columns)]
    if format == "cp":
        return [(out, into, rank) for out, into in pairs]
    if format in ("tucker", "blockterm"):
        inner = [min(rank, out * into) for out, into in pairs]
        shapes: list[Shape] = [tuple(inner)]
        shapes += [(out, into, own) for (out, into), own in zip(pairs, inner, strict=True)]
        return shapes if format == "tucker" else [(blocks, *shape) for shape in shapes]
    raise ValueError(f"format {format!r} must be one of {', '.join(FORMATS)}")


def parameters(
    format: str, modes_out: Sequence[int], modes_in: Sequence[int], rank: int, blocks: int = 1
) -> int:
    """Number of entries of all cores, exactly."""
    return sum(math.prod(shape) for shape in core_shapes(format, modes_out, modes_in, rank, blocks))
