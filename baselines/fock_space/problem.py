"""One input in Fock space, and its evolution in a space of given cutoff.

Shapes: `T` saved times, `C` times of correlations, `M` points of x.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baselines.fock_space.propagation import Wave, magnus_step
from baselines.fock_space.relative_model import RelativeModel
from baselines.fock_space.removal import MOST_PARTICLES
from baselines.frame import Cloud, Frame, classical_cloud, following_frame, resting_frame
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
from baselines.trap_motion import TrapMotion, require_separable, trap_motion
from dsmsim.config import Config
from dsmsim.errors import ConfigError
from dsmsim.system import System, build_initial, build_system

Array = NDArray[np.float64]
Group = dict[str, NDArray[Any]]

# half width of the points of x in standard deviations, and points per smallest of these
REACH, POINTS_PER_WIDTH = 7.0, 9.0
FEWEST_POINTS, MOST_POINTS = 257, 8193
# of x for density matrices
MOST_MATRIX_POINTS = 1025
# standard deviations of the momentum that count, and density below which, relative to its peak, x is left out
FASTEST, EMPTY = 6.0, 1e-13
# share of the tolerance that all Krylov spaces together may use up
KRYLOV_SHARE = 0.02
# share of classical states whose quanta a first cutoff should hold
MOST_CLASSICAL = 0.99


@dataclass(frozen=True)
class Problem:
    """What does not depend on cutoff and step.

    Attributes:
        system: D = 1, N >= 2.
        times: (T,) saved times.
        frame, cloud, motion: of the relative motion, of classical trajectories, of the centre of mass.
        x: (M,) points of the density.
        tolerance: of the result.
        seed: of the configurations that are drawn.
    """

    system: System
    times: Array
    frame: Frame
    cloud: Cloud
    motion: TrapMotion
    x: Array
    tolerance: float
    seed: int


@dataclass(frozen=True)
class Snapshots:
    """What is compared between two runs: variances (C,) and densities (C, M)."""

    variance: Array
    density: Array

    def change(self, other: Snapshots, dx: float) -> tuple[float, float]:
        """Largest relative change of the variance, and L1 change of the density."""
        variance = np.abs(self.variance - other.variance) / other.variance
        density = np.abs(self.density - other.density).sum(axis=1) * dx
        return float(variance.max()), float(density.max())


def make_problem(config: Config, basis: str | None, tolerance: float) -> Problem:
    """The problem of an input.

    Args:
        config: the input.
        basis: "lab" for orbitals at rest, else they follow the cloud.
        tolerance: of the result.

    Raises:
        ConfigError: the Fock solver cannot treat it.
    """
    system, initial = build_system(config), build_initial(config)
    _require_treatable(config, system)
    require_separable(config, initial, "the Fock solver", "split_step or crank_nicolson")
    times = np.asarray(config.time.save_times, dtype=np.float64)
    length = math.sqrt(2.0 * float(initial.variance[0]))
    cloud = classical_cloud(system, initial, config.time.end, relative=True)
    frame = resting_frame(length)
    if basis != "lab":
        frame = following_frame(cloud, system.hbar, system.mass, start_length=length, moving_center=False)
    motion = trap_motion(system, initial, times)
    x = _points(system, cloud, motion)
    return Problem(system, times, frame, cloud, motion, x, tolerance, config.seed)


def classical_quanta(problem: Problem) -> float:
    """Quanta above the vacuum that 99 % of the classical states have in the frame, at the worst time."""
    cloud, mass, hbar = problem.cloud, problem.system.mass, problem.system.hbar
    worst = 0.0
    for index, t in enumerate(cloud.times):
        frame = problem.frame(float(t))
        square, shear = frame.length**2, mass * frame.shear
        momentum = cloud.momentum_squares[index] - 2.0 * shear * cloud.products[index]
        momentum = momentum + shear**2 * cloud.position_squares[index]
        twice = cloud.position_squares[index] / square + momentum * square / hbar**2
        worst = max(worst, float(np.quantile(0.5 * (twice - cloud.coordinates), MOST_CLASSICAL)))
    return worst


class Run:
    """One evolution in a space of given cutoff.

    Args:
        problem: of the input.
        cutoff: E.
        dt: longest step; steps are equal between two times that are looked at.
        everything: look at all saved times, else only at those of correlations.

    Attributes:
        snapshots: for comparisons.
        last_shells: the largest probability seen in the highest tenth of the energies.
        edge_probability: the largest seen beyond the points of x.
    """

    def __init__(self, problem: Problem, cutoff: int, dt: float, *, everything: bool) -> None:
        self.problem, self.everything = problem, everything
        self.model = RelativeModel(problem.system, problem.frame, problem.motion, cutoff)
        self.longest_step = 0.0
        self.last_shells = self.edge_probability = 0.0
        self._chosen = correlation_times(problem.times)
        self._moments: list[dict[str, Any]] = []
        self._densities: list[Array] = []
        self._states: dict[int, Wave] = {}
        looked = np.arange(len(problem.times)) if everything else self._chosen
        self._evolve(looked, dt)
        at = np.searchsorted(looked, self._chosen)
        self.snapshots = Snapshots(
            variance=np.array([self._moments[k]["variance"][0, 0] for k in at]),
            density=np.array([self._densities[k] for k in at]),
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
                index, float(problem.times[index]), psi, x, self._fastest / problem.system.hbar
            )
            for index, psi in self._states.items()
        ]
        return {
            "observables": coordinates | observables,
            "density": {"time": problem.times, "x": problem.x, "density": np.array(self._densities)},
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
            for index, psi in self._states.items()
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
        tolerance = KRYLOV_SHARE * problem.tolerance / max(1, 2 * steps)
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
        density = self.model.density(index, t, psi, self.problem.x)
        self._densities.append(density)
        inside = float(density.sum() * (self.problem.x[1] - self.problem.x[0]))
        self.edge_probability = max(self.edge_probability, abs(1.0 - inside))
        self.last_shells = max(self.last_shells, self.model.last_shells(psi))
        if self.everything and index in self._chosen:
            self._states[index] = psi.copy()

    def _correlations(self, times: Array, x: Array, matrices: list[NDArray[np.complex128]]) -> Group:
        """The group of that name; occupations and orbitals from all points, the rest where it is stored."""
        stored, onto = resampled(x, where_it_is(self.problem.x, np.array(self._densities)))
        states = []
        for (index, psi), matrix in zip(self._states.items(), matrices, strict=True):
            t = float(self.problem.times[index])
            occupation, orbitals = natural_orbitals(matrix, float(x[1] - x[0]), ORBITALS)
            pair = self.model.pair_density(index, t, psi, stored)
            density = self.model.density(index, t, psi, stored)
            shown = onto @ matrix @ onto.T
            states.append(stored_correlations(shown, occupation, orbitals @ onto.T, pair, density))
        return assemble(times, stored, states)

    @property
    def _fastest(self) -> float:
        """A momentum that no boson exceeds, but for a part that can be neglected."""
        cloud = self.problem.cloud
        spread = math.sqrt(float(cloud.momentum_variance.max()))
        return FASTEST * spread + float(np.abs(cloud.momentum).max())

    def _matrix_points(self) -> Array:
        """Equidistant x wherever a boson may be, which tell apart all momenta."""
        x, system = self.problem.x, self.problem.system
        highest = np.max(self._densities, axis=0)
        inside = np.flatnonzero(highest > EMPTY * highest.max())
        low, high = float(x[inside[0]]), float(x[inside[-1]])
        count = math.ceil((high - low) * self._fastest / (system.hbar * math.pi)) + 1
        return np.linspace(low, high, min(max(count, FEWEST_POINTS // 2), MOST_MATRIX_POINTS))


def _require_treatable(config: Config, system: System) -> None:
    """Refuse what is not a few bosons in one dimension."""
    others = "use relative_grid, split_step or crank_nicolson"
    if system.dimensions != 1:
        raise ConfigError(
            f"system.dimensions = {system.dimensions}: the Fock solver is for 1; {others}",
            key="system.dimensions",
        )
    if not 2 <= system.particles <= MOST_PARTICLES:
        raise ConfigError(
            f"system.particles = {system.particles}: the Fock solver is for 2 to {MOST_PARTICLES}; {others}",
            key="system.particles",
        )


def _points(system: System, cloud: Cloud, motion: TrapMotion) -> Array:
    """Equidistant x around everything that is expected, fine enough for the narrowest density."""
    particles = system.particles
    center = motion.variance[:, 0] / particles
    relative = np.interp(motion.times, cloud.times, cloud.position_variance) * (particles - 1) / particles
    width = np.sqrt(center + relative)
    low = float((motion.mean[:, 0] - REACH * width).min())
    high = float((motion.mean[:, 0] + REACH * width).max())
    count = math.ceil((high - low) / float(width.min()) * POINTS_PER_WIDTH)
    return np.linspace(low, high, min(max(count, FEWEST_POINTS), MOST_POINTS))
