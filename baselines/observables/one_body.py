"""The one-body density matrix along the first axis and what is read off it.

    rho(x, x') = integral psi(x, ...) psi*(x', ...) d(everything else)          trace 1, Hermitian, positive
    rho(x, x') = sum_k n_k phi_k(x) phi_k*(x')             natural occupations n_k and orbitals phi_k
    g1(x, x')  = rho(x, x') / sqrt(rho(x, x) rho(x', x'))

All points are equidistant, and the state vanishes at both ends of them, so that sums are integrals of
spectral accuracy. Löwdin, Phys. Rev. 97 (1955) 1474, for natural orbitals.

Shapes: `M` points of x, `K` orbitals.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse.linalg import eigsh

from baselines.grids.product import Array, Wave

# below this density, relative to its peak, ratios of densities say nothing: they are left out (NaN)
FAINT = 1e-6
# from this size on only the wanted eigenvectors are found, by Lanczos
POINTS_FOR_LANCZOS = 600


def density_matrix(factor: Wave, cell: float) -> Wave:
    """rho(x, x') (M, M) = factor factor^H cell, made exactly Hermitian.

    Args:
        factor: (M, R), psi with the first coordinate apart and all others flattened.
        cell: volume that belongs to one point of the others.
    """
    matrix = cell * (factor @ factor.conj().T)
    return np.asarray(0.5 * (matrix + matrix.conj().T))


def natural_orbitals(matrix: npt.NDArray[np.inexact[Any]], dx: float, count: int = 10) -> tuple[Array, Wave]:
    """The largest natural occupations (K,), decreasing, and their orbitals (K, M).

    Orbitals have norm 1 (sum |phi|^2 dx) and are real and positive where they are largest.

    Args:
        matrix: rho(x, x') (M, M), Hermitian.
        dx: spacing of x.
        count: K; fewer where there are fewer points.
    """
    points = len(matrix)
    count = min(count, points)
    if points >= POINTS_FOR_LANCZOS:
        values, vectors = eigsh(matrix, k=count, which="LA", v0=np.ones(points))
    else:
        values, vectors = np.linalg.eigh(matrix)
    order = np.argsort(values)[::-1][:count]
    orbitals = vectors[:, order].T.astype(np.complex128) / np.sqrt(dx)
    # no negative ones by rounding
    return np.maximum(values[order] * dx, 0.0), np.array([plain_phase(orbital) for orbital in orbitals])


def coherence(matrix: npt.NDArray[np.inexact[Any]]) -> Wave:
    """g1(x, x') (M, M); NaN where rho(x) or rho(x') is below 1e-6 of its peak."""
    density = np.real(np.diagonal(matrix))
    inverse = 1.0 / np.sqrt(visible(density))
    return np.asarray(matrix * np.outer(inverse, inverse), dtype=np.complex128)


def visible(density: npt.NDArray[np.floating[Any]]) -> Array:
    """The density, NaN where it is below 1e-6 of its peak."""
    return np.where(density > FAINT * density.max(), density, np.nan)


def plain_phase(orbital: Wave) -> Wave:
    """The same orbital, real and positive at the first of its largest values."""
    size = np.abs(orbital)
    # the two humps of an odd orbital are equally high but for rounding
    place = int(np.argmax(size > 0.999 * size.max()))
    return np.asarray(orbital * (orbital[place].conj() / size[place]))
