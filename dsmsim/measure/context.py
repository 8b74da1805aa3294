"""What an observable may know when it is made: the problem, the saved times, and where the samples are.

Shapes: T saved times, C of them kept for functions of two positions, N particles, D axes, n = N D.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from dsmsim.measure.conditional import ConditionalWaves, WaveGrid
from dsmsim.measure.histogram import density_edges
from dsmsim.system import System

Array = NDArray[np.float64]

FEWEST_CELLS, MOST_CELLS = 8, 60  # along each of two positions


@dataclass(frozen=True)
class Extent:
    """Where samples are, with a margin, as a small ensemble has found out.

    Attributes:
        low, high: (T, D) smallest and largest coordinate of a particle at each saved time.
        center_low, center_high: of the centre of mass along x, at all times.
        distance: largest distance of two particles, at all times.
        reach: largest distance of a particle from its initial mean, at all times.
        momentum, momentum_spread: (T,) mean momentum of a particle along x at each saved time, mass E[v], and
            its standard deviation: E[p^2] = mass^2 E[u^2 + v^2].
    """

    low: Array
    high: Array
    center_low: float
    center_high: float
    distance: float
    reach: float
    momentum: Array
    momentum_spread: Array


@dataclass(frozen=True)
class Context:
    """The problem and how it is sampled.

    Attributes:
        system: the bosons.
        times: (T,) saved times, increasing.
        kept: (C,) indices of the times at which functions of two positions and shots are kept.
        edges: cell edges of the density along each of the D axes, length.
        extent: where samples are.
        mean, variance: (n,) of the initial state.
        blocks: (trial, block) of every batch that will come, with its size.
        knows_wave: whether the samples come with `log_psi`.
        seed: of the input, for what an observable draws at random.
        device: where the samples are, and the sums must be.
    """

    system: System
    times: Array
    kept: NDArray[np.int64]
    edges: Sequence[Array]
    extent: Extent
    mean: Array
    variance: Array
    blocks: Mapping[tuple[int, int], int] = field(default_factory=dict)
    knows_wave: bool = False
    seed: int = 0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @cached_property
    def coarse_edges(self) -> Array:
        """Cell edges along x of the group `correlations`, whose `x` and `x_prime` are the cells' centres."""
        first = self.edges[0]
        cells = min(max((len(first) - 1) // 2, FEWEST_CELLS), MOST_CELLS)
        return density_edges(float(first[0]), float(first[-1]), cells)

    @cached_property
    def waves(self) -> ConditionalWaves:
        """Wave functions of one particle given all the others, for whatever observables need them."""
        extent, hbar, grids = self.extent, self.system.hbar, {}
        columns = extent.low[:, 0], extent.high[:, 0], extent.momentum, extent.momentum_spread
        for k in self.kept.tolist():
            low, high, momentum, spread = (float(column[k]) for column in columns)
            grid = WaveGrid.of(low, high, momentum, spread, hbar)
            if grid is not None:
                grids[k] = grid
        return ConditionalWaves(grids, self.blocks, self.system.particles)

    @cached_property
    def place(self) -> dict[int, int]:
        """The place 0 to C - 1 of each kept time, by its index."""
        return {int(index): place for place, index in enumerate(self.kept)}


def correlation_times(times: int, wanted: int) -> NDArray[np.int64]:
    """Indices of at most `wanted` >= 2 of so many saved times, equidistant in index, with both ends."""
    count = min(times, wanted)
    return np.rint(np.linspace(0, times - 1, count)).astype(np.int64)
