"""Densities and density matrices of particles, from the relative state and the centre of mass.

    x_j = X + alpha u,      alpha^2 = (N-1)/N,      u one unit vector in the space of the modes
    c   = alpha sqrt(N) X - u/sqrt(N)               what else depends on x_j when the other particles stay
    rho(x, x') = integral dc psi(u(x, c), Z(x, c)) psi*(u(x', c), Z(x', c)),        Z = sqrt(N) X

A density is an inverse Fourier transform of its characteristic function, in which the Gaussian is a factor.

Shapes: `Q` points of u, `M` of x, `C` of c, `F` frequencies.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from baselines.relative.propagation import RelativeGrid, Wave
from baselines.relative.reduced import density_of, reduced_matrix, signed_points

Array = NDArray[np.float64]

# a Gaussian of width 1 is below 1e-16 beyond
GAUSSIAN_END = 8.5
# natural functions with a smaller share are rounding
SHARE = 1e-12


def particle_axes(grid: RelativeGrid, cartesian: int) -> dict[int, float]:
    """x_j - X of the simplest particle in the lab coordinates of the axes."""
    coordinates = grid.coordinates
    vector = coordinates.of_particle(coordinates.simplest_particle())
    return {
        coordinates.axis(mode, cartesian): float(value)
        for mode, value in enumerate(vector)
        if abs(value) > 1e-12
    }


def one_body_density(
    grid: RelativeGrid, psi: Wave, cartesian: int, b: float, x: Array, mean: float, variance: float
) -> Array:
    """The one-body density along a Cartesian axis at equidistant x (M,).

    Args:
        grid, psi: the relative state.
        cartesian: which axis.
        b: of its frame.
        x: where.
        mean, variance: of the centre of mass X.
    """
    direction = particle_axes(grid, cartesian)
    at = {axis: signed_points(grid, axis, 2) for axis in direction}
    density = density_of(grid, psi, at)
    for y in at.values():
        density = density * (y[1] - y[0])
    frequencies, step = _frequencies(x, variance)
    waves = characteristic(density, [b * direction[axis] * at[axis] for axis in sorted(at)], frequencies)
    return back(waves * np.exp(-0.5 * variance * frequencies**2), frequencies, step, x - mean)


def _frequencies(x: Array, variance: float) -> tuple[Array, float]:
    """Frequencies (F,) from 0 that the Gaussian lets through, for a function within the range of x."""
    step = 2.0 * math.pi / (1.5 * (x[-1] - x[0]))
    return np.arange(0.0, GAUSSIAN_END / math.sqrt(variance) + step, step), step


def characteristic(weight: Array, positions: list[Array], frequencies: Array) -> Wave:
    """E[exp(-i f (p_1 + p_2 + ...))] (..., F) over the last axes of `weight`, one per entry of positions."""
    first = np.exp(-1j * np.outer(positions[-1], frequencies))
    found = np.asarray(weight @ first)
    for position in reversed(positions[:-1]):
        found = np.einsum("...kf,kf->...f", found, np.exp(-1j * np.outer(position, frequencies)))
    return found


def back(waves: Wave, frequencies: Array, step: float, x: Array) -> Array:
    """The real function (..., M) at x whose transform at `frequencies` >= 0 is `waves` (..., F)."""
    weight = np.full(frequencies.size, step / math.pi)
    weight[0] *= 0.5
    phases = np.exp(1j * np.outer(frequencies, x)) * weight[:, None]
    # rounding leaves zeros a little below zero
    return np.asarray(np.maximum((waves.real @ phases.real) - (waves.imag @ phases.imag), 0.0))


def density_matrix(
    grid: RelativeGrid,
    psi: Wave,
    frame: tuple[float, float],
    x: Array,
    center: Callable[[Array], Wave],
    c: Array,
    unit: float,
) -> Wave:
    """The one-body density matrix (M, M) along the first axis, of trace 1.

    Args:
        grid, psi: the relative state.
        frame: b and b' of the first Cartesian axis.
        x: (M,) equidistant.
        center: the wave function of Z = sqrt(N) X.
        c: (C,) equidistant points of c.
        unit: mass/hbar.
    """
    n = grid.coordinates.particles
    axes = particle_axes(grid, 0)
    alpha = math.sqrt((n - 1.0) / n)
    points, matrix = reduced_matrix(grid, psi, {axis: value / alpha for axis, value in axes.items()})
    shares, functions = np.linalg.eigh(matrix)
    kept = shares > SHARE
    functions = functions[:, kept] * np.sqrt(shares[kept])
    b, b_dot = frame
    u = alpha * x[:, None] - c / math.sqrt(n)
    z = x[:, None] / math.sqrt(n) + alpha * c
    spacing = points[1] - points[0]
    outer = center(z) * np.exp(0.5j * unit * (b_dot / b) * u**2) / math.sqrt(b * spacing)
    total = np.zeros((x.size, x.size), dtype=np.complex128)
    # what is beyond the grid is nothing, and sinc functions need not be evaluated there
    for k in range(c.size):
        inside = np.abs(u[:, k]) < b * (points[-1] + 4.0 * spacing)
        if not inside.any() or np.abs(outer[:, k]).max() < 1e-12:
            continue
        sincs = np.sinc((u[inside, k, None] / b - points) / spacing)
        wave = np.zeros((x.size, functions.shape[1]), dtype=np.complex128)
        wave[inside] = (sincs @ functions) * outer[inside, k, None]
        total += wave @ wave.conj().T
    total *= c[1] - c[0]
    return np.asarray(0.5 * (total + total.conj().T))


def pair_density(grid: RelativeGrid, psi: Wave, b: float, x: Array, mean: float, variance: float) -> Array:
    """The two-body density (M, M) along the first axis, of the first two particles.

    Args:
        grid, psi: the relative state.
        b: of the frame of the first Cartesian axis.
        x: (M,) equidistant.
        mean, variance: of the centre of mass X.
    """
    coordinates = grid.coordinates
    middle = 0.5 * (coordinates.modes[:, 0] + coordinates.modes[:, 1])
    apart = coordinates.axis(0, 0)
    others = {
        coordinates.axis(mode, 0): float(value) for mode, value in enumerate(middle) if abs(value) > 1e-12
    }
    size, dx = x.size, float(x[1] - x[0])
    differences = dx * np.arange(size)
    at: dict[int, Array] = {apart: np.asarray(differences / (math.sqrt(2.0) * b))}
    at |= {axis: signed_points(grid, axis, 2) for axis in others}
    # the difference's axis is the first of all
    density = density_of(grid, psi, at) / (math.sqrt(2.0) * b)
    for axis in others:
        density = density * (at[axis][1] - at[axis][0])
    middles = x[0] + 0.5 * dx * np.arange(2 * size - 1)
    frequencies, step = _frequencies(middles, variance)
    if others:
        places = [np.asarray(b * others[axis] * at[axis]) for axis in sorted(others)]
        waves = characteristic(density, places, frequencies)
    else:
        waves = np.repeat(density[:, None], frequencies.size, axis=1).astype(np.complex128)
    values = back(waves * np.exp(-0.5 * variance * frequencies**2), frequencies, step, middles - mean)
    index = np.arange(size)
    return np.asarray(values[np.abs(index[:, None] - index), index[:, None] + index])
