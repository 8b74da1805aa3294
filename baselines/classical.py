"""Classical trajectories from the quantum distribution at the start: where a state will go, in milliseconds.

Positions are drawn from the initial density and given the momenta p = mass v(x) + noise, of the variance of
mass u: for a Gaussian state that is its Wigner function, and the trajectories are the truncated Wigner
approximation (Steel et al., Phys. Rev. A 58 (1998) 4824). Nothing that they say is trusted: solvers choose
first grids and frames by them, and refine by what they measure.

Shapes: `K` trajectories, `n` coordinates.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from dsmsim.system import GaussianState, InitialState, System

Array = NDArray[np.float64]


def wigner_sample(system: System, initial: InitialState, count: int, seed: int = 0) -> tuple[Array, Array]:
    """Positions and momenta (K, n), K = 2 (count // 2): mirrored, so that the means are exact."""
    generator = np.random.default_rng(seed)
    half = initial.sample(generator, count // 2)
    x = np.concatenate([half, 2.0 * initial.mean - half])
    with torch.no_grad():
        osmotic, current = (field(torch.from_numpy(x)).numpy() for field in (initial.u, initial.v))
    spread = system.mass * np.sqrt((osmotic**2).mean(0))
    if isinstance(initial, GaussianState):
        spread = 0.5 * system.hbar / np.sqrt(initial.variance)
    noise = spread * generator.standard_normal(half.shape)
    return x, system.mass * current + np.concatenate([noise, -noise])


def leapfrog(
    system: System, x: Array, p: Array, start: float, stop: float, steps: int
) -> Iterator[tuple[float, Array, Array]]:
    """Time, positions and momenta after each of `steps` equal steps of an interval in which V is smooth.

    Forces are taken strictly inside it: V may jump at its ends.
    """
    dt = (stop - start) / steps
    push = force(system, x, start + 1e-6 * dt)
    for index in range(steps):
        p = p + 0.5 * dt * push
        x = x + dt * p / system.mass
        push = force(system, x, start + (index + 1.0 - 1e-6) * dt)
        p = p + 0.5 * dt * push
        yield start + (index + 1) * dt, x, p


def force(system: System, x: Array, t: float) -> Array:
    """-grad V at x (K, n)."""
    with torch.no_grad():
        rows = torch.from_numpy(x)
        pushed: Array = -system.gradient(rows, rows.new_full((rows.shape[0], 1), t)).numpy()
    return pushed


def time_scale(system: System, x: Array, p: Array) -> float:
    """The shortest time in which the start spreads or is pushed by its width, now or after a quench."""
    width = float(x.std(0).min())
    scales = [width / (float((p / system.mass).std(0).max()) + 1e-300)]
    for t in (1e-9, *system.breakpoints):
        push = float(np.sqrt((force(system, x, t) ** 2).mean(0)).max()) / system.mass
        scales.append(math.sqrt(width / (push + 1e-300)))
    return min(scales)
