"""What a solver on a grid hands back, and its form in the results file.

Shapes: `N` particles, `D` dimensions, `M` points per coordinate, `T` saved times.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from baselines.grids.product import Array, Box, Wave
from baselines.observables.moments import WaveObservables


@dataclass(frozen=True)
class SplitStepSolution:
    """The evolution at the saved times.

    Attributes:
        times: (T,).
        positions: grid points along each axis, D arrays (M,).
        densities: one-body density at them, averaged over particles, D arrays (T, M).
        observables: moments, energies and norm (`baselines.observables.moments`).
        box, points, dt: of the grid, and the longest step taken.
        method: name and order of the composition.
        edge_probability: largest probability ever found in the outer 1/32 of the box at one end.
        momentum_edge_probability: the same of the outer 1/16 of the wavenumbers.
        error_estimate: how much the last refinements of time step and grid changed means (in standard
            deviations), variances (relative) and densities (L1), the worst over times; NaN where nothing was
            refined.
        converged: whether that is below the tolerance.
        psi: (T, M, ..., M) where it was asked for.
    """

    times: Array
    positions: list[Array]
    densities: list[Array]
    observables: WaveObservables
    box: Box
    points: int
    dt: float
    method: str
    edge_probability: float
    momentum_edge_probability: float
    error_estimate: float = math.nan
    converged: bool = False
    psi: Wave | None = None

    @property
    def x(self) -> Array:
        """Grid points along the first axis (M,)."""
        return self.positions[0]

    @property
    def density(self) -> Array:
        """One-body density along the first axis (T, M)."""
        return self.densities[0]

    def results(self) -> dict[str, dict[str, np.ndarray[Any, Any]]]:
        """Groups `observables` and `density` of the results file."""
        shape = self.observables.mean.shape
        observables = {"time": self.times, "particle": np.arange(shape[1]), "axis": np.arange(shape[2])}
        density = {"time": self.times, "x": self.x, "density": self.density}
        for name, positions, values in zip("yz", self.positions[1:], self.densities[1:], strict=False):
            density |= {name: positions, f"density_{name}": values}
        return {"observables": observables | self.observables.as_dict(), "density": density}

    def attributes(self) -> dict[str, Any]:
        """How the numbers were obtained."""
        return {
            "method": self.method,
            "points": self.points,
            "dt": self.dt,
            "box_low": [low for low, _ in self.box],
            "box_high": [high for _, high in self.box],
            "error_estimate": self.error_estimate,
            "converged": self.converged,
            "edge_probability": self.edge_probability,
            "momentum_edge_probability": self.momentum_edge_probability,
        }
