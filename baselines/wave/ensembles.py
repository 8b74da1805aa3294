"""Samples of |psi|^2 at the saved times: weighted ones that move with the flow, or walkers of a Markov chain.

    Transport    low-discrepancy sets that move with v and are weighted (`transport.py`); a set is a unit
    Walkers      independent of each other from psi_0 on; they move with the flow from one saved time to the
                 next and then by as many Metropolis sweeps as the autocorrelation asks for; every walker is a
                 unit of its own, and all of them count the same

Every unit has random numbers of its own, so that any rank may advance it. What
the whole ensemble must agree on is found by a pilot, the same on every rank: the range of the cloud, whether
weights stay even; for walkers the step width and the number of sweeps at every saved time.

The flow of a psi that is no solution does not carry |psi|^2 along exactly, and near nodes it may throw a
walker far out. After 2 tau sweeps 2 % of the first are left; a walker for which |psi|^2 over the density of
the flow fell by more than e^-7 against the others of its unit stays where it was.

Shapes: W samples x (W, n), T saved times.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from baselines.wave.metropolis import Block, Metropolis, autocovariances, integrated_time
from baselines.wave.transport import Flow, Point, Unit, flow_grid, normalised
from baselines.wave.wave_function import Array, Local, WaveFunction
from dsmsim.config import Config
from dsmsim.parallel import random_stream
from dsmsim.system import InitialState, System, build_initial, build_system

PILOT = 1024  # samples
SEEN = 1e-6  # smallest weight of a sample that widens the range
FEWEST_SWEEPS = 4  # at every saved time
TIMES_TO_FORGET = 2.0  # sweeps over tau
PROBES = 6  # saved times at which tau is measured
TUNING = 8  # rounds of `FEWEST_SWEEPS` sweeps before that
SERIES = 64  # sweeps from which tau is measured; twice as many until they suffice
LONGEST_SERIES = 512
THROWN_OUT = -7.0  # log of the weight that a walker's move with the flow must keep


class Sample(NamedTuple):
    """Samples at one time: positions (W, n), psi there, and weights of mean 1 (W,) or None."""

    x: Array
    local: Local
    weights: Array | None


@dataclass(frozen=True)
class Setup:
    """What is sampled.

    Attributes:
        config: the input.
        system, initial: of the input.
        flow: of psi.
        grid: (K + 1,) times of its integrator.
    """

    config: Config
    system: System
    initial: InitialState
    flow: Flow
    grid: Array

    @classmethod
    def of(cls, config: Config, wave: WaveFunction) -> Setup:
        """From an input."""
        system = build_system(config)
        steps = config.evaluation.steps or config.time.steps
        grid = flow_grid(config.time.save_times[-1], config.time.end / steps, system.breakpoints)
        return cls(config, system, build_initial(config), Flow(wave, system.hbar, system.mass), grid)

    @property
    def times(self) -> list[float]:
        """(T,) saved times."""
        return self.config.time.save_times

    @property
    def pilot_size(self) -> int:
        """Samples of the pilot."""
        return min(PILOT, self.config.evaluation.samples)


@dataclass
class Extent:
    """The range of a cloud: lowest and highest coordinate along each axis (D,)."""

    low: Array
    high: Array

    @classmethod
    def nothing(cls, dimensions: int) -> Extent:
        """Before anything was seen."""
        return cls(np.full(dimensions, np.inf), np.full(dimensions, -np.inf))

    def add(self, x: Array) -> None:
        """Let x (W, n) be inside."""
        by_axis = x.reshape(-1, len(self.low))
        self.low = np.minimum(self.low, by_axis.min(0, initial=np.inf))
        self.high = np.maximum(self.high, by_axis.max(0, initial=-np.inf))


class Ensemble(Protocol):
    """A way to sample."""

    @property
    def setup(self) -> Setup: ...

    @property
    def extent(self) -> Extent: ...

    def independent(self, unit: Unit) -> int:
        """Consecutive samples of a unit that are independent of all others only together."""
        ...

    def saved(self, units: Sequence[Unit]) -> Iterator[tuple[int, Sample]]:
        """(index, samples) of units of one size, one after the other, at every saved time."""
        ...

    def facts(self) -> dict[str, Any]:
        """How it is done, attributes for results.h5."""
        ...


class TransportPilot(NamedTuple):
    """What a pilot of weighted samples finds.

    Attributes:
        extent: of the samples.
        fraction: effective fraction of the samples, 1 / (average of the squared weights), at the time where
            it is smallest; 0 where a sample ran away.
    """

    extent: Extent
    fraction: float


@dataclass(frozen=True)
class Transport:
    """Weighted samples that move with the flow."""

    setup: Setup
    extent: Extent

    @classmethod
    def pilot(cls, setup: Setup) -> TransportPilot:
        """Find out how far the samples go, and how even their weights stay."""
        extent, fraction = Extent.nothing(setup.system.dimensions), 1.0
        for _, sample in cls(setup, extent).saved([Unit(0, 0, setup.pilot_size)], "wave pilot"):
            assert sample.weights is not None
            worst = 1.0 / float(np.mean(sample.weights**2))
            fraction = min(fraction, worst) if np.isfinite(worst) else 0.0
            extent.add(sample.x[sample.weights > SEEN])
        return TransportPilot(extent, fraction)

    def independent(self, unit: Unit) -> int:
        return unit.size

    def saved(self, units: Sequence[Unit], purpose: str = "wave") -> Iterator[tuple[int, Sample]]:
        setup = self.setup
        starts = [unit.start(setup.config, setup.initial, purpose) for unit in units]
        x, log_rho = (np.concatenate(parts) for parts in zip(*starts, strict=True))
        with np.errstate(all="ignore"):  # what runs away shows in the weights
            for index, point in setup.flow.saved(x, log_rho, setup.grid, setup.times):
                yield index, Sample(point.x, point.local, normalised(point.log_weight, len(units)))

    def facts(self) -> dict[str, Any]:
        steps = len(self.setup.grid) - 1
        return {"sampling": "transport", "draws": "sobol", "scheme": "rk4", "steps": steps}


class WalkersPilot(NamedTuple):
    """What a pilot of walkers finds.

    Attributes:
        extent: of the walkers.
        widths, shapes: of the proposals at every saved time, see `Metropolis`.
        sweeps: number of them at every saved time.
        rate: of proposals that were accepted, on average over the saved times.
        tau: longest autocorrelation time, in sweeps.
    """

    extent: Extent
    widths: tuple[float | Array, ...]
    shapes: tuple[Array | None, ...]
    sweeps: tuple[int, ...]
    rate: float
    tau: float


@dataclass(frozen=True)
class Walkers:
    """Walkers of a Markov chain."""

    setup: Setup
    found: WalkersPilot

    @staticmethod
    def pilot(setup: Setup) -> WalkersPilot:
        """Tune the width of the moves and measure how many are needed."""
        extent, times = Extent.nothing(setup.system.dimensions), setup.times
        walk = Walk(setup, "walkers pilot", [Unit(0, 0, setup.pilot_size)])
        probes = {round(k * (len(times) - 1) / (PROBES - 1)) for k in range(PROBES)}
        widths, shapes, counts, rates, taus = [], [], [], [], [1.0]
        for index, time in enumerate(times):
            walk.flow_to(time)
            walk.chain.fit(np.atleast_2d(np.cov(walk.x, rowvar=False)))
            if index in probes:
                taus.append(walk.autocorrelation())
            counts.append(max(FEWEST_SWEEPS, math.ceil(TIMES_TO_FORGET * taus[-1])))
            rates.append(walk.sweep(counts[-1]))
            walk.chain.tune(rates[-1])
            widths.append(walk.chain.width)
            shapes.append(walk.chain.shape)
            extent.add(walk.x)
        rate = float(np.mean(rates))
        return WalkersPilot(extent, tuple(widths), tuple(shapes), tuple(counts), rate, max(taus))

    @property
    def extent(self) -> Extent:
        return self.found.extent

    def independent(self, unit: Unit) -> int:
        return 1

    def saved(self, units: Sequence[Unit]) -> Iterator[tuple[int, Sample]]:
        walk = Walk(self.setup, "walkers", units)
        for index, time in enumerate(self.setup.times):
            walk.flow_to(time)
            walk.chain.width, walk.chain.shape = self.found.widths[index], self.found.shapes[index]
            walk.sweep(self.found.sweeps[index])
            yield index, Sample(walk.x, walk.local, None)

    def facts(self) -> dict[str, Any]:
        return {
            "sampling": "metropolis",
            "draws": "independent",
            "acceptance": self.found.rate,
            "autocorrelation_time": self.found.tau,
            "sweeps": max(self.found.sweeps),
        }


class Walk:
    """Walkers on their way, from psi_0.

    Args:
        purpose: name of their random numbers.
        units: which walkers, all of one trial.

    Attributes:
        chain: their moves.
        x: (W, n) where they are.
    """

    def __init__(self, setup: Setup, purpose: str, units: Sequence[Unit]) -> None:
        seed, trial = setup.config.seed, units[0].trial
        self.setup, self.time, self._calls = setup, 0.0, 0
        width = math.sqrt(float(setup.initial.variance.mean()))
        self.chain = Metropolis(seed, f"{purpose} {trial}", width)
        streams = (random_stream(seed, purpose, trial, unit.number) for unit in units)
        starts = [setup.initial.sample(rng, unit.size) for rng, unit in zip(streams, units, strict=True)]
        self.x = np.concatenate(starts)
        self._blocks = [Block(unit.number, unit.size) for unit in units]
        self._log_now = self._log_density(self.x)
        self._local: Local | None = None

    def _log_density(self, x: Array) -> Array:
        with np.errstate(all="ignore"):  # what is not finite is not entered
            return self.setup.flow.wave.log_density(x, self.time)

    @property
    def local(self) -> Local:
        """psi and its derivatives at x."""
        if self._local is None:
            self._local = self.setup.flow.wave.local(self.x, self.time)
        return self._local

    def flow_to(self, time: float) -> None:
        """Move with the current velocity, over the points of the grid on the way."""
        if time <= self.time:
            return
        inner = self.setup.grid[(self.setup.grid > self.time) & (self.setup.grid < time)]
        with np.errstate(all="ignore"):
            point = Point(self.time, self.x, self._log_now, self.local)
            for stop in inner:
                point = self.setup.flow.at(float(stop), *self.setup.flow.step(point, float(stop)))
            x, log_rho = self.setup.flow.step(point, time)
            self.time, self._local = time, None
            log_then = self._log_density(x)
            change = (log_then - log_rho).reshape(len(self._blocks), -1)
            finite = np.where(np.isfinite(change), change, -np.inf)
            # a comparison with what is not a number is false
            good = (change - np.median(finite, axis=1, keepdims=True) > THROWN_OUT).reshape(-1)
            good &= np.isfinite(x).all(axis=1)
        self.x = np.where(good[:, None], x, self.x)
        self._log_now = log_then if good.all() else self._log_density(self.x)

    def sweep(self, sweeps: int, seen: list[Array] | None = None) -> float:
        """Metropolis moves; the rate of acceptance.

        Args:
            sweeps: of all walkers.
            seen: gets, after every sweep, functions of the walkers (W, 3) that tell how fast they forget.
        """

        def observe(x: Array) -> None:
            if seen is not None:
                z = x - self.setup.initial.mean
                seen.append(np.stack((z[:, 0], z[:, 0] ** 2, (z**2).sum(1)), axis=1))

        self.x, self._log_now, accepted = self.chain.move(
            self._log_density, self.x, self._log_now, self._blocks, sweeps, self._calls, observe
        )
        self._calls, self._local = self._calls + 1, None
        return accepted / (sweeps * len(self.x))

    def autocorrelation(self) -> float:
        """Tune the moves, then measure tau at this time: the longest of the functions of `sweep`."""
        for _ in range(TUNING):
            self.chain.tune(self.sweep(FEWEST_SWEEPS))
        seen: list[Array] = []
        while True:
            self.sweep(max(SERIES, len(seen)), seen)
            series = np.stack(seen)
            covariances = autocovariances(series, series.mean(axis=(0, 1)))
            found = [integrated_time(column) for column in covariances.T]
            if all(fits for _, fits in found) or len(seen) >= LONGEST_SERIES:
                return max(tau for tau, _ in found)
