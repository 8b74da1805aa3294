"""Expectation values on a relative grid, with those of the centre of mass.

All relative coordinates of bosons are alike: E[r_k r_l] and E[p_k p_l] are multiples of the unit matrix for
the modes k, l of one Cartesian axis. So one axis speaks for the kinetic energy of all of them, and the
difference of the first two particles for all pairs.

Shapes: `N` particles, `D` dimensions; psi (S, M_1, ..., M_n).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from baselines.relative.propagation import RelativeGrid, Wave, along, mix
from baselines.trap_motion import TrapMotion, trap_squares
from dsmsim.system import System

Array = NDArray[np.float64]


def moments(
    grid: RelativeGrid, system: System, psi: Wave, t: float, center: TrapMotion, index: int
) -> dict[str, Any]:
    """The variables of the group `observables` at one time.

    Args:
        grid, system, psi: the relative state.
        t: the time.
        center: the Gaussian of the centre of mass, known at this time under `index`.
    """
    n, dimensions = system.particles, system.dimensions
    values = grid.values(psi)
    weight = np.asarray(values.real**2 + values.imag**2, dtype=np.float64)
    norm = float(weight.sum())
    scales = [frame.scale(t) for frame in grid.frames]
    relative = np.zeros(dimensions)
    for axis, half in enumerate(grid.grids):
        cartesian = grid.coordinates.cartesian(axis)
        marginal = _sum_to(weight, (axis + 1,))
        relative[cartesian] += float(marginal @ half.y**2) * scales[cartesian][0] ** 2 / (norm * (n - 1))
    own = center.variance[index]
    mean, variance = center.mean[index], (own + (n - 1) * relative) / n
    between = (own - relative) / n
    osmotic = system.hbar**2 / (8.0 * system.mass) * float((1.0 / own).sum())
    moving = n * center.velocity[index] ** 2 + center.variance_rate[index] ** 2 / (4.0 * own)
    current = 0.5 * system.mass * float(moving.sum())
    for cartesian in range(dimensions):
        of_axis = _kinetic(grid, system, psi, values, cartesian, scales[cartesian])
        osmotic += (n - 1) * of_axis[0] / norm
        current += (n - 1) * of_axis[1] / norm
    trap = n * (0.5 * system.mass * float(trap_squares(system, t) @ variance) + _trap_at(system, mean, t))
    interaction = _interaction(grid, system, weight, t, scales) / norm
    return {
        "mean": np.tile(mean, (n, 1)),
        "variance": np.tile(variance, (n, 1)),
        "covariance": relative * np.eye(n)[:, :, None] + between,
        "center_of_mass_mean": mean,
        "center_of_mass_variance": own / n,
        "energy": osmotic + current + trap + interaction,
        "energy_kinetic": osmotic + current,
        "energy_kinetic_osmotic": osmotic,
        "energy_kinetic_current": current,
        "energy_potential": trap + interaction,
        "energy_trap": trap,
        "energy_interaction": interaction,
        "norm": norm,
    }


def edge_probability(grid: RelativeGrid, psi: Wave) -> Array:
    """Probability in the outer 1/16 of every axis and in the highest 1/16 of its wavenumbers: (2, n)."""
    total = float(np.vdot(psi, psi).real)
    found = np.zeros((2, len(grid.grids)))
    values = grid.values(psi)
    weight = values.real**2 + values.imag**2
    for axis, half in enumerate(grid.grids):
        band = max(1, half.points // 16)
        found[0, axis] = weight.take(range(half.points - band, half.points), axis=axis + 1).sum()
        for sector, parities in enumerate(grid.coordinates.sectors):
            highest = half.spectra[parities[axis]][1][:, -band:].T.astype(psi.real.dtype)
            part = along(highest, psi[sector], axis)
            found[1, axis] += float(np.vdot(part, part).real)
    return found / total


def _trap_at(system: System, position: Array, t: float) -> float:
    """Energy of one particle at rest at a position (D,)."""
    r = torch.from_numpy(position)
    with torch.no_grad():
        return sum(float(term.value(r, r.new_full((), t))) for term in system.terms.values())


def _sum_to(weight: Array, kept: tuple[int, ...]) -> Array:
    return np.asarray(weight.sum(axis=tuple(k for k in range(weight.ndim) if k not in kept)))


def _kinetic(
    grid: RelativeGrid,
    system: System,
    psi: Wave,
    values: Wave,
    cartesian: int,
    scale: tuple[float, float, float],
) -> tuple[float, float]:
    """Osmotic and current energy of the last mode along a Cartesian axis, not divided by the norm."""
    coordinates = grid.coordinates
    axis = coordinates.axis(coordinates.particles - 2, cartesian)
    half = grid.grids[axis]
    slope = np.empty_like(psi)
    for sector, parities in enumerate(coordinates.sectors):
        slope[sector] = along(half.derivative(parities[axis]).astype(psi.real.dtype), psi[sector], axis)
    slope = mix(coordinates.mixing, slope)
    b, b_dot, _ = scale
    y = half.y.reshape([-1 if k == axis else 1 for k in range(len(grid.grids))]).astype(psi.real.dtype)
    size = values.real**2 + values.imag**2
    # psi* dpsi/dx, the chirp apart
    product = values.conj() * slope
    floor = np.finfo(size.dtype).tiny
    inverse = 1.0 / np.maximum(size, floor)
    unit = system.hbar**2 / (2.0 * system.mass * b**2)
    osmotic = unit * float((product.real**2 * inverse).sum(dtype=np.float64))
    chirp = product.imag + (system.mass * b * b_dot / system.hbar) * y * size
    current = unit * float((chirp**2 * inverse).sum(dtype=np.float64))
    return osmotic, current


def _interaction(
    grid: RelativeGrid, system: System, weight: Array, t: float, scales: list[tuple[float, float, float]]
) -> float:
    """Energy of all pairs, from the difference of the first two particles."""
    interaction = system.interaction
    if interaction is None:
        return 0.0
    coordinates = grid.coordinates
    axes = [coordinates.axis(0, cartesian) for cartesian in range(system.dimensions)]
    total = 0.0
    for coset, bits in enumerate(coordinates.cosets):
        marginal = _sum_to(weight[coset], tuple(axes))
        y = [grid.grids[axis].y * (1.0 - 2.0 * bits[axis]) for axis in axes]
        lab = [np.sqrt(2.0) * scales[a][0] * points for a, points in enumerate(y)]
        r = torch.from_numpy(np.stack(np.meshgrid(*lab, indexing="ij"), axis=-1))
        with torch.no_grad():
            energy = interaction.value(r, r.new_full(r.shape[:-1], t)).numpy()
        total += float((marginal * energy).sum())
    return 0.5 * system.particles * (system.particles - 1) * total
