"""Steps of a wave function on a grid of relative coordinates.

A drift exp(-i a hbar/(2 mass) q^2), q = -i d/dy, is one dense matrix per axis and parity; it moves the first
axis of the array to the end, so that every product is one large matrix product and n of them restore the
order. A kick multiplies by the phases of the parts of the potential (`baselines.relative.potential`).
Products of the two are those of `baselines.grids.fourier`. A drift takes the integral of dt/b^2 for its
length, which is exact, so that a breathing frame costs no order.

Shapes: psi (S, M_1, ..., M_n), per sector; its squared modulus sums to 1.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baselines.grids.fourier import Composition
from baselines.relative.breathing import Breathing
from baselines.relative.coordinates import Coordinates
from baselines.relative.dvr import HalfGrid
from baselines.relative.potential import Potential
from dsmsim.system import InitialState, System

Array = NDArray[np.float64]
Wave = NDArray[np.complexfloating[Any, Any]]


@dataclass(frozen=True)
class RelativeGrid:
    """Where psi is known.

    Attributes:
        coordinates: the axes and their reflections.
        grids: one half grid per axis.
        frames: one per Cartesian axis.
    """

    coordinates: Coordinates
    grids: tuple[HalfGrid, ...]
    frames: tuple[Breathing, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of psi."""
        return (len(self.coordinates.sectors), *(grid.points for grid in self.grids))

    @property
    def size(self) -> int:
        """Numbers in psi."""
        return int(np.prod(self.shape))

    def frame(self, axis: int) -> Breathing:
        """The frame of an axis."""
        return self.frames[self.coordinates.cartesian(axis)]

    def initial_wave(self, initial: InitialState, system: System, dtype: Any) -> Wave:
        """The Gaussian start in the frame: its even-even-... sector is all there is."""
        psi = np.zeros(self.shape, dtype=dtype)
        product = np.ones((), dtype=np.complex128)
        for axis, grid in enumerate(self.grids):
            variance = initial.variance[self.coordinates.cartesian(axis)]
            b, b_dot, _ = self.frame(axis).scale(0.0)
            chirp = system.mass * b * b_dot / (2.0 * system.hbar)
            one = np.exp(-(b**2 / (4.0 * variance) + 1j * chirp) * grid.y**2)
            product = product[..., None] * (one / np.linalg.norm(one))
        psi[0] = product
        return psi

    def values(self, psi: Wave) -> Wave:
        """psi at the points of every coset, from its sectors, or back: the map is its own transpose."""
        return mix(self.coordinates.mixing, psi)


def mix(matrix: Array, psi: Wave) -> Wave:
    """(S, S) real times psi (S, ...)."""
    if len(matrix) == 1:
        return psi
    real = psi.reshape(len(psi), -1).view(psi.real.dtype)
    return np.asarray((matrix.astype(real.dtype) @ real).view(psi.dtype).reshape(psi.shape))


def along(matrix: NDArray[Any], psi: NDArray[Any], axis: int) -> NDArray[Any]:
    """A matrix (K, M) applied along one axis of an array."""
    return np.moveaxis(np.tensordot(matrix, psi, axes=(1, axis)), 0, axis)


class Propagator:
    """Advances psi; phases and matrices are kept where nothing depends on time."""

    def __init__(self, system: System, grid: RelativeGrid, composition: Composition) -> None:
        self.system = system
        self.grid = grid
        self.composition = composition
        self.potential = Potential(system, grid.coordinates, grid.grids, grid.frames)
        self._static = all(frame.is_static for frame in grid.frames)
        self._drifts: dict[float, list[list[Wave]]] = {}
        self._kicks: dict[float, list[list[Wave]]] = {}

    def advance(self, psi: Wave, start: float, stop: float, steps: int) -> Wave:
        """psi at time `stop` from psi at `start`."""
        step = float(f"{(stop - start) / steps:.12e}")
        drifts, kicks = self.composition.drifts, self.composition.kicks
        reached = list(itertools.accumulate(drifts))
        at = start
        for index in range(steps):
            for stage, kick in enumerate(kicks):
                until = start + (index + reached[stage]) * step
                psi = self._drift(psi, at, until)
                psi = self._kick(psi, kick * step, until)
                at = until
        return self._drift(psi, at, stop)

    def _drift(self, psi: Wave, start: float, stop: float) -> Wave:
        matrices = self._matrices(start, stop, psi.dtype)
        moved = np.empty_like(psi)
        for sector, rows in enumerate(matrices):
            part = psi[sector]
            for matrix in rows:
                part = part.reshape(len(matrix), -1).T @ matrix
            moved[sector] = part.reshape(psi.shape[1:])
        return moved

    def _matrices(self, start: float, stop: float, dtype: Any) -> list[list[Wave]]:
        """For every sector and axis exp(-i hbar/(2 mass) q^2 integral dt/b^2): symmetric (M, M)."""
        length = float(f"{stop - start:.12e}")
        if self._static and length in self._drifts:
            return self._drifts[length]
        unit = self.system.hbar / (2.0 * self.system.mass)
        clocks = [unit * frame.drift(start, stop) for frame in self.grid.frames]
        made: dict[tuple[HalfGrid, float, int], Wave] = {}
        found = []
        for sector in self.grid.coordinates.sectors:
            row = []
            for axis, parity in enumerate(sector):
                grid, clock = self.grid.grids[axis], clocks[self.grid.coordinates.cartesian(axis)]
                key = (grid, clock, parity)
                if key not in made:
                    values, vectors = grid.spectra[parity]
                    made[key] = ((vectors * np.exp(-1j * clock * values)) @ vectors.T).astype(dtype)
                row.append(made[key])
            found.append(row)
        if self._static:
            self._drifts[length] = found
        return found

    def _kick(self, psi: Wave, length: float, t: float) -> Wave:
        values = self.grid.values(psi)
        for coset, phases in enumerate(self._phases(length, t, psi.dtype)):
            for phase in phases:
                values[coset] *= phase
        return mix(self.grid.coordinates.mixing.T, values)

    def _phases(self, length: float, t: float, dtype: Any) -> list[list[Wave]]:
        """For every coset the phases of the parts."""
        static = self.potential.is_static
        if static and length in self._kicks:
            return self._kicks[length]
        found: list[list[Wave]] = [[] for _ in self.grid.coordinates.cosets]
        for part in self.potential.parts:
            made: dict[Any, Wave] = {}
            for coset, signs in enumerate(self.potential.signs(part)):
                if signs not in made:
                    angle = (-length / self.system.hbar) * self.potential.values(part, signs, t)
                    made[signs] = np.exp(1j * angle).astype(dtype)
                found[coset].append(made[signs])
        if static:
            self._kicks[length] = found
        return found
