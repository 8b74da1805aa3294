"""The groups of the results file, from the states of one evolution on a relative grid.

Moments and densities are taken at every saved time while it runs; what needs more work (correlations,
momentum, velocity fields) from kept states, once it is known which evolution is the best.

Shapes: `T` saved times, `M` points of x; psi (S, M_1, ..., M_n).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baselines.observables.momentum import diagonal_sums, momentum_of_sums
from baselines.observables.two_body import assemble, correlation_times, correlations_at, stored_points
from baselines.observables.velocity_fields import generator, velocity_fields_group
from baselines.relative.breathing import Breathing
from baselines.relative.moments import moments
from baselines.relative.one_particle import density_matrix, one_body_density, pair_density
from baselines.relative.propagation import RelativeGrid, Wave
from baselines.relative.velocities import velocity_fields
from baselines.trap_motion import TrapMotion
from dsmsim.config import Config
from dsmsim.system import System

Array = NDArray[np.float64]
Group = dict[str, NDArray[Any]]

# how far beyond the classical edge of the cloud, in x and in k, the state may reach
MARGIN = 1.5
FEWEST_X, MOST_X = 201, 2001
MOST_MATRIX = 801


@dataclass(frozen=True)
class Lab:
    """Where the particles are, in x and in k: the grids of what is stored.

    Attributes:
        center: the Gaussian of the centre of mass at the saved times.
        frames: one per Cartesian axis.
        particles: N.
        unit: mass/hbar.
    """

    center: TrapMotion
    frames: tuple[Breathing, ...]
    particles: int
    unit: float

    @property
    def alpha(self) -> float:
        """x_j - X is alpha times a relative coordinate of norm 1."""
        return math.sqrt((self.particles - 1.0) / self.particles)

    def positions(self, axis: int, spacing: float, fewest: int, most: int) -> Array:
        """Equidistant x that hold a one-body density along an axis."""
        mean, spread = self.center.mean[:, axis], np.sqrt(self.center.variance[:, axis] / self.particles)
        width = MARGIN * self.alpha * self.frames[axis].reach
        low, high = float((mean - 6.0 * spread).min()) - width, float((mean + 6.0 * spread).max()) + width
        points = min(most, max(fewest, math.ceil((high - low) / spacing) + 1))
        return np.linspace(low, high, points)

    def density_points(self, axis: int) -> Array:
        """Points that resolve a density: it has no more wavenumbers than the centre of mass lets through."""
        spread = math.sqrt(float(self.center.variance[:, axis].min()) / self.particles)
        highest = min(8.5 / spread, 2.0 * self.wavenumber(axis))
        return self.positions(axis, math.pi / highest, FEWEST_X, MOST_X)

    def center_wavenumber(self, axis: int) -> float:
        """Of sqrt(N) X."""
        variance, rate = self.center.variance[:, axis], self.center.variance_rate[:, axis]
        spread = np.sqrt(1.0 / (4.0 * variance) + (0.5 * self.unit * rate) ** 2 / variance)
        moving = self.unit * math.sqrt(self.particles) * np.abs(self.center.velocity[:, axis])
        return float((moving + 6.0 * spread).max())

    def wavenumber(self, axis: int) -> float:
        """The largest of one particle."""
        relative = MARGIN * self.alpha * self.frames[axis].lab_wavenumber
        return relative + self.center_wavenumber(axis) / math.sqrt(self.particles)

    def across(self, index: int) -> Array:
        """Points of c = alpha sqrt(N) X - u/sqrt(N) along the first axis, for a density matrix."""
        root = math.sqrt(self.particles)
        spread = math.sqrt(float(self.center.variance[index, 0]))
        middle = self.alpha * root * float(self.center.mean[index, 0])
        half = 6.5 * self.alpha * spread + MARGIN * self.frames[0].reach / root
        highest = self.alpha * self.center_wavenumber(0) + MARGIN * self.frames[0].lab_wavenumber / root
        return middle + np.linspace(-half, half, math.ceil(2.0 * half * highest / math.pi) + 1)


@dataclass
class Recorder:
    """Collects what one evolution shows.

    Args:
        config, system, grid: the problem and its grid.
        lab: the grids of what is stored.
        keep: whether states are kept for correlations.
    """

    config: Config
    system: System
    grid: RelativeGrid
    lab: Lab
    keep: bool
    found: list[dict[str, Any]] = field(default_factory=list)
    densities: list[list[Array]] = field(default_factory=list)
    states: list[tuple[int, Wave]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.times: Array = self.lab.center.times
        self.x = [self.lab.density_points(axis) for axis in range(self.system.dimensions)]
        self._chosen = set(correlation_times(self.times).tolist())

    def record(self, psi: Wave) -> None:
        """Take the state at the next saved time."""
        index = len(self.found)
        t, center = float(self.times[index]), self.lab.center
        values = moments(self.grid, self.system, psi, t, center, index)
        self.found.append(values)
        of_axes = []
        for axis, x in enumerate(self.x):
            b = self.grid.frames[axis].scale(t)[0]
            mean, variance = values["center_of_mass_mean"][axis], values["center_of_mass_variance"][axis]
            of_axes.append(one_body_density(self.grid, psi, axis, b, x, mean, variance) / values["norm"])
        self.densities.append(of_axes)
        if self.keep and index in self._chosen:
            self.states.append((index, psi.copy()))

    def groups(self) -> dict[str, Group]:
        """Observables and densities."""
        series: Group = {name: np.array([one[name] for one in self.found]) for name in self.found[0]}
        observables: Group = {
            "time": self.times,
            "particle": np.arange(self.system.particles),
            "axis": np.arange(self.system.dimensions),
        }
        density: Group = {"time": self.times}
        for axis, x in enumerate(self.x):
            suffix = ("", "_y", "_z")[axis]
            density |= {"xyz"[axis]: x, f"density{suffix}": np.array([one[axis] for one in self.densities])}
        return {"observables": observables | series, "density": density}

    def more_groups(self) -> tuple[dict[str, Group], str]:
        """Correlations, momentum and velocity fields, from the kept states, and what is left out and why."""
        if not self.states:
            return {}, "correlations, momentum and velocity_fields: too little memory to keep states"
        left_out = ""
        times = self.times[[index for index, _ in self.states]]
        groups: dict[str, Group] = {}
        x = self.lab.positions(0, math.pi / self.lab.wavenumber(0), 65, MOST_MATRIX + 1)
        if x.size <= MOST_MATRIX:
            found, sums = [], []
            for index, psi in self.states:
                matrix, pair = self._matrices(index, psi, x)
                found.append(correlations_at(x, matrix, pair))
                sums.append(diagonal_sums(matrix))
            groups["correlations"] = assemble(times, stored_points(x)[0], found)
            groups["momentum"] = momentum_of_sums(times, x, sums, self.system.hbar)
        else:
            left_out = f"correlations and momentum: they need more than {MOST_MATRIX} points of x"
        fields = [
            velocity_fields(
                self.grid,
                self.system,
                psi,
                float(self.times[index]),
                self.lab.center,
                index,
                generator(self.config.seed, index),
            )
            for index, psi in self.states
        ]
        position, osmotic, current = (np.array(parts) for parts in zip(*fields, strict=True))
        groups["velocity_fields"] = velocity_fields_group(times, position, osmotic, current)
        return groups, left_out

    def _matrices(self, index: int, psi: Wave, x: Array) -> tuple[Wave, Array]:
        """The one-body density matrix and the two-body density at x."""
        center, n = self.lab.center, self.system.particles
        b, b_dot, _ = self.grid.frames[0].scale(float(self.times[index]))

        def wave(z: Array) -> Wave:
            return np.asarray(center.wave(z, index, 0, self.system.hbar, self.system.mass, n))

        mean, variance = float(center.mean[index, 0]), float(center.variance[index, 0]) / n
        matrix = density_matrix(self.grid, psi, (b, b_dot), x, wave, self.lab.across(index), self.lab.unit)
        return matrix, pair_density(self.grid, psi, b, x, mean, variance)
