"""Where the points of a grid lie in memory so that compiled sweeps along every axis run at full speed.

Neighbours along the last axis are neighbours in memory; the other strides are multiples of 16 elements, so
that 16 columns can be taken at a time, and not multiples of a large power of two, which would send all
points of a column to the same few lines of a cache. There is room for a multiple of 16 lines along the last
axis. Padding stays zero.

Shapes: `n` axes, `M` points along each, waves (M, ..., M), flat arrays (size,).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import as_strided

from baselines.grids.tridiagonal import GROUP, Integers

ALIGNED = 64  # bytes of a line of cache
Number = TypeVar("Number", bound=np.generic)


@dataclass(frozen=True)
class Layout:
    """The layout of a grid of M points along n axes."""

    axes: int
    points: int

    @cached_property
    def strides(self) -> Integers:
        """Elements between neighbours along every axis but the last (n - 1,); (1,) for a single axis."""
        strides: list[int] = []
        least = self.points
        for _ in range(max(1, self.axes - 1)):
            groups = -(-least // GROUP)
            # a plane is short enough for any even number but the worst ones
            worst = 2 if strides or self.points >= 512 else 8
            strides.insert(0, GROUP * (groups + (groups % worst == 0)))
            # lines are taken 16 at a time
            least = strides[0] * (self.points if len(strides) > 1 else -(-self.points // GROUP) * GROUP)
        return np.array(strides, dtype=np.int64)

    @property
    def size(self) -> int:
        """Elements of a flat array, a multiple of 16."""
        first = 1 if self.axes == 1 else self.points
        rows = first if self.axes > 2 else -(-first // GROUP) * GROUP
        return int(rows * self.strides[0])

    def empty(self, kind: type[Number]) -> npt.NDArray[Number]:
        """A flat array of zeros that begins on a line of cache."""
        itemsize = np.dtype(kind).itemsize
        raw = np.zeros(self.size * itemsize + ALIGNED, dtype=np.uint8)
        offset = -raw.ctypes.data % ALIGNED
        return cast(npt.NDArray[Number], raw[offset : offset + self.size * itemsize].view(kind))

    def view(self, flat: npt.NDArray[Number]) -> npt.NDArray[Number]:
        """The points (M, ..., M) of a flat array, in place."""
        strides = [*self.strides.tolist()[: self.axes - 1], 1]
        return as_strided(flat, (self.points,) * self.axes, [s * flat.itemsize for s in strides])

    def packed(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """A flat array with these values (M, ..., M) at its points."""
        flat = self.empty(values.dtype.type)
        self.view(flat)[...] = values
        return flat
