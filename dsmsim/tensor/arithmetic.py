"""Arithmetic of tensor-train (TT) and tensor-ring (TR) matrices on their cores.

    W((o_1..o_d), (i_1..i_d)) = tr G_1[o_1, i_1] G_2[o_2, i_2] ... G_d[o_d, i_d]

Only `full` builds W (Oseledets, "Tensor-Train Decomposition", SIAM J. Sci. Comput. 33, 2295 (2011); Zhao et
al., "Tensor Ring Decomposition", 2016).

Shapes: a core is (r_{k-1}, o_k, i_k, r_k); a train has r_0 = r_d = 1, a ring r_0 = r_d > 1. Everything works
in the cores' precision and on their device, returns new tensors and can be differentiated.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dsmsim.tensor.chain import merged, product

Cores = Sequence[Tensor]


def full(cores: Cores) -> Tensor:
    """The dense W (O, I) of a train or ring."""
    if len(cores) == 1:
        weight: Tensor = cores[0].diagonal(dim1=0, dim2=3).sum(-1)
        return weight
    half = len(cores) // 2
    return product(merged(cores[:half]), merged(cores[half:]))


def inner(a: Cores, b: Cores) -> Tensor:
    """<A, B> = sum_ij A_ij B_ij of two TT or ring matrices of the same modes.

    A train costs d r^3 o i, by sweeping the overlap of the left parts; a ring d (r^4 o i + r^6), as the trace
    of the product of its transfer matrices. Differentiable everywhere.

    Raises:
        ValueError: the modes differ.
    """
    _check_modes(a, b)
    if a[0].shape[0] == b[0].shape[0] == 1:
        overlap = a[0].new_ones(1, 1)
        for left, right in zip(a, b, strict=True):
            half = torch.tensordot(overlap, left, dims=([0], [0]))  # (b, o, i, a')
            overlap = torch.tensordot(half, right, dims=([0, 1, 2], [0, 1, 2]))
        return overlap.reshape(())
    around, *factors = [transfer(left, right) for left, right in zip(a, b, strict=True)]
    for factor in factors[:-1]:
        around = around @ factor
    total: Tensor = (around * factors[-1].T).sum() if factors else around.trace()
    return total


def transfer(a: Tensor, b: Tensor) -> Tensor:
    """The transfer matrix sum_oi A[o, i] (x) B[o, i] of two cores: (a b, a' b')."""
    pairs = torch.tensordot(a, b, dims=([1, 2], [1, 2]))  # (a, a', b, b')
    matrix: Tensor = pairs.transpose(1, 2).reshape(a.shape[0] * b.shape[0], a.shape[-1] * b.shape[-1])
    return matrix


def balanced(cores: Cores) -> list[Tensor]:
    """Cores of the same W and equal root mean squares, each multiplied by a number.

    W must be linear in every core, as it is in all formats of `dsmsim.tensor_shapes`. Cores of W = 0 stay as
    they are.
    """
    sizes = torch.stack([core.square().mean().sqrt() for core in cores])
    if bool((sizes == 0.0).any()):
        return list(cores)
    factors = (sizes.log().mean() - sizes.log()).exp()
    return [core * factor for core, factor in zip(cores, factors, strict=True)]


def scaled(cores: Cores, factor: float | Tensor) -> list[Tensor]:
    """Cores of `factor` times W; the last one takes the factor."""
    return [*cores[:-1], cores[-1] * factor]


def add(a: Cores, b: Cores) -> list[Tensor]:
    """Cores of A + B: ranks add up at every bond that is not the end of a train.

    The sum of a train and a ring is a ring.

    Raises:
        ValueError: the modes differ.
    """
    _check_modes(a, b)
    closed = a[0].shape[0] == b[0].shape[0] == 1
    found = []
    for k, (left, right) in enumerate(zip(a, b, strict=True)):
        first, last = closed and k == 0, closed and k == len(a) - 1
        if first and last:
            found.append(left + right)
        elif first:
            found.append(torch.cat([left, right], dim=-1))
        elif last:
            found.append(torch.cat([left, right], dim=0))
        else:
            upper = torch.cat([left, left.new_zeros(*left.shape[:3], right.shape[-1])], dim=-1)
            lower = torch.cat([right.new_zeros(*right.shape[:3], left.shape[-1]), right], dim=-1)
            found.append(torch.cat([upper, lower], dim=0))
    return found


def _check_modes(a: Cores, b: Cores) -> None:
    modes = [[tuple(core.shape[1:3]) for core in cores] for cores in (a, b)]
    if modes[0] != modes[1]:
        raise ValueError(f"two matrices need the same modes (o, i), not {modes[0]} and {modes[1]}")
