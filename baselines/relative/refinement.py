"""One evolution on a fixed relative grid, and the refinement of grid and step until neither matters.

The box and the spacing are refined together: a finer grid is wider and has a higher largest wavenumber, so
that one comparison measures both. Steps are refined on the coarser grid, where they are cheap.

Shapes: `D` dimensions, `n` axes, `T` saved times.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from baselines.change import MISSED, UNKNOWN, Change
from baselines.grids.fourier import BLANES_MOAN, COMPOSITIONS, STRANG, Composition
from baselines.relative.moments import edge_probability
from baselines.relative.problem import Problem, Shape, evolution_memory, evolution_seconds
from baselines.relative.propagation import Propagator, RelativeGrid
from baselines.relative.recorder import Recorder
from baselines.solution import Progress, Solution

# refinements of the grid that bring nothing before it is given up
MOST_STALLS = 3
# drift of a conserved energy that is too much, in units of the tolerance
WORST_DRIFT = 10.0
# how often edges are looked at while a state evolves
CHECKS = 25
# of one evolution, about
MOST_SECONDS = 3600.0


class Missed(Exception):
    """The state reached the end of the grid in x (`wide`) or in k."""

    def __init__(self, wide: bool, probability: float) -> None:
        super().__init__()
        self.wide = wide
        self.probability = probability


@dataclass(frozen=True)
class RelativeSolution(Solution):
    """A solution on a relative grid.

    Attributes:
        shape, dt: of the grid, and the longest step taken.
        recorder: of the evolution, with its kept states.
    """

    shape: Shape
    dt: float
    recorder: Recorder

    @property
    def x(self) -> NDArray[np.float64]:
        """Points of the one-body density along the first axis (M,)."""
        return np.asarray(self.groups["density"]["x"])

    @property
    def density(self) -> NDArray[np.float64]:
        """One-body density along the first axis (T, M)."""
        return np.asarray(self.groups["density"]["density"])


def run(problem: Problem, shape: Shape, dt: float, composition: Composition) -> RelativeSolution:
    """One evolution at fixed grid and step.

    Raises:
        Missed: more than `edge_limit` reached the end of the grid.
    """
    system = problem.system
    grid = RelativeGrid(problem.coordinates, shape.grids(problem.coordinates), problem.frames)
    propagator = Propagator(system, grid, composition)
    kept = min(11, len(problem.times)) * grid.size * (8 if problem.single else 16)
    keep = problem.correlations and 3 * kept < problem.memory
    recorder = Recorder(problem.config, system, grid, problem.lab, keep)
    psi = grid.initial_wave(problem.initial, system, np.complex64 if problem.single else np.complex128)
    end = float(problem.times[-1])
    worst, longest, looked = np.zeros(2), 0.0, -math.inf
    saved = set(problem.times.tolist())

    def look(t: float) -> None:
        nonlocal worst, looked
        if t - looked >= end / CHECKS - 1e-12 or t >= end:
            edges = edge_probability(grid, psi).max(axis=1)
            worst, looked = np.maximum(worst, edges), t
            # a cut in x makes large wavenumbers, a coarse grid scatters everywhere: the larger is the cause
            wide = bool(edges[0] >= edges[1])
            if (
                edges.max() > problem.bearable
                and not problem.fixed_box
                and (wide or not problem.fixed_spacing)
            ):
                raise Missed(wide, float(edges.max()))
        if t in saved:
            recorder.record(psi)

    look(0.0)
    for start, stop, steps in problem.stages(dt):
        longest = max(longest, (stop - start) / steps)
        psi = propagator.advance(psi, start, stop, steps)
        look(stop)
    how = {
        "method": f"relative sinc grid, {composition.name}, order {composition.order}",
        "points": grid.size,
        "points_per_axis": list(shape.points),
        "spacing": shape.spacing,
        "half_width": list(shape.widths),
        "breathing": not all(frame.is_static for frame in problem.frames),
        "dt": longest,
        "edge_probability": float(worst[0]),
        "momentum_edge_probability": float(worst[1]),
        "precision": "single" if problem.single else "double",
    }
    return RelativeSolution(problem.times, recorder.groups(), how, shape, longest, recorder)


def change_between(before: RelativeSolution, after: RelativeSolution) -> Change:
    """The change of variances and densities; means are exact."""
    old, new = before.groups["observables"]["variance"], after.groups["observables"]["variance"]
    densities = []
    for axis in range(len(after.shape.points)):
        name = ("density", "density_y", "density_z")[axis]
        x = after.groups["density"]["xyz"[axis]]
        apart = np.abs(after.groups["density"][name] - before.groups["density"][name])
        densities.append(float(apart.sum(axis=1).max() * (x[1] - x[0])))
    return Change(variance=float(np.max(np.abs(new - old) / new)), density=max(densities))


@dataclass
class Refinement:
    """Refines step and grid, each until what is left to gain does not matter.

    The error of a step is Richardson's: what half of it changes, times what the order says. Steps start
    second order; where that is not enough, whichever order needs fewer kicks takes over (saved times often
    force steps that are short enough for the second). The error of a grid is the last change, less where
    changes are seen to fall. What the user gave stays, and its error is what half the step, or a coarser
    grid, changes. Where both were given, nothing is measured.
    """

    problem: Problem
    tolerance: float
    order: int | None
    progress: Progress

    def solve(self, shape: Shape, dt: float) -> RelativeSolution:
        """The solution with its error estimate and its correlations.

        Raises:
            Missed: the grid is too small or too coarse.
        """
        problem = self.problem
        self.composition = COMPOSITIONS[self.order or 2]
        self.dt = dt
        self.solution = self._attempt(shape, dt)
        if problem.fixed_dt and problem.fixed_spacing:
            return self._marked(UNKNOWN, UNKNOWN)
        time_error = self._step()
        if problem.fixed_spacing:
            space_error = self._compare(self._attempt(shape.coarser(), self.dt), self.solution)
        else:
            space_error = self._grid(time_error)
        return self._marked(time_error, space_error)

    def _step(self) -> Change:
        """Choose the step on the present grid, and estimate its error."""
        if self.problem.fixed_dt:
            half = self._attempt(self.solution.shape, 0.5 * self.dt)
            return self._richardson(half)[0]
        goal = self.tolerance / 3.0
        while True:
            if self._too_costly(self.solution.shape, 0.5 * self.dt):
                return MISSED
            half = self._attempt(self.solution.shape, 0.5 * self.solution.dt)
            own, of_half = self._richardson(half)
            if own.worst <= goal:
                return own
            self.solution, self.dt = half, half.dt
            if of_half.worst <= goal:
                return of_half
            self._next_step(goal / of_half.worst)
            self.solution = self._attempt(self.solution.shape, self.dt)

    def _richardson(self, half: RelativeSolution) -> tuple[Change, Change]:
        """Errors of the solution and of that with half its step."""
        change = self._compare(self.solution, half)
        gain = 2.0**self.composition.order
        return change * (gain / (gain - 1.0)), change * (1.0 / (gain - 1.0))

    def _next_step(self, wanted: float) -> None:
        """Choose order and step so that the error falls to the fraction `wanted`."""
        order = self.composition.order
        self.dt *= 0.9 * wanted ** (1.0 / order)
        if self.order is not None or self.composition is not STRANG:
            return
        # a step of fourth order may be several times longer than the first guess
        longer = min(4.0 * self.problem.first_step, self.problem.longest_interval)
        if self._kicks(longer, BLANES_MOAN) < self._kicks(self.dt, STRANG):
            self.composition, self.dt = BLANES_MOAN, longer

    def _kicks(self, dt: float, composition: Composition) -> int:
        return len(composition.kicks) * sum(steps for _, _, steps in self.problem.stages(dt))

    def _grid(self, time_error: Change) -> Change:
        """Refine the grid; the error that is left."""
        left = max(0.9 * self.tolerance - time_error.worst, 0.5 * self.tolerance)
        error, before, stalled = MISSED, math.inf, 0
        while error.worst > left or max(self._edges()) > self.problem.edge_limit:
            finer = self.solution.shape.finer()
            if self._too_costly(finer, self.dt):
                self.progress(f"{finer.size(self.problem.coordinates):,} points: too costly, stopping here")
                return error
            after = self._attempt(finer, self.dt)
            change = self._compare(self.solution, after)
            # changes that fall by a factor r add up to r/(1 - r) of the last; never trust a fall below 1/4
            fall = max(0.25, change.worst / before)
            share = min(1.0, fall / (1.0 - fall)) if fall < 1.0 else 1.0
            error, before = change * share, change.worst
            # what long steps scatter to the ends of the grid, no grid removes
            edges = max(after.how["edge_probability"], after.how["momentum_edge_probability"])
            stalled += int(fall > 0.9 and edges > 0.9 * max(self._edges()))
            self.solution = after
            if stalled == MOST_STALLS:
                break
        return error

    def _edges(self) -> tuple[float, float]:
        how = self.solution.how
        return how["edge_probability"], how["momentum_edge_probability"]

    def _marked(self, time_error: Change, space_error: Change) -> RelativeSolution:
        """The solution with its error and, where it cannot be trusted, with a warning."""
        error = time_error + space_error
        drift = self._energy_drift()
        warning = self._warning(error, drift)
        how = {
            **self.solution.how,
            **error.attributes(self.tolerance, warning),
            "error_of_step": time_error.worst,
            "error_of_grid": space_error.worst,
            "energy_drift": drift,
        }
        more, left_out = self.solution.recorder.more_groups()
        if self.problem.correlations:
            how["left_out"] = left_out
        groups = {**self.solution.groups, **more}
        return replace(self.solution, how=how, groups=groups)

    def _energy_drift(self) -> float:
        """Largest relative change of the energy; NaN where V depends on time."""
        if not self.problem.system.is_static:
            return math.nan
        observables = self.solution.groups["observables"]
        energy = observables["energy"]
        # energies may cancel: relative to what is kinetic where that is more
        scale = max(float(np.abs(energy).max()), float(observables["energy_kinetic"].max()))
        return float(np.abs(energy - energy[0]).max()) / scale

    def _warning(self, error: Change, drift: float) -> str:
        found = []
        if drift > WORST_DRIFT * self.tolerance:
            found.append(
                f"the energy drifts by {drift:.2g} of it (an interaction that is not smooth?): lower "
                "baselines.relative_grid.dt and spacing"
            )
        edge, momentum = self._edges()
        if max(edge, momentum) > self.problem.edge_limit:
            found.append(
                f"a probability of {edge:.2g} reached the edge of the box, and {momentum:.2g} the largest "
                "wavenumbers: lower baselines.relative_grid.spacing"
            )
        if math.isnan(error.worst):
            found.append(
                'spacing and dt were given, so that no error was measured: write "auto" for one of them'
            )
        elif error.worst > self.tolerance:
            found.append(
                f"the error estimate, {error.worst:.2g}, is above the tolerance, {self.tolerance:.2g}: leave "
                'spacing and dt at "auto", allow more memory, or shorten the time'
            )
        return "; ".join(found)

    def _compare(self, before: RelativeSolution, after: RelativeSolution) -> Change:
        change = change_between(before, after)
        self.progress(
            f"{after.how['method']}, {after.how['points']:,} points, spacing {after.shape.spacing:.3g}, "
            f"dt {after.dt:.3g}: change {change.worst:.2g}"
        )
        return change

    def _too_costly(self, shape: Shape, dt: float) -> bool:
        problem = self.problem
        seconds = evolution_seconds(problem, shape, dt, self.composition)
        memory = evolution_memory(shape.size(problem.coordinates), problem.single)
        return seconds > MOST_SECONDS or memory > problem.memory

    def _attempt(self, shape: Shape, dt: float) -> RelativeSolution:
        return run(self.problem, shape, dt, self.composition)
