"""Random cores whose matrix W has exactly the mean square that was asked for.

    |W|_F^2 = O I variance

If all entries of n cores are N(0, s^2) and T products of n of them are summed in every entry of W, then
Var(W_ij) = T s^(2 n). That holds on average over draws; |W|_F^2 of a single draw is a product of few
chi-squares and spreads widely at small ranks (two cores of 2 x 2 at rank 1: a relative standard deviation of
(1.5^2 - 1)^(1/2) = 1.1), so all cores are then multiplied by one factor that makes the Frobenius norm exact.
The norm comes from Gram matrices of the cores; W is never built.

Formats and shapes of cores as in `dsmsim.tensor_shapes.cores`; B blocks, r ranks, d modes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from dsmsim.tensor.arithmetic import inner
from dsmsim.tensor_shapes import FORMATS


def core_std(variance: float, ranks: Sequence[int]) -> float:
    """Standard deviation of TT or ring core entries that gives W entries of this variance, on average.

    Args:
        variance: wanted Var(W_ij).
        ranks: r_0 .. r_d; the product of all but the last enters (a ring's closing bond counts once).
    """
    return _std(variance, math.prod(ranks[:-1]), len(ranks) - 1)


def _std(variance: float, terms: int, cores: int) -> float:
    return float((variance / terms) ** (1.0 / (2 * cores)))


@torch.no_grad()
def draw_cores(
    format: str, cores: Sequence[Tensor], variance: float, generator: torch.Generator | None = None
) -> None:
    """Fill cores in place with normal numbers, all of one spread, so that the mean of W_ij^2 is `variance`.

    Raises:
        ValueError: an unknown format, a negative variance, or cores that are computed from others.
    """
    if variance < 0.0:
        raise ValueError(f"a variance of {variance} is negative")
    if any(core.grad_fn is not None for core in cores):
        raise ValueError("cores that a parametrisation computes cannot be filled in place")
    std = _std(variance, _terms(format, cores), len(cores))
    for core in cores:
        core.normal_(std=std, generator=generator)
    if variance > 0.0:
        wanted = variance * _entries(format, cores)
        factor = (wanted / frobenius_square(format, cores)).pow(1.0 / (2 * len(cores)))
        for core in cores:
            core.mul_(factor)


def frobenius_square(format: str, cores: Sequence[Tensor]) -> Tensor:
    """|W|_F^2 from the cores of any format, without building W; differentiable.

    Work: a train or ring see `arithmetic.inner`; lowrank (O + I) r^2; cp r^2 sum_k o_k i_k; tucker and
    blockterm B^2 d r^(d+1) besides the Gram matrices.

    Raises:
        ValueError: an unknown format.
    """
    if format in ("tt", "tr"):
        return inner(cores, cores)
    if format == "lowrank":
        left, right = cores
        return ((left.T @ left) * (right @ right.T)).sum()
    if format == "cp":
        grams = [torch.tensordot(factor, factor, dims=([0, 1], [0, 1])) for factor in cores]
        return torch.stack(grams).prod(0).sum()
    if format == "tucker":
        return _blocks_square([core.unsqueeze(0) for core in cores])
    if format == "blockterm":
        return _blocks_square(cores)
    raise ValueError(f"format {format!r} must be one of {', '.join(FORMATS)}")


def _blocks_square(cores: Sequence[Tensor]) -> Tensor:
    """|sum_b C_b x_k F_bk|_F^2: sum over pairs of blocks of <C_b, C_c x_k F_bk^T F_ck>."""
    core, *factors = cores
    total = core.new_zeros(())
    for b in range(len(core)):
        moved = core  # (c, q_1 .. q_d), its modes turned one after the other into those of block b
        for factor in factors:
            gram = torch.einsum("oip,coiq->cqp", factor[b], factor)
            flat = moved.movedim(1, -1)
            moved = (flat.flatten(1, -2) @ gram).reshape(*flat.shape[:-1], gram.shape[-1])
        total = total + (moved * core[b]).sum()
    return total


def _terms(format: str, cores: Sequence[Tensor]) -> int:
    """Number of products of cores that are summed in every entry of W."""
    if format in ("tt", "tr"):
        return math.prod(core.shape[0] for core in cores)
    return cores[0].numel() if format in ("tucker", "blockterm") else cores[0].shape[-1]


def _entries(format: str, cores: Sequence[Tensor]) -> int:
    """O I, the number of entries of W."""
    if format in ("tt", "tr"):
        return math.prod(core.shape[1] * core.shape[2] for core in cores)
    if format == "lowrank":
        return int(cores[0].shape[0] * cores[1].shape[1])
    factors = cores if format == "cp" else cores[1:]
    return math.prod(factor.shape[-3] * factor.shape[-2] for factor in factors)
