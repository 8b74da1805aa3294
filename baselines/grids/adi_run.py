"""One Crank-Nicolson evolution on a fixed grid: what the refinement compares and what the results need.

Shapes: `D` axes, `M` points per coordinate, `T` saved times.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.fft

from baselines.change import Change
from baselines.grids.adi import Scheme, State
from baselines.grids.problem import Outgrown, Problem, stages
from baselines.grids.product import Array, Box, Grid, Wave, dirichlet_grid
from baselines.observables.grid_groups import GridRecorder

Groups = Mapping[str, Mapping[str, np.ndarray[Any, Any]]]

# at how many times the spectrum of a coarse run is looked at
SPECTRA = 8
# of the probability allowed at the edge: may be lost by thinning (its root is what averages may miss)
FAINT = 1e-4


@dataclass(frozen=True)
class Trial:
    """What is tried: walls at the ends of `box`, M points between them, the longest step."""

    box: Box
    points: int
    dt: float
    scheme: Scheme
    space_order: int


@dataclass
class Run:
    """What came of a trial.

    Attributes:
        trial, grid: where it was.
        dt: longest step taken.
        mean, variance: of the first particle (T, D).
        densities: D arrays (T, M).
        edge: largest probability found in the outer 1/32 of the box at one end.
        reach: largest probability found at each point, D arrays (M,).
        wavenumber: beyond which the spectrum is negligible; infinite where nobody looked.
        groups: of the results file, where they were recorded.
        psi: (T, M, ..., M) where it was asked for.
        folded: whether one half of the wave was enough, to the end.
    """

    trial: Trial
    grid: Grid
    dt: float = 0.0
    mean: Array = field(default_factory=lambda: np.zeros(0))
    variance: Array = field(default_factory=lambda: np.zeros(0))
    densities: list[Array] = field(default_factory=list)
    edge: float = 0.0
    reach: list[Array] = field(default_factory=list)
    wavenumber: float = math.inf
    groups: Groups | None = None
    psi: Wave | None = None
    folded: bool = False


def run(
    problem: Problem, trial: Trial, threads: int, *, every: int | None = None, spectrum: bool = False
) -> Run:
    """One evolution.

    Args:
        problem: what is solved.
        trial: how.
        threads: to be used on large grids.
        every: record everything on each `every`-th point of each axis; None records nothing.
        spectrum: look for the largest wavenumber.

    Raises:
        Outgrown: more than `problem.edge_limit` reached the edge of a box that may grow.
        ConfigError: the potential is not finite.
    """
    grid = dirichlet_grid(trial.box, trial.points, problem.system.particles)
    state = State(problem.system, problem.initial, grid, trial.space_order, trial.scheme, threads)
    found = Run(trial, grid, reach=[np.zeros(grid.points) for _ in range(grid.dimensions)])
    recorder = None
    if every is not None:
        thin = state.thinned(every)
        recorder = GridRecorder(problem.config, problem.system, thin, problem.times)
        potential = thin.potential(problem.system, 0.0)
    saved: list[list[Array]] = []
    waves: list[Wave] = []
    highest = 0.0
    next_spectrum = 0.0

    def look(t: float) -> None:
        nonlocal highest, next_spectrum, potential
        marginals = state.marginals()
        for reach, marginal in zip(found.reach, marginals, strict=True):
            np.maximum(reach, marginal, out=reach)
        ends = _ends(marginals)
        found.edge = max(found.edge, float(ends.max()))
        if found.edge > problem.edge_limit and not problem.fixed_box:
            raise Outgrown(ends > 1e-2 * problem.edge_limit)
        if spectrum and t >= next_spectrum:
            next_spectrum += problem.end / SPECTRA
            highest = max(highest, _highest_wavenumber(state, FAINT * problem.edge_limit))
        if len(saved) < problem.times.size and t == problem.times[len(saved)]:
            saved.append(marginals)
            if recorder is not None:
                if not problem.system.is_static:
                    potential = recorder.grid.potential(problem.system, t)
                recorder.record(t, state.wave(every or 1), potential)
                if problem.keep_psi:
                    waves.append(state.wave())

    look(0.0)
    for start, stop, steps in stages(problem, trial.dt):
        found.dt = max(found.dt, (stop - start) / steps)
        state.advance(start, stop, steps)
        look(stop)
    found.wavenumber = highest if spectrum else math.inf
    found.folded = state.folded
    _moments(found, saved)
    if recorder is not None:
        norms = np.array([marginals[0].sum() for marginals in saved])
        found.groups = _with_full_grid(recorder.groups(), found, norms, problem.times)
        found.psi = np.array(waves) if problem.keep_psi else None
    return found


def change_between(before: Run, after: Run) -> Change:
    """The change of means, variances and densities between two runs in the same box."""
    densities = []
    for axis, density in enumerate(after.densities):
        shown = _at(before, axis, after.grid.positions(axis))
        distance = np.abs(density - shown).sum(axis=1) * after.grid.spacing(axis)
        densities.append(float(distance.max()))
    return Change(
        mean=float(np.max(np.abs(after.mean - before.mean) / np.sqrt(after.variance))),
        variance=float(np.max(np.abs(after.variance - before.variance) / after.variance)),
        density=max(densities),
    )


def _at(found: Run, axis: int, x: Array) -> Array:
    """The density of a run at any points (P,) between the walls, by its sine series: (T, P)."""
    density, grid = found.densities[axis], found.grid
    if grid.points == x.size:
        return density
    low, high = found.trial.box[axis]
    series = scipy.fft.dst(density, type=1, axis=1) / (grid.points + 1)
    angle = np.pi * (x - low) / (high - low)
    return np.asarray(series @ np.sin(np.outer(np.arange(1, grid.points + 1), angle)))


def _ends(marginals: list[Array]) -> Array:
    """Probability in the outer 1/32 of the box at each end of each axis: (D, 2)."""
    band = max(2, marginals[0].size // 32)
    return np.array([[one[:band].sum(), one[-band:].sum()] for one in marginals])


def _highest_wavenumber(state: State, limit: float) -> float:
    """The wavenumber beyond which the first particle has less than `limit` of probability on every axis."""
    highest, wave = 0.0, state.wave()
    for axis in range(state.grid.dimensions):
        k = np.abs(state.grid.wavenumbers(axis))
        power = np.abs(scipy.fft.fft(wave, axis=axis)) ** 2
        share = power.sum(axis=tuple(other for other in range(wave.ndim) if other != axis))
        order = np.argsort(k)[::-1]
        beyond = np.cumsum(share[order] / share.sum())
        highest = max(highest, float(k[order][np.searchsorted(beyond, limit)]))
    return highest


def _moments(found: Run, saved: list[list[Array]]) -> None:
    means, variances = [], []
    for axis, series in enumerate(zip(*saved, strict=True)):
        probability = np.array(series)
        found.densities.append(probability / found.grid.spacing(axis))
        probability = probability / probability.sum(axis=1, keepdims=True)
        x = found.grid.positions(axis)
        mean = probability @ x
        means.append(mean)
        variances.append((probability * (x - mean[:, None]) ** 2).sum(axis=1))
    found.mean, found.variance = np.stack(means, axis=1), np.stack(variances, axis=1)


def _with_full_grid(groups: Groups, found: Run, norms: Array, times: Array) -> Groups:
    """The groups with density and norm of all points of the grid instead of the thinned ones."""
    density: dict[str, np.ndarray[Any, Any]] = {"time": times}
    for axis, values in enumerate(found.densities):
        name, suffix = "xyz"[axis], ("", "_y", "_z")[axis]
        density |= {name: found.grid.positions(axis), f"density{suffix}": values}
    return {**groups, "observables": {**groups["observables"], "norm": norms}, "density": density}
