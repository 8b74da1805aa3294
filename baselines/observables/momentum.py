"""The momentum density along the first axis, from the one-body density matrix.

    n(p) = 1/(2 pi hbar) int int rho(x, x') e^{-i p (x - x')/hbar} dx dx'
         = 1/(2 pi hbar) int c(s) e^{-i p s/hbar} ds,         c(s) = int rho(x + s, x) dx

c is the sum over a diagonal of the matrix, and n its Fourier transform: integral 1, spectral accuracy. The
points of x, dx apart, can tell |p| < pi hbar/dx apart; of that range the part is kept that holds all but
1e-12 of the probability. c lives on |s| <= L, the length of the box, so dp = pi hbar/L already holds all of
n; dp is half of that or less, for figures and for interpolation.

Shapes: `T` times, `M` points of x, `P` momenta.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.fft

from baselines.grids.product import Array, Wave

# probability beyond the kept momenta
NEGLIGIBLE = 1e-12

Group = dict[str, npt.NDArray[Any]]


def momentum_group(
    times: npt.ArrayLike, x: Array, density_matrix: npt.NDArray[np.inexact[Any]], hbar: float
) -> Group:
    """The group `momentum` of the results file.

    Args:
        times: (T,) those of the matrices.
        x: (M,) equidistant points that resolve the state, which vanishes at both ends.
        density_matrix: rho(x, x') (T, M, M), complex or real, of trace 1.
        hbar: of the input.
    """
    return momentum_of_sums(times, x, [diagonal_sums(matrix) for matrix in density_matrix], hbar)


def momentum_of_sums(times: npt.ArrayLike, x: Array, sums: Sequence[Wave], hbar: float) -> Group:
    """The group `momentum` from the sums (M,) of `diagonal_sums` or `pure_diagonal_sums` at each time."""
    dx = (x[-1] - x[0]) / (len(x) - 1)
    size = int(scipy.fft.next_fast_len(4 * len(x)))
    # c(-s) = c(s)*: the transform is real
    transform = 2.0 * scipy.fft.fft(np.asarray(sums), size, axis=1).real - np.real(sums)[:, :1]
    p = scipy.fft.fftshift(2.0 * np.pi * hbar * scipy.fft.fftfreq(size, dx))
    # rounding leaves zeros a little below zero
    density = np.maximum(scipy.fft.fftshift(transform, axes=1), 0.0) * dx**2 / (2.0 * np.pi * hbar)
    kept = _where_it_is(p, density)
    return {"time": np.asarray(times, dtype=np.float64), "p": p[kept], "momentum_density": density[:, kept]}


def diagonal_sums(matrix: npt.NDArray[np.inexact[Any]]) -> Wave:
    """c_s = sum_j rho(x_{j+s}, x_j) (M,) for s = 0 ... M-1."""
    return np.array([np.trace(matrix, -s) for s in range(len(matrix))], dtype=np.complex128)


def pure_diagonal_sums(psi: Wave) -> Wave:
    """The same (M,) for rho(x, x') = psi(x) psi*(x'), without the matrix: an autocorrelation."""
    size = int(scipy.fft.next_fast_len(2 * len(psi)))
    power = np.abs(scipy.fft.fft(psi, size)) ** 2
    return np.asarray(scipy.fft.ifft(power)[: len(psi)])


def _where_it_is(p: Array, density: Array) -> slice:
    """Momenta -q ... q beyond which less than 1e-12 of the probability lies at every time."""
    worst = density.max(axis=0) * (p[1] - p[0])
    beyond = np.zeros(len(p))
    order = np.argsort(np.abs(p), kind="stable")[::-1]
    beyond[order] = np.cumsum(worst[order])
    needed = np.abs(p[beyond > NEGLIGIBLE]).max(initial=0.0)
    inside = np.flatnonzero(np.abs(p) <= needed * (1.0 + 1e-12))
    return slice(int(inside[0]), int(inside[-1]) + 1)
