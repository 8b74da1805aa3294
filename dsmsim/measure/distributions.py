"""Distributions of single numbers: distances of pairs, the centre of mass, how far particles have come.

    distance_density(r)          of |x_i - x_j|, over all pairs; of integral 1
    center_of_mass_density(X)    of X = (1/N) sum_i x_i along x; of integral 1
    escape(a)                    probability that |x_i - E x_i(0)| > a, averaged over the particles

Shapes: B samples, N particles, D axes, P pairs, T times, C cells, A thresholds, G groups.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dsmsim.measure.cells import Cells, in_cells
from dsmsim.measure.context import Context
from dsmsim.measure.groups import GroupSums
from dsmsim.measure.observable import Array, ByGroup, Sampled

GROUP = "distributions"
THRESHOLDS = 12
AT_ONCE = 200_000  # distances that are computed together


class DistanceSums:
    """The density of the distance of two particles."""

    def __init__(self, context: Context) -> None:
        system, device = context.system, context.device
        self._shape = system.particles, system.dimensions
        self._first, self._second = torch.triu_indices(system.particles, system.particles, 1).to(device)
        self._cells = Cells(0.0, context.extent.distance, len(context.edges[0]) - 1)
        self._sums = GroupSums(len(context.times), (self._cells.count,), device)
        self._times = context.times

    def add(self, sampled: Sampled) -> None:
        """Add a batch."""
        x, size = sampled.x.t().reshape(*self._shape, -1), self._cells.count + 2
        found = torch.zeros(len(sampled.groups), size, dtype=torch.float64, device=x.device)
        at_once = max(1, AT_ONCE // x.shape[2])
        for first, second in zip(self._first.split(at_once), self._second.split(at_once), strict=True):
            r = _length(x.index_select(0, first) - x.index_select(0, second))
            found += in_cells(self._cells.index(r), size, sampled.groups, sampled.weights)
        self._sums.add(sampled.index, found[:, 1:-1])

    def tensors(self) -> list[Tensor]:
        """The sums, to be added over ranks in place."""
        return self._sums.tensors()

    def results(self, units: Array) -> ByGroup:
        """`distance_density` and its coordinates."""
        mean, stderr = self._sums.finish()
        width = len(self._first) * self._cells.width
        return {
            GROUP: {
                "time": self._times,
                "distance": self._cells.centers,
                "distance_density": mean / width,
                "distance_density_stderr": stderr / width,
            }
        }


class CenterSums:
    """The density of the centre of mass along x."""

    def __init__(self, context: Context) -> None:
        self._dimensions, extent = context.system.dimensions, context.extent
        self._cells = Cells(extent.center_low, extent.center_high, len(context.edges[0]) - 1)
        self._sums = GroupSums(len(context.times), (self._cells.count,), context.device)
        self._times = context.times

    def add(self, sampled: Sampled) -> None:
        """Add a batch."""
        center = sampled.x.t()[:: self._dimensions].mean(0)
        found = in_cells(self._cells.index(center), self._cells.count + 2, sampled.groups, sampled.weights)
        self._sums.add(sampled.index, found[:, 1:-1])

    def tensors(self) -> list[Tensor]:
        """The sums, to be added over ranks in place."""
        return self._sums.tensors()

    def results(self, units: Array) -> ByGroup:
        """`center_of_mass_density` and its coordinates."""
        mean, stderr = self._sums.finish()
        width = self._cells.width
        return {
            GROUP: {
                "time": self._times,
                "center": self._cells.centers,
                "center_of_mass_density": mean / width,
                "center_of_mass_density_stderr": stderr / width,
            }
        }


class EscapeSums:
    """The probability that a particle has come further than some thresholds, up to the reach of the cloud."""

    def __init__(self, context: Context) -> None:
        system, device = context.system, context.device
        self._shape = system.particles, system.dimensions
        self._start = torch.as_tensor(context.mean, device=device).reshape(*self._shape, 1)
        self._cells = Cells(0.0, context.extent.reach, THRESHOLDS)
        self._sums = GroupSums(len(context.times), (THRESHOLDS,), device)
        self._times = context.times

    def add(self, sampled: Sampled) -> None:
        """Add a batch."""
        arm = _length(sampled.x.t().reshape(*self._shape, -1) - self._start)
        found = in_cells(self._cells.index(arm), THRESHOLDS + 2, sampled.groups, sampled.weights)
        beyond = found.flip(1).cumsum(1).flip(1)  # in this cell or further
        self._sums.add(sampled.index, beyond[:, 2:])

    def tensors(self) -> list[Tensor]:
        """The sums, to be added over ranks in place."""
        return self._sums.tensors()

    def results(self, units: Array) -> ByGroup:
        """`escape` and its coordinates."""
        mean, stderr = self._sums.finish()
        particles = self._shape[0]
        return {
            GROUP: {
                "time": self._times,
                "threshold": self._cells.edges[1:],
                "escape": mean / particles,
                "escape_stderr": stderr / particles,
            }
        }


def _length(r: Tensor) -> Tensor:
    """|r| of vectors (K, D, B): (K, B)."""
    return r[:, 0].abs() if r.shape[1] == 1 else r.square().sum(1).sqrt()
