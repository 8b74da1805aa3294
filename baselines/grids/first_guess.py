"""Where a state will go and how fast, from classical trajectories: a first guess of a grid, in a moment.

Points are drawn from the initial density, with velocities v + std(u) xi, xi normal: for a Gaussian state that
is its Wigner function. They then follow Newton's equations (leapfrog). Nothing that this says is trusted:
solvers refine their grids by what they measure.

Shapes: `S` trajectories, `n` coordinates, `D` axes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from baselines.grids.product import Array, Box
from dsmsim.system import InitialState, System

TRAJECTORIES = 512
STEPS = 400
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
    rng = np.random.default_rng(0)
    x = torch.from_numpy(initial.sample(rng, TRAJECTORIES))
    dimensions = initial.dimensions
    with torch.no_grad():
        osmotic = initial.u(x).std(dim=0)
        v = initial.v(x) + osmotic * torch.from_numpy(rng.standard_normal(tuple(x.shape)))
        step = end / STEPS
        reached: list[tuple[Array, Array]] = []
        fastest, spread = 0.0, 0.0
        force = system.gradient(x, _clock(x, 0.0))
        for index in range(STEPS + 1):
            rows = x.numpy().reshape(-1, dimensions)
            seen = rows[np.isfinite(rows).all(axis=1)]
            if seen.size:
                reached.append((seen.min(axis=0), seen.max(axis=0)))
                fastest = max(fastest, float(np.nanmax(np.abs(v.numpy()))))
            if index % (STEPS // 8) == 0:
                potential = system.potential(x, _clock(x, index * step))
                varied = float(potential[torch.isfinite(potential)].std())
                spread = max(spread, varied) if np.isfinite(varied) else spread
            v = v - (0.5 * step / system.mass) * force
            x = x + step * v
            force = system.gradient(x, _clock(x, min(end, (index + 1) * step)))
            v = v - (0.5 * step / system.mass) * force
    low = np.min([low for low, _ in reached], axis=0)
    high = np.max([high for _, high in reached], axis=0)
    center, half = 0.5 * (low + high), (0.5 + 0.5 * MARGIN) * (high - low)
    deviation = DEVIATIONS * np.sqrt(initial.variance[:dimensions])
    low = np.minimum(center - half, initial.mean[:dimensions] - deviation)
    high = np.maximum(center + half, initial.mean[:dimensions] + deviation)
    return FirstGuess(
        box=tuple(zip(low.tolist(), high.tolist(), strict=True)),
        wavenumber=system.mass * max(fastest, 3.0 * float(osmotic.max())) / system.hbar,
        spread=spread,
    )


def _clock(x: torch.Tensor, t: float) -> torch.Tensor:
    return x.new_full((x.shape[0], 1), t)
