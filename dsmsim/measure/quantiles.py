"""Quantiles of the position of one particle, from sums that add up.

The distribution function F is kept at the edges of many cells that span the cloud at each time, and is
interpolated in between by monotone cubics. Its own standard error s comes from the spread between groups.
That of the quantile is half the distance of the two points where F is p - s and p + s: no density is
estimated for it.

Source: Woodruff, J. Am. Stat. Assoc. 47, 635 (1952).

Shapes: B samples, N particles, D axes, T times, E edges, Q probabilities, G groups.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.interpolate import PchipInterpolator
from torch import Tensor

from dsmsim.measure.cells import Cells, in_cells
from dsmsim.measure.context import Context
from dsmsim.measure.groups import GroupSums
from dsmsim.measure.observable import Array, ByGroup, Sampled

PROBABILITIES = (0.05, 0.25, 0.5, 0.75, 0.95)
CELLS = 256


class QuantileSums:
    """Quantiles along all axes at all saved times."""

    def __init__(self, context: Context) -> None:
        self._times, self._particles = context.times, context.system.particles
        self._ends = np.stack((context.extent.low, context.extent.high), -1)
        self._dimensions = context.system.dimensions
        shape = self._dimensions, CELLS + 1
        self._sums = GroupSums(len(context.times), shape, context.device)

    def _cells(self, index: int) -> list[Cells]:
        """Along each axis at one of the saved times."""
        return [Cells(low, high, CELLS) for low, high in self._ends[index].tolist()]

    def add(self, sampled: Sampled) -> None:
        """Add a batch."""
        below = []
        for axis, cells in enumerate(self._cells(sampled.index)):
            x = sampled.x.t()[axis :: self._dimensions]
            found = in_cells(cells.index(x), CELLS + 2, sampled.groups, sampled.weights)
            below.append(found[:, :-1].cumsum(1) / self._particles)
        self._sums.add(sampled.index, torch.stack(below, 1))

    def tensors(self) -> list[Tensor]:
        """The sums, to be added over ranks in place."""
        return self._sums.tensors()

    def results(self, units: Array) -> ByGroup:
        """`distributions/quantile` and its coordinates."""
        share, noise = self._sums.finish()
        times, dimensions = share.shape[:2]
        found = np.full((2, times, len(PROBABILITIES), dimensions), np.nan)
        for index, axis in np.ndindex(times, dimensions):
            edges = self._cells(int(index))[axis].edges
            found[:, index, :, axis] = _quantiles(edges, share[index, axis], noise[index, axis])
        group = {
            "time": self._times,
            "probability": np.array(PROBABILITIES),
            "axis": np.arange(dimensions),
            "quantile": found[0],
            "quantile_stderr": found[1],
        }
        return {"distributions": group}


def _quantiles(edges: Array, share: Array, noise: Array) -> tuple[Array, Array]:
    """Quantiles (Q,) and their standard errors from F (E,) and its own; NaN where F is unknown."""
    rising = np.concatenate(([True], np.diff(share) > 0.0))
    if rising.sum() < 2:
        return np.full(len(PROBABILITIES), np.nan), np.full(len(PROBABILITIES), np.nan)
    below, at = share[rising], edges[rising]
    inverse = PchipInterpolator(below, at)

    def position(p: Array) -> Array:
        return np.asarray(inverse(np.clip(p, below[0], below[-1])))

    wanted = np.array(PROBABILITIES)
    middle = position(wanted)
    s = np.interp(middle, edges, noise)
    return middle, 0.5 * (position(wanted + s) - position(wanted - s))
