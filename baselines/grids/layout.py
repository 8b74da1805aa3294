"""Where the points of a grid lie in memory so that swept sweeps along every axis run at full speed.

Neighbours along the last axis are neighbours in memory; the other strides are multiples of 16 elements, so
that 16 columns can be taken at a time, and not multiples of a large power of two, which would send all
points of a column to the same few lines of a cache. There is room for a multiple of 16 lines along the last
axis. Padding stays zero.

A wave that is even, psi(c + x) = psi(c - x) for the middle c of the box, is folded: the points i_0 < M/2 of
an even number M are stored, and the point (i_0, ..., i_{n-1}) is the point (M-1-i_0, ..., M-1-i_{n-1}) too.
Within a slab i_0 = const the element `place` then has its mirrored element at 2 m - 1 - place, with the
middle m of the slab. Slabs begin with as much padding as makes m a multiple of 16: then the groups of 16
columns below m and their mirrored groups above it are all whole and do not overlap.

Shapes: `n` axes, `M` points along each, `R` of them stored along the first (M, folded M/2), waves (M, ..., M)
and stored (R, M, ..., M), flat arrays (size,).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import as_strided

from baselines.grids.buffer import GROUP, Integers
from baselines.grids.lanes import TURNED

ALIGNED = 64  # bytes of a line of cache
Number = TypeVar("Number", bound=np.generic)


def _up(count: int, unit: int) -> int:
    """The next multiple."""
    return -(-count // unit) * unit


@dataclass(frozen=True)
class Layout:
    """The layout of a grid of M points along n axes; `folded` needs an even M and two axes at least."""

    axes: int
    points: int
    folded: bool = False

    @cached_property
    def strides(self) -> Integers:
        """Elements between neighbours along every axis but the last (n - 1,); (1,) for a single axis."""
        strides: list[int] = []
        # lines are turned four points at a time
        least = _up(self.points, TURNED)
        for axis in range(max(1, self.axes - 1), 0, -1):
            if axis == 1 and self.folded:
                middle, first = self._middle(strides)
                least = max(2 * middle, first + least)
            groups = _up(least, GROUP) // GROUP
            # a plane is short enough for any even number but the worst ones
            worst = 2 if strides or self.points >= 512 else 8
            strides.insert(0, GROUP * (groups + (groups % worst == 0)))
            # lines are taken 16 at a time
            least = strides[0] * (self.points if len(strides) > 1 else _up(self.points, GROUP))
        return np.array(strides, dtype=np.int64)

    @cached_property
    def plan(self) -> Integers:
        """M, R, the element of the first point, and how many columns along the first axis are solved (4,)."""
        if not self.folded:
            return np.array([self.points, self.points, 0, self.strides[0]], dtype=np.int64)
        middle, first = self._middle(self.strides.tolist()[1:])
        return np.array([self.points, self.points // 2, first, middle], dtype=np.int64)

    @property
    def rows(self) -> int:
        """R."""
        return int(self.plan[1])

    @property
    def size(self) -> int:
        """Elements of a flat array, a multiple of 16."""
        first = 1 if self.axes == 1 else self.rows
        return int((first if self.axes > 2 else _up(first, GROUP)) * self.strides[0])

    def empty(self, kind: type[Number]) -> npt.NDArray[Number]:
        """A flat array of zeros that begins on a line of cache."""
        itemsize = np.dtype(kind).itemsize
        raw = np.zeros(self.size * itemsize + ALIGNED, dtype=np.uint8)
        offset = -raw.ctypes.data % ALIGNED
        return cast(npt.NDArray[Number], raw[offset : offset + self.size * itemsize].view(kind))

    def view(self, flat: npt.NDArray[Number]) -> npt.NDArray[Number]:
        """The stored points (R, M, ..., M) of a flat array, in place."""
        strides = [*self.strides.tolist()[: self.axes - 1], 1]
        shape = (self.rows, *(self.points,) * (self.axes - 1))
        return as_strided(flat[self.plan[2] :], shape, [s * flat.itemsize for s in strides])

    def packed(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """A flat array with these values (M, ..., M) at its points."""
        flat = self.empty(values.dtype.type)
        self.view(flat)[...] = values[: self.rows]
        return flat

    def expand(
        self, flat: npt.NDArray[Number], out: npt.NDArray[Number], first: int = 0, every: int = 1
    ) -> None:
        """The points first, first + every, ... of each axis, of the whole grid, into `out` (P, ..., P)."""
        stored, others = self.view(flat), self.axes - 1
        near = len(range(first, self.rows, every))
        out[:near] = stored[(slice(first, None, every),) * self.axes]
        if near < len(out):
            last = self.points - 1 - first
            mirrored = slice(last, None, -every)
            out[near:] = stored[(slice(last - near * every, None, -every), *(mirrored,) * others)]

    def _middle(self, inner: list[int]) -> tuple[int, int]:
        """The middle of a slab with these strides, and the element of its first point."""
        last = (self.points - 1) * (sum(inner) + 1)
        middle = _up((last + 1) // 2, GROUP)
        return middle, middle - (last + 1) // 2
