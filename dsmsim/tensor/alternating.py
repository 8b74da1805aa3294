"""Local searches for the two formats that no SVD finds: canonical polyadic (CP) and block-term tensors.

Both minimise |T - sum of terms|_F by improving one factor at a time while the others stand still, so that the
error never grows. They may end in a local minimum, and the best error at a rank may not exist at all for CP
(terms that cancel each other and diverge; de Silva and Lim 2008): the ranks found for a tolerance are upper
bounds, and the same tensor to the same tolerance can need fewer. References: Kolda and Bader, SIAM Rev. 51,
455 (2009); De Lathauwer, Part II, SIAM J. Matrix Anal. Appl. 30, 1033 (2008).

Shapes: a tensor T (n_1 .. n_d); CP factors (n_k, r); block terms core (B, q_1 .. q_d), factors (B, n_k, q_k).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from dsmsim.tensor.dense import columns_multiplied, multiplied, sum_of_terms, summed

SWEEPS = 100
SETTLED = 1e-6  # relative to |T|: the search ends when a sweep wins less
UNUSED = 1e-12  # size of a CP term, relative to the largest

Fit = tuple[list[Tensor], float]


def polyadic(tensor: Tensor, rank: int) -> Fit:
    """CP factors by alternating least squares, and the error |T - sum|_F.

    They start from the leading singular vectors of every unfolding, filled up with random columns (of a fixed
    seed) where the rank is larger. Two modes reach the optimum, which is an SVD, at once. Columns that come
    out as zero keep random numbers in all factors but the first, so that they can be trained.
    """
    factors, spare = [], []
    generator = torch.Generator().manual_seed(0)
    for k, size in enumerate(tensor.shape):
        vectors = leading(_unfolded(tensor, k), rank)
        random = torch.randn(size, rank, generator=generator, dtype=torch.float64).to(tensor)
        spare.append(random / math.sqrt(size))
        factors.append(torch.cat([vectors, spare[-1][:, vectors.shape[1] :]], dim=1))

    def sweep() -> tuple[list[Tensor], Tensor]:
        for k in range(tensor.ndim):
            others = [factor for j, factor in enumerate(factors) if j != k]
            gram = torch.stack([factor.T @ factor for factor in others]).prod(0)
            wanted = _unfolded(tensor, k) @ columns_multiplied(others)
            factors[k] = wanted @ torch.linalg.pinv(gram, hermitian=True)
        lengths = torch.stack([torch.linalg.vector_norm(factor, dim=0) for factor in factors])
        lengths = lengths.clamp(min=torch.finfo(tensor.dtype).tiny)
        even = lengths.log().mean(0).exp()
        factors[:] = [factor * (even / own) for factor, own in zip(factors, lengths, strict=True)]
        return list(factors), summed(factors)

    found, error = _searched(tensor, sweep)
    sizes = torch.stack([torch.linalg.vector_norm(factor, dim=0) for factor in found]).prod(0)
    unused = sizes <= UNUSED * sizes.max()
    first, *others = (torch.where(unused, own, best) for own, best in zip(spare, found, strict=True))
    return [torch.where(unused, 0.0, first), *others], error


def ring(tensor: Tensor, start: Sequence[Tensor], ranks: Sequence[int]) -> Fit:
    """Ring cores (r_{k-1}, n_k, r_k) of ranks r_0 .. r_d, by alternating least squares from smaller ones.

    The start is enlarged by small random numbers (of a fixed seed) on both sides of every bond.
    """
    generator = torch.Generator().manual_seed(0)
    cores = []
    for k, core in enumerate(start):
        shape = (ranks[k], core.shape[1], ranks[k + 1])
        noise = torch.randn(shape, generator=generator, dtype=torch.float64).to(tensor)
        larger = 0.1 * noise * core.square().mean().sqrt()
        larger[: core.shape[0], :, : core.shape[2]] = core
        cores.append(larger)

    def sweep() -> tuple[list[Tensor], Tensor]:
        for k in range(tensor.ndim):
            order = [*range(k + 1, tensor.ndim), *range(k)]
            others = cores[order[0]]
            for j in order[1:]:
                others = torch.tensordot(others, cores[j], dims=1).flatten(1, 2)
            rest = others.movedim(1, 0).flatten(1)  # (product of the other modes, r_k r_{k-1})
            wanted = tensor.permute(k, *order).flatten(1) @ rest
            gram = rest.T @ rest
            # singular where ranks are more than a bond can have
            ridge = 10.0 * torch.finfo(gram.dtype).eps * gram.trace() * torch.eye(len(gram)).to(gram)
            solution = torch.linalg.solve(gram + ridge, wanted.T).T
            cores[k] = solution.reshape(-1, ranks[k + 1], ranks[k]).permute(2, 0, 1)
        product = torch.tensordot(others, cores[-1], dims=([0, 2], [2, 0]))
        return list(cores), product.reshape(tensor.shape)

    return _searched(tensor, sweep)


def block_terms(tensor: Tensor, rank: int, blocks: int) -> Fit:
    """Core and factors of `blocks` Tucker terms of ranks <= `rank`, and the error |T - sum|_F.

    Every term starts as the truncated HOSVD of what the terms before it leave, and is then improved, in
    turns, on what all the others leave, by one sweep of higher-order orthogonal iteration. The cores are not
    fitted together, so that terms whose factors overlap approach the optimum slowly.
    """
    sizes = [min(rank, size) for size in tensor.shape]
    for k in range(tensor.ndim):  # no more than the other modes can tell apart
        sizes[k] = min(sizes[k], math.prod(sizes) // sizes[k])
    cores, factors = [], []
    rest = tensor
    for _ in range(blocks):
        own = [leading(_unfolded(rest, k), size) for k, size in enumerate(sizes)]
        cores.append(multiplied(rest, [factor.T for factor in own]))
        factors.append(own)
        rest = rest - multiplied(cores[-1], own)

    def sweep() -> tuple[list[Tensor], Tensor]:
        left = tensor - _terms(cores, factors)
        for b in range(blocks):
            left = left + multiplied(cores[b], factors[b])
            for k, size in enumerate(sizes):
                turned = [f.T if j != k else torch.eye(len(f)).to(f) for j, f in enumerate(factors[b])]
                factors[b][k] = leading(_unfolded(multiplied(left, turned), k), size)
            cores[b] = multiplied(left, [factor.T for factor in factors[b]])
            left = left - multiplied(cores[b], factors[b])
        stacked = [torch.stack([own[k] for own in factors]) for k in range(tensor.ndim)]
        return [torch.stack(cores), *stacked], _terms(cores, factors)

    return _searched(tensor, sweep)


def with_rank(
    fit: Callable[[int], Fit], tensor: Tensor, rank: int | None, tolerance: float, limit: int
) -> list[Tensor]:
    """The fit at `rank`; without one, at the smallest that is found to keep the relative error `tolerance`.

    Ranks are doubled up to `limit`, where the fit is exact, and then bisected.
    """
    if rank is not None:
        return fit(rank)[0]
    allowed = tolerance * float(torch.linalg.vector_norm(tensor))
    low, high = 0, 1  # `low` is known not to do
    best = fit(high)
    while best[1] > allowed and high < limit:
        low, high = high, min(2 * high, limit)
        best = fit(high)
    while high - low > 1:
        middle = (low + high) // 2
        tried = fit(middle)
        if tried[1] <= allowed:
            best, high = tried, middle
        else:
            low = middle
    return best[0]


def leading(matrix: Tensor, rank: int) -> Tensor:
    """The first `rank` left singular vectors (m, r), all if there are fewer."""
    vectors: Tensor = torch.linalg.svd(matrix, full_matrices=False)[0]
    return vectors[:, :rank]


def _searched(tensor: Tensor, sweep: Callable[[], tuple[list[Tensor], Tensor]]) -> Fit:
    """The best of the sweeps, until one wins next to nothing."""
    size = float(torch.linalg.vector_norm(tensor))
    best: Fit = ([], math.inf)
    for _ in range(SWEEPS):
        cores, sum_of_all = sweep()
        error = float(torch.linalg.vector_norm(tensor - sum_of_all))
        settled = best[1] - error < SETTLED * size
        if error < best[1]:
            best = cores, error
        if settled:
            break
    return best


def _unfolded(tensor: Tensor, k: int) -> Tensor:
    """(n_k, product of the other modes)."""
    return tensor.movedim(k, 0).flatten(1)


def _terms(cores: Sequence[Tensor], factors: Sequence[Sequence[Tensor]]) -> Tensor:
    columns = [torch.stack([own[k] for own in factors]) for k in range(len(factors[0]))]
    return sum_of_terms(torch.stack(list(cores)), columns)
