"""Unitary factors of a kinetic propagator along each axis of a grid, as compiled sweeps in place.

One factor acts on every line of the grid along one axis,

    psi <- psi + gamma T^{-1} psi,        T = tridiag(1, r, 1)

by Gaussian elimination with the factors p_0 = 1/r, p_j = 1/(r - p_{j-1}) (`baselines.grids.factors`):

    e_j = psi_j - p_{j-1} e_{j-1}              elimination, one way
    v_j = gamma p_j e_j - p_j v_{j+1}          substitution, the other way:  v = gamma T^{-1} psi
    psi_j <- e_j + p_{j-1} e_{j-1} + v_j       where the first two terms are the old psi_j

T is the same read backwards, so a second factor is eliminated in the direction in which the first is
substituted: two factors take three sweeps. Sixteen lines go through the sweeps together, in a buffer that
stays in cache, with one line per SIMD lane.

Layout (`baselines.grids.layout`): psi is a flat complex128 array; neighbours along axis k lie `strides[k]`
elements apart, a multiple of 16, and 1 along the last axis. What is between is padding and stays zero; there
is room for a multiple of 16 lines. Planes of the last two axes are finished before the next axis is begun,
and so on outwards, so that each level of cache is used.

Shapes: `n` axes, `M` points along each, `F` factors (1 or 2); tables (n, F, 3, 4 + M + 4) complex: p_{j-1},
gamma p_j and p_j at 4 + j, zero where j or j - 1 is no point; and kappa = r + gamma at (0, M + 7), or 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import prange

from baselines.grids.lanes import (
    LANES,
    TURNED,
    compiled,
    everywhere,
    load,
    load_lines,
    load_row,
    prefetch,
    store,
    store_lines,
    store_row,
)

Array = npt.NDArray[np.float64]
Wave = npt.NDArray[np.complex128]
Integers = npt.NDArray[np.int64]

# lines that go through a sweep together
GROUP = 2 * LANES
# float64 numbers in a row of the buffer, real and imaginary parts of the group, and where its second half is
ROW = 2 * GROUP
HALF = 2 * LANES
# elements of a block that is likely to be in cache: 2 MiB
FAR = 1 << 17
# columns of zeros on both sides of a table
PAD = TURNED


def buffer_size(points: int) -> int:
    """float64 numbers of the work space of one thread: one row before the points, some behind them."""
    return (points + 2 + PAD) * ROW


@compiled
def _turn(buffer: Array, first: Wave, second: Wave, points: int) -> None:
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


@compiled
def _is_far(stride: int, points: int) -> bool:
    """Whether the next columns are hardly in cache: no hardware foresees strides that long."""
    return stride * points > FAR


@compiled
def _ask(array: Wave, place: int) -> None:
    """Have 16 elements ready soon."""
    for i in range(0, GROUP, LANES // 2):
        prefetch(array, place + i)


@compiled
def _one_factor(
    psi: Wave,
    start: int,
    stride: int,
    phase: Wave,
    kicked: bool,
    table: Wave,
    points: int,
    buffer: Array,
) -> None:
    """A single factor for 16 neighbouring columns, times `phase` where `kicked`.

    With u_j = gamma p_j e_j instead of e_j there is a product less, and psi is read again.
    """
    u0 = u1 = v0 = v1 = everywhere(0j)
    far, place = _is_far(stride, points), start
    for j in range(points):
        p, gamma = everywhere(table[2, j + PAD]), everywhere(table[1, j + PAD])
        u0 = gamma * load(psi, place) - p * u0
        u1 = gamma * load(psi, place + LANES) - p * u1
        store_row(buffer, j * ROW, u0)
        store_row(buffer, j * ROW + HALF, u1)
        if far and kicked:
            _ask(phase, place)
        place += stride
    for j in range(points - 1, -1, -1):
        place -= stride
        p = everywhere(table[2, j + PAD])
        v0 = load_row(buffer, j * ROW) - p * v0
        v1 = load_row(buffer, j * ROW + HALF) - p * v1
        f0 = load(psi, place) + v0
        f1 = load(psi, place + LANES) + v1
        if kicked:
            f0 = f0 * load(phase, place)
            f1 = f1 * load(phase, place + LANES)
        store(psi, place, f0)
        store(psi, place + LANES, f1)
        if far:
            _ask(psi, place + GROUP)


@compiled
def _two_factors(
    psi: Wave,
    start: int,
    stride: int,
    phase: Wave,
    kicked: bool,
    tables: Wave,
    points: int,
    buffer: Array,
) -> None:
    """The same for two factors."""
    e0 = e1 = v0 = v1 = everywhere(0j)
    far, place = _is_far(stride, points), start
    for j in range(points):
        p, row = everywhere(tables[0, 0, j + PAD]), (j + 1) * ROW
        e0 = load(psi, place) - p * e0
        e1 = load(psi, place + LANES) - p * e1
        store_row(buffer, row, e0)
        store_row(buffer, row + HALF, e1)
        if far and kicked:
            _ask(phase, place)
        place += stride
    _turn(buffer, tables[0], tables[1], points)
    place = start
    e0, e1 = load_row(buffer, ROW), load_row(buffer, ROW + HALF)
    for j in range(points):
        k, row = points - 1 - j + PAD, (j + 2) * ROW
        before, after = everywhere(tables[1, 0, k]), everywhere(tables[1, 2, k])
        gamma = everywhere(tables[1, 1, k])
        d0, d1 = load_row(buffer, row), load_row(buffer, row + HALF)
        v0 = gamma * e0 - after * v0
        v1 = gamma * e1 - after * v1
        f0 = e0 + before * d0 + v0
        f1 = e1 + before * d1 + v1
        if kicked:
            f0 = f0 * load(phase, place)
            f1 = f1 * load(phase, place + LANES)
        store(psi, place, f0)
        store(psi, place + LANES, f1)
        if far:
            _ask(psi, place + GROUP)
        e0, e1 = d0, d1
        place += stride


@compiled
def _columns(
    psi: Wave,
    start: int,
    stop: int,
    stride: int,
    phase: Wave,
    kicked: bool,
    tables: Wave,
    points: int,
    buffer: Array,
) -> None:
    """All factors along an axis for the columns that start at elements start ... stop - 1, 16 at a time."""
    for place in range(start, stop, GROUP):
        if tables.shape[0] == 2:
            _two_factors(psi, place, stride, phase, kicked, tables, points, buffer)
        else:
            _one_factor(psi, place, stride, phase, kicked, tables[0], points, buffer)


@compiled
def _step_up(buffer: Array, table: Wave, j: int, e: Any, f: Any, x: Any, y: Any) -> Any:
    """One row of the elimination: e, f before it, x, y read."""
    p, row = everywhere(table[0, j + PAD]), (j + 1) * ROW
    e, f = x - p * e, y - p * f
    store_row(buffer, row, e)
    store_row(buffer, row + HALF, f)
    return e, f


@compiled
def _step_back(buffer: Array, table: Wave, k: int, row: int, e: Any, f: Any, v: Any, w: Any) -> Any:
    """One row of the last substitution; `row` is where the next e and f are."""
    before, after, gamma = everywhere(table[0, k]), everywhere(table[2, k]), everywhere(table[1, k])
    c, d = load_row(buffer, row), load_row(buffer, row + HALF)
    v, w = gamma * e - after * v, gamma * f - after * w
    return e + before * c + v, f + before * d + w, c, d, v, w


@compiled
def _step_out(buffer: Array, p: Any, kappa: Any, row: int, u: Any, v: Any, w: Any, x: Any) -> Any:
    """One row of the substitution by v: v_{j+1}, v_j and the same of the other half; e_{j-1} is at `row`."""
    t, y = p * (load_row(buffer, row) - v), p * (load_row(buffer, row + HALF) - x)
    return t + u + kappa * v, y + w + kappa * x, v, t, x, y


@compiled
def _lines(psi: Wave, start: int, stride: int, tables: Wave, points: int, buffer: Array) -> None:
    """All factors along the last axis for 16 lines, the first of which begins at `start`.

    A single factor with kappa needs v = T^{-1} psi only: psi + gamma v = v_{j-1} + kappa v_j + v_{j+1}.
    Rows behind the last point, up to a multiple of 4, are zero before and after.
    """
    other = start + LANES * stride
    nothing = e = f = v = w = everywhere(0j)
    for j in range(0, points, TURNED):
        a0, a1, a2, a3 = load_lines(psi, start + j, stride)
        b0, b1, b2, b3 = load_lines(psi, other + j, stride)
        e, f = _step_up(buffer, tables[0], j, e, f, a0, b0)
        e, f = _step_up(buffer, tables[0], j + 1, e, f, a1, b1)
        e, f = _step_up(buffer, tables[0], j + 2, e, f, a2, b2)
        e, f = _step_up(buffer, tables[0], j + 3, e, f, a3, b3)
    if tables.shape[0] == 2:
        _turn(buffer, tables[0], tables[1], points)
        e, f = load_row(buffer, ROW), load_row(buffer, ROW + HALF)
        for j in range(0, points, TURNED):
            k, row = points - 1 - j + PAD, (j + 2) * ROW
            a0, b0, e, f, v, w = _step_back(buffer, tables[1], k, row, e, f, v, w)
            a1, b1, e, f, v, w = _step_back(buffer, tables[1], k - 1, row + ROW, e, f, v, w)
            a2, b2, e, f, v, w = _step_back(buffer, tables[1], k - 2, row + 2 * ROW, e, f, v, w)
            a3, b3, e, f, v, w = _step_back(buffer, tables[1], k - 3, row + 3 * ROW, e, f, v, w)
            store_lines(psi, start + j, stride, (a0, a1, a2, a3))
            store_lines(psi, other + j, stride, (b0, b1, b2, b3))
        return
    table, last = tables[0], (points - 1) // TURNED * TURNED
    kappa = table[0, points + 2 * PAD - 1]
    if kappa == 0.0:
        for j in range(last, -1, -TURNED):
            k, row = j + PAD, j * ROW
            a3, b3, e, f, v, w = _step_back(buffer, table, k + 3, row + 3 * ROW, e, f, v, w)
            a2, b2, e, f, v, w = _step_back(buffer, table, k + 2, row + 2 * ROW, e, f, v, w)
            a1, b1, e, f, v, w = _step_back(buffer, table, k + 1, row + ROW, e, f, v, w)
            a0, b0, e, f, v, w = _step_back(buffer, table, k, row, e, f, v, w)
            store_lines(psi, start + j, stride, (a0, a1, a2, a3))
            store_lines(psi, other + j, stride, (b0, b1, b2, b3))
        return
    factor, p = everywhere(kappa), everywhere(table[2, last + 3 + PAD])
    u, x = p * e, p * f
    for j in range(last, -1, -TURNED):
        k, row = j + PAD, j * ROW
        p3, p2 = everywhere(table[2, k + 2]), everywhere(table[2, k + 1])
        p1, p0 = everywhere(table[2, k]), everywhere(table[2, k - 1])
        a3, b3, v, u, w, x = _step_out(buffer, p3, factor, row + 3 * ROW, v, u, w, x)
        a2, b2, v, u, w, x = _step_out(buffer, p2, factor, row + 2 * ROW, v, u, w, x)
        a1, b1, v, u, w, x = _step_out(buffer, p1, factor, row + ROW, v, u, w, x)
        a0, b0, v, u, w, x = _step_out(buffer, p0, factor, row, v, u, w, x)
        if j + TURNED > points:
            a3 = b3 = nothing
            if j + 2 >= points:
                a2 = b2 = nothing
            if j + 1 >= points:
                a1 = b1 = nothing
        store_lines(psi, start + j, stride, (a0, a1, a2, a3))
        store_lines(psi, other + j, stride, (b0, b1, b2, b3))


@compiled
def _plane(psi: Wave, start: int, stride: int, tables: Wave, points: int, buffer: Array) -> None:
    """All factors along the last two axes, of strides `stride` and 1; `tables` of these two."""
    for line in range(0, points, GROUP):
        _lines(psi, start + line * stride, stride, tables[1], points, buffer)
    _columns(psi, start, start + stride, stride, psi, False, tables[0], points, buffer)


@compiled
def _slab(psi: Wave, start: int, strides: Integers, tables: Wave, points: int, buffer: Array) -> None:
    """All axes but the first of three or four, at one point of the first."""
    if tables.shape[0] == 3:
        _plane(psi, start, strides[1], tables[1:], points, buffer)
        return
    for i in range(points):
        _plane(psi, start + i * strides[1], strides[2], tables[2:], points, buffer)
    _columns(psi, start, start + strides[1], strides[1], psi, False, tables[1], points, buffer)


def _drift(
    psi: Wave,
    strides: Integers,
    points: int,
    tables: Wave,
    phase: Wave,
    kicked: bool,
    work: Array,
    count: int,
) -> None:
    """`count` times: all factors along all axes, then psi *= phase where `kicked`.

    Args:
        psi: (size,) complex128, in place.
        strides: (n - 1,) of the layout.
        points: M.
        tables: (n, F, 3, M + 8) complex128.
        phase: (size,) complex128; anything where not `kicked`.
        work: (threads, `buffer_size(M)`) float64, zeros at first.
    """
    axes, threads = tables.shape[0], work.shape[0]
    for _ in range(count):
        if axes < 3:
            bundles = (points + GROUP - 1) // GROUP if axes == 2 else 1
            for thread in prange(threads):
                for line in range(thread * bundles // threads, (thread + 1) * bundles // threads):
                    start = line * GROUP * strides[0]
                    _lines(psi, start, strides[0], tables[-1], points, work[thread])
        else:
            for thread in prange(threads):
                for i in range(thread * points // threads, (thread + 1) * points // threads):
                    _slab(psi, i * strides[0], strides, tables, points, work[thread])
        if axes > 1:
            groups = strides[0] // GROUP
            for thread in prange(threads):
                first, last = thread * groups // threads, (thread + 1) * groups // threads
                _columns(
                    psi,
                    first * GROUP,
                    last * GROUP,
                    strides[0],
                    phase,
                    kicked,
                    tables[0],
                    points,
                    work[thread],
                )
        elif kicked:
            for place in range(0, points, LANES):
                store(psi, place, load(psi, place) * load(phase, place))


def _multiply(psi: Wave, phase: Wave, threads: int) -> None:
    """psi *= phase, both (size,) with size a multiple of 16."""
    groups = psi.size // GROUP
    for thread in prange(threads):
        for group in range(thread * groups // threads, (thread + 1) * groups // threads):
            for place in range(group * GROUP, (group + 1) * GROUP, LANES):
                store(psi, place, load(psi, place) * load(phase, place))


drift = compiled(_drift)
drift_threaded = compiled(_drift, parallel=True)
multiply = compiled(_multiply)
multiply_threaded = compiled(_multiply, parallel=True)
