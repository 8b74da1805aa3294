"""Parameters and walkers in motion: the right-hand side of the ordinary differential equations of t-VMC.

    theta' = -(i/hbar) S^{-1} F           `dsmsim.tdvp.equations`
    X'     = (hbar/m) Im grad log psi     the walkers
    (log rho)' = -(hbar/m) Im Laplacian log psi

All three move together in every stage of a step, so averages at a stage are those of its own state, and the
whole is one smooth system: what an integrator of order p makes of it has an error of order p.

Shapes: W walkers of this rank, n coordinates, P parameters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch

from baselines.variational.ansatz import Ansatz
from baselines.wave.wave_function import Array, ComplexArray, flow_rates, kinetic
from dsmsim.parallel import World
from dsmsim.system import System
from dsmsim.tdvp import Averages, Equations, Regularisation, Solution, State, averages, cubic


@dataclass
class Motion:
    """The rates of (theta, x, log rho).

    Attributes:
        system: the bosons.
        ansatz: log psi(x; theta).
        rule: what the equations damp.
        over: the ranks.
        until: end of the interval in which V is smooth: V is never looked at from beyond.
        equations, solution: of the last call.
    """

    system: System
    ansatz: Ansatz
    rule: Regularisation
    over: Averages
    until: float = math.inf
    equations: Equations | None = field(default=None, init=False)
    solution: Solution | None = field(default=None, init=False)

    def __call__(self, t: float, state: State) -> State:
        """theta' (P,), x' (W, n) and (log rho)' (W,) at t."""
        theta, x, log_rho = state
        hbar, mass = self.system.hbar, self.system.mass
        local = self.ansatz.local(theta, x)
        energy = kinetic(local, hbar, mass) + self.potential(x, min(t, float(np.nextafter(self.until, 0.0))))
        o = self.ansatz.derivatives(theta, x)
        self.equations = averages(2.0 * local.log_psi.real - log_rho, o, energy, self.over)
        self.solution = self.equations.solve(hbar, self.rule, self.over)
        return self.solution.rate, *flow_rates(local, hbar, mass)

    def potential(self, x: Array, t: float) -> Array:
        """V (W,) at x (W, n)."""
        with torch.no_grad():
            z = torch.from_numpy(x)
            value: Array = self.system.potential(z, z.new_full((len(x), 1), t)).numpy()
        return value


def over_ranks(world: World) -> Averages:
    """Sums and maxima over the ranks of a world, in place."""

    def add(values: Array) -> Array:
        world.sum_(torch.from_numpy(values))
        return values

    def biggest(values: Array) -> Array:
        world.max_(torch.from_numpy(values))
        return values

    return Averages(add, biggest)


@dataclass(frozen=True)
class History:
    """The parameters as a function of time: cubic between the ends of steps, where rates are known.

    Attributes:
        times: (K + 1,) ends of the steps, increasing.
        theta: (K + 1, P).
        before, after: (K + 1, P) theta' before and after each of these times; they differ where V jumps.
    """

    times: Array
    theta: ComplexArray
    before: ComplexArray
    after: ComplexArray

    def at(self, t: float) -> ComplexArray:
        """theta (P,) at t."""
        k = int(np.clip(np.searchsorted(self.times, t, side="right") - 1, 0, max(0, len(self.times) - 2)))
        if k + 1 >= len(self.times):
            return np.asarray(self.theta[k])
        h = float(self.times[k + 1] - self.times[k])
        s = (t - float(self.times[k])) / h
        return cubic(self.theta[k], self.after[k], self.theta[k + 1], self.before[k + 1], h, s)
