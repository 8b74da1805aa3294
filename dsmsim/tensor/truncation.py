"""Where to cut a spectrum: the smallest rank whose dropped part stays within an absolute Frobenius error."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

Ranks = int | Sequence[int] | None


def truncated_svd(matrix: Tensor, allowed: Tensor | float, most: int | None) -> tuple[Tensor, Tensor, Tensor]:
    """U (m, r), s (r), V^T (r, n) of the smallest r >= 1 whose dropped part has a norm <= `allowed`.

    Args:
        matrix: (m, n).
        allowed: absolute Frobenius error.
        most: largest r; None for any. It goes before `allowed`.
    """
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    rank = rank_for(values, allowed, most)
    return left[:, :rank], values[:rank], right[:rank]


def rank_for(values: Tensor, allowed: Tensor | float, most: int | None = None) -> int:
    """The smallest r >= 1, at most `most`, so that values beyond the first r have a norm <= `allowed`."""
    tails = values.detach().flip(0).square().cumsum(0).sqrt().flip(0)  # of all values from the k-th on
    rank = max(int((tails > allowed).sum()), 1)
    return rank if most is None else min(rank, most)


def rank_caps(ranks: Ranks, cores: int) -> list[int | None]:
    """`ranks` as a list of r_0 .. r_d, with None where there is no limit.

    Raises:
        ValueError: another number of ranks, or one below 1.
    """
    if ranks is None:
        return [None] * (cores + 1)
    found = [ranks] * (cores + 1) if isinstance(ranks, int) else list(ranks)
    if len(found) != cores + 1:
        raise ValueError(f"{cores} cores have ranks r_0 .. r_{cores}, {cores + 1} numbers, not {len(found)}")
    if min(found) < 1:
        raise ValueError(f"ranks {found} must be at least 1")
    return list(found)
