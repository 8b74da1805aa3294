"""Exact bosons in a harmonic trap: the centre of mass apart, the relative coordinates on a sinc grid.

    i hbar d psi/dt = [ -hbar^2/(2 mass) Laplacian + V(x, t) ] psi,    psi = Psi(X) chi(relative coordinates)

In a harmonic trap (or none) an interaction of differences does not touch the centre of mass X (Kohn's
theorem): Psi is a known Gaussian. chi lives on (N-1) D orthonormal coordinates, known where all of them are
positive (`baselines.relative.coordinates`), on a grid that breathes with the cloud
(`baselines.relative.breathing`). Two to six bosons in one dimension, two to four in two, two or three in
three: as many as memory and patience allow.

Grid and step are chosen by measurement: both are refined until moments and densities stop changing, and the
last changes of both are the error estimate.

Shapes: `N` particles, `D` dimensions, `n = (N-1) D` axes, `T` saved times.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from baselines.grids.fourier import COMPOSITIONS
from baselines.prediction import Prediction, require_memory
from baselines.relative.breathing import breathing, classical_cloud
from baselines.relative.coordinates import relative_coordinates
from baselines.relative.problem import Problem, Shape, evolution_memory, evolution_seconds
from baselines.relative.recorder import Lab
from baselines.relative.refinement import MOST_SECONDS, Missed, Refinement, RelativeSolution
from baselines.solution import Progress
from baselines.trap_motion import require_separable, trap_motion
from dsmsim.config import Config
from dsmsim.errors import ConfigError
from dsmsim.store import Stopwatch
from dsmsim.system import System, build_initial, build_system

__all__ = ["RelativeSolution", "evolve", "predict", "solve"]

MOST_ATTEMPTS, MOST_BOXES = 30, 4
MOST_AXES = 6
KEY = "baselines.relative_grid.spacing"
# as many as it usually takes
REFINEMENTS = 3
# from this size on single precision is worth its rounding errors of about 1e-6
SINGLE_SIZE, SINGLE_TOLERANCE = 1 << 19, 2e-5


def evolve(
    config: Config,
    *,
    spacing: float | None = None,
    dt: float | None = None,
    tolerance: float = 1e-4,
    order: int | None = None,
    breathe: bool | None = None,
    correlations: bool = True,
    progress: Progress | None = None,
) -> RelativeSolution:
    """Solve the input; what is None is chosen by measurement.

    Args:
        config: the input.
        spacing: of the grid in every relative coordinate, a length, when the grid is at its widest.
        dt: longest step; steps are equal between two saved times.
        tolerance: largest error estimate to accept, of variances (relative) and densities (L1).
        order: 2 or 4.
        breathe: whether the grid moves with the cloud; None: where that needs fewer points.
        correlations: also correlations, momentum and velocity fields.
        progress: called with one line of text after each refinement.

    Raises:
        ConfigError: not a harmonic trap, not a Gaussian start, too many particles, or too large a grid.
    """
    problem = _problem(config, spacing, dt, tolerance, breathe, correlations)
    shape = _first_shape(problem, spacing, tolerance)
    step = dt or min(problem.first_step, problem.longest_interval)
    say = progress or (lambda line: None)
    for attempt in range(MOST_ATTEMPTS):
        # a spacing that was given may be too coarse for any box
        fixed_box = spacing is not None and attempt >= MOST_BOXES
        problem = replace(_with_precision(problem, shape, tolerance), fixed_box=fixed_box)
        require_memory(_prediction(problem, shape, None), config, KEY)
        if evolution_seconds(problem, shape, step, COMPOSITIONS[order or 2]) > MOST_SECONDS:
            break
        refinement = Refinement(problem, tolerance, order, say)
        try:
            return refinement.solve(shape, step)
        except Missed as missed:
            shape = shape.grow(missed.wide)
            say(
                f"the state does not fit the grid (a probability of {missed.probability:.2g} at its end "
                f"in {'x' if missed.wide else 'k'}): {shape.size(problem.coordinates):,} points next"
            )
    raise ConfigError(
        f"time.end = {config.time.end}: the state needs too large a grid or too short steps (spacing "
        f"{shape.spacing:.2g}, dt {step:.2g}); shorten the time, smooth a singular interaction, or use "
        "another method",
        key="time.end",
    )


def solve(config: Config, out: Path, *, progress: Progress | None = None) -> Path:
    """Solve the input as [baselines.relative_grid] says, and write `out/results.h5`; the path of that file.

    Raises:
        ConfigError: as `evolve`.
        StoreError: the file cannot be written.
    """
    started = Stopwatch.start()
    return evolve(config, **_options(config), progress=progress).write(config, out, started)


def predict(config: Config) -> Prediction:
    """What `solve` would cost, as far as a classical cloud shows it.

    Raises:
        ConfigError: the method cannot treat the problem.
    """
    options = _options(config)
    spacing, dt, tolerance = options["spacing"], options["dt"], options["tolerance"]
    problem = _problem(config, spacing, dt, tolerance, None, True)
    shape = _first_shape(problem, spacing, tolerance)
    problem = _with_precision(problem, shape, tolerance)
    step = dt or min(problem.first_step, problem.longest_interval)
    longer = dt or min(4.0 * problem.first_step, problem.longest_interval)

    def cheaper(shape: Shape) -> float:
        return min(
            evolution_seconds(problem, shape, 0.5 * step, COMPOSITIONS[2]),
            evolution_seconds(problem, shape, longer, COMPOSITIONS[4]),
        )

    seconds = cheaper(shape) * (1.0 if dt is not None else 2.5)
    for _ in range(0 if spacing is not None else REFINEMENTS):
        shape = shape.finer()
        seconds += cheaper(shape)
    prediction = _prediction(problem, shape, seconds)
    if cheaper(shape) <= MOST_SECONDS and prediction.memory <= problem.memory:
        return prediction
    note = "too much for the tolerance asked for: raise baselines.relative_grid.tolerance or shorten the time"
    return replace(prediction, notes=(*prediction.notes, note))


def _options(config: Config) -> dict[str, Any]:
    """[baselines.relative_grid] as keywords of `evolve`."""
    table = config.baselines.relative_grid
    return {
        "spacing": None if table.spacing == "auto" else table.spacing,
        "dt": None if table.dt == "auto" else table.dt,
        "tolerance": table.tolerance,
    }


def _problem(
    config: Config,
    spacing: float | None,
    dt: float | None,
    tolerance: float,
    breathe: bool | None,
    correlations: bool,
) -> Problem:
    system, initial = build_system(config), build_initial(config)
    require_separable(config, initial, "relative_grid", "split_step, crank_nicolson or fock")
    axes = (system.particles - 1) * system.dimensions
    if not 1 <= axes <= MOST_AXES:
        raise ConfigError(
            f"system.particles = {system.particles} in {system.dimensions} dimension(s): relative_grid holds "
            f"the (N-1) D = {axes} relative coordinates on a grid, from 1 to {MOST_AXES} of them; use "
            "split_step or crank_nicolson for one particle, fock for many",
            key="system.particles",
        )
    times = np.asarray(config.time.save_times, dtype=np.float64)
    cloud = classical_cloud(system, initial, float(times[-1]) or config.time.end)
    frames = tuple(breathing(cloud, axis, system, moving=breathe) for axis in range(system.dimensions))
    center = trap_motion(system, initial, times)
    return Problem(
        config=config,
        system=system,
        initial=initial,
        coordinates=relative_coordinates(
            system.particles, system.dimensions, each_axis_even=_is_even_in_each_axis(system)
        ),
        frames=frames,
        lab=Lab(center, frames, system.particles, system.mass / system.hbar),
        fixed_spacing=spacing is not None,
        fixed_dt=dt is not None,
        fixed_box=False,
        # errors of densities are about a tenth of the amplitude that is cut off
        edge_limit=min(0.01, 100.0 * tolerance**2),
        first_step=0.1 * cloud.time_scale,
        memory=config.baselines.memory_bytes,
        single=False,
        correlations=correlations,
    )


def _with_precision(problem: Problem, shape: Shape, tolerance: float) -> Problem:
    for _ in range(0 if problem.fixed_spacing else REFINEMENTS):
        shape = shape.finer()
    large = shape.size(problem.coordinates) >= SINGLE_SIZE
    return replace(problem, single=large and tolerance >= SINGLE_TOLERANCE)


def _prediction(problem: Problem, shape: Shape, seconds: float | None) -> Prediction:
    size = shape.size(problem.coordinates)
    grid = " x ".join(str(points) for points in shape.points)
    axes = problem.system.particles - 1
    sectors = len(problem.coordinates.sectors)
    parts = f"{sectors} x " if sectors > 1 else ""
    return Prediction(
        method="relative_grid",
        points=f"{parts}({grid})^{axes} = {size:,} grid points",
        memory=evolution_memory(size, problem.single),
        seconds=seconds,
        notes=("the grid may grow until the state fits",),
    )


def _first_shape(problem: Problem, spacing: float | None, tolerance: float) -> Shape:
    """A margin around the classical cloud in x and in k, larger for smaller tolerances."""
    digits = math.log10(1.0 / tolerance)
    widths = tuple((1.0 + 0.05 * digits) * frame.reach for frame in problem.frames)
    if spacing is not None:
        counts = [max(4, math.ceil(1.15 * width / spacing)) for width in widths]
        return Shape(tuple(spacing * count for count in counts), tuple(counts))
    counts = [
        max(8, math.ceil(width * (1.1 + 0.1 * digits) * frame.wavenumber / math.pi))
        for width, frame in zip(widths, problem.frames, strict=True)
    ]
    return Shape(widths, tuple(counts))


def _is_even_in_each_axis(system: System) -> bool:
    """Whether w(x, y, ...) = w(-x, y, ...) and so on, at random points and times."""
    if system.interaction is None or system.dimensions == 1:
        return True
    generator = torch.Generator().manual_seed(1)
    r = torch.randn(64, system.dimensions, dtype=torch.float64, generator=generator)
    for axis, t in itertools.product(range(system.dimensions), (0.0, 0.37, 1.0, *system.breakpoints)):
        flipped = r.clone()
        flipped[:, axis] *= -1.0
        clock = r.new_full((len(r),), t)
        with torch.no_grad():
            values, images = system.interaction.value(r, clock), system.interaction.value(flipped, clock)
        if not torch.allclose(values, images, rtol=1e-9, atol=1e-12, equal_nan=True):
            return False
    return True
