"""What one evolution on a relative grid is given: the problem, the shape of the grid, and what that costs.

Shapes: `D` dimensions, `n` axes, `T` saved times.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from baselines.grids.fourier import Composition
from baselines.relative.breathing import Breathing
from baselines.relative.coordinates import Coordinates
from baselines.relative.dvr import HalfGrid
from baselines.relative.recorder import Lab
from dsmsim.config import Config
from dsmsim.system import InitialState, System

# of one refinement: the box, and the number of points in it
WIDER, FINER = 1.08, 1.2
# floating-point operations and points per second of one core in matrix products and in everything else
FLOPS, POINTS = 1.2e10, 2.5e7
# bytes per number of the state at the peak, in double precision
BYTES = 240


@dataclass(frozen=True)
class Problem:
    """What does not change from one attempt to the next.

    Attributes:
        coordinates, frames, lab: of the grids.
        fixed_spacing, fixed_dt: whether they are the user's wish.
        fixed_box: whether the box is left as it is, whatever reaches its end.
        edge_limit: probability that may reach the ends of the grid, in x and in k.
        first_step: a fraction of the time scale of the motion.
        memory: bytes that an evolution may use.
        correlations: whether more than moments and densities is wanted.
    """

    config: Config
    system: System
    initial: InitialState
    coordinates: Coordinates
    frames: tuple[Breathing, ...]
    lab: Lab
    fixed_spacing: bool
    fixed_dt: bool
    fixed_box: bool
    edge_limit: float
    first_step: float
    memory: int
    single: bool
    correlations: bool

    @property
    def times(self) -> NDArray[np.float64]:
        """The saved times (T,)."""
        return self.lab.center.times

    @property
    def bearable(self) -> float:
        """Probability at the ends of the grid that makes an evolution useless.

        While the grid is refined a coarse one is of use to compare with.
        """
        return self.edge_limit if self.fixed_spacing else math.sqrt(self.edge_limit)

    @property
    def longest_interval(self) -> float:
        """Between saved times and breakpoints."""
        return max((stop - start for start, stop, _ in self.stages(math.inf)), default=1.0)

    def stages(self, dt: float) -> Iterator[tuple[float, float, int]]:
        """Start, end and number of steps between saved times and breakpoints of V."""
        last = float(self.times[-1])
        stops = sorted({0.0, *self.times.tolist(), *self.system.breakpoints})
        for start, stop in itertools.pairwise(stop for stop in stops if stop <= last):
            yield start, stop, max(1, math.ceil((stop - start) / dt - 1e-9))


@dataclass(frozen=True)
class Shape:
    """Half widths and points of the grids along the D Cartesian axes."""

    widths: tuple[float, ...]
    points: tuple[int, ...]

    def finer(self) -> Shape:
        """One refinement."""
        points = tuple(math.ceil(FINER * points) for points in self.points)
        return Shape(tuple(WIDER * width for width in self.widths), points)

    def coarser(self) -> Shape:
        """A larger spacing in the same box."""
        return Shape(self.widths, tuple(max(4, math.floor(points / FINER)) for points in self.points))

    def grow(self, wide: bool) -> Shape:
        """More box of the same spacing, or a smaller spacing in the same box."""
        points = tuple(math.ceil(1.15 * points) for points in self.points)
        if not wide:
            return Shape(self.widths, points)
        old = zip(self.widths, self.points, points, strict=True)
        return Shape(tuple(width * after / before for width, before, after in old), points)

    @property
    def spacing(self) -> float:
        """The largest."""
        return max(width / points for width, points in zip(self.widths, self.points, strict=True))

    def grids(self, coordinates: Coordinates) -> tuple[HalfGrid, ...]:
        """One per axis."""
        made = [
            HalfGrid(width / points, points) for width, points in zip(self.widths, self.points, strict=True)
        ]
        return tuple(made[coordinates.cartesian(axis)] for axis in range(coordinates.count))

    def size(self, coordinates: Coordinates) -> int:
        """Numbers in psi."""
        return int(len(coordinates.sectors) * math.prod(self.points) ** (coordinates.particles - 1))


def evolution_seconds(problem: Problem, shape: Shape, dt: float, composition: Composition) -> float:
    """Rough seconds of one evolution on one core."""
    coordinates = problem.coordinates
    kicks = len(composition.kicks) * sum(steps for _, _, steps in problem.stages(dt))
    lines = 8.0 * (coordinates.particles - 1) * sum(shape.points)
    # a saved state costs about three kicks
    work = kicks + 3 * len(problem.times)
    return work * (shape.size(coordinates) * (lines / FLOPS + 1.0 / POINTS) + 2e-4)


def evolution_memory(size: int, single: bool) -> int:
    """Bytes of one evolution at its peak."""
    # interpolations of the state come in pieces of a limited size
    return size * BYTES // (2 if single else 1) + min(2**28, 2000 * size) + 2**25
