"""Fourier split-step solver for the time-dependent Schroedinger equation, up to three coordinates.

    i hbar d psi/dt = [ -hbar^2/(2 mass) Laplacian + V(x, t) ] psi          (steps: `baselines.propagator`)

The grid is chosen by measurement. The box grows until the probability at its edge stays below tolerance^2 =
1e-8; then the step is halved and the number of points raised by half until moments and densities stop
changing. The last changes are the error estimate. On a resolved periodic grid the values at the points hold
the whole density.

Shapes: `N` particles, `D` dimensions, `n = N D`, `M` points per coordinate, `T` saved times, psi (M, ..., M).
"""

from __future__ import annotations

import itertools
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.fft
import torch
from scipy.signal import resample

from baselines.grid import Array, Box, Grid, Wave
from baselines.propagator import BLANES_MOAN, COMPOSITIONS, STRANG, Composition, Propagator
from baselines.solution import SplitStepSolution
from baselines.wave_observables import WaveObservables, observe, stack
from dsmsim.config import Config
from dsmsim.errors import ConfigError
from dsmsim.store import provenance, write_results
from dsmsim.system import (
    InitialState,
    System,
    build_initial,
    build_system,
    center_of_mass,
    closed_form,
)

MOST_COORDINATES = 3
MOST_POINTS = 1 << 23
# of one evolution: points times kicks (a minute of one core)
MOST_WORK = 5e8
MOST_ATTEMPTS = 60
# how often the edge is looked at, at least
EDGE_CHECKS = 50
# from this size on a transform is worth several threads
POINTS_FOR_THREADS = 1 << 17

Progress = Callable[[str], None]


def evolve(
    config: Config,
    points: int | None = None,
    extent: float | Sequence[tuple[float, float]] | None = None,
    dt: float | None = None,
    order: int | None = None,
    *,
    tolerance: float = 1e-4,
    keep_psi: bool = False,
    progress: Progress | None = None,
) -> SplitStepSolution:
    """Solve the input; what is None is chosen by measurement.

    Args:
        config: the input.
        points: M, grid points per coordinate.
        extent: half width L of a box [-L, L) for all axes, or (lo, hi) for each axis.
        dt: longest step; steps are equal between two saved times.
        order: 2 or 4.
        tolerance: largest error estimate to accept, of means (in standard deviations), variances (relative)
            and densities (L1); 1e-10 is about the least that rounding errors allow.
        keep_psi: also return the wave function at the saved times.
        progress: called with one line of text after each refinement.

    Raises:
        ConfigError: more than three coordinates, too large a grid, or a potential that is not finite.
    """
    system, initial = build_system(config), build_initial(config)
    if system.coordinates > MOST_COORDINATES:
        raise ConfigError(
            f"system.particles = {system.particles} with system.dimensions = {system.dimensions}: the "
            f"split-step solver holds at most {MOST_COORDINATES} coordinates, not {system.coordinates}; "
            "reduce them, or use another method",
            key="system.particles",
        )
    times = np.asarray(config.time.save_times, dtype=np.float64)
    problem = _Problem(
        system=system,
        initial=initial,
        times=times,
        end=config.time.end,
        keep_psi=keep_psi,
        # a wave that returns from the edge disturbs densities by its amplitude
        edge_limit=tolerance**2,
        fixed_box=extent is not None,
        fixed_points=points is not None,
    )
    box = _first_box(config, problem) if extent is None else _given_box(extent, system.dimensions)
    spacing = _first_spacing(problem)
    refinement = _Refinement(problem, tolerance, dt is not None, order, progress or (lambda line: None))
    for _ in range(MOST_ATTEMPTS):
        chosen = points or _points_for(box, spacing)
        step = dt or _first_step(problem, box, chosen)
        if _too_costly(problem, chosen, step, COMPOSITIONS[order or 2]):
            break
        with scipy.fft.set_workers(_threads(chosen**system.coordinates)):
            try:
                return refinement.solve(box, chosen, step)
            except _Unresolved:
                spacing /= 1.5
            except _Outgrown as outgrown:
                box = _wider(box, outgrown.ends)
        refinement.progress(f"the state does not fit the grid: box {box}, spacing {spacing:.3g}")
    raise ConfigError(
        f"time.end = {config.time.end}: the state needs too large a grid or too short steps ({chosen} points "
        f"per coordinate, dt {step:.2g}); shorten the time, smooth a singular potential, or use another "
        "method",
        key="time.end",
    )


def solve(config: Config, out: Path, *, progress: Progress | None = None) -> Path:
    """Solve the input and write `out/results.h5`; the path of that file.

    Raises:
        ConfigError: as `evolve`.
        StoreError: the file cannot be written.
    """
    started = time.time()
    solution = evolve(config, progress=progress)
    how = solution.attributes()
    directory = Path(out)
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "results.h5"
    origin = provenance(config, started=started)
    write_results(path, solution.results(), {"observables": how, "density": how, "provenance": origin})
    return path


class _Unresolved(Exception):
    """The state has wavenumbers that the grid cannot tell apart."""


class _Outgrown(Exception):
    """The state reached these ends of the box: (D, 2) flags."""

    def __init__(self, ends: np.ndarray[Any, np.dtype[np.bool_]]) -> None:
        super().__init__()
        self.ends = ends


@dataclass(frozen=True)
class _Problem:
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


def _intervals(problem: _Problem) -> Iterator[tuple[float, float]]:
    """Parts of [0, last saved time] between saved times and breakpoints of V; steps never reach across."""
    last = float(problem.times[-1])
    stops = sorted({0.0, *problem.times.tolist(), *problem.system.breakpoints})
    return itertools.pairwise(stop for stop in stops if stop <= last)


def _stages(problem: _Problem, dt: float) -> Iterator[tuple[float, float, int]]:
    """Start, end and number of steps of every piece after which the edge is looked at."""
    for start, stop in _intervals(problem):
        steps = max(1, math.ceil((stop - start) / dt - 1e-9))
        pieces = min(steps, math.ceil((stop - start) * EDGE_CHECKS / problem.end))
        ends = [steps * piece // pieces for piece in range(pieces + 1)]
        for first, last in itertools.pairwise(ends):
            until = stop if last == steps else start + (stop - start) * last / steps
            yield start + (stop - start) * first / steps, until, last - first


def _run(problem: _Problem, grid: Grid, dt: float, composition: Composition) -> SplitStepSolution:
    """One evolution at fixed grid and step.

    Raises:
        _Unresolved, _Outgrown: more than `edge_limit` reached the end of the grid in k or in x.
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
            raise _Unresolved
        if worst > problem.edge_limit and not problem.fixed_box:
            # the other end may be just about to be reached
            raise _Outgrown(edges > 1e-2 * problem.edge_limit)
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
class _Refinement:
    """Halves the step and adds points, each until it no longer matters.

    Steps start second order. Where halving them once is not enough, fourth order takes over: saved times
    often force steps that are short enough for the cheaper product.
    """

    problem: _Problem
    tolerance: float
    fixed_dt: bool
    order: int | None
    progress: Progress

    def solve(self, box: Box, points: int, dt: float) -> SplitStepSolution:
        """The solution in this box, with its error estimate.

        Raises:
            _Unresolved, _Outgrown: the grid is too coarse, the box too small.
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
        if _too_costly(self.problem, points, dt, self.composition):
            self.progress(f"{points} points, dt {dt:.3g}: too costly, stopping here")
            return None
        return self._attempt(self.solution.box, points, dt)

    def _attempt(self, box: Box, points: int, dt: float) -> SplitStepSolution:
        grid = Grid(box, points, self.problem.system.particles)
        return _run(self.problem, grid, dt, self.composition)


def _too_costly(problem: _Problem, points: int, dt: float, composition: Composition) -> bool:
    size = int(points**problem.system.coordinates)
    return size > MOST_POINTS or size * problem.end / dt * len(composition.kicks) > MOST_WORK


def _more(points: int) -> int:
    return int(scipy.fft.next_fast_len(math.ceil(1.5 * points)))


def _given_box(extent: float | Sequence[tuple[float, float]], dimensions: int) -> Box:
    if isinstance(extent, int | float):
        return ((-float(extent), float(extent)),) * dimensions
    return tuple((float(low), float(high)) for low, high in extent)


def _first_box(config: Config, problem: _Problem) -> Box:
    """Seven standard deviations around the initial cloud, and around what is known exactly of its motion."""
    initial, dimensions = problem.initial, problem.system.dimensions
    mean = initial.mean[:dimensions][None, :]
    width = np.sqrt(initial.variance[:dimensions])[None, :]
    exact, center = closed_form(config), center_of_mass(config)
    times = np.linspace(0.0, config.time.end, 201)
    if center is not None:
        mean = center.mean(times)
    if exact is not None:
        width = np.sqrt(exact.variance(times)[:, 0, :])
    low, high = (mean - 7.0 * width).min(axis=0), (mean + 7.0 * width).max(axis=0)
    return tuple(zip(low.tolist(), high.tolist(), strict=True))


def _first_spacing(problem: _Problem) -> float:
    """Spacing h for the initial momenta: hbar pi/h = mass (fastest v + 4 pi std(u)), 2 pi/sigma at rest."""
    initial, system = problem.initial, problem.system
    x = torch.from_numpy(initial.sample(np.random.default_rng(0), 4096))
    with torch.no_grad():
        current, osmotic = initial.v(x).abs().max(), initial.u(x).std(dim=0).max()
    return float(math.pi * system.hbar / (system.mass * (current + 4.0 * math.pi * osmotic)))


def _points_for(box: Box, spacing: float) -> int:
    wanted = max((high - low) / spacing for low, high in box)
    return int(scipy.fft.next_fast_len(max(32, math.ceil(wanted))))


def _first_step(problem: _Problem, box: Box, points: int) -> float:
    """Half a radian of the phase that V gives to the initial cloud, and no more than the longest interval."""
    system = problem.system
    grid = Grid(box, points, system.particles)
    probability = np.abs(grid.initial_wave(problem.initial)) ** 2 * grid.cell
    spread = 0.0
    for t in (0.0, *system.breakpoints, problem.end):
        potential = grid.potential(system, t)
        mean = float((probability * potential).sum())
        spread = max(spread, math.sqrt(max(0.0, float((probability * (potential - mean) ** 2).sum()))))
    intervals = (stop - start for start, stop in _intervals(problem))
    longest = min(problem.end / EDGE_CHECKS, max(intervals, default=problem.end))
    return min(longest, 0.5 * system.hbar / spread) if 0.0 < spread < math.inf else longest


def _wider(box: Box, ends: np.ndarray[Any, np.dtype[np.bool_]]) -> Box:
    """The box with 0.4 of its length added at the ends that were reached."""
    return tuple(
        (low - 0.4 * (high - low) * float(at_low), high + 0.4 * (high - low) * float(at_high))
        for (low, high), (at_low, at_high) in zip(box, ends, strict=True)
    )


def _threads(points: int) -> int:
    """Threads of a transform: small ones are faster with one; OMP_NUM_THREADS is obeyed."""
    if points < POINTS_FOR_THREADS:
        return 1
    allowed = os.environ.get("OMP_NUM_THREADS", "")
    return int(allowed) if allowed.isdigit() and int(allowed) > 0 else os.cpu_count() or 1
