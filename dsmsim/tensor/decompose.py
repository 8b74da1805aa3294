"""Cores from a dense matrix W (O, I), for every format of `dsmsim.tensor_shapes.FORMATS`.

    tt         a chain of truncated SVDs (Oseledets 2011)
    tr         the same with the first SVD's rank split between the first and the closing bond (Zhao et al.
               2016), or alternating least squares where they do better
    lowrank    one SVD, the best there is (Eckart and Young)
    tucker     truncated SVDs of one mode after the other (sequentially truncated HOSVD, Vannieuwenhoven et
               al. 2012)
    cp         alternating least squares from the HOSVD's factors (Kolda and Bader 2009)
    blockterm  Tucker terms fitted to what the others leave

The first four keep a relative error that is asked for, because every truncation is an orthogonal projection
and the squares of their errors add up: an error of tolerance |W|_F / sqrt(number of truncations) is allowed
for each. The last two are local searches: see `alternating` for what they do not promise.

Shapes: W is O x I with O = prod o_k and I = prod i_k; tensors of W have the modes n_k = o_k i_k, k = 1 .. d.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from dsmsim.tensor.alternating import Fit, block_terms, polyadic, ring, with_rank
from dsmsim.tensor.arithmetic import balanced, full
from dsmsim.tensor.dense import Modes, dense, tensor_of
from dsmsim.tensor.truncation import Ranks, rank_caps, rank_for, truncated_svd
from dsmsim.tensor_shapes import FORMATS, core_shapes

__all__ = ["decompose", "dense", "full", "low_rank_svd", "tr_svd", "tt_svd", "tucker_svd"]

LARGEST_RING = 16  # rank up to which a ring is fitted to a tolerance: the work of a sweep grows as r^6


@torch.no_grad()
def decompose(
    format: str,
    weight: Tensor,
    modes_out: Modes,
    modes_in: Modes,
    rank: int | None = None,
    tolerance: float | None = None,
    blocks: int = 1,
) -> list[Tensor]:
    """Cores of `format` for W, of equal root mean squares.

    Computed in float64. With a rank, they have exactly the shapes of `core_shapes`, so that a layer can take
    them: where fewer ranks are enough, the others get entries that do not change W, zeros against copies, so
    that gradients reach them. With a tolerance, the ranks are the smallest that this construction finds (of
    cp and blockterm, and of a ring that is not left to `tr_svd`: one rank, by bisection).

    Args:
        weight: (O, I).
        rank, tolerance: one of them; the tolerance is the relative Frobenius error of W.
        blocks: number of terms of blockterm.

    Raises:
        ValueError: an unknown format, modes that do not multiply to W's shape, not one of rank and tolerance.
    """
    if (rank is None) == (tolerance is None):
        raise ValueError("a decomposition needs a rank or a tolerance, one of them")
    if format not in FORMATS:
        raise ValueError(f"format {format!r} must be one of {', '.join(FORMATS)}")
    dtype, weight = weight.dtype, weight.to(torch.float64)
    tensor, allowed = tensor_of(weight, modes_out, modes_in), tolerance or 0.0
    pairs = list(zip(modes_out, modes_in, strict=True))
    if format == "tt":
        cores = tt_svd(weight, modes_out, modes_in, allowed, rank)
    elif format == "tr":
        cores = _ring(weight, modes_out, modes_in, rank, allowed)
    elif format == "lowrank":
        cores = low_rank_svd(weight, rank, allowed)
    elif format == "tucker":
        core, *factors = tucker_svd(tensor, allowed, rank)
        cores = [core, *(f.reshape(*pair, -1) for f, pair in zip(factors, pairs, strict=True))]
    elif format == "cp":
        # one column for each entry of all modes but the largest is exact
        limit = tensor.numel() // max(tensor.shape)
        factors = with_rank(lambda own: polyadic(tensor, own), tensor, rank, allowed, limit)
        cores = [f.reshape(*pair, -1) for f, pair in zip(factors, pairs, strict=True)]
    else:
        limit = max(tensor.shape)
        core, *factors = with_rank(lambda own: block_terms(tensor, own, blocks), tensor, rank, allowed, limit)
        cores = [core, *(f.reshape(blocks, *pair, -1) for f, pair in zip(factors, pairs, strict=True))]
    if rank is not None:
        cores = _padded(format, cores, core_shapes(format, modes_out, modes_in, rank, blocks))
    return [core.to(dtype) for core in balanced(cores)]


def tt_svd(
    weight: Tensor, modes_out: Modes, modes_in: Modes, tolerance: float = 0.0, ranks: Ranks = None
) -> list[Tensor]:
    """TT cores of W, left isometries but for the last, with |W - full(cores)|_F <= tolerance |W|_F.

    Args:
        weight: (O, I).
        modes_out, modes_in: d factors of O and of I.
        tolerance: relative Frobenius error of W; 0 drops exact zeros only.
        ranks: largest ranks, one for all bonds or all of r_0 .. r_d; the error is then what it is.
    """
    most = rank_caps(ranks, len(modes_out))
    tensor = tensor_of(weight, modes_out, modes_in)
    allowed = _allowed(tensor, tolerance, len(modes_out) - 1)
    return _chain(tensor.unsqueeze(0).unsqueeze(-1), modes_out, modes_in, allowed, most)


def tr_svd(
    weight: Tensor,
    modes_out: Modes,
    modes_in: Modes,
    tolerance: float = 0.0,
    ranks: Ranks = None,
    closing: int | None = None,
) -> list[Tensor]:
    """Ring cores of W with |W - full(cores)|_F <= tolerance |W|_F.

    The rank R of the first SVD, W ~ U S V^T with n_1 rows, is split into r_0 r_1 >= R, as evenly as possible,
    or with r_0 = `closing`; what is left is a chain of SVDs that carries r_0 along as the last mode. A split
    without divisors is filled up with further singular vectors, or zeros. The ranks that this finds are
    seldom the smallest a ring could have.

    Args:
        weight, modes_out, modes_in, tolerance: as in `tt_svd`.
        ranks: largest ranks, one for all bonds or all of r_0 .. r_d.
        closing: r_0; None for an even split.

    Raises:
        ValueError: fewer than two cores, or r_0 below 1.
    """
    most = rank_caps(ranks, len(modes_out))
    if len(modes_out) < 2:
        raise ValueError("a ring needs at least two cores")
    if closing is not None and closing < 1:
        raise ValueError(f"a closing rank of {closing} must be at least 1")
    tensor = tensor_of(weight, modes_out, modes_in)
    allowed = _allowed(tensor, tolerance, len(modes_out) - 1)
    caps = [cap for cap in (closing or most[0], most[1]) if cap is not None]
    largest = math.prod(caps) if len(caps) == 2 else None
    left, values, right = torch.linalg.svd(tensor.flatten(1), full_matrices=False)
    rank = rank_for(values, allowed, largest)
    ring = closing or min(math.isqrt(rank), most[0] or rank)
    if most[1] is not None:  # what the first bond cannot take, the closing one must
        ring = max(ring, -(-rank // most[1]))
    bond = -(-rank // ring)
    rest = _with_zeros((values.unsqueeze(1) * right)[: ring * bond], ring * bond, 0)
    first = _with_copies(left[:, : ring * bond], ring * bond, 1)
    first = first.reshape(modes_out[0], modes_in[0], ring, bond).permute(2, 0, 1, 3)
    carried = rest.reshape(ring, bond, *tensor.shape[1:]).movedim(0, -1)
    return [first, *_chain(carried, modes_out[1:], modes_in[1:], allowed, most[1:])]


def low_rank_svd(weight: Tensor, rank: int | None = None, tolerance: float = 0.0) -> list[Tensor]:
    """A (O, r) and B (r, I) with A B the best approximation of W at this rank, or within the tolerance."""
    allowed = _allowed(weight, tolerance, 1)
    left, values, right = truncated_svd(weight, allowed, rank)
    root = values.sqrt()
    return [left * root, root.unsqueeze(1) * right]


def tucker_svd(tensor: Tensor, tolerance: float = 0.0, rank: int | None = None) -> list[Tensor]:
    """Core (q_1 .. q_d) and factors (n_k, q_k) with orthonormal columns, of a tensor (n_1 .. n_d).

    Within the tolerance; at given ranks the error is at most sqrt(d) times the best one.
    """
    allowed = _allowed(tensor, tolerance, tensor.ndim)
    core, factors = tensor, []
    for k in range(tensor.ndim):
        moved = core.movedim(k, 0)
        left, values, right = truncated_svd(moved.flatten(1), allowed, rank)
        factors.append(left)
        core = (values.unsqueeze(1) * right).reshape(-1, *moved.shape[1:]).movedim(0, k)
    return [core, *factors]


def _ring(
    weight: Tensor, modes_out: Modes, modes_in: Modes, rank: int | None, tolerance: float
) -> list[Tensor]:
    """The best of `tr_svd` and of alternating least squares that start from it and from `tt_svd`."""
    tensor = tensor_of(weight, modes_out, modes_in)
    pairs = list(zip(modes_out, modes_in, strict=True))

    def fit(own: int) -> Fit:
        shapes = core_shapes("tr", modes_out, modes_in, own)
        exact = _padded("tr", tr_svd(weight, modes_out, modes_in, ranks=own), shapes)
        fits = [(exact, float(torch.linalg.vector_norm(weight - full(exact))))]
        for svd in (tr_svd, tt_svd):
            start = [core.flatten(1, 2) for core in svd(weight, modes_out, modes_in, ranks=own)]
            cores, error = ring(tensor, start, [own] * (len(pairs) + 1))
            fits.append(([c.reshape(own, *pair, own) for c, pair in zip(cores, pairs, strict=True)], error))
        return min(fits, key=lambda found: found[1])

    if rank is not None:
        return fit(rank)[0]
    svd_cores = tr_svd(weight, modes_out, modes_in, tolerance)
    count = sum(core.numel() for core in svd_cores)
    limit = min(math.isqrt((count - 1) // sum(tensor.shape)), LARGEST_RING)  # beyond it nothing is won
    cores = with_rank(fit, tensor, None, tolerance, limit) if limit else svd_cores
    error = torch.linalg.vector_norm(weight - full(cores))
    return cores if error <= tolerance * torch.linalg.vector_norm(weight) else svd_cores


def _chain(
    carried: Tensor, modes_out: Modes, modes_in: Modes, allowed: Tensor, most: Sequence[int | None]
) -> list[Tensor]:
    """Cores of a tensor (r_0, n_1 .. n_d, r_d) by truncated SVDs from the left."""
    last = carried.shape[-1]
    cores = []
    for k, (out, into) in enumerate(zip(modes_out, modes_in, strict=True)):
        bond = carried.shape[0]
        if k == len(modes_out) - 1:
            cores.append(carried.reshape(bond, out, into, last))
            break
        left, values, right = truncated_svd(carried.reshape(bond * out * into, -1), allowed, most[k + 1])
        cores.append(left.reshape(bond, out, into, -1))
        carried = values.unsqueeze(1) * right
    return cores


def _allowed(tensor: Tensor, tolerance: float, truncations: int) -> Tensor:
    if tolerance < 0.0:
        raise ValueError(f"a tolerance of {tolerance} is negative")
    size: Tensor = torch.linalg.vector_norm(tensor)
    return tolerance * size / math.sqrt(max(truncations, 1))


def _padded(format: str, cores: Sequence[Tensor], shapes: Sequence[Sequence[int]]) -> list[Tensor]:
    """Cores of these larger shapes and of the same W: copies on one side of a bond, zeros on the other.

    The zeros' gradients are those of what was copied, so that training can use the new entries.
    """
    found = []
    for k, (core, shape) in enumerate(zip(cores, shapes, strict=True)):
        zeros: Sequence[int] = ()
        if format in ("tt", "tr"):
            zeros = (0,)
        elif format == "lowrank":
            zeros = (k - 1,) if k else ()
        elif k == 0:  # the core of tucker and blockterm, the first factor of cp
            zeros = range(core.ndim)
        for axis, size in enumerate(shape):
            core = (_with_zeros if axis in zeros else _with_copies)(core, size, axis)
        found.append(core)
    return found


def _with_zeros(tensor: Tensor, size: int, axis: int) -> Tensor:
    missing = [size - own if k == axis else own for k, own in enumerate(tensor.shape)]
    return torch.cat([tensor, tensor.new_zeros(missing)], dim=axis) if missing[axis] else tensor


def _with_copies(tensor: Tensor, size: int, axis: int) -> Tensor:
    return tensor.index_select(axis, torch.arange(size, device=tensor.device) % tensor.shape[axis])
