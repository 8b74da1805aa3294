"""The momentum density of one particle along the first axis, from wave functions known point by point.

    n(p) = (1/(2 pi hbar)) E[ |sum_j chi(x_j) e^{-i p x_j/hbar} dx|^2 ] ,      integral 1

with chi of `conditional.py`: never negative, and exact where the particles are independent. It is zero beyond
the band of momenta that the points of a time tell apart. Momenta are those of all times; a particle confined
to a length L needs them pi hbar/L apart, and they are half of that apart, for figures and interpolation.

Shapes: T times, U units of s samples, M points, P momenta.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsmsim.measure.conditional import ConditionalWaves
from dsmsim.measure.context import Context
from dsmsim.measure.groups import GroupSums
from dsmsim.measure.observable import ByGroup, Sampled

Array = NDArray[np.float64]

MOST_MOMENTA = 801


class MomentumSums:
    """The group `momentum`; NaN at times that need too many points.

    Args:
        context: the problem, and the times at which functions of two positions are kept.
    """

    def __init__(self, context: Context) -> None:
        self._times, self._place, self._waves = context.times[context.kept], context.place, context.waves
        self._hbar = context.system.hbar
        self.p = _momenta(self._waves, self._hbar)
        self._sums = GroupSums(len(context.kept), (len(self.p),), context.device)
        self._kernels = {index: self._kernel(index).to(context.device) for index in self._waves.grids}

    def _kernel(self, index: int) -> Tensor:
        """(M, P) e^{-i p x/hbar} dx/(2 pi hbar)^(1/2), 0 beyond the band."""
        grid = self._waves.grids[index]
        low, high = grid.band
        wave = np.exp(-1j * np.outer(grid.x, self.p) / self._hbar)
        wave *= ((self.p >= low) & (self.p < high)) * grid.dx / math.sqrt(2.0 * math.pi * self._hbar)
        return torch.as_tensor(wave)

    def add(self, sampled: Sampled) -> None:
        """Add a batch."""
        found = self._waves.of(sampled)
        if found is not None:
            amplitude = found.chi @ self._kernels[sampled.index]
            square = amplitude.real.square() + amplitude.imag.square()
            self._sums.add(self._place[sampled.index], (found.weights[..., None] * square).mean(1))

    def tensors(self) -> list[Tensor]:
        """The sums, to be added over ranks in place."""
        return self._sums.tensors()

    def results(self, units: Array) -> ByGroup:
        """The density and its standard error (T, P)."""
        density, stderr = self._sums.finish()
        names = {"momentum_density": density, "momentum_density_stderr": stderr}
        return {"momentum": {"time": self._times, "p": self.p} | names}


def _momenta(waves: ConditionalWaves, hbar: float) -> Array:
    """(P,) equidistant momenta for all times."""
    grids = list(waves.grids.values())
    if not grids:
        return np.zeros(1)
    low, high = min(grid.band[0] for grid in grids), max(grid.band[1] for grid in grids)
    spacing = 0.5 * math.pi * hbar / max(float(grid.x[-1] - grid.x[0]) for grid in grids)
    # often a whole number but for rounding, which no two numbers of ranks share
    return np.linspace(low, high, min(MOST_MOMENTA, round((high - low) / spacing) + 1))
