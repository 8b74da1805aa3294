"""Crank-Nicolson by directions on finite-difference grids, for one to four coordinates.

    i hbar d psi/dt = [ -hbar^2/(2 mass) Laplacian + V(x, t) ] psi,     psi = 0 at the walls of a box

Every direction is a product of unitary factors with a tridiagonal matrix (`baselines.grids.adi`), so that a
step costs a few operations per point whatever the potential. The second derivative is the compact one of
fourth order, or the usual one of second order. Box, spacing and step are chosen by measurement, with an error
estimate (`baselines.grids.adi_refinement`). Where potential and initial state are even about one point, half
of the wave function is stored and propagated (`baselines.grids.fold`).

Shapes: `N` particles, `D` dimensions, `n = N D`, `M` points per coordinate, `T` saved times, psi (M, ..., M).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from baselines.change import Change
from baselines.grids.adi import BLANES_MOAN_PADE, STRANG, STRANG_PADE
from baselines.grids.adi_refinement import Refinement, bytes_needed
from baselines.grids.adi_run import Run
from baselines.grids.first_guess import FirstGuess, first_guess
from baselines.grids.fold import plan_fold
from baselines.grids.problem import Problem, given_box, intervals, make_problem
from baselines.prediction import Prediction, require_memory
from baselines.solution import GridSolution, Progress
from baselines.threads import set_numba_threads
from dsmsim.config import Config
from dsmsim.errors import ConfigError
from dsmsim.store import Stopwatch
from dsmsim.system import System

__all__ = ["GridSolution", "evolve", "predict", "solve"]

MOST_COORDINATES = 4
SCHEMES = {None: None, 2: STRANG, 4: BLANES_MOAN_PADE}
# wavenumber times spacing of the coarse grid at a tolerance of 1e-3, and how much finer the last one is
COARSE, FINER = {2: 0.6, 4: 1.3}, {2: 6.0, 4: 1.8}
# point solves per second of one core, for predictions
SPEED = 3e8


def evolve(
    config: Config,
    *,
    points: int | None = None,
    extent: float | Sequence[tuple[float, float]] | None = None,
    dt: float | None = None,
    space_order: int = 4,
    time_order: int | None = None,
    tolerance: float = 1e-3,
    keep_psi: bool = False,
    progress: Progress | None = None,
) -> GridSolution:
    """Solve the input; what is None is chosen by measurement.

    Args:
        config: the input.
        points: M, grid points per coordinate, strictly between the walls.
        extent: half width L of walls at -L and L on all axes, or (lo, hi) for each axis.
        dt: longest step; steps are equal between two saved times.
        space_order: of the second derivative, 2 or 4.
        time_order: of a step, 2 (Crank-Nicolson) or 4.
        tolerance: largest error estimate to accept, of means (in standard deviations), variances (relative)
            and densities (L1).
        keep_psi: also return the wave function at the saved times.
        progress: called with one line of text after each run.

    Raises:
        ConfigError: more than four coordinates, too large a grid for the memory, a state that no box holds,
            or a potential that is not finite.
    """
    problem = make_problem(config, points, extent, dt, tolerance, keep_psi)
    _require_few_coordinates(problem.system)
    guess = first_guess(problem.system, problem.initial, problem.end)
    wanted = guess.box if extent is None else given_box(extent, problem.system.dimensions)
    box, fold = plan_fold(problem, wanted, points)
    refinement = Refinement(
        problem=problem,
        tolerance=tolerance,
        space_order=space_order,
        scheme=SCHEMES[time_order],
        threads=set_numba_threads(),
        progress=progress or (lambda line: None),
        box=box,
        spacing=_coarse_spacing(guess, space_order, tolerance),
        points=points,
        dt=dt or _first_step(problem, guess),
        fold=fold,
    )
    least = _prediction(refinement.least_points(), problem, None, fold)
    require_memory(least, config, "baselines.crank_nicolson.grid")
    run, error = refinement.solve()
    assert run.groups is not None
    return GridSolution(
        times=problem.times,
        groups=run.groups,
        how=_how(problem, run, error, tolerance, refinement.limited),
        box=run.grid.box,
        points=run.grid.points,
        dt=run.dt,
        psi=run.psi,
    )


def solve(config: Config, out: Path, *, progress: Progress | None = None) -> Path:
    """Solve the input as [baselines.crank_nicolson] says, and write `out/results.h5`; the path of that file.

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
        ConfigError: more than four coordinates; the potential or the initial state cannot be built.
    """
    options = _options(config)
    order, tolerance = options["space_order"], options["tolerance"]
    problem = make_problem(config, options["points"], options["extent"], options["dt"], tolerance)
    _require_few_coordinates(problem.system)
    system = problem.system
    guess = first_guess(system, problem.initial, problem.end)
    extent = options["extent"]
    wanted = guess.box if extent is None else given_box(extent, system.dimensions)
    box, fold = plan_fold(problem, wanted, options["points"])
    width = max(high - low for low, high in box)
    finest = math.ceil(FINER[order] * width / _coarse_spacing(guess, order, tolerance))
    points = options["points"] or finest + (finest % 2 if fold else 0)
    scheme = SCHEMES[options["time_order"]] or STRANG_PADE
    step = options["dt"] or 0.25 * _first_step(problem, guess)
    steps = max(problem.end / step, problem.times.size)
    solved = float(points) ** system.coordinates * (0.5 if fold else 1.0)
    work = solved * system.coordinates * scheme.cost * steps
    return _prediction(points, problem, 1.5 * work / SPEED, fold)


def _options(config: Config) -> dict[str, Any]:
    """[baselines.crank_nicolson] as keywords of `evolve`."""
    table = config.baselines.crank_nicolson
    return {
        "points": None if table.grid == "auto" else table.grid,
        "extent": None if table.extent == "auto" else table.extent,
        "dt": None if table.dt == "auto" else table.dt,
        "space_order": table.space_order,
        "time_order": None if table.time_order == "auto" else table.time_order,
        "tolerance": table.tolerance,
    }


def _require_few_coordinates(system: System) -> None:
    """Refuse more coordinates than there are sweeps for."""
    if system.coordinates > MOST_COORDINATES:
        raise ConfigError(
            f"system.particles = {system.particles} with system.dimensions = {system.dimensions}: "
            f"crank_nicolson holds at most {MOST_COORDINATES} coordinates, not {system.coordinates}; reduce "
            "them, or use relative_grid or fock",
            key="system.particles",
        )


def _prediction(points: int, problem: Problem, seconds: float | None, fold: bool) -> Prediction:
    coordinates = problem.system.coordinates
    stored = ", one half of them stored" if fold else ""
    return Prediction(
        method="crank_nicolson",
        points=f"{points}^{coordinates} = {points**coordinates:,} grid points{stored}",
        memory=bytes_needed(points, coordinates, folded=fold),
        seconds=seconds,
        notes=(
            "box and grid are fitted to the state while it is solved; where the grid that is needed does not "
            "fit into memory, the finest that does is taken and the result marked",
        ),
    )


def _coarse_spacing(guess: FirstGuess, space_order: int, tolerance: float) -> float:
    share: float = (tolerance / 1e-3) ** (1.0 / space_order)
    return COARSE[space_order] * min(1.0, share) / guess.wavenumber


def _first_step(problem: Problem, guess: FirstGuess) -> float:
    """Half a radian of the phase that V gives to the cloud, and no more than the longest interval."""
    longest = max((stop - start for start, stop in intervals(problem)), default=problem.end)
    spread = guess.spread
    return min(longest, 0.5 * problem.system.hbar / spread) if spread > 0.0 else longest


def _how(problem: Problem, run: Run, error: Change, tolerance: float, limited: str) -> dict[str, Any]:
    warning = _warning(problem, run, error, tolerance, limited)
    return {
        "method": f"{run.trial.scheme.name}, order {run.trial.scheme.order} in time and "
        f"{run.trial.space_order} in space",
        "points": run.grid.points,
        "dt": run.dt,
        "folded": run.folded,
        "box_low": [low for low, _ in run.trial.box],
        "box_high": [high for _, high in run.trial.box],
        "edge_probability": run.edge,
        **error.attributes(tolerance, warning),
    }


def _warning(problem: Problem, run: Run, error: Change, tolerance: float, limited: str) -> str:
    """Why the result cannot be trusted, and what to change; empty where it can."""
    found = []
    if run.edge > problem.edge_limit:
        found.append(
            f"a probability of {run.edge:.2g} reached the edge of the box: raise "
            "baselines.crank_nicolson.extent"
        )
    if not error.worst <= tolerance:
        fix = limited + ": shorten the time, or use another method" if limited else 'write "auto" for both'
        found.append(
            f"the error estimate of grid and dt, {error.worst:.2g}, is above the tolerance, {tolerance:.2g}; "
            f"{fix}"
        )
    return "; ".join(found)
