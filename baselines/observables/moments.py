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

from baselines.grids.product import Array, Grid, Wave
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
    energy_kinetic_osmotic: Array
    energy_kinetic_current: Array
    energy_potential: Array
    norm: Array

    def as_dict(self) -> dict[str, Array]:
        """By name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def observe(grid: Grid, system: System, psi: Wave, potential: Array) -> WaveObservables:
    """The observables of psi (M, ..., M) in the potential (M, ..., M) of its moment, per norm."""
    density = np.abs(psi) ** 2
    norm = float(density.sum() * grid.cell)
    probability = density * (grid.cell / norm)
    mean, covariance = grid.moments(probability)
    kinetic, osmotic = _kinetic(grid, system, psi, density)
    kinetic, osmotic = kinetic / norm, osmotic / norm
    potential_energy = float((probability * potential).sum())
    return WaveObservables(
        mean=mean,
        variance=np.einsum("iia->ia", covariance).copy(),
        covariance=covariance,
        center_of_mass_mean=mean.mean(axis=0),
        center_of_mass_variance=covariance.mean(axis=(0, 1)),
        energy=np.array(kinetic + potential_energy),
        energy_kinetic_osmotic=np.array(osmotic),
        energy_kinetic_current=np.array(kinetic - osmotic),
        energy_potential=np.array(potential_energy),
        norm=np.array(norm),
    )


def stack(states: Sequence[WaveObservables]) -> WaveObservables:
    """A series of states as one object with a leading time dimension."""
    names = [field.name for field in fields(WaveObservables)]
    return WaveObservables(**{name: np.array([getattr(state, name) for state in states]) for name in names})


def _kinetic(grid: Grid, system: System, psi: Wave, density: Array) -> tuple[float, float]:
    """Kinetic energy and its osmotic part, not divided by the norm."""
    unit = grid.particles * system.hbar**2 / (2.0 * system.mass) * grid.cell
    # below this density the ratio is rounding noise, and contributes nothing
    floor = 1e-30 * float(density.max())
    total, osmotic = 0.0, 0.0
    # bosons: every particle has the same kinetic energy as the first, whose coordinates come first
    for axis in range(grid.dimensions):
        slope = scipy.fft.fft(psi, axis=axis)
        slope *= grid.along(1j * grid.wavenumbers(axis), axis)
        slope = scipy.fft.ifft(slope, axis=axis, overwrite_x=True)
        total += unit * float(np.vdot(slope, slope).real)
        radial = psi.real * slope.real + psi.imag * slope.imag
        osmotic += unit * float(
            np.divide(radial**2, density, where=density > floor, out=np.zeros_like(density)).sum()
        )
    return total, osmotic
