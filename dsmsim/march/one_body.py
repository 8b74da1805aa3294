"""Factors of psi of single particles: prod_i h(x_i), and what the quadratic forms of log psi add.

Along every axis, cosines of a stretched position,

    chi_m(x) = cos(m y),    y = pi/2 + (pi/2) asinh((x - center)/length) / asinh(reach/length),

are Chebyshev's polynomials of sin(y - pi/2): even and odd ones, bounded, dense near the centre. In D axes h
holds their products chi_m1(x) chi_m2(y) ... of total degree up to the count.

Shapes: W configurations, N particles, D axes, K functions.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsmsim.march.amplitudes import LogWave, Wanted, combine, logarithm, mix, project
from dsmsim.march.model import Theta

Array = NDArray[np.float64]


class OneBodyFactor:
    """prod_i h(x_i).

    Args:
        center, length, reach: (D,) of every axis.
        count: highest total degree.
    """

    def __init__(self, center: Tensor, length: Tensor, reach: Tensor, count: int) -> None:
        self.center, self.length, self.count = center, length, count
        self.rate = 0.5 * math.pi / torch.asinh(reach / length)
        axes = len(center)
        degrees = itertools.product(range(count + 1), repeat=axes)
        self.degrees = sorted((m for m in degrees if 0 < sum(m) <= count), key=lambda m: (sum(m), m))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple("one-body " + " ".join(map(str, m)) for m in self.degrees)

    def wave(self, c: Tensor, x: Tensor, wanted: Wanted) -> LogWave:
        """What it adds to log psi at x (W, N, D), for c (K,)."""
        tables = self._axes(x, derivatives=True)
        h = combine(c, self._products(tables, ()))
        slopes = []
        curved: Tensor | None = None
        for axis in range(x.shape[-1]):
            slope = mix(c, self._products(tables, (axis,))[1:]) / h
            slopes.append(slope)
            if wanted.laplacian:
                second = mix(c, self._products(tables, (axis, axis))[1:]) / h - slope.square()
                curved = second if curved is None else curved + second
        gradient = torch.stack(slopes, -1)
        return LogWave(*logarithm(h, wanted), gradient, None if curved is None else curved.sum(1))

    def rows(self, c: Tensor, x: Tensor) -> Tensor:
        """d log psi/dc: (W, K)."""
        values = self._products(self._axes(x, derivatives=False), ())
        return project(values[1:], 1.0 / combine(c, values))

    def _axes(self, x: Tensor, *, derivatives: bool) -> list[list[Tensor]]:
        """chi_m (count + 1, W, N) of every axis, and their first and second derivatives."""
        order = torch.arange(self.count + 1, dtype=x.dtype, device=x.device).reshape(-1, 1, 1)
        found = []
        for axis in range(x.shape[-1]):
            length, rate = float(self.length[axis]), float(self.rate[axis])
            z = x[..., axis] - float(self.center[axis])
            y = order * (0.5 * math.pi + rate * torch.asinh(z / length))
            cosine = torch.cos(y)
            if not derivatives:
                found.append([cosine])
                continue
            spread = 1.0 / (z.square() + length**2)
            dy = rate * spread.sqrt()
            slope = -order * torch.sin(y) * dy
            found.append([cosine, slope, -(order**2) * cosine * dy.square() - slope * z * spread])
        return found

    def _products(self, tables: list[list[Tensor]], along: tuple[int, ...]) -> Tensor:
        """Products over axes (K + 1, W, N), the constant first, differentiated along the axes `along`."""
        total: Tensor | None = None
        for axis, of_axis in enumerate(tables):
            table = of_axis[along.count(axis)]
            index = torch.tensor([0, *(m[axis] for m in self.degrees)], device=table.device)
            part = table[index]
            total = part if total is None else total * part
        assert total is not None
        return total


class QuadraticFactor:
    """exp of sum_i x_ia (if `linear`), sum_i x_ia^2 and sum_{i<j} (x_ia - x_ja)^2 for every axis a.

    They hold the motion of a Gaussian cloud, of its centre and of its relative coordinates, exactly.
    Positions are measured from `center` (D,), so that what moves far stays well conditioned.
    """

    def __init__(self, particles: int, center: Tensor, *, linear: bool) -> None:
        self.particles, self.center, self.linear = particles, center, linear

    @property
    def names(self) -> tuple[str, ...]:
        axes = "xyz"[: len(self.center)] if len(self.center) <= 3 else [str(a) for a in self.center]
        names = [f"{a}" for a in axes] if self.linear else []
        names += [f"{a}^2" for a in axes]
        return tuple(names + ([f"pair {a}^2" for a in axes] if self.particles > 1 else []))

    def wave(self, c: Tensor, x: Tensor) -> LogWave:
        """What it adds to log psi at x (W, N, D)."""
        first, second, relative = self._split(c)
        z = x - self.center.to(x)
        apart = self.particles * (z - z.mean(1, keepdim=True))  # sum_j (x_i - x_j)
        gradient = first + 2.0 * second * z + 2.0 * relative * apart
        bend = 2.0 * self.particles * (second + (self.particles - 1) * relative).sum()
        value = self.rows(x) @ c
        return LogWave(2.0 * value.real, value.imag, gradient, bend.expand(len(x)))

    def rows(self, x: Tensor) -> Tensor:
        """d log psi/dc (W, K): complex, but its imaginary part is 0."""
        z = x - self.center.to(x)
        own, middle = z.square().sum(1), z.mean(1)
        parts = [z.sum(1)] if self.linear else []
        parts.append(own)
        if self.particles > 1:
            parts.append(self.particles * (z - middle.unsqueeze(1)).square().sum(1))
        return torch.cat(parts, 1).to(torch.complex128)

    def stiffness(self, c: Theta) -> tuple[Array, Array]:
        """Real parts (D,) of the coefficients of x^2 and of (x_i - x_j)^2."""
        dims = len(self.center)
        own = c[dims:] if self.linear else c
        return own[:dims].real, own[dims:].real if self.particles > 1 else np.zeros(dims)

    def _split(self, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        dims = len(self.center)
        zero = c.new_zeros(dims)
        at = dims if self.linear else 0
        first, second = (c[:dims] if self.linear else zero), c[at : at + dims]
        return first, second, c[at + dims :] if self.particles > 1 else zero
