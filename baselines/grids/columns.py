"""Factors along any axis but the last: sixteen neighbouring columns at a time, whole or folded.

A folded column has its first `near` points in place. The others are those of the mirrored column, read
backwards: of a group of columns at `place` they are in the group at `mirrored`, with the lanes reversed, and
point j is in row M - 1 - j there. Solving the group solves both. Whole columns have near = M.

Shapes, tables and buffer as in `baselines.grids.tridiagonal`.
"""

from __future__ import annotations

from typing import Any

from baselines.grids.buffer import GROUP, HALF, PAD, ROW, Array, Wave, turn
from baselines.grids.lanes import (
    LANES,
    everywhere,
    inlined,
    load,
    load_reversed,
    load_row,
    prefetch,
    store,
    store_reversed,
    store_row,
    swept,
)

# elements of a block that is likely to be in cache: 2 MiB
FAR = 1 << 17
# rows that are asked for ahead of need where they are far
AHEAD = 4


@inlined
def _is_far(stride: int, rows: int) -> bool:
    """Whether columns are hardly in cache: no hardware foresees strides that long."""
    return stride * rows > FAR


@inlined
def _ask(array: Wave, place: int) -> None:
    """Have 16 elements ready soon."""
    for i in range(0, GROUP, LANES // 2):
        prefetch(array, place + i)


@inlined
def _put(psi: Wave, place: int, phase: Wave, kicked: bool, f: Any, g: Any) -> None:
    """Sixteen neighbours, times `phase` where `kicked`."""
    if kicked:
        store(psi, place, f * load(phase, place))
        store(psi, place + LANES, g * load(phase, place + LANES))
    else:
        store(psi, place, f)
        store(psi, place + LANES, g)


@inlined
def _put_reversed(psi: Wave, place: int, phase: Wave, kicked: bool, f: Any, g: Any) -> None:
    """The same, the last first."""
    if kicked:
        store_reversed(psi, place + LANES, f * load_reversed(phase, place + LANES))
        store_reversed(psi, place, g * load_reversed(phase, place))
    else:
        store_reversed(psi, place + LANES, f)
        store_reversed(psi, place, g)


@inlined
def _in_one(buffer: Array, table: Wave, j: int, u: Any, w: Any, x: Any, y: Any) -> Any:
    """Elimination of row j for a single factor: u_{j-1} of both halves, psi_j of both."""
    p, gamma = everywhere(table[2, j + PAD]), everywhere(table[1, j + PAD])
    u, w = gamma * x - p * u, gamma * y - p * w
    store_row(buffer, j * ROW, u)
    store_row(buffer, j * ROW + HALF, w)
    return u, w


@inlined
def _out_one(buffer: Array, table: Wave, j: int, v: Any, w: Any) -> Any:
    """Substitution of row j for a single factor: v_{j+1} of both halves."""
    p = everywhere(table[2, j + PAD])
    return load_row(buffer, j * ROW) - p * v, load_row(buffer, j * ROW + HALF) - p * w


@swept
def _one_factor(
    psi: Wave,
    place: int,
    mirrored: int,
    near: int,
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
    u = w = v = x = everywhere(0j)
    far = _is_far(stride, near)
    for j in range(near):
        u, w = _in_one(buffer, table, j, u, w, load(psi, place), load(psi, place + LANES))
        if far:
            _ask(psi, place + AHEAD * stride)
        place += stride
    mirrored += (points - near) * stride
    for j in range(near, points):
        mirrored -= stride
        y, z = load_reversed(psi, mirrored + LANES), load_reversed(psi, mirrored)
        u, w = _in_one(buffer, table, j, u, w, y, z)
        if far:
            _ask(psi, mirrored - AHEAD * stride)
    for j in range(points - 1, near - 1, -1):
        v, x = _out_one(buffer, table, j, v, x)
        y, z = load_reversed(psi, mirrored + LANES), load_reversed(psi, mirrored)
        _put_reversed(psi, mirrored, phase, kicked, y + v, z + x)
        if far:
            _ask(psi, mirrored + AHEAD * stride)
            if kicked:
                _ask(phase, mirrored + AHEAD * stride)
        mirrored += stride
    for j in range(near - 1, -1, -1):
        place -= stride
        v, x = _out_one(buffer, table, j, v, x)
        _put(psi, place, phase, kicked, load(psi, place) + v, load(psi, place + LANES) + x)
        if far:
            _ask(psi, place - AHEAD * stride)
            if kicked:
                _ask(phase, place - AHEAD * stride)


@inlined
def step_up(buffer: Array, table: Wave, j: int, e: Any, f: Any, x: Any, y: Any) -> Any:
    """One row of the elimination: e, f before it, x, y read."""
    p, row = everywhere(table[0, j + PAD]), (j + 1) * ROW
    e, f = x - p * e, y - p * f
    store_row(buffer, row, e)
    store_row(buffer, row + HALF, f)
    return e, f


@inlined
def step_back(buffer: Array, table: Wave, k: int, row: int, e: Any, f: Any, v: Any, w: Any) -> Any:
    """One row of the last substitution; `row` is where the next e and f are."""
    before, after, gamma = everywhere(table[0, k]), everywhere(table[2, k]), everywhere(table[1, k])
    c, d = load_row(buffer, row), load_row(buffer, row + HALF)
    v, w = gamma * e - after * v, gamma * f - after * w
    return e + before * c + v, f + before * d + w, c, d, v, w


@swept
def _two_factors(
    psi: Wave,
    start: int,
    mirrored: int,
    near: int,
    stride: int,
    phase: Wave,
    kicked: bool,
    tables: Wave,
    points: int,
    buffer: Array,
) -> None:
    """The same for two factors."""
    e = f = v = w = everywhere(0j)
    far, place = _is_far(stride, near), start
    for j in range(near):
        e, f = step_up(buffer, tables[0], j, e, f, load(psi, place), load(psi, place + LANES))
        if far:
            _ask(psi, place + AHEAD * stride)
        place += stride
    place = mirrored + (points - near) * stride
    for j in range(near, points):
        place -= stride
        y, z = load_reversed(psi, place + LANES), load_reversed(psi, place)
        e, f = step_up(buffer, tables[0], j, e, f, y, z)
        if far:
            _ask(psi, place - AHEAD * stride)
    turn(buffer, tables[0], tables[1], points)
    place = start
    e, f = load_row(buffer, ROW), load_row(buffer, ROW + HALF)
    for j in range(near):
        k, row = points - 1 - j + PAD, (j + 2) * ROW
        y, z, e, f, v, w = step_back(buffer, tables[1], k, row, e, f, v, w)
        _put(psi, place, phase, kicked, y, z)
        if far:
            _ask(psi, place + AHEAD * stride)
            if kicked:
                _ask(phase, place + AHEAD * stride)
        place += stride
    place = mirrored + (points - near) * stride
    for j in range(near, points):
        k, row = points - 1 - j + PAD, (j + 2) * ROW
        place -= stride
        y, z, e, f, v, w = step_back(buffer, tables[1], k, row, e, f, v, w)
        _put_reversed(psi, place, phase, kicked, y, z)
        if far:
            _ask(psi, place - AHEAD * stride)
            if kicked:
                _ask(phase, place - AHEAD * stride)


@swept
def columns(
    psi: Wave,
    start: int,
    stop: int,
    ends: int,
    near: int,
    stride: int,
    phase: Wave,
    kicked: bool,
    tables: Wave,
    points: int,
    buffer: Array,
) -> None:
    """All factors along an axis for the columns that start at elements start ... stop - 1, 16 at a time.

    Args:
        psi, phase: flat complex128 arrays.
        ends: the mirrored group of the one at `place` is at ends - place.
        near: rows that are in place; M: nothing is mirrored.
        stride: elements from row to row.
        kicked: whether to multiply by `phase`.
        tables: (F, 3, M + 8).
        points: M.
        buffer: work space.
    """
    for place in range(start, stop, GROUP):
        if tables.shape[0] == 2:
            _two_factors(psi, place, ends - place, near, stride, phase, kicked, tables, points, buffer)
        else:
            _one_factor(psi, place, ends - place, near, stride, phase, kicked, tables[0], points, buffer)
