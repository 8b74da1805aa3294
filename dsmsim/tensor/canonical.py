"""Canonical forms, rounding, norms and bond spectra of tensor-train (TT) matrices; W is never built.

    W((o_1..o_d), (i_1..i_d)) = G_1[o_1, i_1] G_2[o_2, i_2] ... G_d[o_d, i_d]

as in Oseledets, "Tensor-Train Decomposition", SIAM J. Sci. Comput. 33, 2295 (2011). A core is a left isometry
if sum_{r,o,i} G[r, o, i, a] G[r, o, i, b] = delta_ab, a right isometry if the same holds for its left index.
Tensor rings have no canonical form: what is done to them instead is in `rings`. Products and sums of both are
in `arithmetic`.

Shapes: a core is (r_{k-1}, o_k, i_k, r_k); a train has r_0 = r_d = 1, a ring r_0 = r_d > 1. Everything works
in the cores' precision and on their device, and returns new tensors.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dsmsim.tensor.arithmetic import Cores, add, balanced, full, inner, scaled
from dsmsim.tensor.rings import ring_spectra, rounded_ring
from dsmsim.tensor.truncation import Ranks, rank_caps, truncated_svd

__all__ = [
    "add",
    "balanced",
    "bond_singular_values",
    "full",
    "inner",
    "left_isometry",
    "norm",
    "orthogonalise",
    "positive_qr",
    "right_isometry",
    "rounded",
    "scaled",
]


def norm(cores: Cores) -> Tensor:
    """|W|_F, of shape ().

    A train's comes from a QR sweep and is good to rounding even where W is a small difference of large
    matrices; a ring's is the root of `inner`, good to the root of rounding there.
    """
    if cores[0].shape[0] == 1:
        return orthogonalise(cores, 0)[0].square().sum().sqrt()
    return inner(cores, cores).clamp(min=0.0).sqrt()


def orthogonalise(cores: Cores, center: int) -> list[Tensor]:
    """The same train with left isometries before core `center` (from 0) and right isometries after it.

    `center` d - 1 is the left canonical form, 0 the right one, others are mixed. The norm of W is the norm of
    the core at the center. Made by QR with a non-negative diagonal of R, so that a train already in this form
    stays as it is; ranks that a bond cannot have shrink to its limit.

    Raises:
        ValueError: the cores are a ring, or there is no core `center`.
    """
    _check_train(cores)
    if not 0 <= center < len(cores):
        raise ValueError(f"center {center} must be one of the {len(cores)} cores, counted from 0")
    found = list(cores)
    for k in range(center):
        found[k], rest = left_isometry(found[k])
        found[k + 1] = torch.tensordot(rest, found[k + 1], dims=1)
    for k in range(len(cores) - 1, center, -1):
        rest, found[k] = right_isometry(found[k])
        found[k - 1] = torch.tensordot(found[k - 1], rest, dims=1)
    return found


def left_isometry(core: Tensor) -> tuple[Tensor, Tensor]:
    """G = Q R over the right bond: Q (r, o, i, q) with orthonormal columns, and R (q, r')."""
    isometry, rest = positive_qr(core.flatten(0, 2))
    return isometry.reshape(*core.shape[:3], -1), rest


def right_isometry(core: Tensor) -> tuple[Tensor, Tensor]:
    """G = L Q over the left bond: L (r, q), and Q (q, o, i, r') with orthonormal rows."""
    isometry, rest = positive_qr(core.flatten(1).T)
    return rest.T, isometry.T.reshape(-1, *core.shape[1:])


def positive_qr(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """QR with a non-negative diagonal of R, unique at full rank and (Q, 1) for an isometry Q."""
    isometry, rest = torch.linalg.qr(matrix)
    signs = torch.where(rest.diagonal() < 0.0, -1.0, 1.0).to(rest.dtype)
    return isometry * signs, signs.unsqueeze(1) * rest


def rounded(cores: Cores, tolerance: float, ranks: Ranks = None) -> list[Tensor]:
    """A train or ring of smaller ranks with |W' - W|_F <= tolerance |W|_F.

    A train: a QR sweep to the right canonical form, then an SVD sweep that drops at every bond at most
    tolerance |W|_F / sqrt(d - 1). The errors of the bonds are orthogonal, so their squares add up, to no more
    than the tolerance; the ranks are those that the singular values of W's unfoldings need, and the error is
    at most sqrt(d - 1) times the best one at these ranks. The result is left canonical. A ring: see
    `rings.rounded_ring`.

    Args:
        cores: of a train or ring.
        tolerance: relative Frobenius error of the whole of W that is allowed.
        ranks: largest ranks, one for all bonds or all of r_0 .. r_d; the error is then what it is.

    Raises:
        ValueError: a negative tolerance, or ranks of another number.
    """
    if tolerance < 0.0:
        raise ValueError(f"a tolerance of {tolerance} is negative")
    most = rank_caps(ranks, len(cores))
    if cores[0].shape[0] > 1:
        return rounded_ring(cores, tolerance, most)
    found = orthogonalise(cores, 0)
    allowed = tolerance * torch.linalg.vector_norm(found[0]) / math.sqrt(max(len(cores) - 1, 1))
    for k in range(len(cores) - 1):
        left, values, right = truncated_svd(found[k].flatten(0, 2), allowed, most[k + 1])
        found[k] = left.reshape(*found[k].shape[:3], -1)
        found[k + 1] = torch.tensordot(values.unsqueeze(1) * right, found[k + 1], dims=1)
    return found


def bond_singular_values(cores: Cores) -> list[Tensor]:
    """Singular values, in decreasing order, at each bond.

    A train: those of W's unfolding (o_1 i_1 .. o_k i_k, o_{k+1} .. i_d) at the inner bonds k = 1 .. d - 1, so
    that their squares add up to |W|_F^2; from the triangular factors of a left and a right QR sweep.
    Differentiable where cores have full rank. A ring: see `rings.ring_spectra`, bonds k = 1 .. d.
    """
    if cores[0].shape[0] > 1:
        return ring_spectra(cores)
    left, right = [], []
    carried = cores[0].new_ones(1, 1)
    for core in cores[:-1]:
        _, carried = left_isometry(torch.tensordot(carried, core, dims=1))
        left.append(carried)
    carried = cores[0].new_ones(1, 1)
    for core in reversed(cores[1:]):
        carried, _ = right_isometry(torch.tensordot(core, carried, dims=1))
        right.append(carried)
    return [torch.linalg.svdvals(a @ b) for a, b in zip(left, reversed(right), strict=True)]


def _check_train(cores: Cores) -> None:
    if cores[0].shape[0] != 1 or cores[-1].shape[-1] != 1:
        raise ValueError("a ring has no canonical form: only a train, with r_0 = r_d = 1, can be orthogonal")
