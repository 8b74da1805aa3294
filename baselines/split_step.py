"""Fourier split-step solver for the time-dependent Schroedinger equation, up to four coordinates.

    i hbar d psi/dt = [ -hbar^2/(2 mass) Laplacian + V(x, t) ] psi          (steps: `baselines.grids.fourier`)

The grid is chosen by measurement. The box grows until the probability at its edge stays below tolerance^2 =
1e-8; then the step is halved and the number of points raised by half until moments and densities stop
changing. The last changes are the error estimate. On a resolved periodic grid the values at the points hold
the whole density. `ground_state` finds the lowest state by products of the same kind in imaginary time.

Shapes: `N` particles, `D` dimensions, `n = N D`, `M` points per coordinate, `T` saved times, psi (M, ..., M).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.fft
import torch

from baselines.grids.fourier import COMPOSITIONS
from baselines.grids.ground_state import GroundState
from baselines.grids.ground_state import ground_state as imaginary_time
from baselines.grids.problem import EDGE_CHECKS, Outgrown, Problem, given_box, intervals, make_problem
from baselines.grids.product import Box
from baselines.grids.refinement import (
    BYTES_PER_POINT,
    MOST_PER_COORDINATE,
    MOST_WORK,
    Refinement,
    Unresolved,
    too_costly,
)
from baselines.prediction import Prediction, require_memory
from baselines.solution import GridSolution, Progress
from baselines.threads import thread_count
from dsmsim.config import Config
from dsmsim.errors import ConfigError
from dsmsim.store import Stopwatch
from dsmsim.system import (
    center_of_mass,
    closed_form,
)

__all__ = ["GridSolution", "GroundState", "evolve", "ground_state", "predict", "solve"]

MOST_ATTEMPTS = 60
# from this size on a transform is worth several threads
POINTS_FOR_THREADS = 1 << 17
# points times kicks per second of one core, for predictions
SPEED = 1e7
MOST_POINTS = 10**15  # that a prediction counts


def evolve(
    config: Config,
    *,
    points: int | None = None,
    extent: float | Sequence[tuple[float, float]] | None = None,
    dt: float | None = None,
    order: int | None = None,
    tolerance: float = 1e-4,
    keep_psi: bool = False,
    progress: Progress | None = None,
) -> GridSolution:
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
        ConfigError: too large a grid for the memory, too many steps, or a potential that is not finite.
    """
    problem = make_problem(config, points, extent, dt, tolerance, keep_psi)
    n = problem.system.coordinates
    box = _first_box(config, problem) if extent is None else given_box(extent, problem.system.dimensions)
    spacing = _first_spacing(problem)
    chosen = points or _points_for(box, spacing)
    require_memory(_prediction(chosen, n, None), config, "baselines.split_step.grid")
    refinement = Refinement(problem, tolerance, order, progress or (lambda line: None))
    for _ in range(MOST_ATTEMPTS):
        step = dt or _first_step(problem)
        if too_costly(problem, chosen, step, COMPOSITIONS[order or 2]):
            break
        with scipy.fft.set_workers(thread_count() if chosen**n >= POINTS_FOR_THREADS else 1):
            try:
                return refinement.solve(box, chosen, step)
            except Unresolved:
                spacing /= 1.5
            except Outgrown as outgrown:
                box = _wider(box, outgrown.ends)
        refinement.progress(f"the state does not fit the grid: box {box}, spacing {spacing:.3g}")
        chosen = points or _points_for(box, spacing)
    raise ConfigError(
        f"time.end = {config.time.end}: the state needs too large a grid or too short steps ({chosen} points "
        f"per coordinate, dt {step:.2g}); shorten the time, smooth a singular potential, raise "
        "baselines.memory where there is more, or use another method",
        key="time.end",
    )


def ground_state(
    config: Config,
    *,
    points: int | None = None,
    extent: float | Sequence[tuple[float, float]] | None = None,
    order: int = 4,
    tolerance: float = 1e-6,
) -> GroundState:
    """The ground state of the input's potential at t = 0; the grid is chosen by measurement.

    The initial state of the input is only the first guess: its phase is dropped.

    Args:
        config: the input.
        points, extent: as in `evolve`.
        order: of the imaginary-time steps, 2 or 4.
        tolerance: largest residual to accept, relative to the kinetic energy; the probability at the ends of
            the grid, in x and in k, stays below its square, or the state is marked as not converged.

    Raises:
        ConfigError: as `evolve`, or the state fits no grid.
    """
    problem = make_problem(config, points, extent, None, tolerance)
    system = problem.system
    box = _first_box(config, problem) if extent is None else given_box(extent, system.dimensions)
    spacing = _first_spacing(problem)
    for _ in range(MOST_ATTEMPTS):
        chosen = points or _points_for(box, spacing)
        require_memory(_prediction(chosen, system.coordinates, None), config, "baselines.split_step.grid")
        if chosen > MOST_PER_COORDINATE:
            break
        found = imaginary_time(system, problem.initial, box, chosen, order=order, tolerance=tolerance)
        edge, momentum = found.edge_probability, found.momentum_edge_probability
        if momentum > max(problem.edge_limit, edge) and points is None:
            spacing /= 1.5
        elif edge > problem.edge_limit and extent is None:
            box = _wider(box, np.ones((system.dimensions, 2), dtype=np.bool_))
        else:
            return replace(found, converged=found.converged and max(edge, momentum) <= problem.edge_limit)
    raise ConfigError(
        f"system: the ground state fits no grid of at most {MOST_PER_COORDINATE} points per coordinate; is "
        "it bound? Add a trap, or give an extent",
        key="system",
    )


def solve(config: Config, out: Path, *, progress: Progress | None = None) -> Path:
    """Solve the input as [baselines.split_step] says, and write `out/results.h5`; the path of that file.

    Raises:
        ConfigError: as `evolve`.
        StoreError: the file cannot be written.
    """
    started = Stopwatch.start()
    solution = evolve(config, **_options(config), progress=progress)
    return solution.write(config, out, started)


def predict(config: Config) -> Prediction:
    """What `solve` would cost, as far as that is known before the state has been seen to move.

    Raises:
        ConfigError: the potential or the initial state cannot be built.
    """
    options = _options(config)
    problem = make_problem(config, options["points"], options["extent"], options["dt"], options["tolerance"])
    system = problem.system
    extent = options["extent"]
    box = _first_box(config, problem) if extent is None else given_box(extent, system.dimensions)
    # one refinement of both, each by what `Refinement` would do; the box may still grow
    points = options["points"] or math.ceil(1.5 * _points_for(box, _first_spacing(problem)))
    too_much = ("more work than the solver accepts: use another method",)
    if points**system.coordinates > MOST_WORK:  # one step would be; with so many pairs V itself takes long
        return replace(_prediction(points, system.coordinates, None), notes=too_much)
    step = options["dt"] or 0.5 * _first_step(problem)
    order = options["order"] or 2
    work = points**system.coordinates * config.time.end / step * len(COMPOSITIONS[order].kicks)
    prediction = _prediction(points, system.coordinates, 1.5 * work / SPEED)
    if work <= MOST_WORK:
        return prediction
    return replace(prediction, notes=too_much)


def _options(config: Config) -> dict[str, Any]:
    """[baselines.split_step] as keywords of `evolve`."""
    table = config.baselines.split_step
    return {
        "points": None if table.grid == "auto" else table.grid,
        "extent": None if table.extent == "auto" else table.extent,
        "dt": None if table.dt == "auto" else table.dt,
        "order": None if table.order == "auto" else table.order,
        "tolerance": table.tolerance,
    }


def _prediction(points: int, coordinates: int, seconds: float | None) -> Prediction:
    # a thousand coordinates would make numbers that nobody can read, nor Python write
    size = min(points**coordinates, MOST_POINTS)
    equal = "=" if size < MOST_POINTS else ">"
    return Prediction(
        method="split_step",
        points=f"{points}^{coordinates} {equal} {size:,} grid points",
        memory=size * BYTES_PER_POINT,
        seconds=seconds,
        notes=("the box may grow while the cloud spreads",),
    )


def _first_box(config: Config, problem: Problem) -> Box:
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


def _sample(problem: Problem) -> torch.Tensor:
    return torch.from_numpy(problem.initial.sample(np.random.default_rng(0), 4096))


def _first_spacing(problem: Problem) -> float:
    """Spacing h for the initial momenta: hbar pi/h = mass (fastest v + 4 pi std(u)), 2 pi/sigma at rest."""
    initial, system = problem.initial, problem.system
    x = _sample(problem)
    with torch.no_grad():
        current, osmotic = initial.v(x).abs().max(), initial.u(x).std(dim=0).max()
    return float(math.pi * system.hbar / (system.mass * (current + 4.0 * math.pi * osmotic)))


def _points_for(box: Box, spacing: float) -> int:
    wanted = max((high - low) / spacing for low, high in box)
    return int(scipy.fft.next_fast_len(max(32, math.ceil(wanted))))


def _first_step(problem: Problem) -> float:
    """Half a radian of the phase that V gives to the initial cloud, and no more than the longest interval."""
    system, x = problem.system, _sample(problem)
    spread = 0.0
    for t in (0.0, *system.breakpoints, problem.end):
        with torch.no_grad():
            potential = system.potential(x, x.new_full((x.shape[0], 1), t))
        spread = max(spread, float(potential.std()))
    lengths = (stop - start for start, stop in intervals(problem))
    longest = min(problem.end / EDGE_CHECKS, max(lengths, default=problem.end))
    return min(longest, 0.5 * system.hbar / spread) if 0.0 < spread < math.inf else longest


def _wider(box: Box, ends: np.ndarray[Any, np.dtype[np.bool_]]) -> Box:
    """The box with 0.4 of its length added at the ends that were reached."""
    return tuple(
        (low - 0.4 * (high - low) * float(at_low), high + 0.4 * (high - low) * float(at_high))
        for (low, high), (at_low, at_high) in zip(box, ends, strict=True)
    )
