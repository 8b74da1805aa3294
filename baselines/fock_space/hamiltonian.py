"""The Hamiltonian of the relative motion in a frame, as matrices of one pair's difference.

In the frame of `baselines.frame` and with the centre of mass left out, everything is a sum over pairs,

    sum_i p_i^2/(2 mass) - (centre of mass) = sum_{i<j} (2/N) p_r^2/(2 mass),    r = (x_i - x_j)/sqrt(2)

and likewise for x^2 and (x p + p x)/2, so that per pair, with r = a y and q = -i d/dy,

    h = (2/N) [ hbar^2 q^2/(2 mass a^2) + hbar (c - a'/a) (y q + q y)/2
                + (mass/2) a^2 (c' + c^2 + omega(t)^2) y^2 ] + (g/2) w(sqrt(2) a y, t).

Shapes: matrices (E//2 + 1, E//2 + 1) between phi_0, phi_2, ... of y.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from baselines.fock_space.oscillators import Quadrature, dilation, momentum_squared, position_squared
from baselines.frame import Frame
from baselines.trap_motion import trap_at
from dsmsim.system import System

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]


@dataclass(frozen=True)
class EnergyMatrices:
    """Pair matrices of the parts of the energy of the relative motion."""

    kinetic: ComplexArray
    trap: Array
    interaction: Array


class PairInteraction:
    """Matrices of (g/2) w(sqrt(2) a y, t) between phi_0, phi_2, ... of a pair's difference.

    Args:
        system: with an interaction, or without.
        frame: of which the length a is used.
        cutoff: E.
    """

    def __init__(self, system: System, frame: Frame, cutoff: int) -> None:
        self._system, self._frame = system, frame
        self._quadrature = Quadrature(np.arange(0, cutoff + 1, 2))

    def __call__(self, t: float) -> Array:
        """The matrix at time t."""
        size = len(self._quadrature.functions)
        if self._system.interaction is None:
            return np.zeros((size, size))
        r = torch.from_numpy(math.sqrt(2.0) * self._frame(t).length * self._quadrature.y)[:, None]
        with torch.no_grad():
            values = self._system.interaction.value(r, r.new_full((len(r),), t)).numpy()
        return self._quadrature.matrix(np.broadcast_to(values, len(r)))


class RelativeHamiltonian:
    """Pair matrices in a frame, for one dimension.

    Args:
        system: a harmonic trap (or none) and an interaction of differences, D = 1.
        frame: lengths and shears at all times.
        cutoff: E.
    """

    def __init__(self, system: System, frame: Frame, cutoff: int) -> None:
        self.system, self.frame = system, frame
        quanta = np.arange(0, cutoff + 1, 2)
        self.interaction = PairInteraction(system, frame, cutoff)
        self.position_squared = position_squared(quanta)
        self._momentum_squared = momentum_squared(quanta)
        self._dilation = dilation(quanta)
        # one of N (N - 1)/2 pairs holds this part of a sum over the N - 1 relative coordinates
        self._share = 2.0 / system.particles

    def matrices(self, t: float) -> tuple[ComplexArray, ...]:
        """The pair matrix h of the frame's Hamiltonian at time t, alone in a tuple."""
        state, system = self.frame(t), self.system
        kinetic = system.hbar**2 / (2.0 * system.mass * state.length**2)
        stiffness = state.shear_rate + state.shear**2 + float(trap_at(system, t)[0][0])
        one_body = (
            kinetic * self._momentum_squared
            + system.hbar * (state.shear - state.stretch) * self._dilation
            + 0.5 * system.mass * state.length**2 * stiffness * self.position_squared
        )
        return (self._share * one_body + self.interaction(t),)

    def energies(self, t: float) -> EnergyMatrices:
        """Pair matrices of the true kinetic, trap and interaction energy at time t."""
        state, system = self.frame(t), self.system
        # p = hbar q/a + mass c a y
        kinetic = (
            system.hbar**2 / (2.0 * system.mass * state.length**2) * self._momentum_squared
            + system.hbar * state.shear * self._dilation
            + 0.5 * system.mass * (state.shear * state.length) ** 2 * self.position_squared
        )
        square = float(trap_at(system, t)[0][0])
        trap = 0.5 * system.mass * square * state.length**2 * self.position_squared
        return EnergyMatrices(self._share * kinetic, self._share * trap, self.interaction(t))

    def spread(self, t: float) -> Array:
        """Pair matrix of the sum of squares of the N - 1 relative coordinates at time t."""
        return self._share * self.frame(t).length ** 2 * self.position_squared
