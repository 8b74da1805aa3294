"""Osmotic and current velocity of a wave function at configurations drawn from |psi|^2.

    u = (hbar/mass) Re(grad psi / psi),      v = (hbar/mass) Im(grad psi / psi)

Configurations are points of the grid, drawn with their probability, so that an average over them is one over
|psi|^2 and learnt fields can be compared with these as fields. The gradient at a point is the derivative of
the trigonometric interpolation, and needs only the line of the grid through it along each coordinate. Where
psi is at rounding level the ratio is noise: such points are not drawn.

Shapes: `K` configurations, `N` particles, `D` dimensions, `n = N D`, `M` points per coordinate, `T` times.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.fft

from baselines.grids.product import Array, Grid, Wave

MOST_CONFIGURATIONS = 1000
# |psi|^2 below this fraction of its peak is never drawn: of 1000 configurations less than one in 10^8 times
ROUNDING_LEVEL = 1e-13


def draw_points(
    weight: npt.NDArray[np.floating[Any]], rng: np.random.Generator, count: int = MOST_CONFIGURATIONS
) -> npt.NDArray[np.int64]:
    """Indices (K, n) of points of an array (M, ..., M), drawn with a probability proportional to `weight`."""
    flat = np.where(weight > ROUNDING_LEVEL * weight.max(), weight, 0.0).reshape(-1)
    cumulative = np.cumsum(flat)
    places = np.searchsorted(cumulative, rng.random(count) * cumulative[-1], side="right")
    # a sum of many terms may end a rounding error early
    places = np.minimum(places, np.flatnonzero(flat)[-1])
    return np.stack(np.unravel_index(places, weight.shape), axis=-1)


def generator(seed: int, index: int) -> np.random.Generator:
    """The random numbers of the saved time with this index: the same for every solver and machine."""
    return np.random.default_rng([seed, index])


def velocities(
    grid: Grid, psi: Wave, points: npt.NDArray[np.int64], hbar: float, mass: float
) -> tuple[Array, Array]:
    """u and v (K, N, D) of psi at points of the grid, given by their indices (K, n)."""
    ratio = np.empty(points.shape, dtype=np.complex128)
    for coordinate in range(grid.coordinates):
        others = np.delete(points, coordinate, axis=1)
        # (K, M); a single coordinate has one line for all
        lines = np.atleast_2d(np.moveaxis(psi, coordinate, -1)[tuple(others.T)])
        wave = scipy.fft.fft(lines, axis=1)
        wave *= 1j * _wavenumbers(grid, coordinate % grid.dimensions)
        slope = np.broadcast_to(scipy.fft.ifft(wave, axis=1), (len(points), grid.points))
        ratio[:, coordinate] = slope[np.arange(len(points)), points[:, coordinate]]
    ratio /= psi[tuple(points.T)][:, None]
    shape = (len(points), grid.particles, grid.dimensions)
    return (hbar / mass) * ratio.real.reshape(shape), (hbar / mass) * ratio.imag.reshape(shape)


def _wavenumbers(grid: Grid, axis: int) -> Array:
    """Of a derivative (M,): the largest, which an even grid has without its opposite, has slope zero."""
    k = grid.wavenumbers(axis)
    if grid.points % 2 == 0:
        k[grid.points // 2] = 0.0
    return k


def positions(grid: Grid, points: npt.NDArray[np.int64]) -> Array:
    """Positions (K, N, D) of points of the grid, given by their indices (K, n)."""
    columns = [
        grid.positions(coordinate % grid.dimensions)[points[:, coordinate]]
        for coordinate in range(grid.coordinates)
    ]
    return np.stack(columns, axis=-1).reshape(-1, grid.particles, grid.dimensions)


def velocity_fields_group(
    times: npt.ArrayLike, position: Array, osmotic: Array, current: Array
) -> dict[str, npt.NDArray[Any]]:
    """The group `velocity_fields` of the results file.

    Args:
        times: (T,).
        position, osmotic, current: (T, K, N, D), positions drawn from |psi|^2 and u, v there.
    """
    _, configurations, particles, dimensions = np.shape(position)
    return {
        "time": np.asarray(times, dtype=np.float64),
        "configuration": np.arange(configurations),
        "particle": np.arange(particles),
        "axis": np.arange(dimensions),
        "position": np.asarray(position),
        "osmotic_velocity": np.asarray(osmotic),
        "current_velocity": np.asarray(current),
    }
