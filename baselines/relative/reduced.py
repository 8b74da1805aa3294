"""Reduced states of a wave function on a relative grid: of some axes, the others traced out.

A particle's distance from the centre of mass, x_j - X, and the difference and middle of two particles take a
few modes only. psi is interpolated (exactly, it is band-limited) to the points that are wanted on those axes,
sector by sector. Sectors that differ in the parity of a traced axis do not interfere.

Shapes: psi (S, M_1, ..., M_n); `Q` wanted points; y and widths are those of the frame.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baselines.relative.propagation import RelativeGrid, Wave, along

Array = NDArray[np.float64]

# numbers of psi's interpolation held at once
MOST_NUMBERS = 1 << 22


def amplitudes(grid: RelativeGrid, psi: Wave, at: dict[int, Array]) -> Iterator[Wave]:
    """psi on the product of given values of some axes, for each set of sectors that interfere.

    Args:
        grid, psi: the state.
        at: for each kept axis its values of y, any sign.

    Yields:
        arrays with all axes in their order, the kept ones interpolated. Summed squares over the traced axes
        and over all arrays are the density of the kept y.
    """
    coordinates = grid.coordinates
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, sector in enumerate(coordinates.sectors):
        traced = tuple(parity for axis, parity in enumerate(sector) if axis not in at)
        groups.setdefault(traced, []).append(index)
    for members in groups.values():
        yield sum((_interpolated(grid, psi, index, at) for index in members), start=np.zeros(()))  # type: ignore[arg-type]


def _interpolated(grid: RelativeGrid, psi: Wave, index: int, at: dict[int, Array]) -> Wave:
    part: Any = psi[index]
    # the axes that become longest last
    for axis in sorted(at, key=lambda axis: len(at[axis]) / grid.grids[axis].points):
        half = grid.grids[axis]
        matrix = half.interpolation(at[axis], grid.coordinates.sectors[index][axis])
        part = along((matrix / np.sqrt(2.0 * half.spacing)).astype(psi.real.dtype), part, axis)
    return np.asarray(part)


def density_of(grid: RelativeGrid, psi: Wave, at: dict[int, Array]) -> Array:
    """The probability density (K_1, ..., K_k) of the kept axes, in their order, at a product of values."""
    kept = sorted(at)
    traced = tuple(axis for axis in range(len(grid.grids)) if axis not in at)
    first = kept[0]
    others = int(np.prod([len(at[axis]) for axis in kept[1:]], dtype=np.int64))
    others *= int(np.prod([grid.grids[axis].points for axis in traced], dtype=np.int64))
    rows = max(1, MOST_NUMBERS // others)
    found = []
    for start in range(0, len(at[first]), rows):
        piece = at | {first: at[first][start : start + rows]}
        found.append(
            sum(_squared(wave).sum(axis=traced, dtype=np.float64) for wave in amplitudes(grid, psi, piece))
        )
    return np.concatenate(found)


def _squared(wave: Wave) -> NDArray[np.floating[Any]]:
    return np.asarray(wave.real**2 + wave.imag**2)


def signed_points(grid: RelativeGrid, axis: int, refined: int = 1) -> Array:
    """Points of both signs along an axis, spacing h/refined, to the end of the grid."""
    half = grid.grids[axis]
    count = half.points * refined
    return np.asarray((np.arange(-count, count) + 0.5) * (half.spacing / refined))


def reduced_matrix(grid: RelativeGrid, psi: Wave, direction: dict[int, float]) -> tuple[Array, Wave]:
    """The density matrix (Q, Q) of one coordinate u, a combination of one or two axes, and its points u (Q,).

    Of trace 1: it belongs to the points, each of them with its cell.

    Args:
        grid, psi: the state.
        direction: coefficients of u in the axes, of norm 1; the axes share one grid.
    """
    axes = sorted(direction)
    u = signed_points(grid, axes[0])
    cell = float(u[1] - u[0])
    total = np.zeros((u.size, u.size), dtype=np.complex128)
    if len(axes) == 1:
        for wave in amplitudes(grid, psi, {axes[0]: u * np.sign(direction[axes[0]])}):
            factor = np.moveaxis(wave, axes[0], 0).reshape(u.size, -1)
            total += cell * (factor @ factor.conj().T)
        return u, total
    first, second = axes
    a, c = direction[first], direction[second]
    # one value of the coordinate across at a time
    for across in u:
        for wave in _on_points(grid, psi, axes, (a * u - c * across, c * u + a * across)):
            total += cell**2 * (wave @ wave.conj().T)
    return u, total


def _on_points(grid: RelativeGrid, psi: Wave, axes: Sequence[int], at: tuple[Array, Array]) -> Iterator[Wave]:
    """psi at Q points (not a product) of two axes: (Q, everything else), as in `amplitudes`."""
    groups: dict[tuple[int, ...], Wave] = {}
    for index, sector in enumerate(grid.coordinates.sectors):
        matrices = [
            grid.grids[axis].interpolation(y, sector[axis]) / np.sqrt(2.0 * grid.grids[axis].spacing)
            for axis, y in zip(axes, at, strict=True)
        ]
        both = (matrices[0][:, :, None] * matrices[1][:, None, :]).reshape(len(at[0]), -1)
        part = np.moveaxis(psi[index], axes, (0, 1)).reshape(both.shape[1], -1)
        traced = tuple(parity for axis, parity in enumerate(sector) if axis not in axes)
        wave = both.astype(psi.real.dtype) @ part
        groups[traced] = groups[traced] + wave if traced in groups else wave
    yield from groups.values()
