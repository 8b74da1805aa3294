"""Waves that are even about the middle of the box, psi(c + x) = psi(c - x): found by measurement.

Inversion of all coordinates together, not of each: an interaction of differences has that symmetry, too.
Even is what starts even and meets potentials that are even at all times.

Shapes: `D` dimensions, `M` points per coordinate.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from baselines.grids.parts import PotentialTables, initial_factor
from baselines.grids.problem import Problem
from baselines.grids.product import Array, Box, Grid, dirichlet_grid
from dsmsim.errors import ConfigError

# relative difference of mirrored values that is put down to rounding
ROUNDING = 1e-12
# points per coordinate of the grid of a first look, by dimensions: a pair of particles has the square of D
FIRST_LOOK = {1: 64, 2: 12, 3: 12, 4: 8}
# times of the first look at a potential that changes, between breakpoints
LOOKS = 8


def is_even(table: np.ndarray[Any, Any]) -> bool:
    """Whether a table (M, ..., M) equals its mirror image in all axes, to rounding."""
    half = (len(table) + 1) // 2
    difference = np.abs(table[:half] - np.flip(table)[:half]).max()
    return bool(difference <= ROUNDING * np.abs(table).max())


def centered(box: Box, middle: Array) -> Box:
    """The smallest box around this one that has its middle (D,) there."""
    halves = [max(c - low, high - c) for (low, high), c in zip(box, middle.tolist(), strict=True)]
    return tuple((c - half, c + half) for half, c in zip(halves, middle.tolist(), strict=True))


def plan_fold(problem: Problem, box: Box, points: int | None) -> tuple[Box, bool]:
    """The box to begin with, and whether the grid is to be folded.

    A first look, at some points and times: what is folded is measured again at every kick (`adi.State`).

    Args:
        problem: what is solved; says whether the box may be changed.
        box: of D axes.
        points: M, where it was given.
    """
    system, dimensions = problem.system, problem.system.dimensions
    if system.coordinates == 1 or (points is not None and points % 2 == 1):
        return box, False
    even = box if problem.fixed_box else centered(box, problem.initial.mean[:dimensions])
    grid = dirichlet_grid(even, FIRST_LOOK[dimensions], system.particles)
    return (even, True) if _looks_even(problem, grid) else (box, False)


def _looks_even(problem: Problem, grid: Grid) -> bool:
    """Whether the initial state and the potential are even on a grid."""
    potential = PotentialTables(problem.system, grid)
    try:
        return is_even(initial_factor(problem.initial, grid)) and all(
            is_even(table) for t in _looks(problem) for table in potential.weighted(((1.0, t),))
        )
    except ConfigError:  # not finite here: the grid of the solver has other points
        return False


def _looks(problem: Problem) -> list[float]:
    """Times between the breakpoints of V, which may jump there, and at both ends."""
    if problem.system.is_static:
        return [0.0]
    inside = [t for t in problem.system.breakpoints if 0.0 < t < problem.end]
    found = [0.0, problem.end, *inside]
    for start, stop in itertools.pairwise(sorted(found)):
        found += (start + (stop - start) * (np.arange(LOOKS) + 0.5) / LOOKS).tolist()
    return found
