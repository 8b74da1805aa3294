"""What the solvers on full grids have in common: the problem, its pieces of time, and a box that overflows.

Shapes: `D` dimensions, `T` saved times.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from baselines.grids.product import Array, Box
from dsmsim.config import Config
from dsmsim.system import InitialState, System, build_initial, build_system

# how often the edge is looked at, at least
EDGE_CHECKS = 50


class Outgrown(Exception):
    """The state reached these ends of the box: (D, 2) flags."""

    def __init__(self, ends: np.ndarray[Any, np.dtype[np.bool_]]) -> None:
        super().__init__()
        self.ends = ends


@dataclass(frozen=True)
class Problem:
    """What does not change from one attempt to the next."""

    config: Config
    system: System
    initial: InitialState
    times: Array
    end: float
    keep_psi: bool
    # probability that may reach the ends of the grid, in x and in k
    edge_limit: float
    # whether the box, and the spacing, are the user's wish, whatever reaches their ends
    fixed_box: bool
    fixed_points: bool
    fixed_dt: bool
    # bytes that an evolution may use
    memory: int


def make_problem(
    config: Config,
    points: int | None,
    extent: float | Sequence[tuple[float, float]] | None,
    dt: float | None,
    tolerance: float,
    keep_psi: bool = False,
) -> Problem:
    """The problem of an input; points, extent and dt are None where they are to be chosen.

    Raises:
        ConfigError: the potential or the initial state cannot be built.
    """
    return Problem(
        config=config,
        system=build_system(config),
        initial=build_initial(config),
        times=np.asarray(config.time.save_times, dtype=np.float64),
        end=config.time.end,
        keep_psi=keep_psi,
        # a wave that returns from the edge disturbs densities by its amplitude
        edge_limit=tolerance**2,
        fixed_box=extent is not None,
        fixed_points=points is not None,
        fixed_dt=dt is not None,
        memory=config.baselines.memory_bytes,
    )


def given_box(extent: float | Sequence[tuple[float, float]], dimensions: int) -> Box:
    """The box of a half width for all axes, or of (lo, hi) for each axis."""
    if isinstance(extent, int | float):
        return ((-float(extent), float(extent)),) * dimensions
    return tuple((float(low), float(high)) for low, high in extent)


def intervals(problem: Problem) -> Iterator[tuple[float, float]]:
    """Parts of [0, last saved time] between saved times and breakpoints of V; steps never reach across."""
    last = float(problem.times[-1])
    stops = sorted({0.0, *problem.times.tolist(), *problem.system.breakpoints})
    return itertools.pairwise(stop for stop in stops if stop <= last)


def stages(problem: Problem, dt: float) -> Iterator[tuple[float, float, int]]:
    """Start, end and number of steps of every piece after which the edge is looked at."""
    for start, stop in intervals(problem):
        steps = max(1, math.ceil((stop - start) / dt - 1e-9))
        pieces = min(steps, math.ceil((stop - start) * EDGE_CHECKS / problem.end))
        ends = [steps * piece // pieces for piece in range(pieces + 1)]
        for first, last in itertools.pairwise(ends):
            until = stop if last == steps else start + (stop - start) * last / steps
            yield start + (stop - start) * first / steps, until, last - first
