"""Configurations drawn from |psi|^2, one boson after another, and the velocity fields there.

Like a series of measurements: the first position is drawn from the one-body density, the field operator takes
that boson out, the next is drawn from the density of what is left, and so on (Sakmann & Kasprzak, Nat. Phys.
12 (2016) 451). The last amplitude is psi itself, and with one phi replaced by its slope it is a component of
grad psi:

    psi(y_1 ... y_N) = <0| Phi(y_N) ... Phi(y_1) |psi>/sqrt(N!),      Phi(y) = sum_p phi_p(y) a_p

Shapes: `K` configurations, `N` bosons, `E` cutoff.
"""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from baselines.compiling import compiled
from baselines.fock_space.one_body_operator import orbital_matrix
from baselines.fock_space.oscillators import oscillator_functions
from baselines.fock_space.removal import Removal, removal

Array = NDArray[np.float64]
Wave = NDArray[np.complex128]

# points of y per smallest wavelength, for drawing
POINTS_PER_WAVE = 12.0
MOST_CONFIGURATIONS, FEWEST_CONFIGURATIONS = 500, 20
# multiply-adds that one moment may take
MOST_WORK = 4e8


class SingleShots:
    """Draws configurations of the states of one space.

    Args:
        first: of one boson out of all N.
    """

    def __init__(self, first: Removal) -> None:
        self._first = first
        size = first.states.cutoff + 1
        reach = math.sqrt(2.0 * size) + 6.0
        self._y = np.linspace(-reach, reach, int(POINTS_PER_WAVE * reach * math.sqrt(2.0 * size) / math.pi))
        self._phi = oscillator_functions(self._y, size)

    @cached_property
    def _chain(self) -> list[Removal]:
        """Of one boson out of N, N - 1, ... 1."""
        chain = [self._first]
        while chain[-1].rest.particles:
            chain.append(removal(chain[-1].rest, 1))
        return chain

    @cached_property
    def affordable(self) -> int:
        """K that `MOST_WORK` allows."""
        # the density of what is left needs the products of all pairs of labels
        work = sum(float((step.sizes[:, 0] ** 2 * step.sizes[:, 1]).sum()) for step in self._chain[1:])
        return int(min(max(MOST_WORK / max(work, 1.0), FEWEST_CONFIGURATIONS), MOST_CONFIGURATIONS))

    def draw(self, psi: Wave, rng: np.random.Generator) -> tuple[Array, Wave]:
        """y (K, N) and the logarithmic slopes of psi in them (K, N)."""
        number = self._first.states.particles
        y = np.empty((self.affordable, number))
        slopes = np.empty((self.affordable, number), dtype=np.complex128)
        density_of_first = self._density(0, psi)
        for shot in range(len(y)):
            left = [psi]
            values, gradients = [], []
            for k in range(number):
                density = density_of_first if k == 0 else self._density(k, left[-1])
                y[shot, k] = self._draw_one(density, rng)
                phi = _functions_at(y[shot, k], self._first.states.cutoff + 2)
                values.append(np.ascontiguousarray(phi[:-1]))
                gradients.append(_slopes(phi))
                left.append(self._take(k, left[-1], values[-1]))
            for k in range(number):
                part = self._take(k, left[k], gradients[k])
                for later in range(k + 1, number):
                    part = self._take(later, part, values[later])
                slopes[shot, k] = part[0] / left[-1][0]
        return y, slopes

    def _draw_one(self, density: Array, rng: np.random.Generator) -> float:
        """A position from a density at the points y: its integral is taken as linear between them."""
        middle = 0.5 * (density[1:] + density[:-1])
        cumulative = np.concatenate([[0.0], np.cumsum(np.maximum(middle, 0.0))])
        return float(np.interp(rng.random() * cumulative[-1], cumulative, self._y))

    def _density(self, k: int, state: Wave) -> Array:
        """One-body density at the points y, of any norm, after k bosons are out."""
        gamma = orbital_matrix(self._chain[k], state)
        return np.asarray(np.einsum("ky,ky->y", self._phi, gamma.real @ self._phi))

    def _take(self, k: int, state: Wave, phi: Array) -> Wave:
        """Phi(y) on a state from which k bosons are out already."""
        step = self._chain[k]
        out = np.zeros(step.rest.size, dtype=np.complex128)
        _annihilate(state, phi, step.arrays, step.states.step, out)
        return out


@compiled
def _functions_at(y, count):  # type: ignore[no-untyped-def]
    """phi_0 ... phi_{count-1} at one y where there is something to be found."""
    phi = np.empty(count)
    phi[0] = np.pi**-0.25 * np.exp(-0.5 * y * y)
    phi[1] = np.sqrt(2.0) * y * phi[0]
    for n in range(1, count - 1):
        phi[n + 1] = np.sqrt(2.0 / (n + 1)) * y * phi[n] - np.sqrt(n / (n + 1)) * phi[n - 1]
    return phi


def _slopes(phi: Array) -> Array:
    """phi_n' for n = 0 ... E from phi_0 ... phi_{E+1}."""
    n = np.arange(len(phi) - 1)
    below = np.concatenate([[0.0], phi[:-2]])
    return np.asarray(np.sqrt(0.5 * n) * below - np.sqrt(0.5 * (n + 1)) * phi[1:])


@compiled
def _annihilate(state, phi, arrays, step, out):  # type: ignore[no-untyped-def]
    index, square, roots, offsets, sizes = arrays
    first = 0
    for energy in range(sizes.shape[0]):
        labels, count = sizes[energy]
        entry = offsets[energy]
        for label in range(labels):
            p = energy % 2 + 2 * label if step == 2 else label
            for i in range(count):
                out[first + i] += phi[p] * roots[square[entry]] * state[index[entry]]
                entry += 1
        first += count
