"""Oscillator functions, their matrices, and two oscillators seen as pair centre and difference.

    phi_0 = pi^(-1/4) exp(-y^2/2),  sqrt(n+1) phi_{n+1} = sqrt(2) y phi_n - sqrt(n) phi_{n-1},  q = -i d/dy

Two particles with e quanta together: |p, q> with p + q = e, or |K, k> with K + k = e quanta of the pair's
centre (y1 + y2)/sqrt(2) and of its difference (y1 - y2)/sqrt(2). The two are related by a rotation of pi/4
(the Moshinsky brackets of one dimension). For bosons k is even.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import expm

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]


def oscillator_functions(y: Array, count: int) -> Array:
    """phi_0 ... phi_{count-1} at y (any shape): (count, *y.shape)."""
    phi = np.empty((count, *y.shape))
    # far out exp(-y^2/2) is below the smallest number while phi_n is not: the exponent is carried apart
    scale = -0.5 * y * y
    before, now = np.zeros_like(y), np.full_like(y, math.pi**-0.25)
    for n in range(count):
        phi[n] = now * np.exp(scale)
        following = math.sqrt(2.0 / (n + 1)) * y * now - math.sqrt(n / (n + 1)) * before
        size = np.maximum(np.abs(following), np.abs(now))
        shift = np.where(size > 1e100, np.log(np.where(size > 0.0, size, 1.0)), 0.0)
        factor = np.exp(-shift)
        before, now, scale = now * factor, following * factor, scale + shift
    return phi


def position_squared(quanta: NDArray[np.int64]) -> Array:
    """Matrix of y^2 between phi_n of the given n, which are 0, 2, 4, ... or 1, 3, 5, ..."""
    return np.diag(quanta + 0.5) + _two_up(quanta) + _two_up(quanta).T


def momentum_squared(quanta: NDArray[np.int64]) -> Array:
    """Matrix of q^2, as `position_squared`."""
    return np.diag(quanta + 0.5) - _two_up(quanta) - _two_up(quanta).T


def dilation(quanta: NDArray[np.int64]) -> ComplexArray:
    """Matrix of (y q + q y)/2, as `position_squared`."""
    raised = 1j * _two_up(quanta)
    return raised + raised.conj().T


def _two_up(quanta: NDArray[np.int64]) -> Array:
    """a_dagger^2/2."""
    return np.diag(0.5 * np.sqrt((quanta[:-1] + 1.0) * (quanta[:-1] + 2.0)), -1)


@dataclass(frozen=True)
class Ladder:
    """Matrices between phi_0 ... phi_E, (E + 1, E + 1) each, of y, y^2, q, q^2 and (y q + q y)/2."""

    position: Array
    position_squared: Array
    momentum: ComplexArray
    momentum_squared: Array
    dilation: ComplexArray


def ladder(cutoff: int) -> Ladder:
    """The matrices up to E = `cutoff`."""
    size = cutoff + 1
    # two quanta more, so that products are right up to the last row
    lower = np.diag(np.sqrt(np.arange(1.0, size + 2.0)), 1)
    y, q = (lower + lower.T) / math.sqrt(2.0), (lower - lower.T) / (1j * math.sqrt(2.0))
    kept = slice(size), slice(size)
    dilated = 0.5 * (y @ q + q @ y)
    return Ladder(y[kept], (y @ y)[kept], q[kept], np.real(q @ q)[kept], dilated[kept])


class Quadrature:
    """Integrals phi_m f phi_n on equidistant points: exact to rounding for smooth f that the points resolve.

    Args:
        quanta: the n of the functions.
        points: number of points; they reach beyond the turning point of the largest n.
    """

    def __init__(self, quanta: NDArray[np.int64], points: int = 1601) -> None:
        reach = math.sqrt(2.0 * float(quanta[-1]) + 1.0) + 6.5
        self.y = np.linspace(-reach, reach, points)
        self.functions = oscillator_functions(self.y, int(quanta[-1]) + 1)[quanta]
        self._weighted = self.functions * (self.y[1] - self.y[0])

    def matrix(self, values: Array) -> Array:
        """Matrix of a function with these values at `y`."""
        return np.asarray((self._weighted * values) @ self.functions.T)

    def overlaps(self, values: ComplexArray) -> ComplexArray:
        """Integrals phi_n f."""
        return np.asarray(self._weighted @ values)


def pair_rotation(energy: int) -> Array:
    """<{p q} | K k> for p + q = K + k = e, bosons: square, rows q = 0 ... e//2, columns k = 0, 2, ..."""
    # R = exp(pi/4 (a1 a2^+ - a1^+ a2)) turns a1^+ into (a1^+ + a2^+)/sqrt(2)
    p = np.arange(energy)
    hop = np.diag(np.sqrt((p + 1.0) * (energy - p)), -1)  # a1^+ a2 between |p, e - p>
    rotation = expm(-0.25 * math.pi * (hop - hop.T))
    size = energy // 2 + 1
    q = np.arange(size)
    centre = energy - 2 * q  # K of the columns
    symmetric = (rotation[energy - q] + rotation[q]) / math.sqrt(2.0)
    if energy % 2 == 0:
        symmetric[-1] = rotation[energy // 2]
    return np.ascontiguousarray(symmetric[:, centre])
