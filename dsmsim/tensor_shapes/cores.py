"""Ranks that bonds can have, and the shapes of the cores of every format.

A matrix W (O x I) with O = prod o_k and I = prod i_k, k = 1 .. d, is made from cores:

    tt         W = G_1[o_1, i_1] G_2[o_2, i_2] ... G_d[o_d, i_d], core k of shape (r_{k-1}, o_k, i_k, r_k) and
               r_0 = r_d = 1 (Oseledets 2011; Novikov et al. 2015; a matrix product operator)
    tr         the trace of the same product with r_0 = r_d >= 1 (Zhao et al. 2016)
    lowrank    W = A B, (O, r) and (r, I)
    cp         W = sum_q prod_k F_k[o_k, i_k, q], factor k of shape (o_k, i_k, r)
    tucker     W = sum_{q_1 .. q_d} C[q_1 .. q_d] prod_k F_k[o_k, i_k, q_k], the core C first
    blockterm  a sum of `blocks` Tucker terms, stacked along a first axis (De Lathauwer 2008)

A rank is one number for all bonds, cut to what each of them can have, or a sequence that is taken as it is:
r_0 .. r_d or, for tt, the inner r_1 .. r_{d-1}; for tucker and blockterm the d sizes of C.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

FORMATS = ("tt", "tr", "lowrank", "cp", "tucker", "blockterm")
Shape = tuple[int, ...]
Rank = int | Sequence[int]


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


def bond_ranks(format: str, modes_out: Sequence[int], modes_in: Sequence[int], rank: Rank) -> list[int]:
    """Ranks r_0 .. r_d of a train or ring from one number or from all of them.

    Raises:
        ValueError: a rank below 1, a sequence of another length, or ends that do not close.
    """
    d = len(modes_out)
    if isinstance(rank, int):
        _check_positive(rank)
        return (tt_ranks if format == "tt" else ring_ranks)(modes_out, modes_in, rank)
    ranks = [1, *rank, 1] if format == "tt" and len(rank) == d - 1 else list(rank)
    _check_positive(*ranks)
    closed = len(ranks) == d + 1 and ranks[0] == ranks[-1] and (format == "tr" or ranks[0] == 1)
    if not closed:
        wanted = f"{d - 1} inner ranks or 1, r_1 .. r_{d - 1}, 1" if format == "tt" else f"r_0 .. r_{d} = r_0"
        raise ValueError(f"ranks {list(rank)} do not fit {d} cores: give {wanted}")
    return ranks


def core_shapes(
    format: str, modes_out: Sequence[int], modes_in: Sequence[int], rank: Rank, blocks: int = 1
) -> list[Shape]:
    """Shapes of all cores of a format, see the module's docstring.

    Raises:
        ValueError: an unknown format, ranks that do not fit it, or a number below 1.
    """
    pairs = list(zip(modes_out, modes_in, strict=True))
    if format in ("tt", "tr"):
        ranks = bond_ranks(format, modes_out, modes_in, rank)
        bonds = zip(ranks[:-1], pairs, ranks[1:], strict=True)
        return [(left, out, into, right) for left, (out, into), right in bonds]
    if format in ("tucker", "blockterm"):
        if blocks < 1:
            raise ValueError(f"blocks {blocks} must be at least 1")
        inner = _factor_ranks([out * into for out, into in pairs], rank)
        shapes: list[Shape] = [tuple(inner)]
        shapes += [(out, into, own) for (out, into), own in zip(pairs, inner, strict=True)]
        return shapes if format == "tucker" else [(blocks, *shape) for shape in shapes]
    if format not in FORMATS:
        raise ValueError(f"format {format!r} must be one of {', '.join(FORMATS)}")
    if not isinstance(rank, int):
        raise ValueError(f"ranks {list(rank)}: format {format!r} has one rank")
    _check_positive(rank)
    if format == "cp":
        return [(out, into, rank) for out, into in pairs]
    rows, columns = math.prod(modes_out), math.prod(modes_in)
    rank = min(rank, rows, columns)
    return [(rows, rank), (rank, columns)]


def _factor_ranks(sizes: Sequence[int], rank: Rank) -> list[int]:
    """Sizes of a Tucker core C whose factors have `sizes` rows."""
    _check_positive(*([rank] if isinstance(rank, int) else rank))
    if isinstance(rank, int):
        return [min(rank, size) for size in sizes]
    if len(rank) != len(sizes):
        raise ValueError(f"ranks {list(rank)} do not fit {len(sizes)} factors")
    return list(rank)


def _check_positive(*numbers: int) -> None:
    for number in numbers:
        if number < 1:
            raise ValueError(f"rank {number} must be at least 1")


def parameters(
    format: str, modes_out: Sequence[int], modes_in: Sequence[int], rank: Rank, blocks: int = 1
) -> int:
    """Number of entries of all cores, exactly."""
    return sum(math.prod(shape) for shape in core_shapes(format, modes_out, modes_in, rank, blocks))
