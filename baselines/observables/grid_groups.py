"""Everything that is read off a wave function on a product grid, as groups of the results file.

    recorder = GridRecorder(config, system, grid, times)
    recorder.record(t, psi, potential)          at each saved time, in their order
    recorder.groups()                           observables, density, correlations, momentum, velocity_fields

Moments, energies and densities are taken at every saved time, the rest at those that `correlation_times`
chooses. All bosons are in the same state, so the first particle and the first two speak for all.

Shapes: `N` particles, `D` dimensions, `n = N D`, `M` points per coordinate, psi (M, ..., M).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from baselines.grids.product import Array, Grid, Wave
from baselines.observables.moments import PotentialParts, WaveObservables, observe, stack
from baselines.observables.momentum import diagonal_sums, momentum_of_sums, pure_diagonal_sums
from baselines.observables.one_body import density_matrix, natural_orbitals, plain_phase
from baselines.observables.two_body import (
    assemble,
    correlation_times,
    resampled,
    stored_correlations,
)
from baselines.observables.velocity_fields import (
    draw_points,
    generator,
    positions,
    velocities,
    velocity_fields_group,
)
from dsmsim.config import Config
from dsmsim.system import System

Group = dict[str, npt.NDArray[Any]]


class GridRecorder:
    """Collects the groups of one evolution.

    The wave function is periodic, or zero at the edge of the box: derivatives are those of its
    trigonometric interpolation.

    Args:
        config: the input; its seed draws the configurations of the velocity fields.
        system, grid: what is solved, and where.
        times: (T,) the saved times.
        shown: part of the first axis at which correlations are stored, for instance `where_it_is` of an
            earlier evolution; the whole box by default.
    """

    def __init__(
        self,
        config: Config,
        system: System,
        grid: Grid,
        times: Array,
        *,
        shown: tuple[float, float] | None = None,
    ) -> None:
        self.seed = config.seed
        self.system = system
        self.grid = grid
        self.times = np.asarray(times, dtype=np.float64)
        self.chosen = correlation_times(self.times)
        self._parts = PotentialParts(system, grid)
        self._x, self._thin = resampled(grid.positions(0), shown)
        self._observables: list[WaveObservables] = []
        self._densities: list[list[Array]] = []
        self._correlations: list[Group] = []
        self._sums: list[Wave] = []
        self._fields: list[tuple[Array, Array, Array]] = []

    def is_next(self, t: float) -> bool:
        """Whether t is the saved time that is to be recorded next."""
        count = len(self._observables)
        return count < self.times.size and t == self.times[count]

    def record(self, t: float, psi: Wave, potential: Array) -> None:
        """Take everything at the next saved time t.

        Args:
            psi: (M, ..., M); of norm 1, or nearly so.
            potential: V (M, ..., M) at time t.
        """
        index = len(self._observables)
        found, probability = observe(self.grid, self.system, self._parts, t, psi, potential)
        self._observables.append(found)
        self._densities.append(self.grid.densities(probability))
        if index in self.chosen:
            self._correlate(psi)
            points = draw_points(probability, generator(self.seed, index))
            u, v = velocities(self.grid, psi, points, self.system.hbar, self.system.mass)
            self._fields.append((positions(self.grid, points), u, v))

    @property
    def observables(self) -> WaveObservables:
        """Moments and energies of the times recorded so far."""
        return stack(self._observables)

    def groups(self) -> dict[str, Group]:
        """The groups of the results file, when every saved time has been recorded."""
        grid, times = self.grid, self.times[self.chosen]
        observables: Group = {
            "time": self.times,
            "particle": np.arange(grid.particles),
            "axis": np.arange(grid.dimensions),
        }
        density: Group = {"time": self.times}
        for axis, series in enumerate(zip(*self._densities, strict=True)):
            name, suffix = "xyz"[axis], ("", "_y", "_z")[axis]
            density |= {name: grid.positions(axis), f"density{suffix}": np.array(series)}
        position, u, v = (np.array(parts) for parts in zip(*self._fields, strict=True))
        return {
            "observables": observables | self.observables.as_dict(),
            "density": density,
            "correlations": assemble(times, self._x, self._correlations),
            "momentum": momentum_of_sums(times, grid.positions(0), self._sums, self.system.hbar),
            "velocity_fields": velocity_fields_group(times, position, u, v),
        }

    def _correlate(self, psi: Wave) -> None:
        """The density matrix of the first coordinate, and the density of those of two particles.

        What is stored is interpolated as psi, not as a density, so that nothing is lost.
        """
        grid, thin = self.grid, self._thin
        if grid.coordinates == 1:
            # a pure state, on a grid that may be too long for a matrix
            self._sums.append(pure_diagonal_sums(psi))
            stored = thin @ psi
            matrix = np.outer(stored, stored.conj())
            orbital = plain_phase(stored)[None]
            state = stored_correlations(matrix, np.ones(1), orbital, None, np.abs(stored) ** 2)
            self._correlations.append(state)
            return
        dx = grid.spacing(0)
        matrix = density_matrix(psi.reshape(grid.points, -1), grid.cell / dx)
        self._sums.append(diagonal_sums(matrix))
        occupation, orbitals = natural_orbitals(matrix, dx)
        matrix = thin @ matrix @ thin.T
        pair = self._pair_density(psi) if grid.particles > 1 else None
        density = np.real(np.diagonal(matrix))
        self._correlations.append(stored_correlations(matrix, occupation, orbitals @ thin.T, pair, density))

    def _pair_density(self, psi: Wave) -> Array:
        """rho_2 (S, S) at the stored points, of the first two particles along the first axis."""
        grid, thin = self.grid, self._thin
        flat = psi.reshape(grid.points, -1)
        pair = np.empty((len(thin), len(thin)))
        for row, weights in enumerate(thin):
            rest = (weights @ flat).reshape(psi.shape[1:])
            # the first coordinate is gone: the same axis of the second particle comes after the other axes
            second = np.moveaxis(rest, grid.dimensions - 1, 0).reshape(grid.points, -1)
            pair[row] = (np.abs(thin @ second) ** 2).sum(axis=1)
        pair *= grid.cell / grid.spacing(0) ** 2
        return 0.5 * (pair + pair.T)
