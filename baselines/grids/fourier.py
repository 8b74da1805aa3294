"""Split-operator steps on a Fourier grid.

    i hbar d psi/dt = (A + B) psi,     A = -hbar^2/(2 mass) Laplacian,     B = V(x, t)

One step of length h is a palindromic product of exact flows: drifts of A, diagonal in k space, and kicks of
B,

    psi <- D(a_s h) K(b_{s-1} h) ... K(b_1 h) D(a_1 h) psi,   D(a) = exp(-i a A/hbar),  K(b) = exp(-i b
    V/hbar)

with V taken at the time that the drifts before it have reached, t + (a_1 + ... + a_i) h. Strang's product
has order 2 (its kick is at the midpoint), the six-kick S_6 of Blanes & Moan (J. Comput. Appl. Math. 142
(2002) 313) order 4. Every factor is unitary: the norm is kept to rounding errors. No kick is at an end of a
step, so a jump of V between two steps costs no accuracy.

Shapes: psi (M, ..., M), one dimension per coordinate.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.fft

from baselines.finite import require_finite
from baselines.grids.product import Array, Grid, Wave
from dsmsim.system import System


@dataclass(frozen=True)
class Composition:
    """Coefficients of one step: drifts a_1 ... a_s and the kicks between them."""

    name: str
    order: int
    drifts: tuple[float, ...]
    kicks: tuple[float, ...]


def _blanes_moan() -> Composition:
    a1, a2, a3 = 0.0792036964311957, 0.353172906049774, -0.0420650803577195
    b1, b2 = 0.209515106613362, -0.143851773179818
    a4, b3 = 1.0 - 2.0 * (a1 + a2 + a3), 0.5 - (b1 + b2)
    return Composition("Blanes-Moan", 4, (a1, a2, a3, a4, a3, a2, a1), (b1, b2, b3, b3, b2, b1))


STRANG = Composition("Strang", 2, (0.5, 0.5), (1.0,))
BLANES_MOAN = _blanes_moan()
COMPOSITIONS = {composition.order: composition for composition in (STRANG, BLANES_MOAN)}


class Propagator:
    """Advances psi on one grid; the phase factors are kept for the step lengths already met."""

    def __init__(self, system: System, grid: Grid, composition: Composition) -> None:
        self.system = system
        self.grid = grid
        self.composition = composition
        self._static = grid.potential(system, 0.0) if system.is_static else None
        self._factors: dict[tuple[str, float], Wave] = {}

    def potential(self, t: float) -> Array:
        """V on the grid at time t.

        Raises:
            ConfigError: V is not finite everywhere on the grid.
        """
        potential = self.grid.potential(self.system, t) if self._static is None else self._static
        require_finite(potential, t)
        return potential

    def advance(self, psi: Wave, start: float, end: float, steps: int) -> Wave:
        """psi at time `end` from psi at `start`; psi may be overwritten."""
        # twelve digits: equal steps of a grid of times differ by rounding and shall share their factors
        step = float(f"{(end - start) / steps:.12e}")
        drifts, kicks = self.composition.drifts, self.composition.kicks
        reached = list(itertools.accumulate(drifts))
        wave = scipy.fft.fftn(psi, overwrite_x=True)
        self._drift(wave, drifts[0] * step)
        for index in range(steps):
            for stage, kick in enumerate(kicks):
                psi = scipy.fft.ifftn(wave, overwrite_x=True)
                psi *= self._kick(kick * step, start + (index + reached[stage]) * step)
                wave = scipy.fft.fftn(psi, overwrite_x=True)
                last = stage == len(kicks) - 1
                # the last drift of a step and the first of the next are one
                joined = last and index < steps - 1
                self._drift(wave, (drifts[-1] + drifts[0] if joined else drifts[stage + 1]) * step)
        return np.asarray(scipy.fft.ifftn(wave, overwrite_x=True))

    def _drift(self, wave: Wave, length: float) -> None:
        """Apply D to the transform in place, as a factor for half of the coordinates and one for the rest.

        Both stay in cache, where a factor for the whole grid would be read from memory.
        """
        coordinates = self.grid.coordinates
        half = (coordinates + 1) // 2
        wave *= self._kept("first", length, lambda: self._phase(range(half), length))
        if coordinates > half:
            wave *= self._kept("rest", length, lambda: self._phase(range(half, coordinates), length))

    def _phase(self, coordinates: range, length: float) -> Wave:
        """exp(-i length hbar k^2/(2 mass)) of some coordinates, shaped to broadcast."""
        grid = self.grid
        total = np.zeros((1,) * grid.coordinates)
        for coordinate in coordinates:
            total = total + grid.along(grid.wavenumbers(coordinate % grid.dimensions) ** 2, coordinate)
        return np.asarray(np.exp(-1j * length * self.system.hbar / (2.0 * self.system.mass) * total))

    def _kick(self, length: float, t: float) -> Wave:
        if self._static is None:
            return np.asarray(np.exp(-1j * length / self.system.hbar * self.potential(t)))
        return self._kept(
            "kick", length, lambda: np.exp(-1j * length / self.system.hbar * self.potential(0.0))
        )

    def _kept(self, name: str, length: float, make: Callable[[], Wave]) -> Wave:
        key = (name, length)
        if key not in self._factors:
            self._factors[key] = make()
        return self._factors[key]
