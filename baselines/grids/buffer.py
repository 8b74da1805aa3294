"""Sixteen lines in a buffer, one line per SIMD lane, and the sweep that leaves them there.

Shapes: `M` points; a buffer (`buffer_size(M)`,) float64 has a row per point: real parts of the first eight
lines, their imaginary parts, the same of the other eight. Tables as in `baselines.grids.tridiagonal`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from baselines.grids.lanes import LANES, TURNED, everywhere, load_row, store_row, swept

Array = npt.NDArray[np.float64]
Wave = npt.NDArray[np.complex128]
Integers = npt.NDArray[np.int64]

# lines that go through a sweep together
GROUP = 2 * LANES
# float64 numbers in a row of the buffer, real and imaginary parts of the group, and where its second half is
ROW = 2 * GROUP
HALF = 2 * LANES
# columns of zeros on both sides of a table
PAD = TURNED


def buffer_size(points: int) -> int:
    """float64 numbers of the work space of one thread: one row before the points, some behind them."""
    return (points + 2 + PAD) * ROW


@swept
def turn(buffer: Array, first: Wave, second: Wave, points: int) -> None:
    """Substitution of the first factor and elimination of the second, downwards."""
    v0 = v1 = f0 = f1 = everywhere(0j)
    e0, e1 = load_row(buffer, points * ROW), load_row(buffer, points * ROW + HALF)
    for j in range(points - 1, -1, -1):
        row, k = (j + 1) * ROW, j + PAD
        before, after = everywhere(first[0, k]), everywhere(first[2, k])
        gamma, other = everywhere(first[1, k]), everywhere(second[0, points - 1 - j + PAD])
        d0, d1 = load_row(buffer, row - ROW), load_row(buffer, row - ROW + HALF)
        v0 = gamma * e0 - after * v0
        v1 = gamma * e1 - after * v1
        f0 = e0 + before * d0 + v0 - other * f0
        f1 = e1 + before * d1 + v1 - other * f1
        store_row(buffer, row, f0)
        store_row(buffer, row + HALF, f1)
        e0, e1 = d0, d1
