"""The march: parameters and walkers from psi_0 to the end, step by step.

    theta' by least squares over the walkers    `equations.py`
    X' = v,   (log rho)' = -div v               `ensemble.py`

move together in every stage of a Runge-Kutta step, so averages at a stage are those of its own state, and the
whole is one smooth system: what an integrator of order p makes of it has an error of order p. After each step
the walkers relax by the Langevin half of Nelson's process. Steps end at every time at which V is not smooth.

The march is given up, with the reason, as soon as it can no longer be right: numbers that are not finite,
fields that describe no state, an energy of a static V that has run away, walkers that no longer represent
|psi|^2, or steps that become too short.

Shapes: W walkers of this rank, n coordinates, P parameters, K steps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsmsim.config import Config
from dsmsim.errors import DivergedError
from dsmsim.march.ensemble import MOVES_AFTER_DRAWING, Scored, start_ensemble
from dsmsim.march.equations import LeastSquares
from dsmsim.march.history import History
from dsmsim.march.model import Local, Model, Theta
from dsmsim.parallel import World
from dsmsim.system import InitialState, System
from dsmsim.tdvp import (
    DORMAND_PRINCE,
    EULER,
    HEUN,
    RK4,
    RateState,
    Regularisation,
    Solution,
    State,
    Stepper,
    StepSize,
)

TABLEAUS = {"euler": EULER, "heun": HEUN, "rk4": RK4, "adaptive": DORMAND_PRINCE}
TURN = 0.15  # rad, of the rms fluctuation of the local energy in an automatic first step
STEPS_OF_OWN_TIME = 64  # automatic fixed steps in the own time of the first cloud
LONGEST = 0.1  # of the whole time: the longest adaptive step
SHORTEST = 1e-7  # of the whole time
RUNAWAY = 0.5  # change of the energy, relative to its first value and fluctuation, that ends it
FEWEST_AFTER_DRAWING = 0.1  # effective fraction of the walkers below which it ends
ROUNDING = 1e-14  # of eigenvalues, relative to the largest

Record = dict[str, Any]


@dataclass
class _Node:
    """The parameters at the end of a step, and their rates before and after it."""

    time: float
    theta: Theta
    before: Theta
    after: Theta


@dataclass
class Found:
    """What the equations of motion said at one state.

    Attributes:
        local: the fields at the walkers.
        least_squares: the equations over all walkers.
        solution: of them.
    """

    local: Local
    least_squares: LeastSquares
    solution: Solution


@dataclass
class March:
    """A march between two steps; `advance` makes the next one.

    Attributes:
        config, model, system, initial, world: the problem.
        time: reached so far.
        theta: (P,) there.
        ensemble: the walkers there.
        number: steps done.
        drawn_anew: how often the walkers were.
        records: one for the first state and one for each step: see `_record`.
        seconds: spent, by earlier sessions included.
    """

    config: Config
    model: Model
    system: System
    initial: InitialState
    world: World
    time: float = 0.0
    number: int = 0
    drawn_anew: int = 0
    records: list[Record] = field(default_factory=list)
    seconds: float = 0.0

    def __post_init__(self) -> None:
        table = self.config.march
        self.theta = self.model.start()
        self.ensemble = start_ensemble(self.config, self.initial, self.world)
        self.rule = Regularisation(table.cutoff, table.diagonal_shift, table.snr)
        self.end = self.config.time.end
        self._length = float(np.sqrt(self.initial.variance.mean()))
        first = step_of(self.config, self.initial)
        longest = LONGEST * self.end if table.integrator == "adaptive" else first
        size = StepSize(table.tolerance, TABLEAUS[table.integrator].order - 1, longest, min(first, longest))
        self.stepper = Stepper(TABLEAUS[table.integrator], size, SHORTEST * self.end)
        self._nodes: list[_Node] = []
        self._found: Found | None = None
        self._rates: RateState | None = None
        self._until = math.inf
        self._corrected = table.metropolis is not False
        self._step_error, self._energy = math.nan, math.nan

    @property
    def done(self) -> bool:
        """Whether the end is reached."""
        return self.time >= self.end

    def advance(self) -> Record:
        """Make one step, or, at the very beginning, look at the first state.

        Raises:
            DivergedError: the march cannot be right any more; the text says why.
        """
        if self._rates is None:
            self._look(self.time)
            if not self._nodes:
                self._suit_step()
                self._keep(before=None, length=0.0)
                return self.records[-1]
            self.stepper.evaluations -= 1  # of a state that was looked at when it was reached
        before, number, drawn_anew = self._state, self.number, self.drawn_anew
        h, acceptance = self.stepper.size.h, self.ensemble.acceptance
        try:
            return self._step(min(t for t in (*self.system.breakpoints, self.end) if t > self.time))
        except DivergedError:
            # the last good state stays, to be saved and gone on from with another input
            self.theta, self.ensemble.x, self.ensemble.log_rho = before
            self.number, self.drawn_anew = number, drawn_anew
            self.stepper.size.h, self.ensemble.acceptance = h, acceptance
            self._rates = None
            raise

    def _suit_step(self) -> None:
        """Let automatic steps be so short that the local energy turns no phase by more than TURN."""
        if isinstance(self.config.march.dt, str) and self.model.centred:
            assert self._found is not None
            rate = math.sqrt(self._found.least_squares.target_square)  # rms of the local energy over hbar
            size = self.stepper.size
            size.h = min(size.h, TURN / rate) if rate > 0.0 else size.h
            if self.config.march.integrator != "adaptive":
                size.largest = size.h

    def _step(self, stop: float) -> Record:
        assert self._rates is not None
        assert self._found is not None
        least_squares = self._found.least_squares

        def error(estimate: RateState) -> float:
            self._step_error = self._error(estimate, least_squares)
            return self._step_error

        with np.errstate(all="ignore"):  # what is not finite is found below
            taken = self.stepper.step(self._motion, self.time, stop, self._state, self._rates, error)
        if taken is None:
            raise DivergedError(
                f"march: at t = {self.time:.6g} a step of {self.stepper.size.h:.2g} is still wrong by more "
                f"than march.tolerance = {self.config.march.tolerance:g}: the equations have become stiff or "
                "noisy; raise march.cutoff or march.walkers"
            )
        length, step = taken
        self.theta, self.ensemble.x, self.ensemble.log_rho = step.state
        self.number += 1
        arrived = stop if self.time + length >= stop else self.time + length
        self._relax(length)
        self._look(arrived)
        self._check(arrived)
        before = self._rates[0]
        self.time = arrived
        if arrived == stop and not self.done:  # V jumps: what comes after is another rate
            self._look(arrived)
        self._keep(before, length)
        return self.records[-1]

    @property
    def history(self) -> History:
        """The parameters as a function of time, so far."""
        nodes = self._nodes
        return History(
            np.array([node.time for node in nodes]),
            np.array([node.theta for node in nodes]),
            np.array([node.before for node in nodes]),
            np.array([node.after for node in nodes]),
        )

    @property
    def _state(self) -> State:
        return self.theta, self.ensemble.x, self.ensemble.log_rho

    def _look(self, t: float) -> None:
        """Find the rates of the present state, with the V of the interval that begins at or holds t."""
        later = [point for point in (*self.system.breakpoints, self.end) if point > self.time]
        self._until = min(later, default=math.inf)
        self.stepper.evaluations += 1
        self._rates = self._motion(t, self._state)
        self._energy = self._mean_energy(t)

    def _motion(self, t: float, state: State) -> RateState:
        """theta' (P,), x' (W, n) and (log rho)' (W,)."""
        theta, x, log_rho = state
        t = min(t, float(np.nextafter(self._until, 0.0)))  # V is never looked at from beyond a jump
        equations = self.model.equations(theta, x, t)
        local = equations.local
        weights = self.ensemble.log_weights(local.log_density, log_rho)
        least_squares = LeastSquares(
            equations,
            weights,
            self.world,
            self.rule,
            centred=self.model.centred,
            solver=self.config.march.solver,
        )
        self._found = Found(local, least_squares, least_squares.solve())
        return self._found.solution.rate, local.v, -local.div_v

    def _relax(self, length: float) -> None:
        """Langevin steps for a time step of this length; where weights are uneven draw the walkers anew."""
        table = self.config.march

        if table.nu == 0.0 and table.redraw == 0.0:
            return
        here = self._score(self.ensemble.x)
        if here[1] is not None and self._effective(here[1]) < table.redraw:
            self.ensemble.draw_anew(here[1], self.number)
            self.drawn_anew += 1
            # as far as walkers need to part: a tenth of the cloud's width
            tau = 0.01 * self._length**2 * self.system.mass / self.system.hbar
            here = self._langevin(self._score(self.ensemble.x), tau, MOVES_AFTER_DRAWING, 1)
        if table.nu > 0.0:
            self._langevin(here, table.nu * length / table.substeps, table.substeps, 0)

    def _score(self, x: Tensor) -> Scored:
        return self.model.score(self.theta, x)

    def _langevin(self, here: Scored, tau: float, steps: int, purpose: int) -> Scored:
        """Langevin steps from walkers of that score, which is returned for where they end."""
        diffusion, moved = self.system.hbar / self.system.mass, 0.0
        for part in range(steps):
            index = (self.number, purpose, part)
            here, count = self.ensemble.relax(self._score, here, tau, diffusion, self._corrected, *index)
            moved += count
        every = self.world.total(float(len(self.ensemble.x) * steps))
        self.ensemble.acceptance = self.world.total(moved) / every
        return here

    def _effective(self, log_density: Tensor) -> float:
        """Effective fraction of all walkers at their temperature, (sum w)^2/(W sum w^2)."""
        w = self._weights(self.ensemble.tempered_log_weights(log_density))
        sums = self.world.sum_(torch.stack([w.sum(), w @ w, w.new_tensor(float(len(w)))]))
        return float(sums[0] ** 2 / (sums[1] * sums[2]))

    def _weights(self, log_weights: Tensor) -> Tensor:
        """exp of them, the largest of all ranks 1."""
        top = log_weights.new_full((1,), -math.inf)
        if len(log_weights):
            top[0] = log_weights.max()
        return torch.exp(log_weights - self.world.max_(top))

    def _error(self, estimate: RateState, least_squares: LeastSquares) -> float:
        """Error of a step: the larger of that of the fields and of the walkers, in first widths."""
        theta, x, _ = estimate
        assert theta is not None
        assert x is not None
        sums = self.world.sum_(torch.stack([x.square().sum(), x.new_tensor(float(x.numel()))]))
        return max(least_squares.distance(theta), math.sqrt(float(sums[0] / sums[1])) / self._length)

    def _keep(self, before: Theta | None, length: float) -> None:
        """Keep the parameters reached, and a record of the step that led there."""
        assert self._rates is not None
        after: Theta = self._rates[0]  # type: ignore[assignment]
        self._nodes.append(_Node(self.time, self.theta, after if before is None else before, after))
        self.records.append(self._record(length))

    def _record(self, length: float) -> Record:
        """What the equations said at the state reached: numbers, and `spectrum` and `snr` (P,)."""
        found = self._found
        assert found is not None
        solution = found.least_squares.solve(with_snr=True)
        largest = solution.spectrum[-1]
        kept = solution.spectrum[solution.spectrum > max(self.rule.cutoff, ROUNDING) * largest]
        deviation = math.nan
        if self.model.centred:
            deviation = self.system.hbar * math.sqrt(found.least_squares.target_square)
        return {
            "step": self.number,
            "time": self.time,
            "dt": length,
            "step_error": self._step_error,
            "energy": self._energy,
            "energy_deviation": deviation,
            "residual": solution.residual,
            "effective_fraction": found.least_squares.effective,
            "acceptance": self.ensemble.acceptance,
            "drawn_anew": self.drawn_anew,
            "eigenvalue_smallest": float(kept[0]) if len(kept) else math.nan,
            "eigenvalue_largest": float(solution.spectrum[-1]),
            "rank": len(kept),
            "spectrum": solution.spectrum,
            "snr": solution.snr,
        }

    def _farthest(self) -> float:
        """Largest distance of a coordinate of any walker from where the first cloud was."""
        x = self.ensemble.x
        far = x.new_zeros(1)
        if len(x):
            far[0] = (x - torch.as_tensor(self.initial.mean, device=x.device)).abs().max()
        return float(self.world.max_(far))

    def _mean_energy(self, t: float) -> float:
        """Mean of m (u^2 + v^2)/2 + V over the walkers of all ranks, with the fields just found."""
        assert self._found is not None
        x, local = self.ensemble.x, self._found.local
        w = self._weights(self.ensemble.log_weights(local.log_density, self.ensemble.log_rho))
        t = min(t, float(np.nextafter(self._until, 0.0)))
        potential = self.system.potential(x, x.new_full((len(x), 1), t))
        energy = 0.5 * self.system.mass * (local.u.square() + local.v.square()).sum(1) + potential
        sums = self.world.sum_(torch.stack([w @ energy, w.sum()]))
        return float(sums[0] / sums[1])

    def _check(self, t: float) -> None:
        """Give up where the march cannot be right any more.

        Raises:
            DivergedError: with the reason.
        """
        found = self._found
        assert found is not None
        fix = "raise march.walkers or march.cutoff, lower march.tolerance or march.dt, or use fewer functions"
        if not (np.isfinite(found.solution.rate).all() and math.isfinite(found.least_squares.effective)):
            raise DivergedError(f"march: numbers stop being finite at t = {t:.6g}; {fix}")
        fault = self.model.fault(self.theta, self._farthest())
        if fault is not None:
            raise DivergedError(f"march: at t = {t:.6g} {fault}; {fix}")
        if found.least_squares.effective < FEWEST_AFTER_DRAWING:
            raise DivergedError(
                f"march: at t = {t:.6g} only {found.least_squares.effective:.1%} of the walkers carry the "
                f"weight: they no longer represent |psi|^2; {fix}"
            )
        first, energy = self.records[0], self._energy
        scale = abs(first["energy"]) + (first["energy_deviation"] if self.model.centred else 0.0)
        if self.system.is_static and not abs(energy - first["energy"]) <= RUNAWAY * scale:
            raise DivergedError(
                f"march: the energy ran away from {first['energy']:.4g} to {energy:.4g} at t = {t:.6g}; {fix}"
            )

    def arrays(self) -> dict[str, NDArray[Any]] | None:
        """All there is to go on from here, on the first rank; None on the others. Called by all ranks."""
        parts = self.world.gather((self.ensemble.x.cpu().numpy(), self.ensemble.log_rho.cpu().numpy()))
        if parts is None:
            return None
        if not self.records:  # at the very beginning there is nothing that the input does not say
            return {}
        history = self.history
        found: dict[str, NDArray[Any]] = {
            "theta": self.theta,
            "x": np.concatenate([x for x, _ in parts]),
            "log_rho": np.concatenate([log_rho for _, log_rho in parts]),
            "node_time": history.times,
            "node_theta": history.theta,
            "node_before": history.before,
            "node_after": history.after,
            "next_step": np.array([self.stepper.size.h, self.stepper.size.largest]),
            "acceptance": np.asarray(self.ensemble.acceptance),
            "seconds": np.asarray(self.seconds),
            "counts": np.array([self.number, self.drawn_anew, self.stepper.evaluations]),
        }
        for name in self.records[0]:
            found[f"record/{name}"] = np.array([record[name] for record in self.records])
        return found

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what `arrays` gave, on any number of ranks."""
        if not arrays:
            return
        first = self.ensemble.blocks.start * self.ensemble.size
        here = slice(first, first + len(self.ensemble.x))
        device = self.world.device
        self.theta = arrays["theta"]
        self.ensemble.x = torch.as_tensor(arrays["x"][here], device=device)
        self.ensemble.log_rho = torch.as_tensor(arrays["log_rho"][here], device=device)
        columns = (arrays[f"node_{name}"] for name in ("time", "theta", "before", "after"))
        self._nodes = [_Node(float(t), *rest) for t, *rest in zip(*columns, strict=True)]
        self.time = self._nodes[-1].time
        self.stepper.size.h, self.stepper.size.largest = map(float, arrays["next_step"])
        self.ensemble.acceptance = float(arrays["acceptance"])
        self.seconds = float(arrays["seconds"])
        self.number, self.drawn_anew, self.stepper.evaluations = (int(n) for n in arrays["counts"])
        names = [name.removeprefix("record/") for name in arrays if name.startswith("record/")]
        rows = zip(*(arrays[f"record/{name}"] for name in names), strict=True)
        self.records = [dict(zip(names, map(_plain, row), strict=True)) for row in rows]


def _plain(value: Any) -> Any:
    """Numbers as Python's own, arrays as they are."""
    return value if np.ndim(value) else value.item()


def step_of(config: Config, initial: InitialState) -> float:
    """The step asked for, or 1/64 of the time 2 mass variance/hbar in which the first cloud spreads.

    1/64 of the whole time if that is shorter; `March` shortens it where the local energy asks for it.
    """
    dt = config.march.dt
    if not isinstance(dt, str):
        return dt
    own = 2.0 * config.system.mass * float(initial.variance.min()) / config.system.hbar
    return min(own, config.time.end) / STEPS_OF_OWN_TIME
