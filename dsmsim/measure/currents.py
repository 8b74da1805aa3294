"""The one-body current density along each axis,

    j(x) = E[ (1/N) sum_i delta(x - x_i) v_i ] ,       d/dt rho_1 + d/dx j = 0 ,      int j dx = E[v]

as averages over the cells of the density. Its integral is the mean velocity.

Shapes: B samples, N particles, D axes, T times, C cells.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray
from torch import Tensor

from dsmsim.measure.cells import Cells, in_cells
from dsmsim.measure.context import Context
from dsmsim.measure.groups import GroupSums
from dsmsim.measure.observable import Array, ByGroup, Sampled
from dsmsim.measure.units import weighted

SUFFIXES = ("", "_y", "_z")  # of names in the group `density`


class CurrentSums:
    """Current densities along all axes."""

    def __init__(self, context: Context) -> None:
        self._particles, self._dimensions = context.system.particles, context.system.dimensions
        self._cells = [Cells.of(edges) for edges in context.edges]
        self._sums = [GroupSums(len(context.times), (c.count,), context.device) for c in self._cells]

    def add(self, sampled: Sampled) -> None:
        """Add a batch."""
        for axis, (cells, sums) in enumerate(zip(self._cells, self._sums, strict=True)):
            x, v = (a.t()[axis :: self._dimensions] for a in (sampled.x, sampled.v))
            heavy = weighted(v, sampled.weights, dim=1)
            found = in_cells(cells.index(x), cells.count + 2, sampled.groups, heavy)
            sums.add(sampled.index, found[:, 1:-1])

    def tensors(self) -> list[Tensor]:
        """The sums, to be added over ranks in place."""
        return [tensor for sums in self._sums for tensor in sums.tensors()]

    def results(self, units: Array) -> ByGroup:
        """`density/current` and its like along the other axes, 1/time."""
        group: dict[str, NDArray[Any]] = {}
        for cells, sums, suffix in zip(self._cells, self._sums, SUFFIXES, strict=False):
            width = self._particles * cells.width
            mean, stderr = sums.finish()
            group |= {f"current{suffix}": mean / width, f"current{suffix}_stderr": stderr / width}
        return {"density": group}
