"""Low-discrepancy samples of |psi_0|^2 that move with the current velocity of psi and are weighted.

    dx/dt = v(x, t) = (hbar/m) Im grad log psi ,    d log rho(x(t), t)/dt = -div v = -(hbar/m) Im lap log psi
    w = |psi(x, t)|^2 / rho(x, t) ,    E[f] = sum w f / sum w

rho is the density of the moving points, log rho at t = 0 that of psi_0. A psi that solves Schroedinger's
equation carries its own density along, and every weight is 1. For any other psi, one of a variational family
or of a network, the weights make the averages those of |psi|^2 whatever the points have gone through: no
Markov chain, and the accuracy of the low-discrepancy set as long as the weights stay even.

Runge-Kutta steps of order 4 for x and log rho together, none across a time at which V jumps; between them
the cubic through values and slopes at both ends, of the same order.

Sources: continuity equation; Chen et al., "Neural ordinary differential equations", NeurIPS (2018), for the
density along a flow; Owen, J. Complexity 14, 466 (1998), for the scrambled sets.

Shapes: W samples x (W, n) of n coordinates, T saved times, K steps.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from baselines.wave.wave_function import Array, Local, WaveFunction, flow_rates
from dsmsim.config import Config
from dsmsim.parallel import random_stream
from dsmsim.system import InitialState
from dsmsim.tdvp import RK4, RateState, State, cubic, take_step

UNITS = 20  # at least, over all trials: their spread gives the standard errors
LARGEST_UNIT = 2048  # samples; a power of two, because only such Sobol sets are balanced
BATCH = 8192  # samples that advance together: more no longer saves time


@dataclass(frozen=True)
class Unit:
    """One low-discrepancy set, independent of all others.

    Attributes:
        trial, number: which trial it belongs to, and its number within the trial.
        size: samples.
    """

    trial: int
    number: int
    size: int

    def start(self, config: Config, initial: InitialState, purpose: str) -> tuple[Array, Array]:
        """Positions (W, n) distributed as |psi_0|^2 and the log of that density (W,)."""
        rng = random_stream(config.seed, purpose, self.trial, self.number)
        x = initial.low_discrepancy(rng, self.size)
        return x, initial.log_density(torch.from_numpy(x)).numpy()


def units_of(config: Config) -> list[Unit]:
    """All units of an evaluation, trial by trial, as even in size as can be."""
    trials = config.evaluation.trials
    samples = config.evaluation.samples // trials
    count = min(samples, max(math.ceil(samples / LARGEST_UNIT), math.ceil(UNITS / trials)))
    sizes = [samples // count + (k < samples % count) for k in range(count)]
    return [Unit(trial, k, size) for trial in range(trials) for k, size in enumerate(sizes)]


def batches(units: Sequence[Unit], most: int = BATCH) -> list[list[Unit]]:
    """Consecutive units of one trial and one size together, at most `most` samples: what advances at once."""
    found: list[list[Unit]] = []
    for unit in units:
        last = found[-1] if found else []
        alike = last and (last[0].trial, last[0].size) == (unit.trial, unit.size)
        if alike and (len(last) + 1) * unit.size <= most:
            last.append(unit)
        else:
            found.append([unit])
    return found


def flow_grid(last: float, step: float, breakpoints: Sequence[float] = ()) -> Array:
    """(K + 1,) times from 0 to `last`, with every breakpoint before it, apart by `step` or less."""
    stops = [0.0, *(point for point in breakpoints if 0.0 < point < last), last]
    pieces = [np.zeros(1)]
    for begin, end in itertools.pairwise(stops):
        count = max(1, math.ceil((end - begin) / step - 1e-9)) if end > begin else 0
        pieces.append(begin + (end - begin) * np.arange(1, count + 1) / max(count, 1))
    return np.concatenate(pieces)


class Point(NamedTuple):
    """Samples at one time.

    Attributes:
        time: when.
        x, log_rho: positions (W, n) and the log of their density (W,).
        local: log psi and its derivatives there.
    """

    time: float
    x: Array
    log_rho: Array
    local: Local

    @property
    def log_weight(self) -> Array:
        """log |psi|^2 - log rho, (W,)."""
        return np.asarray(2.0 * self.local.log_psi.real - self.log_rho)


@dataclass(frozen=True)
class Flow:
    """The flow of one wave function.

    Attributes:
        wave: psi.
        hbar, mass: of the system.
    """

    wave: WaveFunction
    hbar: float
    mass: float

    def at(self, time: float, x: Array, log_rho: Array) -> Point:
        """The samples with what psi says about them."""
        return Point(time, x, log_rho, self.wave.local(x, time))

    def rates(self, local: Local) -> tuple[Array, Array]:
        """dx/dt (W, n) and d log rho/dt (W,)."""
        return flow_rates(local, self.hbar, self.mass)

    def step(self, start: Point, time: float) -> tuple[Array, Array]:
        """x and log rho after one Runge-Kutta step from a point to `time`."""

        def rates(t: float, state: State) -> RateState:
            return self.rates(self.wave.local(state[0], t))

        state, h = (start.x, start.log_rho), time - start.time
        x, log_rho = take_step(RK4, rates, start.time, state, h, self.rates(start.local)).state
        return x, log_rho

    def inside(self, start: Point, end: Point, time: float) -> Point:
        """The samples at a time between two ends of a step."""
        length = end.time - start.time
        s = (time - start.time) / length
        (v0, slope0), (v1, slope1) = self.rates(start.local), self.rates(end.local)
        x = cubic(start.x, v0, end.x, v1, length, s)
        return self.at(time, x, cubic(start.log_rho, slope0, end.log_rho, slope1, length, s))

    def saved(
        self, x: Array, log_rho: Array, grid: Array, times: Sequence[float]
    ) -> Iterator[tuple[int, Point]]:
        """(index, samples at that time) for every one of `times` (T,), increasing, on or between the grid."""
        point, index = self.at(float(grid[0]), x, log_rho), 0
        for number in range(len(grid)):
            before = point
            if number > 0:
                time = float(grid[number])
                point = self.at(time, *self.step(before, time))
            while index < len(times) and times[index] <= point.time:
                exactly = times[index] == point.time
                yield index, point if exactly else self.inside(before, point, times[index])
                index += 1


def normalised(log_weight: Array, units: int = 1) -> Array:
    """Weights (W,) of mean 1 in each of `units` equal parts, from their logs; not a number where one is."""
    parts = log_weight.reshape(units, -1)
    with np.errstate(invalid="ignore"):
        weights = np.exp(parts - parts.max(1, keepdims=True))
        return np.asarray((weights / weights.mean(1, keepdims=True)).reshape(-1))
