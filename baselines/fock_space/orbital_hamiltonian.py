"""The Hamiltonian of all bosons in a moving frame, as a matrix of one boson and one of a pair's difference.

Per boson, with z = x - x0(t), y = z/a, q = -i d/dy and the frame (see `baselines.frame`, here with a centre)

    psi = exp(i p0 z/hbar) exp(i mass c z^2/(2 hbar)) phi(z/a)/sqrt(a),      p0 = mass x0',

the Schroedinger equation of phi has, but for a function of t alone,

    h = hbar^2 q^2/(2 mass a^2) + hbar (c - a'/a) (y q + q y)/2 + (mass/2) a^2 (c' + c^2) y^2
        + mass x0'' a y + V(x0 + a y, t).

Shapes: matrices (E + 1, E + 1) between phi_0 ... phi_E of y.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from baselines.fock_space.hamiltonian import EnergyMatrices, PairInteraction
from baselines.fock_space.oscillators import Quadrature, ladder
from baselines.frame import Frame, FrameState
from dsmsim.errors import ConfigError
from dsmsim.system import System

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]

# points of the integrals of V: they resolve what is much narrower than the orbitals
POINTS = 3201


class OrbitalHamiltonian:
    """Matrices in a frame, for one dimension.

    Args:
        system: D = 1.
        frame: with its centre, at all times.
        cutoff: E.
    """

    def __init__(self, system: System, frame: Frame, cutoff: int) -> None:
        self.system, self.frame = system, frame
        self.ladder = ladder(cutoff)
        self.interaction = PairInteraction(system, frame, cutoff)
        self.quadrature = Quadrature(np.arange(cutoff + 1), POINTS)
        self._last: tuple[FrameState, ComplexArray] | None = None

    def one_body(self, t: float) -> ComplexArray:
        """h at time t.

        Raises:
            ConfigError: V is not finite where the orbitals are.
        """
        state, system = self.frame(t), self.system
        if system.is_static and self._last is not None and self._last[0] == state:
            return self._last[1]
        kinetic = system.hbar**2 / (2.0 * system.mass * state.length**2)
        y = self.quadrature.y
        stiffness = 0.5 * system.mass * state.length**2 * (state.shear_rate + state.shear**2)
        values = stiffness * y**2 + system.mass * state.acceleration * state.length * y
        h = (
            kinetic * self.ladder.momentum_squared
            + system.hbar * (state.shear - state.stretch) * self.ladder.dilation
            + self.quadrature.matrix(values + self._potential(t, state))
        )
        self._last = state, h
        return h

    def matrices(self, t: float) -> tuple[ComplexArray, ...]:
        """h of one boson and, where there is an interaction, the matrix of a pair at time t."""
        if self.system.interaction is None or self.system.particles == 1:
            return (self.one_body(t),)
        return self.one_body(t), self.interaction(t).astype(np.complex128)

    def energies(self, t: float) -> EnergyMatrices:
        """Matrices of the true kinetic and trap energy of a boson, and of a pair's interaction, at time t."""
        state, system, of = self.frame(t), self.system, self.ladder
        momentum, shear = system.mass * state.velocity, system.mass * state.shear * state.length
        # p = p0 + mass c a y + hbar q/a
        linear = shear * of.position + (system.hbar / state.length) * of.momentum
        kinetic = (
            momentum**2 * np.eye(len(of.position))
            + 2.0 * momentum * linear
            + (system.hbar / state.length) ** 2 * of.momentum_squared
            + 2.0 * system.hbar * system.mass * state.shear * of.dilation
            + shear**2 * of.position_squared
        ) / (2.0 * system.mass)
        trap = self.quadrature.matrix(self._potential(t, state))
        return EnergyMatrices(kinetic, trap, self.interaction(t))

    def _potential(self, t: float, state: FrameState) -> Array:
        """V of one boson at the points of the quadrature."""
        x = state.center + state.length * self.quadrature.y
        values = one_body_potential(self.system, x, t)
        if not np.isfinite(values).all():
            place = float(x[int(np.argmin(np.isfinite(values)))])
            raise ConfigError(
                f"system.trap: the potential is not finite at x = {place:.4g}, t = {t:.4g}, where the "
                "orbitals of the Fock solver reach; use a smooth potential, or another method",
                key="system.trap",
            )
        return values


def one_body_potential(system: System, x: Array, t: float) -> Array:
    """V of one boson at x (M,): (M,)."""
    rows = torch.from_numpy(np.ascontiguousarray(x))[:, None]
    clock = rows.new_full((len(x),), t)
    total = torch.zeros_like(clock)
    with torch.no_grad():
        for term in system.terms.values():
            total = total + term.value(rows, clock)
    values: Array = total.numpy()
    return values
