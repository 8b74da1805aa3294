"""Fourier split-step solver for the time-dependent Schroedinger equation, up to three coordinates.

    i hbar d psi/dt = [ -hbar^2/(2 mass) Laplacian + V(x, t) ] psi          (steps: `baselines.grids.fourier`)

The grid is chosen by measurement. The box grows until the probability at its edge stays below tolerance^2 =
1e-8; then the step is halved and the number of points raised by half until moments and densities stop
changing. The last changes are the error estimate. On a resolved periodic grid the values at the points hold
the whole density.

Shapes: `N` particles, `D` dimensions, `n = N D`, `M` points per coordinate, `T` saved times, psi (M, ..., M).
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.fft
import torch

from baselines.grids.fourier import COMPOSITIONS
from baselines.grids.product import Box, Grid
from baselines.grids.refinement import (
    EDGE_CHECKS,
    Outgrown,
    Problem,
    Progress,
    Refinement,
    Unresolved,
    intervals,
    too_costly,
)
from baselines.solution import SplitStepSolution
from dsmsim.config import Config
from dsmsim.errors import ConfigError
from dsmsim.store import provenance, write_results
from dsmsim.system import (
    build_initial,
    build_system,
    center_of_mass,
    closed_form,
)

__all__ = ["SplitStepSolution", "evolve", "solve"]

MOST_COORDINATES = 3
MOST_ATTEMPTS = 60
# from this size on a transform is worth several threads
POINTS_FOR_THREADS = 1 << 17


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
    problem = Problem(
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
    refinement = Refinement(problem, tolerance, dt is not None, order, progress or (lambda line: None))
    for _ in range(MOST_ATTEMPTS):
        chosen = points or _points_for(box, spacing)
        step = dt or _first_step(problem, box, chosen)
        if too_costly(problem, chosen, step, COMPOSITIONS[order or 2]):
            break
        with scipy.fft.set_workers(_threads(chosen**system.coordinates)):
            try:
                return refinement.solve(box, chosen, step)
            except Unresolved:
                spacing /= 1.5
            except Outgrown as outgrown:
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


def _given_box(extent: float | Sequence[tuple[float, float]], dimensions: int) -> Box:
    if isinstance(extent, int | float):
        return ((-float(extent), float(extent)),) * dimensions
    return tuple((float(low), float(high)) for low, high in extent)


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


def _first_spacing(problem: Problem) -> float:
    """Spacing h for the initial momenta: hbar pi/h = mass (fastest v + 4 pi std(u)), 2 pi/sigma at rest."""
    initial, system = problem.initial, problem.system
    x = torch.from_numpy(initial.sample(np.random.default_rng(0), 4096))
    with torch.no_grad():
        current, osmotic = initial.v(x).abs().max(), initial.u(x).std(dim=0).max()
    return float(math.pi * system.hbar / (system.mass * (current + 4.0 * math.pi * osmotic)))


def _points_for(box: Box, spacing: float) -> int:
    wanted = max((high - low) / spacing for low, high in box)
    return int(scipy.fft.next_fast_len(max(32, math.ceil(wanted))))


def _first_step(problem: Problem, box: Box, points: int) -> float:
    """Half a radian of the phase that V gives to the initial cloud, and no more than the longest interval."""
    system = problem.system
    grid = Grid(box, points, system.particles)
    probability = np.abs(grid.initial_wave(problem.initial)) ** 2 * grid.cell
    spread = 0.0
    for t in (0.0, *system.breakpoints, problem.end):
        potential = grid.potential(system, t)
        mean = float((probability * potential).sum())
        spread = max(spread, math.sqrt(max(0.0, float((probability * (potential - mean) ** 2).sum()))))
    lengths = (stop - start for start, stop in intervals(problem))
    longest = min(problem.end / EDGE_CHECKS, max(lengths, default=problem.end))
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
