"""Functions of a distance in which pair amplitudes are expanded: cosines of a stretched distance.

    phi_k(r) = cos(k y),    y = pi asinh(r / length) / asinh(reach / length),    k = 0 ... K

Even in r, so smooth functions of the relative vector in any dimension; bounded, so that no coefficient can
make a wave function run away; dense near r = 0, where the interaction acts, and sparse far away, where a
cloud is smooth; and as well conditioned as a Fourier series.

Shapes: W configurations, p pairs, D axes, K + 1 functions.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

SMALLEST = 1e-30  # distance (in units of `length`) below which 1/r would overflow


class Tables(NamedTuple):
    """Functions of the relative vector r (W, p, D): each (K + 1, W, p).

    Attributes:
        value: phi.
        slope: phi'(r)/r, so that the gradient is slope times the vector.
        laplacian: phi'' + (D - 1) phi'/r; None where it was not asked for.
    """

    value: Tensor
    slope: Tensor
    laplacian: Tensor | None


class PairBasis(NamedTuple):
    """See the module.

    Attributes:
        length: below which functions of the distance are resolved best.
        reach: largest distance that the functions tell apart.
        order: K.
    """

    length: float
    reach: float
    order: int

    @property
    def rate(self) -> float:
        """dy/d asinh(r/length)."""
        return math.pi / math.asinh(self.reach / self.length)

    def tables(self, square: Tensor, dimensions: int, *, laplacian: bool) -> Tables:
        """Values and derivatives at squared distances (W, p)."""
        r = square.sqrt().clamp_min(SMALLEST * self.length)
        y = self.rate * torch.asinh(r / self.length)
        cosine = torch.cos(y)
        value = _multiples(cosine, torch.ones_like(y), cosine, self.order)
        k = torch.arange(self.order + 1, dtype=y.dtype, device=y.device).reshape(-1, 1, 1)
        spread = 1.0 / (square + self.length**2)
        dy = self.rate * spread.sqrt()
        # the recurrence is linear, so that its start takes the factor of all of them
        slope = _multiples(torch.sin(y) * (-dy / r), torch.zeros_like(y), cosine, self.order)
        slope *= k
        if not laplacian:
            return Tables(value, slope, None)
        # phi'' = -k^2 cos(ky) y'^2 - k sin(ky) y'',  y'' = -r y'/(r^2 + length^2),  k sin(ky) y' = -r slope
        second = value * -(k**2)
        second *= dy.square()
        return Tables(value, slope, second.addcmul_(slope, (dimensions - 1.0) - square * spread))


def _multiples(first: Tensor, zeroth: Tensor, cosine: Tensor, count: int) -> Tensor:
    """cos(ky) or sin(ky) for k = 0 ... count, from those for 0 and 1 and cos y: (count + 1, ...)."""
    found = first.new_empty((count + 1, *first.shape))
    found[0] = zeroth
    if count > 0:
        found[1] = first
    twice = 2.0 * cosine
    for k in range(2, count + 1):
        torch.mul(twice, found[k - 1], out=found[k])
        found[k] -= found[k - 2]
    return found
