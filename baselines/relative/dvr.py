"""Sinc grids on half a line, for even and for odd functions.

    f(y) = sum_j f(y_j) [ sinc((y - y_j)/h) +- sinc((y + y_j)/h) ],     y_j = (j + 1/2) h,  j = 0 ... M-1

is the band-limited function (wavenumbers below pi/h) with these values, and +- them at -y_j (Colbert &
Miller, J. Chem. Phys. 96 (1992) 1982). Sums over the points times h are integrals of spectral accuracy for
functions that vanish at y = M h.

Shapes: `M` points.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class HalfGrid:
    """M points of spacing h at positive y."""

    spacing: float
    points: int

    @property
    def width(self) -> float:
        """Where the grid ends: M h."""
        return self.spacing * self.points

    @cached_property
    def y(self) -> Array:
        """(M,)."""
        return np.asarray(self.spacing * (np.arange(self.points) + 0.5), dtype=np.float64)

    @cached_property
    def spectra(self) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        """Eigenvalues (M,), increasing, and eigenvectors (M, M) of -d^2/dy^2 for even and odd functions."""
        distance = np.arange(2 * self.points, dtype=np.float64)
        with np.errstate(divide="ignore"):
            row = 2.0 * (-1.0) ** distance / distance**2
        row[0] = np.pi**2 / 3.0
        direct, mirrored = self._kernels(row / self.spacing**2)
        even, odd = (np.linalg.eigh(direct + sign * mirrored) for sign in (1.0, -1.0))
        return (even[0], even[1]), (odd[0], odd[1])

    def derivative(self, parity: int) -> Array:
        """(M, M): d/dy of an even (0) or odd (1) function at the points; the result has the other parity."""
        distance = np.arange(2 * self.points, dtype=np.float64)
        with np.errstate(divide="ignore"):
            row = (-1.0) ** distance / distance
        row[0] = 0.0
        index = np.arange(self.points)
        apart = index[:, None] - index
        direct = np.sign(apart) * row[np.abs(apart)]
        mirrored = row[index[:, None] + index + 1]
        return np.asarray((direct + (1.0 - 2.0 * parity) * mirrored) / self.spacing)

    def interpolation(self, y: Array, parity: int) -> Array:
        """(K, M): from values at the points to those at any y (K,); zero beyond the grid by nature."""
        direct = np.sinc((y[:, None] - self.y) / self.spacing)
        mirrored = np.sinc((y[:, None] + self.y) / self.spacing)
        return np.asarray(direct + (1.0 - 2.0 * parity) * mirrored)

    def _kernels(self, row: Array) -> tuple[Array, Array]:
        index = np.arange(self.points)
        return row[np.abs(index[:, None] - index)], row[index[:, None] + index + 1]
