"""The centre of mass of bosons in a harmonic trap, as a Gaussian known at all times, quenches included.

In a harmonic trap (or none) an interaction of differences does not touch the centre of mass X = (1/N) sum_i
x_i (Kohn's theorem). Started from a Gaussian, the same for all particles, sqrt(N) X has for ever the state of
one particle in the trap: per axis, with the solutions C and S of y'' = -omega(t)^2 y, C(0) = S'(0) = 1, C'(0)
= S(0) = 0,

    s = s0 C^2 + (hbar/(2 mass))^2 S^2/s0,      mu'' = -omega(t)^2 (mu - c(t))

and the rest of the wave function depends on differences of positions alone.

Shapes: `D` dimensions, `T` times.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.integrate import solve_ivp

from dsmsim.config import Config
from dsmsim.config.terms import HarmonicTerm
from dsmsim.errors import ConfigError
from dsmsim.system import GaussianState, InitialState, System

Array = NDArray[np.float64]


@dataclass(frozen=True)
class TrapMotion:
    """The Gaussian state of one particle in the trap alone: mean, variance and their rates, (T, D) each.

    Of sqrt(N) X the variance is the same, the mean sqrt(N) times it; Var X = variance/N. The current
    velocity is velocity + (variance_rate/(2 variance)) (x - mean), the osmotic one
    -(hbar/(2 mass)) (x - mean)/variance.
    """

    times: Array
    mean: Array
    velocity: Array
    variance: Array
    variance_rate: Array

    def wave(self, x: Array, index: int, axis: int, hbar: float, mass: float, particles: int) -> Any:
        """The wave function of sqrt(N) X at x (any shape) at one of the times: complex, of norm 1.

        Args:
            x: values of sqrt(N) X.
            index, axis: which time, which axis.
            hbar, mass, particles: of the system.
        """
        s, rate = self.variance[index, axis], self.variance_rate[index, axis]
        root = np.sqrt(particles)
        from_mean = x - root * self.mean[index, axis]
        phase = (
            mass / hbar * (root * self.velocity[index, axis] * from_mean + rate / (4.0 * s) * from_mean**2)
        )
        return (2.0 * np.pi * s) ** -0.25 * np.exp(-(from_mean**2) / (4.0 * s) + 1j * phase)


def why_not_separable(config: Config, initial: InitialState) -> str:
    """Why the centre of mass cannot be split off; "" where it can."""
    if config.system.terms:
        return "[system.terms] adds one-body terms to the trap"
    if config.system.trap is not None and not isinstance(config.system.trap, HarmonicTerm):
        return f'system.trap.kind = "{config.system.trap.kind}" is not harmonic'
    if not isinstance(initial, GaussianState):
        return f'initial.kind = "{config.initial.kind}" is not a Gaussian'
    return ""


def require_separable(config: Config, initial: InitialState, who: str, others: str) -> None:
    """Refuse a problem whose centre of mass cannot be split off.

    Raises:
        ConfigError: naming what stands in the way and, in `others`, which methods can treat it.
    """
    reason = why_not_separable(config, initial)
    if reason:
        raise ConfigError(
            f"{reason}: {who} needs a harmonic trap (or none) and a Gaussian start; use {others}",
            key="system.trap",
        )


def trap_motion(system: System, initial: InitialState, times: Array) -> TrapMotion:
    """The state of one particle in the trap of `system`, from the (Gaussian) initial state.

    Args:
        system: whose only one-body term is a harmonic trap, or none (`why_not_separable`).
        initial: a Gaussian.
        times: (T,) increasing, from 0 on.
    """
    dimensions = system.dimensions
    start_mean, start_variance = initial.mean[:dimensions], initial.variance[:dimensions]
    with torch.no_grad():
        at_mean = torch.from_numpy(initial.mean)[None, :]
        start_velocity = initial.v(at_mean)[0, :dimensions].numpy()
    zero, one = np.zeros(dimensions), np.ones(dimensions)
    # C, C', S, S', mu, mu' per axis
    state = np.concatenate([one, zero, zero, one, start_mean, start_velocity])
    stops = sorted({0.0, float(times[-1]), *(b for b in system.breakpoints if b < times[-1])})
    found = np.empty((len(times), 6, dimensions))
    found[times <= 0.0] = state.reshape(6, dimensions)
    for first, last in itertools.pairwise(stops):
        middle = 0.5 * (first + last)

        def rates(t: float, y: Array, middle: float = middle) -> Array:
            # at the ends of an interval a jump is to be seen from inside
            inside = t + 1e-9 * (middle - t)
            square, center = trap_at(system, inside)
            c, c_dot, s, s_dot, mu, mu_dot = y.reshape(6, dimensions)
            return np.concatenate([c_dot, -square * c, s_dot, -square * s, mu_dot, -square * (mu - center)])

        wanted = (times > first) & (times <= last)
        at = np.unique([*times[wanted], last])
        solution = solve_ivp(
            rates,
            (first, last),
            state,
            "DOP853",
            t_eval=at,
            max_step=(last - first) / 64.0,
            rtol=1e-12,
            atol=1e-13,
        )
        found[wanted] = solution.y.T[: int(wanted.sum())].reshape(-1, 6, dimensions)
        state = solution.y[:, -1]
    c, c_dot, s, s_dot, mean, velocity = np.moveaxis(found, 1, 0)
    kick = (system.hbar / (2.0 * system.mass)) ** 2 / start_variance
    return TrapMotion(
        times=np.asarray(times, dtype=np.float64),
        mean=mean,
        velocity=velocity,
        variance=start_variance * c**2 + kick * s**2,
        variance_rate=2.0 * (start_variance * c * c_dot + kick * s * s_dot),
    )


def trap_squares(system: System, t: float) -> Array:
    """omega(t)^2 of the trap along each axis (D,), 0 where there is none."""
    return trap_at(system, t)[0]


def trap_at(system: System, t: float) -> tuple[Array, Array]:
    """omega(t)^2 and the centre of the trap along each axis, (D,) each; 0 where there is none."""
    trap = system.terms.get("system.trap")
    if trap is None:
        return np.zeros(system.dimensions), np.zeros(system.dimensions)
    moment = torch.tensor(t, dtype=torch.float64)
    omega, center = (
        np.broadcast_to(np.asarray(trap.at(name, moment), dtype=np.float64), system.dimensions)
        for name in ("omega", "center")
    )
    return omega**2, center
