"""Geometry of pairs, and the factor of psi that is a product over pairs, prod_{i<j} f(|x_i - x_j|).

With the vector r of a pair, f = 1 + sum_k c_k phi_k(|r|) and g = sum_k c_k phi_k'/|r|,

    d log f/dr = (g/f) r,    lap_r log f = (sum_k c_k lap phi_k)/f - (g/f)^2 |r|^2,

and the Laplacian over both particles is twice that over r.

Shapes: W configurations, N particles, D axes, p pairs, K functions.
"""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from dsmsim.march.amplitudes import LogWave, combine, mix, project
from dsmsim.march.pair_basis import PairBasis, Tables


class Pairs(NamedTuple):
    """The pairs of some configurations.

    Attributes:
        vector: (W, p, D) x_i - x_j.
        square: (W, p) squared lengths.
        tables: functions of the lengths.
    """

    vector: Tensor
    square: Tensor
    tables: Tables


class PairList:
    """All pairs i < j of N particles."""

    def __init__(self, particles: int) -> None:
        self.particles = particles
        self.first, self.second = torch.triu_indices(particles, particles, 1)

    def of(self, x: Tensor, basis: PairBasis, *, laplacian: bool) -> Pairs:
        """The pairs of x (W, N, D)."""
        if self.first.device != x.device:
            self.first, self.second = self.first.to(x.device), self.second.to(x.device)
        vector = x[:, self.first] - x[:, self.second]
        square = vector.square().sum(-1)
        return Pairs(vector, square, basis.tables(square, x.shape[-1], laplacian=laplacian))

    def to_first(self, like: Tensor) -> Tensor:
        """(p, N): one where the particle is the first of the pair."""
        return torch.nn.functional.one_hot(self.first, self.particles).to(like.dtype).to(like.device)

    def to_second(self, like: Tensor) -> Tensor:
        """(p, N): one where the particle is the second of the pair."""
        return torch.nn.functional.one_hot(self.second, self.particles).to(like.dtype).to(like.device)

    def push(self, on_first: Tensor) -> Tensor:
        """What pairs do to their particles, when it is opposite for both: (..., p, D) to (..., N, D)."""
        signed = self.to_first(on_first.real) - self.to_second(on_first.real)
        return torch.matmul(signed.t().to(on_first.dtype), on_first)


class PairFactor:
    """prod_{i<j} f(r_ij).

    Args:
        pairs: which pairs there are.
        count: K, at most that of the basis.
    """

    def __init__(self, pairs: PairList, count: int) -> None:
        self.pairs, self.count = pairs, count

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(f"pair {k}" for k in range(1, self.count + 1))

    def wave(self, c: Tensor, at: Pairs) -> LogWave:
        """What it adds to log psi, for c (K,)."""
        rows = slice(0, self.count + 1)
        f = combine(c, at.tables.value[rows])
        slope = _sum(c, at.tables.slope[rows]) / f
        gradient = self.pairs.push(slope.unsqueeze(-1) * at.vector)
        laplacian = None
        if at.tables.laplacian is not None:
            second = _sum(c, at.tables.laplacian[rows]) / f
            laplacian = 2.0 * (second - slope.square() * at.square).sum(1)
        return LogWave(f.log().sum(1), gradient, laplacian)

    def rows(self, c: Tensor, at: Pairs) -> Tensor:
        """d log psi/dc: (W, K)."""
        values = at.tables.value[: self.count + 1]
        return project(values[1:], 1.0 / combine(c, values))



def _sum(c: Tensor, table: Tensor) -> Tensor:
    """As `combine`, of derivatives: the constant has none."""
    return mix(c, table[1:])
