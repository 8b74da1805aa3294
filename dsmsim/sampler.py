"""Trajectories of Nelson's process and of the family that shares its marginals.

    dX = (v + nu u) dt + sqrt(nu hbar / m) dW,      X(0) ~ |psi0|^2

has |psi(x, t)|^2 as its density for every nu >= 0 (nu = 1: Nelson's process; nu = 0: the probability-flow
ODE dX = v dt). Schemes for this additive noise:

    euler   X' = X + b(X, t) h + s dW                                       weak order 1
    heun    X' = X + (b(X, t) + b(X + b h + s dW, t + h)) h / 2 + s dW      weak order 2

(Kloeden & Platen, "Numerical Solution of Stochastic Differential Equations", 1992, ch. 14-15.)

Grids are laid out evenly in the natural clock of the frame, which is the time itself in the lab. Every
trajectory may have its own grid. Noise comes in as an argument, so that a trajectory depends on the random
stream of its block and on nothing else.

Shapes: B trajectories, n coordinates, K grid intervals, M residual times.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from torch import Tensor

from dsmsim.networks import FieldPair
from dsmsim.system import System

Array = npt.NDArray[np.float64]
Drift = Callable[[Tensor, Tensor], Tensor]
Clock = Callable[[Array], Array]


def euler_step(drift: Drift, x: Tensor, t: Tensor, h: Tensor, kick: Tensor) -> Tensor:
    """One Euler-Maruyama step; x, kick (B, n), t, h (B, 1)."""
    return x + drift(x, t) * h + kick


def heun_step(drift: Drift, x: Tensor, t: Tensor, h: Tensor, kick: Tensor) -> Tensor:
    """One stochastic Heun step; x, kick (B, n), t, h (B, 1)."""
    b = drift(x, t)
    return x + 0.5 * h * (b + drift(x + b * h + kick, t + h)) + kick


STEPS: dict[str, Callable[[Drift, Tensor, Tensor, Tensor, Tensor], Tensor]] = {
    "heun": heun_step,
    "euler": euler_step,
}


@dataclass(frozen=True)
class Process:
    """Which process of the family is simulated, and by which scheme.

    Attributes:
        scheme: a key of `STEPS`.
        nu: diffusion of the process relative to Nelson's.
    """

    scheme: Literal["heun", "euler"] = "heun"
    nu: float = 1.0


def residual_clocks(rng: np.random.Generator, trajectories: int, count: int, mode: str) -> Array:
    """Random natural times in [0, 1] at which residuals are taken, increasing along a trajectory: (B, M).

    `stratified`: one uniform draw in each of M equal slices, independently for every trajectory: unbiased
    for the average over time, with far less noise than `uniform` (independent draws).
    """
    draws = rng.random((trajectories, count))
    return (np.arange(count) + draws) / count if mode == "stratified" else np.sort(draws, axis=1)


def refine(clocks: Array, substeps: int) -> Array:
    """Grid from 0 through clocks (B, M), each interval cut in `substeps`: (B, M * substeps + 1)."""
    knots = np.concatenate([np.zeros((len(clocks), 1)), clocks], axis=1)
    fractions = np.arange(1, substeps + 1) / substeps
    inner = knots[:, :-1, None] + np.diff(knots, axis=1)[:, :, None] * fractions
    return np.concatenate([knots[:, :1], inner.reshape(len(clocks), -1)], axis=1)


def evaluation_grid(
    times: Sequence[float], steps: int, clock: Clock, inverse: Clock, breakpoints: Sequence[float] = ()
) -> tuple[Array, npt.NDArray[np.bool_]]:
    """A grid from 0 that holds every saved time and every breakpoint, with steps no longer than 1/steps.

    Args:
        times: saved times, increasing.
        steps: integrator steps over the whole of natural time.
        clock, inverse: time -> natural time in [0, 1], and back.
        breakpoints: times at which the potential is not smooth; no step crosses one.

    Returns:
        (K + 1,) times, and (K + 1,) whether each is a saved time.
    """
    stops = np.unique(np.concatenate([[0.0], np.asarray(times), np.asarray(breakpoints)]))
    naturals = clock(stops)
    pieces = [stops[:1]]
    for k in range(len(stops) - 1):
        count = max(1, math.ceil(steps * (naturals[k + 1] - naturals[k]) - 1e-9))
        inner = inverse(np.linspace(naturals[k], naturals[k + 1], count + 1)[1:-1])
        pieces += [inner, stops[k + 1 : k + 2]]
    grid = np.concatenate(pieces)
    return grid, np.isin(grid, np.asarray(times))


def trajectories(
    fields: FieldPair,
    system: System,
    process: Process,
    x: Tensor,
    grid: Tensor,
    increments: Callable[[int], Tensor],
) -> Iterator[tuple[Tensor, Tensor]]:
    """Advance x along the grid, yielding (position, time) after every step.

    Args:
        fields: (x, t) -> (u, v).
        x: (B, n) positions at the first grid time.
        grid: (B, K + 1) increasing times, or (1, K + 1) shared by all.
        increments: step number -> (B, n) standard normal numbers; not called when nu = 0.

    Yields:
        (B, n) position and (B, 1) time, K times.
    """
    nu = process.nu
    diffusion = math.sqrt(nu * system.hbar / system.mass)
    step = STEPS[process.scheme]

    def drift(y: Tensor, t: Tensor) -> Tensor:
        u, v = fields(y, t)
        return v + nu * u

    for k in range(grid.shape[1] - 1):
        t = grid[:, k : k + 1].expand(len(x), 1)
        after = grid[:, k + 1 : k + 2].expand(len(x), 1)
        h = after - t
        kick = diffusion * h.sqrt() * increments(k) if nu > 0.0 else x.new_zeros(())
        x = step(drift, x, t, h, kick)
        yield x, after
