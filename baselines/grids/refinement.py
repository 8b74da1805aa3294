"""One evolution by split steps on a fixed grid, and the refinement of grid and step until neither matters.

A grid can fail in two ways, both seen while it runs: the state reaches the edge of the box (`Outgrown`), or
it has wavenumbers near the largest that the grid can tell apart (`Unresolved`). Whoever chose the grid then
chooses another.

Shapes: `D` dimensions, `M` points per coordinate, `T` saved times, psi (M, ..., M).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import scipy.fft
from scipy.signal import resample

from baselines.change import MISSED, UNKNOWN, Change
from baselines.grids.fourier import BLANES_MOAN, COMPOSITIONS, STRANG, Composition, Propagator
from baselines.grids.problem import Outgrown, Problem, stages
from baselines.grids.product import Box, Grid, Wave
from baselines.observables.grid_groups import GridRecorder
from baselines.observables.two_body import where_it_is
from baselines.solution import GridSolution, Progress

# of one evolution: points times kicks, about six minutes of one core
MOST_WORK = 4e9
# a state that needs more is singular
MOST_PER_COORDINATE = 1 << 16
# at the peak: the wave function, its transform and its gradient, up to three phases of V, V itself, and what
# the observables need
BYTES_PER_POINT = 180


class Unresolved(Exception):
    """The state has wavenumbers that the grid cannot tell apart."""


def run(
    problem: Problem,
    grid: Grid,
    dt: float,
    composition: Composition,
    shown: tuple[float, float] | None = None,
) -> GridSolution:
    """One evolution at fixed grid and step; `shown` is the part of the first axis for correlations.

    Raises:
        Unresolved, Outgrown: more than `edge_limit` reached the end of the grid in k or in x.
    """
    propagator = Propagator(problem.system, grid, composition)
    recorder = GridRecorder(problem.config, problem.system, grid, problem.times, shown=shown)
    psi = grid.initial_wave(problem.initial)
    worst, momentum, longest = 0.0, 0.0, 0.0
    waves: list[Wave] = []

    def look(t: float) -> None:
        nonlocal worst, momentum
        edges = grid.edge_probability(np.abs(psi) ** 2 * grid.cell)
        worst = max(worst, float(edges.max()))
        momentum = max(momentum, grid.momentum_edge_probability(psi))
        # a cut at the edge of the box makes large wavenumbers, a coarse grid scatters into the whole box: the
        # larger of the two is the cause
        if momentum > max(problem.edge_limit, worst) and not problem.fixed_points:
            raise Unresolved
        if worst > problem.edge_limit and not problem.fixed_box:
            # the other end may be just about to be reached
            raise Outgrown(edges > 1e-2 * problem.edge_limit)
        if recorder.is_next(t):
            recorder.record(t, psi, propagator.potential(t))
            if problem.keep_psi:
                waves.append(psi.copy())

    look(0.0)
    for start, stop, steps in stages(problem, dt):
        longest = max(longest, (stop - start) / steps)
        psi = propagator.advance(psi, start, stop, steps)
        look(stop)
    how = {
        "method": f"Fourier split step, {composition.name}, order {composition.order}",
        "points": grid.points,
        "dt": longest,
        "box_low": [low for low, _ in grid.box],
        "box_high": [high for _, high in grid.box],
        "edge_probability": worst,
        "momentum_edge_probability": momentum,
    }
    return GridSolution(
        times=problem.times,
        groups=recorder.groups(),
        how=how,
        box=grid.box,
        points=grid.points,
        dt=longest,
        psi=np.array(waves) if problem.keep_psi else None,
    )


def change_between(before: GridSolution, after: GridSolution) -> Change:
    """The change of means, variances and densities between two runs in the same box."""
    old, new = before.groups["observables"], after.groups["observables"]
    densities = []
    for axis, (low, high) in enumerate(after.box):
        shown = resample(before.densities[axis], after.points, axis=1)
        distance = np.abs(after.densities[axis] - shown).sum(axis=1) * (high - low) / after.points
        densities.append(float(distance.max()))
    return Change(
        mean=float(np.max(np.abs(new["mean"] - old["mean"]) / np.sqrt(new["variance"]))),
        variance=float(np.max(np.abs(new["variance"] - old["variance"]) / new["variance"])),
        density=max(densities),
    )


@dataclass
class Refinement:
    """Halves the step and adds points, each until it no longer matters.

    Steps start second order. Where halving them once is not enough, fourth order takes over: saved times
    often force steps that are short enough for the cheaper product. What the user gave stays: the error of a
    given step is what half of it changes, that of a given number of points what half as many more change, or
    fewer where there is no room for more. Where both were given, nothing is measured.
    """

    problem: Problem
    tolerance: float
    order: int | None
    progress: Progress
    # where the last attempt had particles, which the next one stores correlations for
    _shown: tuple[float, float] | None = field(default=None, init=False)

    def solve(self, box: Box, points: int, dt: float) -> GridSolution:
        """The solution in this box, with its error estimate.

        Raises:
            Unresolved, Outgrown: the grid is too coarse, the box too small.
        """
        problem, self._shown = self.problem, None
        self.composition = COMPOSITIONS[self.order or 2]
        self.solution = self._attempt(box, points, dt)
        if problem.fixed_dt and problem.fixed_points:
            return self._marked(UNKNOWN)
        time_error = space_error = Change()
        settled = False
        while not settled:
            if not problem.fixed_dt:
                time_error = self._refine(self._half_step)
            points = self.solution.points
            if not problem.fixed_points:
                space_error = self._refine(self._more_points)
                if space_error is MISSED:
                    # no room for more points: what fewer change is an upper limit
                    space_error = self._against(_fewer(points), self.solution.dt)
            # a grid that had to grow twice may show time errors that the coarse one hid
            settled = problem.fixed_dt or self.solution.points <= _more(points)
        if problem.fixed_dt:
            time_error = self._against(self.solution.points, 0.5 * self.solution.dt)
        if problem.fixed_points:
            space_error = self._against(self._affordable(), self.solution.dt)
        return self._marked(time_error + space_error)

    def _marked(self, error: Change) -> GridSolution:
        """The solution with its error and, where it cannot be trusted, with a warning."""
        how = dict(self.solution.how)
        warning = self._warning(error, how["edge_probability"], how["momentum_edge_probability"])
        how |= error.attributes(self.tolerance, warning)
        return replace(self.solution, how=how)

    def _warning(self, error: Change, edge: float, momentum: float) -> str:
        found = []
        if edge > self.problem.edge_limit:
            found.append(
                f"a probability of {edge:.2g} reached the edge of the box: raise baselines.split_step.extent"
            )
        if momentum > self.problem.edge_limit:
            found.append(
                f"a probability of {momentum:.2g} has wavenumbers that the grid can hardly tell apart: raise "
                "baselines.split_step.grid"
            )
        if math.isnan(error.worst):
            found.append(
                'grid and dt were given, so that no error was measured: write "auto" for one of them'
            )
        elif error.worst > self.tolerance:
            found.append(
                f"the error estimate, {error.worst:.2g}, is above the tolerance, {self.tolerance:.2g}: leave "
                'grid and dt at "auto", shorten the time, or use another method'
            )
        return "; ".join(found)

    def _refine(self, finer: Callable[[], GridSolution | None]) -> Change:
        """Apply `finer` until the change is below half the tolerance; the last change."""
        change = MISSED
        while change.worst > 0.5 * self.tolerance:
            after = finer()
            if after is None:
                return change
            change = self._compare(self.solution, after)
            missed = change.worst > 0.5 * self.tolerance
            if missed and self.order is None and self.composition is STRANG and finer == self._half_step:
                self.composition = BLANES_MOAN
                after = self._attempt(after.box, after.points, 2.0 * after.dt)
            self.solution = after
        return change

    def _compare(self, before: GridSolution, after: GridSolution) -> Change:
        change = change_between(before, after)
        self.progress(
            f"{after.how['method']}, {after.points} points, dt {after.dt:.3g}: change {change.worst:.2g}"
        )
        return change

    def _half_step(self) -> GridSolution | None:
        return self._finer(self.solution.points, 0.5 * self.solution.dt)

    def _more_points(self) -> GridSolution | None:
        return self._finer(_more(self.solution.points), self.solution.dt)

    def _finer(self, points: int, dt: float) -> GridSolution | None:
        """None where it would cost too much: the error estimate then says how far this came."""
        if too_costly(self.problem, points, dt, self.composition):
            self.progress(f"{points} points, dt {dt:.3g}: too costly, stopping here")
            return None
        return self._attempt(self.solution.box, points, dt)

    def _affordable(self) -> int:
        """Another number of points, larger if there is room."""
        more = _more(self.solution.points)
        full = too_costly(self.problem, more, self.solution.dt, self.composition)
        return _fewer(self.solution.points) if full else more

    def _against(self, points: int, dt: float) -> Change:
        """What another run, which may fail, differs by."""
        try:
            return self._compare(self.solution, self._attempt(self.solution.box, points, dt))
        except (Unresolved, Outgrown):
            return MISSED

    def _attempt(self, box: Box, points: int, dt: float) -> GridSolution:
        grid = Grid(box, points, self.problem.system.particles)
        found = run(self.problem, grid, dt, self.composition, self._shown)
        self._shown = where_it_is(found.x, found.density)
        return found


def too_costly(problem: Problem, points: int, dt: float, composition: Composition) -> bool:
    """Whether an evolution needs more memory or more work than is allowed."""
    size = int(points**problem.system.coordinates)
    work = size * problem.end / dt * len(composition.kicks)
    return points > MOST_PER_COORDINATE or size * BYTES_PER_POINT > problem.memory or work > MOST_WORK


def _fewer(points: int) -> int:
    return max(8, int(points / 1.5))


def _more(points: int) -> int:
    return int(scipy.fft.next_fast_len(math.ceil(1.5 * points)))
