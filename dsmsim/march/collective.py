"""A factor of psi that all particles share: a quadratic polynomial in collective variables.

    F = 1 + sum_a c_a gamma_a + sum_{a<=b} c_ab gamma_a gamma_b

    A_iq = mean over l != i of phi_q(|x_i - x_l|)         what particle i sees of the others
    gamma:   S_q = mean_i A_iq,   T_qp = mean_i A_iq A_ip  (q <= p <= Q)

Products over pairs describe pairs that meet independently of each other. What has met one particle meets the
next one differently, and the two ways to come to the same place interfere: psi is a SUM over histories, which
products of amplitudes converge to slowly and a sum in front of them at once. Measured for four bosons, g = 1:
the part of the motion that products over pairs and triples miss, 4-5 %, falls to 2 %.

Shapes: W configurations, N particles, D axes, n = N D, p pairs, G variables gamma, M monomials.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from dsmsim.march.amplitudes import LogWave, Wanted, logarithm, mix
from dsmsim.march.pairs import PairList, Pairs, gather


class Variables(NamedTuple):
    """gamma at some configurations.

    Attributes:
        value: (G, W).
        gradient: (G, W, n).
        laplacian: (G, W); None where it was not asked for.
    """

    value: Tensor
    gradient: Tensor
    laplacian: Tensor | None


class CollectiveFactor:
    """F of the module.

    Args:
        pairs: which pairs there are.
        count: Q.
        order: of the polynomial, 1 or 2.
    """

    def __init__(self, pairs: PairList, count: int, order: int) -> None:
        self.pairs, self.count, self.order = pairs, count, order
        self.products = [(q, p) for q in range(count) for p in range(q, count)]
        size = count + len(self.products)
        self.size = size
        self.squares = [(a, b) for a in range(size) for b in range(a, size)] if order > 1 else []

    @property
    def names(self) -> tuple[str, ...]:
        gamma = [f"S{q + 1}" for q in range(self.count)]
        gamma += [f"T{q + 1}{p + 1}" for q, p in self.products]
        return tuple(gamma + [f"{gamma[a]} {gamma[b]}" for a, b in self.squares])

    def variables(self, at: Pairs, *, laplacian: bool) -> Variables:
        """gamma and its derivatives."""
        particles, dims = self.pairs.particles, at.vector.shape[-1]
        share = 1.0 / (particles - 1)
        first, second = self.pairs.is_first, self.pairs.is_second
        both = (first + second) * share
        rows = slice(1, self.count + 1)
        value, slope = at.tables.value[rows], at.tables.slope[rows]
        seen = value @ both  # A: (Q, W, N)
        pull = slope.unsqueeze(-1) * at.vector  # d phi/dx_i of the first: (Q, W, p, D)
        own = self.pairs.push(pull) * share  # dA_iq/dx_i: (Q, W, N, D)
        configurations = at.square.shape[0]
        gamma = value.new_empty(self.size, configurations)
        gradient = value.new_empty(self.size, configurations, particles, dims)
        gamma[: self.count] = seen.mean(-1)
        gradient[: self.count] = own * (2.0 / particles)
        curved = None
        if laplacian:
            assert at.tables.laplacian is not None
            bend = at.tables.laplacian[rows] @ both  # lap_i A_iq
            curved = value.new_empty(self.size, configurations)
            curved[: self.count] = bend.sum(-1) * (2.0 / particles)
        of_first, of_second = seen[:, :, self.pairs.first], seen[:, :, self.pairs.second]
        for k, (q, p) in enumerate(self.products, self.count):
            gamma[k] = (seen[q] * seen[p]).mean(-1)
            # x_i moves A_i, and through its partners A_j
            on_first = slope[q] * of_second[p] + slope[p] * of_second[q]
            on_second = slope[q] * of_first[p] + slope[p] * of_first[q]
            total = own[q] * seen[p].unsqueeze(-1) + own[p] * seen[q].unsqueeze(-1)
            total += share * gather(on_first.unsqueeze(-1) * at.vector, first)
            total -= share * gather(on_second.unsqueeze(-1) * at.vector, second)
            gradient[k] = total / particles
            if curved is not None:
                crossed = (own[q] * own[p]).sum((-1, -2))
                crossed += 2.0 * share**2 * (slope[q] * slope[p] * at.square).sum(-1)
                bent = (bend[q] * seen[p] + bend[p] * seen[q]).sum(-1)
                curved[k] = (2.0 / particles) * (bent + crossed)
        return Variables(gamma, gradient.flatten(2), curved)

    def wave(self, c: Tensor, at: Variables, shape: torch.Size, wanted: Wanted) -> LogWave:
        """What it adds to log psi, for c (M,); shape (W, N, D)."""
        linear, quadratic = self._coefficients(c)
        value, slopes = self._polynomial(linear, quadratic, at.value)
        weights = slopes / value  # d log F/d gamma: (G, W)
        gradient = _contract(weights, at.gradient)
        laplacian = None
        if wanted.laplacian and at.laplacian is not None:
            laplacian = (weights * at.laplacian).sum(0) - gradient.square().sum(-1)
            if quadratic is not None:
                gram = torch.einsum("awn,bwn->abw", at.gradient, at.gradient)
                laplacian = laplacian + mix(quadratic.flatten(), gram.flatten(0, 1)) / value
        return LogWave(*logarithm(value, wanted), gradient.reshape(shape), laplacian)

    def rows(self, c: Tensor, gamma: Tensor) -> Tensor:
        """d log psi/dc: (W, M), from gamma (G, W)."""
        value, _ = self._polynomial(*self._coefficients(c), gamma)
        monomials = [gamma, *((gamma[a] * gamma[b]).unsqueeze(0) for a, b in self.squares)]
        table = torch.cat(monomials)
        inverse = 1.0 / value
        return torch.complex(table * inverse.real, table * inverse.imag).t()

    def _coefficients(self, c: Tensor) -> tuple[Tensor, Tensor | None]:
        """Linear (G,), and quadratic ones as the symmetric matrix of second derivatives (G, G)."""
        if not self.squares:
            return c, None
        matrix = c.new_zeros(self.size, self.size)
        rows, columns = torch.tensor(self.squares, device=c.device).t()
        matrix[rows, columns] = c[self.size :]
        return c[: self.size], matrix + matrix.t()

    def _polynomial(self, linear: Tensor, quadratic: Tensor | None, gamma: Tensor) -> tuple[Tensor, Tensor]:
        """F (W,) and dF/d gamma (G, W), complex."""
        if quadratic is None:
            return 1.0 + mix(linear, gamma), linear.unsqueeze(1).expand(-1, gamma.shape[1])
        parts = torch.view_as_real(quadratic).permute(2, 0, 1) @ gamma
        curved = torch.complex(parts[0], parts[1])
        slopes = linear.unsqueeze(1) + curved
        return 1.0 + mix(linear, gamma) + 0.5 * (curved * gamma).sum(0), slopes


def _contract(weights: Tensor, gradient: Tensor) -> Tensor:
    """sum_a weights_a gradient_a: complex (W, n) of complex (G, W) and real (G, W, n)."""
    parts = torch.einsum("cgw,gwn->cwn", torch.view_as_real(weights).permute(2, 0, 1), gradient)
    return torch.complex(parts[0], parts[1])
