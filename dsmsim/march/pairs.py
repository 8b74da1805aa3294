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

from dsmsim.march.amplitudes import LogWave, Wanted, combine, logarithm, mix, project
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
    """All pairs i < j of N particles.

    Attributes:
        first, second: (p,) their particles.
        is_first, is_second: (p, N) float64, one where the particle is the first, or the second, of the pair.
    """

    def __init__(self, particles: int) -> None:
        self.particles = particles
        self.first, self.second = torch.triu_indices(particles, particles, 1)
        one = torch.eye(particles, dtype=torch.float64)
        self.is_first, self.is_second = one[self.first], one[self.second]

    def of(self, x: Tensor, basis: PairBasis, *, laplacian: bool) -> Pairs:
        """The pairs of x (W, N, D), to whose device this moves."""
        if self.first.device != x.device:
            self.first, self.second = self.first.to(x.device), self.second.to(x.device)
            self.is_first, self.is_second = self.is_first.to(x.device), self.is_second.to(x.device)
        vector = x[:, self.first] - x[:, self.second]
        square = vector.square().sum(-1)
        return Pairs(vector, square, basis.tables(square, x.shape[-1], laplacian=laplacian))

    def push(self, on_first: Tensor) -> Tensor:
        """What pairs do to their particles, when it is opposite for both: (..., p, D) to (..., N, D)."""
        if on_first.is_complex():
            return torch.complex(self.push(on_first.real), self.push(on_first.imag))
        return gather(on_first, self.is_first - self.is_second)


def gather(of_pairs: Tensor, incidence: Tensor) -> Tensor:
    """Sums over pairs (..., p, D) for every particle (..., N, D), by an incidence matrix (p, N).

    With the pairs last it is one large product, and not a small one for every configuration.
    """
    by_axis = of_pairs.transpose(-1, -2)
    sums = by_axis.reshape(-1, incidence.shape[0]) @ incidence
    return sums.reshape(*by_axis.shape[:-1], incidence.shape[1]).transpose(-1, -2)


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

    def amplitudes(self, c: Tensor, at: Pairs) -> Tensor:
        """f of every pair: (W, p), for c (K,)."""
        return combine(c, at.tables.value[: self.count + 1])

    def wave(self, c: Tensor, at: Pairs, f: Tensor, wanted: Wanted) -> LogWave:
        """What it adds to log psi, for c (K,) and the amplitudes f (W, p)."""
        rows = slice(0, self.count + 1)
        slope = _sum(c, at.tables.slope[rows]) / f
        gradient = self.pairs.push(slope.unsqueeze(-1) * at.vector)
        laplacian = None
        if wanted.laplacian and at.tables.laplacian is not None:
            second = _sum(c, at.tables.laplacian[rows]) / f
            laplacian = 2.0 * (second - slope.square() * at.square).sum(1)
        return LogWave(*logarithm(f, wanted), gradient, laplacian)

    def rows(self, at: Pairs, f: Tensor) -> Tensor:
        """d log psi/dc: (W, K), from the amplitudes f (W, p)."""
        return project(at.tables.value[1 : self.count + 1], 1.0 / f)


def _sum(c: Tensor, table: Tensor) -> Tensor:
    """As `combine`, of derivatives: the constant has none."""
    return mix(c, table[1:])
