"""Equal cells along a line, and what falls into them, group by group.

Shapes: B samples, C cells, G groups.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsmsim.measure.groups import Groups

Array = NDArray[np.float64]


class Cells:
    """C cells of equal width from low to high, and the two that lie outside.

    Attributes:
        count: C, without the two outside.
        width: of a cell.
    """

    def __init__(self, low: float, high: float, count: int) -> None:
        self.count, self.width = count, (high - low) / count
        self._low, self._high = low, high
        self._scale, self._shift = 1.0 / self.width, 1.0 - low / self.width

    @classmethod
    def of(cls, edges: Array) -> Cells:
        """Those of edges (C + 1,) that are equidistant."""
        return cls(float(edges[0]), float(edges[-1]), len(edges) - 1)

    @property
    def edges(self) -> Array:
        """(C + 1,) ends of the cells, increasing."""
        return np.linspace(self._low, self._high, self.count + 1)

    @property
    def centers(self) -> Array:
        """(C,) middles of the cells."""
        edges = self.edges
        return np.asarray(0.5 * (edges[1:] + edges[:-1]))

    def index(self, positions: Tensor) -> Tensor:
        """Cells of positions: 0 is all that lies below, C + 1 what lies above or is not a number.

        A position at an edge may be counted on either side of it.
        """
        last = float(self.count + 1)
        places = (positions * self._scale).add_(self._shift)
        return torch.nan_to_num(places, nan=last, posinf=last, neginf=0.0).clamp_(0.0, last).to(torch.int64)


def in_cells(cell: Tensor, cells: int, groups: Groups, values: Tensor | None = None) -> Tensor:
    """What falls into each of so many cells, on average over the samples of each group: (G, cells).

    Args:
        cell: (..., B) cells of any number of points of each sample.
        values: (..., B), or of a shape that broadcasts, of each point; None: 1.
    """
    flat = (cell if len(groups) == 1 else cell + groups.index * cells).reshape(-1)
    each = None if values is None else values.expand(cell.shape).reshape(-1)
    sums = torch.bincount(flat, each, minlength=len(groups) * cells)
    return sums.reshape(len(groups), cells) / groups.sizes[:, None]
