"""Orthonormal relative coordinates of N particles and the reflections that leave the state alone.

Per Cartesian axis the N coordinates x_i become sqrt(N) X, of the centre of mass, and N - 1 relative modes

    r12 = (x1 - x2)/sqrt(2),  r34 = (x3 - x4)/sqrt(2), ...      differences inside pairs
    c_k = (x_{2k-1} + x_{2k})/sqrt(2)                           combined by Jacobi's scheme with a last x_N

The kinetic energy keeps its form. Exchanging the two of a pair reflects its difference; the interaction is
even, so that reflecting everything changes nothing; an interaction that is even in every component allows
this axis by axis. These reflections generate a group G of sign patterns. A state that G leaves alone is known
where all coordinates are positive, for one sign pattern out of each coset of G, or as one part for each
sector: a pattern of parities (even 0, odd 1) that every element of G respects,

    psi(c_1 y_1, ..., c_n y_n) = S^(-1/2) sum over sectors p of (-1)^(c . p) psi_p(y),       y > 0.

Shapes: `N` particles, `D` dimensions, `n = (N-1) D` axes in the order (mode, Cartesian axis), `S` sectors
(and as many cosets).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = tuple[int, ...]


@dataclass(frozen=True)
class Coordinates:
    """The axes of the relative grid.

    Attributes:
        particles, dimensions: N and D.
        modes: (N-1, N) orthonormal rows; the first `differences` of them are differences inside pairs.
        differences: N // 2.
        sectors: S parities (n,), all even first.
        cosets: S sign patterns (n,), 1 where the sign is reversed; no reversal first.
        group: all elements of G, 2^n / S of them.
    """

    particles: int
    dimensions: int
    modes: Array
    differences: int
    sectors: tuple[Mask, ...]
    cosets: tuple[Mask, ...]
    group: tuple[Mask, ...]

    @property
    def count(self) -> int:
        """n, the number of axes."""
        return (self.particles - 1) * self.dimensions

    @property
    def mixing(self) -> Array:
        """(S, S) orthogonal: from sectors to cosets, and back."""
        signs = (-1.0) ** (np.array(self.cosets) @ np.array(self.sectors).T)
        return np.asarray(signs / np.sqrt(len(self.sectors)))

    def axis(self, mode: int, cartesian: int) -> int:
        """The place of an axis among the n."""
        return mode * self.dimensions + cartesian

    def cartesian(self, axis: int) -> int:
        """The Cartesian axis that an axis belongs to."""
        return axis % self.dimensions

    def of_particle(self, particle: int) -> Array:
        """(N-1,) coefficients of x_particle - X in the modes."""
        return np.asarray(self.modes[:, particle])

    def of_pair(self, first: int, second: int) -> Array:
        """(N-1,) coefficients of x_first - x_second in the modes."""
        return np.asarray(self.modes[:, first] - self.modes[:, second])

    def simplest_particle(self) -> int:
        """A particle whose distance from the centre of mass takes the fewest modes."""
        used = (np.abs(self.modes) > 1e-12).sum(axis=0)
        # the last of them: for odd N the one that has no partner
        return int(self.particles - 1 - np.argmin(used[::-1]))


def relative_coordinates(particles: int, dimensions: int, *, each_axis_even: bool) -> Coordinates:
    """The coordinates of N >= 2 particles.

    Args:
        particles, dimensions: N and D.
        each_axis_even: whether the interaction is even in every Cartesian component alone.
    """
    modes = _modes(particles)
    differences = particles // 2
    count = (particles - 1) * dimensions
    place = np.arange(count).reshape(particles - 1, dimensions)
    generators = [np.isin(np.arange(count), place[pair]) for pair in range(differences)]
    generators.append(np.ones(count, dtype=bool))
    if each_axis_even:
        generators += [np.isin(np.arange(count), place[:, axis]) for axis in range(dimensions)]
    patterns = [np.array(bits) for bits in itertools.product((0, 1), repeat=count)]
    # fewest reversals first
    patterns.sort(key=lambda bits: (int(bits.sum()), tuple(bits)))
    sectors = [bits for bits in patterns if all(int(bits[flip].sum()) % 2 == 0 for flip in generators)]
    cosets: dict[tuple[int, ...], list[Mask]] = {}
    for bits in patterns:
        syndrome = tuple(int(bits @ sector) % 2 for sector in sectors)
        cosets.setdefault(syndrome, []).append(_mask(bits))
    return Coordinates(
        particles=particles,
        dimensions=dimensions,
        modes=modes,
        differences=differences,
        sectors=tuple(_mask(bits) for bits in sectors),
        cosets=tuple(members[0] for members in cosets.values()),
        group=tuple(cosets[(0,) * len(sectors)]),
    )


def _mask(bits: NDArray[np.int64]) -> Mask:
    return tuple(int(bit) for bit in bits)


def _modes(particles: int) -> Array:
    """(N-1, N): differences inside pairs, then Jacobi's combinations of the pairs' centres and a last one."""
    rows = []
    bodies = []
    for first in range(0, particles - 1, 2):
        row = np.zeros(particles)
        row[[first, first + 1]] = 1.0, -1.0
        rows.append(row)
        body = np.zeros(particles)
        body[[first, first + 1]] = 1.0
        bodies.append(body)
    if particles % 2:
        bodies.append(np.eye(particles)[-1])
    gathered = bodies[0]
    for body in bodies[1:]:
        rows.append(gathered / gathered.sum() - body / body.sum())
        gathered = gathered + body
    return np.array([row / np.linalg.norm(row) for row in rows])
