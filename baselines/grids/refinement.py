"""One evolution by split steps on a fixed grid, and the refinement of grid and step until neither matters.

A grid can fail in two ways, both seen while it runs: the state reaches the edge of the box (`Outgrown`), or
it has wavenumbers near the largest that the grid can tell apart (`Unresolved`). Whoever chose the grid then
chooses another.

Shapes: `D` dimensions, `M` points per coordinate, `T` saved times, psi (M, ..., M).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.fft
from scipy.signal import resample

from baselines.grids.fourier import BLANES_MOAN, COMPOSITIONS, STRANG, Composition, Propagator
from baselines.grids.product import Array, Box, Grid, Wave
from baselines.observables.moments import WaveObservables, observe, stack
from baselines.solution import SplitStepSolution
from dsmsim.system import InitialState, System

MOST_POINTS = 1 << 23
# of one evolution: points times kicks (a minute of one core)
MOST_WORK = 5e8
# how often the edge is looked at, at least
EDGE_CHECKS = 50

Progress = Callable[[str], None]


class Unresolved(Exception):
    """The state has wavenumbers that the grid cannot tell apart."""


class Outgrown(Exception):
    """The state reached these ends of the box: (D, 2) flags."""

    def __init__(self, ends: np.ndarray[Any, np.dtype[np.bool_]]) -> None:
        super().__init__()
        self.ends = ends


@dataclass(frozen=True)
class Problem:
    """What does not change from one attempt to the next."""

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


def intervals(problem: Problem) -> Iterator[tuple[float, float]]:
    """Parts of [0, last saved time] between saved times and breakpoints of V; steps never reach across."""
    last = float(problem.times[-1])
    stops = sorted({0.0, *problem.times.tolist(), *problem.system.breakpoints})
    return itertools.pairwise(stop for stop in stops if stop <= last)


def _stages(problem: Problem, dt: float) -> Iterator[tuple[float, float, int]]:
    """Start, end and number of steps of every piece after which the edge is looked at."""
    for start, stop in intervals(problem):
        steps = max(1, math.ceil((stop - start) / dt - 1e-9))
        pieces = min(steps, math.ceil((stop - start) * EDGE_CHECKS / problem.end))
        ends = [steps * piece // pieces for piece in range(pieces + 1)]
        for first, last in itertools.pairwise(ends):
            until = stop if last == steps else start + (stop - start) * last / steps
            yield start + (stop - start) * first / steps, until, last - first


def run(problem: Problem, grid: Grid, dt: float, composition: Composition) -> SplitStepSolution:
    """One evolution at fixed grid and step.

    Raises:
        Unresolved, Outgrown: more than `edge_limit` reached the end of the grid in k or in x.
    """
    propagator = Propagator(problem.system, grid, composition)
    psi = grid.initial_wave(problem.initial)
    worst, momentum, longest = 0.0, 0.0, 0.0
    saved: list[WaveObservables] = []
    densities: list[list[Array]] = []
    waves: list[Wave] = []

    def look(t: float) -> None:
        nonlocal worst, momentum
        probability = np.abs(psi) ** 2 * grid.cell
        edges = grid.edge_probability(probability)
        worst = max(worst, float(edges.max()))
        momentum = max(momentum, grid.momentum_edge_probability(psi))
        # a cut at the edge of the box makes large wavenumbers, a coarse grid scatters into the whole box: the
        # larger of the two is the cause
        if momentum > max(problem.edge_limit, worst) and not problem.fixed_points:
            raise Unresolved
        if worst > problem.edge_limit and not problem.fixed_box:
            # the other end may be just about to be reached
            raise Outgrown(edges > 1e-2 * problem.edge_limit)
        if len(saved) < problem.times.size and t == problem.times[len(saved)]:
            saved.append(observe(grid, problem.system, psi, propagator.potential(t)))
            densities.append(grid.densities(probability))
            if problem.keep_psi:
                waves.append(psi.copy())

    look(0.0)
    for start, stop, steps in _stages(problem, dt):
        longest = max(longest, (stop - start) / steps)
        psi = propagator.advance(psi, start, stop, steps)
        look(stop)
    return SplitStepSolution(
        times=problem.times,
        positions=[grid.positions(axis) for axis in range(grid.dimensions)],
        densities=[np.array(series) for series in zip(*densities, strict=True)],
        observables=stack(saved),
        box=grid.box,
        points=grid.points,
        dt=longest,
        method=f"Fourier split step, {composition.name}, order {composition.order}",
        edge_probability=worst,
        momentum_edge_probability=momentum,
        psi=np.array(waves) if problem.keep_psi else None,
    )


def _change(before: SplitStepSolution, after: SplitStepSolution) -> float:
    """The largest change of means, variances and densities between two runs in the same box."""
    old, new = before.observables, after.observables
    width = np.sqrt(new.variance)
    changes = [
        float(np.max(np.abs(new.mean - old.mean) / width)),
        float(np.max(np.abs(new.variance - old.variance) / new.variance)),
    ]
    for axis, (low, high) in enumerate(after.box):
        shown = resample(before.densities[axis], after.points, axis=1)
        distance = np.abs(after.densities[axis] - shown).sum(axis=1) * (high - low) / after.points
        changes.append(float(distance.max()))
    return max(changes)


@dataclass
class Refinement:
    """Halves the step and adds points, each until it no longer matters.

    Steps start second order. Where halving them once is not enough, fourth order takes over: saved times
    often force steps that are short enough for the cheaper product.
    """

    problem: Problem
    tolerance: float
    fixed_dt: bool
    order: int | None
    progress: Progress

    def solve(self, box: Box, points: int, dt: float) -> SplitStepSolution:
        """The solution in this box, with its error estimate.

        Raises:
            Unresolved, Outgrown: the grid is too coarse, the box too small.
        """
        self.composition = COMPOSITIONS[self.order or 2]
        self.solution = self._attempt(box, points, dt)
        time_error = space_error = 0.0
        settled = False
        while not settled:
            time_error = 0.0 if self.fixed_dt else self._refine(self._half_step)
            points = self.solution.points
            space_error = 0.0 if self.problem.fixed_points else self._refine(self._more_points)
            # a grid that had to grow twice may show time errors that the coarse one hid
            settled = self.fixed_dt or self.solution.points <= _more(points)
        error = time_error + space_error
        refined = not (self.fixed_dt and self.problem.fixed_points)
        return replace(
            self.solution,
            error_estimate=error if refined else math.nan,
            converged=refined and error <= self.tolerance,
        )

    def _refine(self, finer: Callable[[], SplitStepSolution | None]) -> float:
        """Apply `finer` until the change is below half the tolerance; the last change."""
        change = math.inf
        while change > 0.5 * self.tolerance:
            after = finer()
            if after is None:
                return change
            change = _change(self.solution, after)
            self.progress(f"{after.method}, {after.points} points, dt {after.dt:.3g}: change {change:.2g}")
            missed = change > 0.5 * self.tolerance
            if missed and self.order is None and self.composition is STRANG and finer == self._half_step:
                self.composition = BLANES_MOAN
                after = self._attempt(after.box, after.points, 2.0 * after.dt)
            self.solution = after
        return change

    def _half_step(self) -> SplitStepSolution | None:
        return self._finer(self.solution.points, 0.5 * self.solution.dt)

    def _more_points(self) -> SplitStepSolution | None:
        return self._finer(_more(self.solution.points), self.solution.dt)

    def _finer(self, points: int, dt: float) -> SplitStepSolution | None:
        """None where it would cost too much: the error estimate then says how far this came."""
        if too_costly(self.problem, points, dt, self.composition):
            self.progress(f"{points} points, dt {dt:.3g}: too costly, stopping here")
            return None
        return self._attempt(self.solution.box, points, dt)

    def _attempt(self, box: Box, points: int, dt: float) -> SplitStepSolution:
        grid = Grid(box, points, self.problem.system.particles)
        return run(self.problem, grid, dt, self.composition)


def too_costly(problem: Problem, points: int, dt: float, composition: Composition) -> bool:
    size = int(points**problem.system.coordinates)
    return size > MOST_POINTS or size * problem.end / dt * len(composition.kicks) > MOST_WORK


def _more(points: int) -> int:
    return int(scipy.fft.next_fast_len(math.ceil(1.5 * points)))
