"""Expectation values of a wave function on a grid.

    kinetic energy   hbar^2/(2 mass) E[|grad psi|^2 / rho] = E[mass/2 |u|^2] + E[mass/2 |v|^2]
    osmotic part     mass/2 |u|^2 = hbar^2/(2 mass) Re(psi* grad psi)^2 / rho^2
    current part     mass/2 |v|^2 = hbar^2/(2 mass) Im(psi* grad psi)^2 / rho^2

Shapes: `N` particles, `D` dimensions, `T` times; without T for one state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import scipy.fft
import torch

from baselines.grids.product import ROWS, Array, Grid, Wave
from dsmsim.system import System


@dataclass(frozen=True)
class WaveObservables:
    """Observables of one state, or with a leading T of a series; the names are those of the results file."""

    mean: Array
    variance: Array
    covariance: Array
    center_of_mass_mean: Array
    center_of_mass_variance: Array
    energy: Array
    energy_kinetic: Array
    energy_kinetic_osmotic: Array
    energy_kinetic_current: Array
    energy_potential: Array
    energy_trap: Array
    energy_interaction: Array
    norm: Array

    def as_dict(self) -> dict[str, Array]:
        """By name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


class PotentialParts:
    """Energies in the one-body potentials and in the pair interaction.

    All bosons are in the same state, so the density of the first and that of the first two say it all: the
    potentials are needed on the grids of one and of two particles only.
    """

    def __init__(self, system: System, grid: Grid) -> None:
        self.system = system
        self.one = Grid(grid.box, grid.points, 1)
        self.two = Grid(grid.box, grid.points, 2)
        self._static: tuple[Array, Array | None] | None = None

    def energies(self, t: float, probability: Array) -> tuple[float, float]:
        """Trap and interaction energy at time t for the probability (M, ..., M) of each point."""
        trap, pair = self._values(t)
        particles, dimensions = self.system.particles, self.system.dimensions
        others = tuple(range(2 * dimensions, particles * dimensions))
        two = probability.sum(axis=others)
        of_trap = particles * float(np.vdot(two.sum(axis=tuple(range(dimensions, two.ndim))), trap))
        if pair is None:
            return of_trap, 0.0
        return of_trap, 0.5 * particles * (particles - 1) * float(np.vdot(two, pair))

    def _values(self, t: float) -> tuple[Array, Array | None]:
        if self._static is not None:
            return self._static
        system, dimensions = self.system, self.system.dimensions

        def trap(x: torch.Tensor) -> torch.Tensor:
            clock = x.new_full((x.shape[0],), t)
            return sum((term.value(x, clock) for term in system.terms.values()), torch.zeros_like(clock))

        values: tuple[Array, Array | None] = self.one.values(trap), None
        interaction = system.interaction
        if interaction is not None and system.particles > 1:

            def pair(x: torch.Tensor) -> torch.Tensor:
                clock = x.new_full((x.shape[0],), t)
                return interaction.value(x[:, :dimensions] - x[:, dimensions:], clock)

            values = values[0], self.two.values(pair)
        if system.is_static:
            self._static = values
        return values


def observe(
    grid: Grid, system: System, parts: PotentialParts, t: float, psi: Wave, potential: Array
) -> tuple[WaveObservables, Array]:
    """The observables of psi (M, ..., M), per norm, and the probability of every point (M, ..., M).

    Args:
        parts: of this system on this grid.
        t: the moment.
        psi, potential: (M, ..., M), at that moment.
    """
    norm = grid.norm(psi)
    probability = np.abs(psi)
    probability *= probability
    probability *= grid.cell / norm
    mean, covariance = grid.moments(probability)
    kinetic, osmotic = (energy / norm for energy in _kinetic(grid, system, psi))
    potential_energy = float(np.vdot(probability, potential))
    trap, interaction = parts.energies(t, probability)
    found = WaveObservables(
        mean=mean,
        variance=np.einsum("iia->ia", covariance).copy(),
        covariance=covariance,
        center_of_mass_mean=mean.mean(axis=0),
        center_of_mass_variance=covariance.mean(axis=(0, 1)),
        energy=np.array(kinetic + potential_energy),
        energy_kinetic=np.array(kinetic),
        energy_kinetic_osmotic=np.array(osmotic),
        energy_kinetic_current=np.array(kinetic - osmotic),
        energy_potential=np.array(potential_energy),
        energy_trap=np.array(trap),
        energy_interaction=np.array(interaction),
        norm=np.array(norm),
    )
    return found, probability


def stack(states: Sequence[WaveObservables]) -> WaveObservables:
    """A series of states as one object with a leading time dimension."""
    names = [field.name for field in fields(WaveObservables)]
    return WaveObservables(**{name: np.array([getattr(state, name) for state in states]) for name in names})


def _kinetic(grid: Grid, system: System, psi: Wave) -> tuple[float, float]:
    """Kinetic energy and its osmotic part, not divided by the norm."""
    unit = grid.particles * system.hbar**2 / (2.0 * system.mass) * grid.cell
    # below this modulus the ratio is rounding noise, and contributes nothing
    floor = 1e-15 * float(np.abs(psi).max())
    total, osmotic = 0.0, 0.0
    # bosons: every particle has the same kinetic energy as the first, whose coordinates come first
    for axis in range(grid.dimensions):
        slope = scipy.fft.fft(psi, axis=axis)
        slope *= grid.along(1j * grid.wavenumbers(axis), axis)
        slope = scipy.fft.ifft(slope, axis=axis, overwrite_x=True)
        total += unit * float(np.vdot(slope, slope).real)
        # a part at a time: the ratio needs several arrays
        flat, other = psi.reshape(-1), slope.reshape(-1)
        for start in range(0, flat.size, ROWS):
            value, change = flat[start : start + ROWS], other[start : start + ROWS]
            size = np.abs(value)
            radial = value.real * change.real + value.imag * change.imag
            ratio = np.divide(radial, size, where=size > floor, out=np.zeros_like(size))
            osmotic += unit * float(np.vdot(ratio, ratio))
    return total, osmotic
