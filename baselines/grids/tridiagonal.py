"""Unitary factors of a kinetic propagator along each axis of a grid, as swept sweeps in place.

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
and so on outwards, so that each level of cache is used. Of a wave that is even in all coordinates together
only one half along the first axis is stored; its columns are folded (`baselines.grids.columns`).

Shapes: `n` axes, `M` points along each, `F` factors (1 or 2); tables (n, F, 3, 4 + M + 4) complex: p_{j-1},
gamma p_j and p_j at 4 + j, zero where j or j - 1 is no point; and kappa = r + gamma at (0, M + 7), or 0.
"""

from __future__ import annotations

from typing import Any

from numba import prange

from baselines.grids.buffer import (
    GROUP,
    HALF,
    PAD,
    ROW,
    Array,
    Integers,
    Wave,
    buffer_size,
    turn,
)
from baselines.grids.columns import columns, step_back, step_up
from baselines.grids.lanes import (
    LANES,
    TURNED,
    everywhere,
    inlined,
    load,
    load_lines,
    load_row,
    store,
    store_lines,
    swept,
)

__all__ = ["GROUP", "PAD", "buffer_size", "drift", "drift_threaded", "multiply", "multiply_threaded"]


@inlined
def _step_out(buffer: Array, p: Any, kappa: Any, row: int, u: Any, v: Any, w: Any, x: Any) -> Any:
    """One row of the substitution by v: v_{j+1}, v_j and the same of the other half; e_{j-1} is at `row`."""
    t, y = p * (load_row(buffer, row) - v), p * (load_row(buffer, row + HALF) - x)
    return t + u + kappa * v, y + w + kappa * x, v, t, x, y


@swept
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
        e, f = step_up(buffer, tables[0], j, e, f, a0, b0)
        e, f = step_up(buffer, tables[0], j + 1, e, f, a1, b1)
        e, f = step_up(buffer, tables[0], j + 2, e, f, a2, b2)
        e, f = step_up(buffer, tables[0], j + 3, e, f, a3, b3)
    if tables.shape[0] == 2:
        turn(buffer, tables[0], tables[1], points)
        e, f = load_row(buffer, ROW), load_row(buffer, ROW + HALF)
        for j in range(0, points, TURNED):
            k, row = points - 1 - j + PAD, (j + 2) * ROW
            a0, b0, e, f, v, w = step_back(buffer, tables[1], k, row, e, f, v, w)
            a1, b1, e, f, v, w = step_back(buffer, tables[1], k - 1, row + ROW, e, f, v, w)
            a2, b2, e, f, v, w = step_back(buffer, tables[1], k - 2, row + 2 * ROW, e, f, v, w)
            a3, b3, e, f, v, w = step_back(buffer, tables[1], k - 3, row + 3 * ROW, e, f, v, w)
            store_lines(psi, start + j, stride, (a0, a1, a2, a3))
            store_lines(psi, other + j, stride, (b0, b1, b2, b3))
        return
    table, last = tables[0], (points - 1) // TURNED * TURNED
    kappa = table[0, points + 2 * PAD - 1]
    if kappa == 0.0:
        for j in range(last, -1, -TURNED):
            k, row = j + PAD, j * ROW
            a3, b3, e, f, v, w = step_back(buffer, table, k + 3, row + 3 * ROW, e, f, v, w)
            a2, b2, e, f, v, w = step_back(buffer, table, k + 2, row + 2 * ROW, e, f, v, w)
            a1, b1, e, f, v, w = step_back(buffer, table, k + 1, row + ROW, e, f, v, w)
            a0, b0, e, f, v, w = step_back(buffer, table, k, row, e, f, v, w)
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


@swept
def _plane(psi: Wave, start: int, stride: int, tables: Wave, points: int, buffer: Array) -> None:
    """All factors along the last two axes, of strides `stride` and 1; `tables` of these two."""
    for line in range(0, points, GROUP):
        _lines(psi, start + line * stride, stride, tables[1], points, buffer)
    columns(psi, start, start + stride, 0, points, stride, psi, False, tables[0], points, buffer)


@swept
def _slab(psi: Wave, start: int, strides: Integers, tables: Wave, points: int, buffer: Array) -> None:
    """All axes but the first of three or four, at one point of the first."""
    if tables.shape[0] == 3:
        _plane(psi, start, strides[1], tables[1:], points, buffer)
        return
    for i in range(points):
        _plane(psi, start + i * strides[1], strides[2], tables[2:], points, buffer)
    stride = strides[1]
    columns(psi, start, start + stride, 0, points, stride, psi, False, tables[1], points, buffer)


def _drift(
    psi: Wave,
    strides: Integers,
    plan: Integers,
    tables: Wave,
    phase: Wave,
    kicked: bool,
    work: Array,
    count: int,
) -> None:
    """`count` times: all factors along all axes, then psi *= phase where `kicked`.

    Args:
        psi: (size,) complex128, in place.
        strides, plan: of the layout.
        tables: (n, F, 3, M + 8) complex128.
        phase: (size,) complex128; anything where not `kicked`.
        work: (threads, `buffer_size(M)`) float64, zeros at first.
    """
    axes, threads = tables.shape[0], work.shape[0]
    points, rows, first, heads = plan[0], plan[1], plan[2], plan[3]
    for _ in range(count):
        if axes < 3:
            bundles = (rows + GROUP - 1) // GROUP if axes == 2 else 1
            for thread in prange(threads):
                for line in range(thread * bundles // threads, (thread + 1) * bundles // threads):
                    start = line * GROUP * strides[0] + first
                    _lines(psi, start, strides[0], tables[-1], points, work[thread])
        else:
            for thread in prange(threads):
                for i in range(thread * rows // threads, (thread + 1) * rows // threads):
                    _slab(psi, i * strides[0] + first, strides, tables, points, work[thread])
        if axes > 1:
            groups, ends = heads // GROUP, 2 * heads - GROUP
            for thread in prange(threads):
                columns(
                    psi,
                    thread * groups // threads * GROUP,
                    (thread + 1) * groups // threads * GROUP,
                    ends,
                    rows,
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


drift = swept(_drift)
drift_threaded = swept(_drift, parallel=True)
multiply = swept(_multiply)
multiply_threaded = swept(_multiply, parallel=True)
