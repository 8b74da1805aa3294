"""From the initial state to the end of time: steps, their acceptance, and what is kept of them.

Steps end at every time at which V is not smooth. Where the walkers' weights become uneven after a step they
are drawn anew. The evolution is given up, with the reason, as soon as it can no longer be right: numbers that
are not finite, an energy of a static V that has run away, walkers that no longer represent |psi|^2, or steps
that become too short.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from baselines.variational.ansatz import Ansatz
from baselines.variational.motion import History, Motion, over_ranks
from baselines.variational.walkers import start_walkers
from baselines.wave.wave_function import Array, ComplexArray, Local
from dsmsim.config import Config
from dsmsim.errors import DivergedError
from dsmsim.parallel import World
from dsmsim.system import InitialState, build_initial, build_system
from dsmsim.tdvp import (
    DORMAND_PRINCE,
    EULER,
    HEUN,
    RK4,
    Equations,
    RateState,
    Regularisation,
    State,
    Stepper,
    StepSize,
)

TABLEAUS = {"euler": EULER, "heun": HEUN, "rk4": RK4, "adaptive": DORMAND_PRINCE}
STEPS_OF_OWN_TIME = 50  # automatic fixed steps in the own time of the first cloud
LONGEST = 0.1  # of the whole time: the longest adaptive step
SHORTEST = 1e-7  # of the whole time
RUNAWAY = 0.5  # change of the energy, relative to its first value and fluctuation, that ends it
FEWEST = 0.5  # effective fraction of the walkers below which they are drawn anew
FEWEST_AFTER_DRAWING = 0.1

Record = dict[str, Any]


@dataclass(frozen=True)
class Evolution:
    """What t-VMC found.

    Attributes:
        ansatz: log psi(x; theta).
        history: theta over time.
        records: one for each step and one for the end: time, dt, energy, residual, effective_fraction,
            spectrum, snr, acceptance (not a number where nothing was moved).
        evaluations: calls of the right-hand side.
        drawn_anew: how often the walkers were.
        acceptance, autocorrelation: of the Metropolis moves, the latter in sweeps.
    """

    ansatz: Ansatz
    history: History
    records: list[Record]
    evaluations: int
    drawn_anew: int
    acceptance: float
    autocorrelation: float

    def local(self, x: Array, t: float) -> Local:
        """log psi and its derivatives at x (W, n)."""
        return self.ansatz.local(self.history.at(t), x)

    def log_density(self, x: Array, t: float) -> Array:
        """log |psi|^2 (W,)."""
        return self.ansatz.log_density(self.history.at(t), x)


def evolve(
    config: Config,
    ansatz: Ansatz,
    world: World | None = None,
    *,
    record: Callable[[Record], None] = lambda entry: None,
    progress: Callable[[float], None] = lambda t: None,
) -> Evolution:
    """Follow the ansatz from psi_0 to `time.end` as [baselines.tvmc] says, on all ranks together.

    Args:
        record: called with the record of each step.
        progress: called with the time reached after each step.

    Raises:
        DivergedError: the evolution cannot be right from some time on; the text says which and why.
    """
    return _Run(config, ansatz, world or World(), record, progress).run()


class _Run:
    """The state of an evolution between two steps."""

    def __init__(
        self,
        config: Config,
        ansatz: Ansatz,
        world: World,
        record: Callable[[Record], None],
        progress: Callable[[float], None],
    ) -> None:
        self.table, self.ansatz = config.baselines.tvmc, ansatz
        self.record, self.progress = record, progress
        self.system = build_system(config)
        initial = build_initial(config)
        rule = Regularisation(self.table.cutoff, self.table.diagonal_shift, self.table.snr)
        self.motion = Motion(self.system, ansatz, rule, over_ranks(world))
        over = self.motion.over
        self.walkers = start_walkers(initial, self.table.walkers, config.seed, world, over)
        self.length = float(np.sqrt(initial.variance.mean()))
        self.end = config.time.end
        tableau = TABLEAUS[self.table.integrator]
        first = step_of(config, initial)
        longest = LONGEST * self.end if self.table.integrator == "adaptive" else first
        size = StepSize(self.table.tolerance, tableau.order - 1, longest, min(first, longest))
        self.stepper = Stepper(tableau, size, SHORTEST * self.end)
        self.theta = ansatz.start()
        self.drawn_anew = self.number = 0
        self.nodes: list[tuple[float, ComplexArray, ComplexArray, ComplexArray]] = []
        self.records: list[Record] = []

    def run(self) -> Evolution:
        """All steps."""
        before: ComplexArray | None = None
        t = length = 0.0
        if self.table.sampling == "metropolis":
            self.walkers.tune(lambda x: self.ansatz.log_density(self.theta, x))
        for start, stop in itertools.pairwise([0.0, *self.system.breakpoints, self.end]):
            self.motion.until = stop
            t, rates = start, self._rates(start)
            self._keep(t, before, rates, length)
            while t < stop:
                length, rates = self._step(t, stop, rates)
                t = stop if t + length >= stop else t + length
                before = _parameters(rates)
                if t < stop:
                    self._keep(t, before, rates, length)
        self._keep(t, before, rates, length)
        times, theta, left, right = (np.array(column) for column in zip(*self.nodes, strict=True))
        return Evolution(
            self.ansatz,
            History(times, theta, left, right),
            self.records,
            self.stepper.evaluations,
            self.drawn_anew,
            self.walkers.acceptance,
            self.walkers.autocorrelation,
        )

    def _rates(self, t: float) -> RateState:
        """The rates of the present state."""
        self.stepper.evaluations += 1
        return self.motion(t, self._state)

    @property
    def _state(self) -> State:
        return self.theta, self.walkers.x, self.walkers.log_rho

    def _step(self, t: float, stop: float, rates: RateState) -> tuple[float, RateState]:
        """One accepted step: its length, and the rates at its end."""
        equations = self.motion.equations
        assert equations is not None

        def error(estimate: RateState) -> float:
            return self._error(estimate, equations)

        with np.errstate(all="ignore"):  # what is not finite is found below
            taken = self.stepper.step(self.motion, t, stop, self._state, rates, error)
        if taken is None:
            raise DivergedError(
                f"t-VMC: at t = {t:.6g} a step of {self.stepper.size.h:.2g} is still wrong by more than "
                f"{self.table.tolerance:g} (baselines.tvmc.tolerance): the equations have become stiff "
                "or noisy; raise baselines.tvmc.cutoff or baselines.tvmc.walkers"
            )
        h, step = taken
        self.theta, self.walkers.x, self.walkers.log_rho = step.state
        self.number += 1
        after = self._rearranged(t + h, step.last)
        self._check(t + h)
        self.progress(t + h)
        return h, after

    def _rearranged(self, t: float, last: RateState | None) -> RateState:
        """Sweep the walkers, or draw them anew, where that is due; the rates of what comes out."""

        def log_density(x: Array) -> Array:
            return self.ansatz.log_density(self.theta, x)

        if self.table.sweeps > 0:
            level = self.table.sampling == "metropolis"
            self.walkers.sweep(log_density, self.table.sweeps, self.number, level=level)
            last = None
        rates = self._rates(t) if last is None else last
        assert self.motion.equations is not None
        if self.motion.equations.effective >= FEWEST:
            return rates
        self.walkers.draw_anew(log_density, self.number)
        self.drawn_anew += 1
        return self._rates(t)

    def _error(self, error: RateState, equations: Equations) -> float:
        """Error of a step: the larger of that of the state, an angle, and of the walkers, in first widths."""
        theta, x, _ = error
        assert theta is not None
        assert x is not None
        count, squares = self.motion.over.add(np.array([float(x.size), float((x**2).sum())]))
        return max(equations.distance(theta), math.sqrt(squares / count) / self.length)

    def _keep(self, t: float, before: ComplexArray | None, rates: RateState, length: float) -> None:
        """Keep the parameters at t, and the record of the step that led there."""
        after = _parameters(rates)
        self.nodes.append((t, self.theta, after if before is None else before, after))
        equations = self.motion.equations
        assert equations is not None
        motion = self.motion
        solution = equations.solve(self.system.hbar, motion.rule, motion.over, with_snr=True)
        entry: Record = {
            "time": t,
            "dt": length,
            "energy": equations.energy.real,
            "energy_imaginary": equations.energy.imag,
            "energy_deviation": math.sqrt(equations.energy_variance),
            "residual": solution.residual,
            "effective_fraction": equations.effective,
            "spectrum": solution.spectrum,
            "snr": solution.snr,
            "acceptance": self.walkers.acceptance,
        }
        self.records.append(entry)
        self.record(entry)

    def _check(self, t: float) -> None:
        """Give up where the evolution cannot be right any more.

        Raises:
            DivergedError: with the reason.
        """
        equations, solution = self.motion.equations, self.motion.solution
        assert equations is not None
        assert solution is not None
        fix = "shorten baselines.tvmc.dt, raise baselines.tvmc.walkers or cutoff, or use another method"
        if not (np.isfinite(solution.rate).all() and np.isfinite(equations.energy)):
            raise DivergedError(f"t-VMC: numbers stop being finite at t = {t:.6g}; {fix}")
        if equations.effective < FEWEST_AFTER_DRAWING:
            raise DivergedError(
                f"t-VMC: at t = {t:.6g} only {equations.effective:.1%} of the walkers carry the weight: they "
                f"no longer represent |psi|^2; {fix}"
            )
        first = self.records[0]
        change = equations.energy.real - first["energy"]
        if self.system.is_static and abs(change) > RUNAWAY * (
            abs(first["energy"]) + first["energy_deviation"]
        ):
            raise DivergedError(
                f"t-VMC: the energy ran away by {change:.3g} from {first['energy']:.4g} at t = {t:.6g}; {fix}"
            )


def _parameters(rates: RateState) -> ComplexArray:
    """theta' of the rates of a state."""
    theta: ComplexArray | None = rates[0]
    assert theta is not None
    return theta


def step_of(config: Config, initial: InitialState) -> float:
    """The step asked for, or a fiftieth of the time 2 mass variance/hbar in which the first cloud spreads.

    A fiftieth of the whole time if that is shorter.
    """
    dt = config.baselines.tvmc.dt
    if not isinstance(dt, str):
        return dt
    own = 2.0 * config.system.mass * float(initial.variance.min()) / config.system.hbar
    return min(own, config.time.end) / STEPS_OF_OWN_TIME
