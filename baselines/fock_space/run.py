"""One evolution in a space of given cutoff, and what is read off it.

Shapes: `T` saved times, `C` times of correlations, `M` points of x.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from baselines.fock_space.problem import Problem
from baselines.fock_space.propagation import Wave, magnus_step
from baselines.observables.momentum import momentum_group
from baselines.observables.one_body import natural_orbitals
from baselines.observables.two_body import (
    ORBITALS,
    assemble,
    correlation_times,
    resampled,
    stored_correlations,
    where_it_is,
)
from baselines.observables.velocity_fields import generator, velocity_fields_group

Array = NDArray[np.float64]
Group = dict[str, NDArray[Any]]

# of x for density matrices
FEWEST_MATRIX_POINTS, MOST_MATRIX_POINTS = 128, 1025
# density below which, relative to its peak, x is left out of density matrices
EMPTY = 1e-13


class Difference(NamedTuple):
    """Of two runs: relative of the variance, L1 of the densities of one boson and of a pair's distance."""

    variance: float
    density: float
    distance: float


@dataclass(frozen=True)
class Snapshots:
    """What is compared between two runs.

    Attributes:
        variance: (C,).
        density: of one boson (C, M).
        distance: density of (x_1 - x_2)/sqrt(2) (C, M), at values sqrt(2) times as far apart as those of x.
    """

    variance: Array
    density: Array
    distance: Array

    def change(self, other: Snapshots, dx: float) -> Difference:
        """The largest over times; dx is the spacing of x."""
        variance = np.abs(self.variance - other.variance) / other.variance
        density = np.abs(self.density - other.density).sum(axis=1) * dx
        distance = np.abs(self.distance - other.distance).sum(axis=1) * math.sqrt(2.0) * dx
        return Difference(float(variance.max()), float(density.max()), float(distance.max()))


class Run:
    """One evolution in a space of given cutoff.

    Args:
        problem: of the input.
        cutoff: E.
        dt: longest step; steps are equal between two times that are looked at.
        everything: look at all saved times, else only at those of correlations.

    Attributes:
        snapshots: for comparisons.
        states: by the index of the saved time, those of correlations, where everything is looked at.
        last_shells: the largest probability seen in the highest tenth of the energies.
        edge_probability: the largest seen beyond the points of x.
    """

    def __init__(self, problem: Problem, cutoff: int, dt: float, *, everything: bool) -> None:
        self.problem, self.everything = problem, everything
        self.model = problem.family.model(cutoff)
        self.longest_step = 0.0
        self.last_shells = self.edge_probability = 0.0
        self._chosen = correlation_times(problem.times)
        self._moments: list[dict[str, Any]] = []
        self._densities: list[Array] = []
        self._distances: list[Array] = []
        self.states: dict[int, Wave] = {}
        looked = np.arange(len(problem.times)) if everything else self._chosen
        self._evolve(looked, dt)
        at = np.searchsorted(looked, self._chosen)
        self.snapshots = Snapshots(
            variance=np.array([self._moments[k]["variance"][0, 0] for k in at]),
            density=np.array([self._densities[k] for k in at]),
            distance=np.array(self._distances),
        )

    def groups(self) -> dict[str, Group]:
        """Groups of the results file; of a run that has looked at everything."""
        problem = self.problem
        particles = problem.system.particles
        observables: Group = {
            name: np.array([moments[name] for moments in self._moments]) for name in self._moments[0]
        }
        coordinates = {"time": problem.times, "particle": np.arange(particles), "axis": np.arange(1)}
        times = problem.times[self._chosen]
        x = self._matrix_points()
        matrices = [
            self.model.density_matrix(
                index, float(problem.times[index]), psi, x, problem.family.fastest / problem.system.hbar
            )
            for index, psi in self.states.items()
        ]
        return {
            "observables": coordinates | observables,
            "density": {"time": problem.times, "x": problem.family.x, "density": np.array(self._densities)},
            "correlations": self._correlations(times, x, matrices),
            "momentum": momentum_group(times, x, np.array(matrices), problem.system.hbar),
            "velocity_fields": velocity_fields_group(times, *self._velocity_fields()),
        }

    def _velocity_fields(self) -> tuple[Array, Array, Array]:
        """Positions, osmotic and current velocity (C, K, N, 1)."""
        problem = self.problem
        drawn = [
            self.model.velocity_fields(
                index, float(problem.times[index]), psi, generator(problem.seed, index)
            )
            for index, psi in self.states.items()
        ]
        position, osmotic, current = (np.array(part)[..., None] for part in zip(*drawn, strict=True))
        return position, osmotic, current

    def _evolve(self, looked: NDArray[np.int64], dt: float) -> None:
        problem, model = self.problem, self.model
        last = float(problem.times[looked[-1]])
        stops = sorted({0.0, *problem.times[looked].tolist(), *problem.system.breakpoints})
        stops = [stop for stop in stops if stop <= last]
        pieces = [
            (first, stop, max(1, math.ceil((stop - first) / dt - 1e-9)))
            for first, stop in itertools.pairwise(stops)
        ]
        steps = sum(count for _, _, count in pieces)
        tolerance = problem.family.krylov_share * problem.tolerance / max(1, 2 * steps)
        wanted = iter(looked)
        following = next(wanted)
        psi = model.start()
        if problem.times[following] == 0.0:
            self._look(following, psi)
            following = next(wanted, -1)
        for first, stop, count in pieces:
            length = (stop - first) / count
            self.longest_step = max(self.longest_step, length)
            for k in range(count):
                t = first + k * length
                psi = magnus_step(
                    psi, t, length, problem.system.hbar, model.matrices, model.action, tolerance
                )
            if following >= 0 and problem.times[following] == stop:
                self._look(following, psi)
                following = next(wanted, -1)

    def _look(self, index: int, psi: Wave) -> None:
        t = float(self.problem.times[index])
        self._moments.append(self.model.moments(index, t, psi))
        density = self.model.density(index, t, psi, self.problem.family.x)
        self._densities.append(density)
        inside = float(density.sum() * self.problem.family.dx)
        self.edge_probability = max(self.edge_probability, abs(1.0 - inside))
        self.last_shells = max(self.last_shells, self.model.last_shells(psi))
        if index in self._chosen:
            x = self.problem.family.x
            r = math.sqrt(2.0) * (x - 0.5 * (x[0] + x[-1]))
            self._distances.append(self.model.distance_density(t, psi, r))
        if self.everything and index in self._chosen:
            self.states[index] = psi.copy()

    def _correlations(self, times: Array, x: Array, matrices: list[NDArray[np.complex128]]) -> Group:
        """The group of that name; occupations and orbitals from all points, the rest where it is stored."""
        stored, onto = resampled(x, where_it_is(self.problem.family.x, np.array(self._densities)))
        states = []
        for (index, psi), matrix in zip(self.states.items(), matrices, strict=True):
            t = float(self.problem.times[index])
            occupation, orbitals = natural_orbitals(matrix, float(x[1] - x[0]), ORBITALS)
            pair = self.model.pair_density(index, t, psi, stored)
            density = self.model.density(index, t, psi, stored)
            shown = onto @ matrix @ onto.T
            states.append(stored_correlations(shown, occupation, orbitals @ onto.T, pair, density))
        return assemble(times, stored, states)

    def _matrix_points(self) -> Array:
        """Equidistant x wherever a boson may be, which tell apart all momenta."""
        family, hbar = self.problem.family, self.problem.system.hbar
        x = family.x
        highest = np.max(self._densities, axis=0)
        inside = np.flatnonzero(highest > EMPTY * highest.max())
        low, high = float(x[inside[0]]), float(x[inside[-1]])
        count = math.ceil((high - low) * family.fastest / (hbar * math.pi)) + 1
        return np.linspace(low, high, min(max(count, FEWEST_MATRIX_POINTS), MOST_MATRIX_POINTS))
