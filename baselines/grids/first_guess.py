"""Where a state will go and how fast, from classical trajectories: a first guess of a grid, in a moment.

Nothing that this says is trusted: solvers refine their grids by what they measure.

Shapes: `S` trajectories, `n` coordinates, `D` axes.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import torch

from baselines.classical import leapfrog, wigner_sample
from baselines.grids.product import Array, Box
from dsmsim.system import InitialState, System

TRAJECTORIES = 512
STEPS = 400
# at how many times the spread of the potential is looked at, the start apart
LOOKS = 8
# a cloud of this many standard deviations at least, and this much more than the trajectories reach
DEVIATIONS, MARGIN = 6.5, 0.7


@dataclass(frozen=True)
class FirstGuess:
    """What the trajectories did.

    Attributes:
        box: that should hold the state, (lo, hi) of every axis.
        wavenumber: the largest that was met along one coordinate.
        spread: the largest standard deviation of the potential over the cloud.
    """

    box: Box
    wavenumber: float
    spread: float


def first_guess(system: System, initial: InitialState, end: float) -> FirstGuess:
    """The guess for [0, end]."""
    dimensions, times = initial.dimensions, np.linspace(0.0, end, LOOKS + 1)
    x, p = wigner_sample(system, initial, TRAJECTORIES)
    osmotic = float((p - p.mean(0)).std(0).max()) / system.mass
    reached: list[tuple[Array, Array]] = []
    fastest, spread = 0.0, 0.0

    def look(t: float) -> None:
        nonlocal fastest, spread
        rows = x.reshape(-1, dimensions)
        seen = rows[np.isfinite(rows).all(axis=1)]
        if seen.size:
            reached.append((seen.min(axis=0), seen.max(axis=0)))
            fastest = max(fastest, float(np.nanmax(np.abs(p))) / system.mass)
        if t in times:
            here = torch.from_numpy(x)
            with torch.no_grad():
                potential = system.potential(here, here.new_full((len(x), 1), t))
            varied = float(potential[torch.isfinite(potential)].std())
            spread = max(spread, varied) if np.isfinite(varied) else spread

    look(0.0)
    for start, stop in itertools.pairwise(times):
        for t, x, p in leapfrog(system, x, p, start, stop, STEPS // LOOKS):  # noqa: B007, B020
            look(t if t < stop - 1e-9 * end else stop)
    low = np.min([low for low, _ in reached], axis=0)
    high = np.max([high for _, high in reached], axis=0)
    center, half = 0.5 * (low + high), (0.5 + 0.5 * MARGIN) * (high - low)
    deviation = DEVIATIONS * np.sqrt(initial.variance[:dimensions])
    low = np.minimum(center - half, initial.mean[:dimensions] - deviation)
    high = np.maximum(center + half, initial.mean[:dimensions] + deviation)
    return FirstGuess(
        box=tuple(zip(low.tolist(), high.tolist(), strict=True)),
        wavenumber=system.mass * max(fastest, 3.0 * osmotic) / system.hbar,
        spread=spread,
    )
