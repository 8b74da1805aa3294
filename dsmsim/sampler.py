"""Trajectories of Nelson's process and of the family that shares its marginals.

    dX = (v + nu u) dt + sqrt(nu hbar / m) dW,      X(0) ~ |psi0|^2

has |psi(x, t)|^2 as its density for every nu >= 0 (nu = 1: Nelson's process; nu = 0: the probability-flow
ODE dX = v dt). Schemes for this additive noise:

    euler   X' = X + b(X, t) h + s dW                                       weak order 1
    heun    X' = X + (b(X, t) + b(X + b h + s dW, t + h)) h / 2 + s dW      weak order 2
    rk4     the classical Runge-Kutta method, with the Brownian path at     weak order 2, and
            t, t + h/2 and t + h added where it evaluates the drift         order 4 without noise

(Kloeden & Platen, "Numerical Solution of Stochastic Differential Equations", 1992, ch. 14-15.) What is left
of rk4's error at nu > 0 is the variance of int W dt by Simpson's rule, 13/36 h^3 for h^3/3. At the same
number of drift evaluations it is usually 10 to 50 times smaller than heun's, and no smaller only where a
linear drift damps strong noise.

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
import torch
from torch import Tensor

from dsmsim.networks import FieldPair, Fields
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


def rk4_step(drift: Drift, x: Tensor, t: Tensor, h: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """One Runge-Kutta step; x (B, n), t, h (B, 1), and the kicks of both halves of the step (B, n)."""
    half = 0.5 * h
    k1 = drift(x, t)
    k2 = drift(x + half * k1 + first, t + half)
    k3 = drift(x + half * k2 + first, t + half)
    kick = first + second
    k4 = drift(x + h * k3 + kick, t + h)
    return x + h / 6.0 * (k1 + 2.0 * (k2 + k3) + k4) + kick


STEPS: dict[str, Callable[..., Tensor]] = {"heun": heun_step, "euler": euler_step, "rk4": rk4_step}
"""(drift, x, t, h, *kicks) -> x; as many kicks, of equal parts of the step, as `KICKS` says."""

KICKS = {"heun": 1, "euler": 1, "rk4": 2}
EVALUATIONS = {"heun": 2, "euler": 1, "rk4": 4}
"""Drift evaluations in a step."""

Scheme = Literal["heun", "euler", "rk4"]


@dataclass(frozen=True)
class Process:
    """Which process of the family is simulated, and by which scheme.

    Attributes:
        scheme: a key of `STEPS`.
        nu: diffusion of the process relative to Nelson's.
    """

    scheme: Scheme = "heun"
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
        increments: number -> (B, n) standard normal numbers, called `KICKS[scheme]` times in every step with
            0, 1, 2, ...; not called when nu = 0.

    Yields:
        (B, n) position and (B, 1) time, K times.
    """
    nu = process.nu
    diffusion = math.sqrt(nu * system.hbar / system.mass)
    step, kicks = STEPS[process.scheme], KICKS[process.scheme]

    def drift(y: Tensor, t: Tensor) -> Tensor:
        if isinstance(fields, Fields):  # a potential's drift is the gradient of one scalar, not of two
            return fields.drift(y, t, nu)
        u, v = fields(y, t)
        return v + nu * u

    for k in range(grid.shape[1] - 1):
        t = grid[:, k : k + 1].expand(len(x), 1)
        after = grid[:, k + 1 : k + 2].expand(len(x), 1)
        h = after - t
        if nu > 0.0:
            root = diffusion * (h / kicks).sqrt()
            noise = [root * increments(kicks * k + part) for part in range(kicks)]
        else:
            noise = [x.new_zeros(())] * kicks
        x = step(drift, x, t, h, *noise)
        yield x, after


def between(
    start: tuple[Tensor, Tensor], end: tuple[Tensor, Tensor], length: float, fraction: float
) -> Tensor:
    """Position (B, n) on a smooth path inside a step: the cubic that fits positions and velocities.

    Its error, of order `length`^4, is that of a Runge-Kutta step. Not for paths with noise.

    Args:
        start, end: position and velocity, each (B, n), at the ends of the step.
        length: of the step, time.
        fraction: of the step, from 0 to 1.
    """
    (x0, v0), (x1, v1) = start, end
    s, r = fraction, 1.0 - fraction
    slopes = length * s * r * (r * v0 - s * v1)
    return r * r * (1.0 + 2.0 * s) * x0 + s * s * (1.0 + 2.0 * r) * x1 + slopes


class Remembering:
    """Fields that are not evaluated twice in a row at the same place: a step begins where the last one ended.

    Attributes:
        evaluations: points at which the fields were evaluated.
    """

    def __init__(self, fields: FieldPair) -> None:
        self._fields = fields
        self._place: tuple[Tensor, Tensor] | None = None
        self._values: tuple[Tensor, Tensor] | None = None
        self.evaluations = 0

    def __call__(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """(u, v) at x (B, n), t (B, 1); positions are the same if they are the same object."""
        known = self._place is not None and self._place[0] is x and torch.equal(self._place[1], t)
        if self._values is None or not known:
            self._place, self._values = (x, t), self._fields(x, t)
            self.evaluations += len(x)
        return self._values
