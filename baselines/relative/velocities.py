"""Osmotic and current velocity at configurations drawn from |psi|^2, for a relative grid.

    u + i v = (hbar/mass) grad psi / psi,       in modes first, then rotated to particles

A point of the grid is drawn with its probability, its sign pattern from the group that leaves psi alone, the
centre of mass from its Gaussian.

Shapes: `K` configurations, `N` particles, `D` dimensions, `n` axes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from baselines.observables.velocity_fields import draw_points
from baselines.relative.propagation import RelativeGrid, Wave
from baselines.trap_motion import TrapMotion
from dsmsim.system import System

Array = NDArray[np.float64]


def velocity_fields(
    grid: RelativeGrid,
    system: System,
    psi: Wave,
    t: float,
    center: TrapMotion,
    index: int,
    rng: np.random.Generator,
) -> tuple[Array, Array, Array]:
    """Positions, u and v, (K, N, D) each.

    Args:
        grid, system, psi: the relative state at time t.
        t: the time.
        center: the Gaussian of the centre of mass, known at this time under `index`.
        rng: for the drawing.
    """
    coordinates = grid.coordinates
    values = grid.values(psi)
    places = draw_points(np.asarray(values.real**2 + values.imag**2, dtype=np.float64), rng)
    coset, points = places[:, 0], places[:, 1:]
    group = np.array(coordinates.group)
    flipped = np.array(coordinates.cosets)[coset] ^ group[rng.integers(len(group), size=len(points))]
    signs = 1.0 - 2.0 * flipped
    at = values[tuple(places.T)]
    mixing = coordinates.mixing[coset]
    n, dimensions = system.particles, system.dimensions
    position = np.empty((len(points), n - 1, dimensions))
    ratio = np.empty(position.shape, dtype=np.complex128)
    for axis, half in enumerate(grid.grids):
        mode, cartesian = divmod(axis, dimensions)
        b, b_dot, _ = grid.frames[cartesian].scale(t)
        others = np.delete(points, axis, axis=1)
        slope = np.zeros(len(points), dtype=np.complex128)
        for sector, parities in enumerate(coordinates.sectors):
            lines = np.moveaxis(psi[sector], axis, -1)[tuple(others.T)].reshape(-1, half.points)
            rows = half.derivative(parities[axis])[points[:, axis]]
            slope += mixing[:, sector] * np.sum(rows * lines, axis=1)
        x = signs[:, axis] * b * half.y[points[:, axis]]
        position[:, mode, cartesian] = x
        chirp = 1j * system.mass * b_dot / (system.hbar * b) * x
        ratio[:, mode, cartesian] = signs[:, axis] * slope / at / b + chirp
    ratio *= system.hbar / system.mass
    # sqrt(N) X and its velocities
    variance, rate = center.variance[index], center.variance_rate[index]
    from_mean = np.sqrt(variance) * rng.standard_normal((len(points), dimensions))
    own = np.sqrt(n) * center.mean[index] + from_mean
    own_u = -system.hbar / (2.0 * system.mass) * from_mean / variance
    own_v = np.sqrt(n) * center.velocity[index] + rate / (2.0 * variance) * from_mean

    def by_particle(modes: Array, of_center: Array) -> Array:
        rotated = np.einsum("kmd,mi->kid", modes, coordinates.modes)
        return np.asarray(rotated + of_center[:, None, :] / np.sqrt(n))

    return by_particle(position, own), by_particle(ratio.real, own_u), by_particle(ratio.imag, own_v)
