"""The potential on a grid of relative coordinates, as a sum of parts that need few of the axes each.

    V = sum over pairs of w_ij + sum over axes of (mass/2) (omega^2 b^2 + b b'') y^2

A pair's difference depends on the modes of its two particles only, so its energy is computed on the product
of those axes, and a phase exp(-i c V) of the whole is a product of phases of parts: of five bosons in one
dimension, three parts on three of the four axes each.

Shapes: `N` particles, `D` dimensions, `n` axes, `S` sectors (and cosets).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from baselines.finite import require_finite
from baselines.relative.breathing import Breathing
from baselines.relative.coordinates import Coordinates, Mask
from baselines.relative.dvr import HalfGrid
from baselines.trap_motion import trap_squares
from dsmsim.system import System

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Part:
    """Pairs whose differences take the same axes.

    Attributes:
        axes: of the subgrid, increasing.
        pairs: (N-1,) coefficients of each difference.
        squares: axes among them whose harmonic energy is counted here.
    """

    axes: tuple[int, ...]
    pairs: tuple[Array, ...]
    squares: tuple[int, ...]


class Potential:
    """V at the points of a grid.

    Args:
        system: of the problem.
        coordinates: of the grid.
        grids: one per axis.
        frames: one per Cartesian axis.
    """

    def __init__(
        self,
        system: System,
        coordinates: Coordinates,
        grids: tuple[HalfGrid, ...],
        frames: tuple[Breathing, ...],
    ) -> None:
        self.system = system
        self.coordinates = coordinates
        self.grids = grids
        self.frames = frames
        self.parts = _parts(system, coordinates)
        self.is_static = system.is_static and all(frame.is_static for frame in frames)

    def shape(self, part: Part) -> tuple[int, ...]:
        """Of a part, so that it broadcasts over the whole grid."""
        return tuple(grid.points if k in part.axes else 1 for k, grid in enumerate(self.grids))

    def signs(self, part: Part) -> list[Mask]:
        """For every coset the reversals that this part can see."""
        seen = []
        for coset in self.coordinates.cosets:
            bits = tuple(coset[k] for k in part.axes)
            # a single mode may be reversed as a whole: the interaction is even
            modes = {k // self.coordinates.dimensions for k in part.axes}
            seen.append((0,) * len(bits) if len(modes) == 1 and all(bits) else bits)
        return seen

    def values(self, part: Part, signs: Mask, t: float) -> Array:
        """A part with some axes reversed, shaped by `shape`.

        Raises:
            ConfigError: V is not finite everywhere.
        """
        scales = [frame.scale(t) for frame in self.frames]
        positions: dict[int, Array] = {}
        for axis, sign in zip(part.axes, signs, strict=True):
            shape = [-1 if k == axis else 1 for k in range(len(self.grids))]
            y = self.grids[axis].y * (1.0 - 2.0 * sign)
            positions[axis] = (scales[self.coordinates.cartesian(axis)][0] * y).reshape(shape)
        total = np.zeros(self.shape(part))
        if part.pairs:
            with torch.no_grad():
                total += sum(self._pair(coefficients, positions, t) for coefficients in part.pairs)
        squares = trap_squares(self.system, t)
        for axis in part.squares:
            cartesian = self.coordinates.cartesian(axis)
            b, _, b_second = scales[cartesian]
            stiffness = squares[cartesian] + b_second / b
            total += 0.5 * self.system.mass * stiffness * positions[axis] ** 2
        require_finite(total, t, "system.interaction")
        return total

    def _pair(self, coefficients: Array, positions: dict[int, Array], t: float) -> Array:
        """(g/2) w of one pair on the subgrid."""
        interaction = self.system.interaction
        assert interaction is not None
        components = []
        for cartesian in range(self.coordinates.dimensions):
            terms = [
                coefficient * positions[self.coordinates.axis(mode, cartesian)]
                for mode, coefficient in enumerate(coefficients)
                if coefficient != 0.0
            ]
            components.append(sum(terms[1:], start=terms[0]))
        r = torch.from_numpy(np.stack(np.broadcast_arrays(*components), axis=-1))
        return np.asarray(interaction.value(r, r.new_full(r.shape[:-1], t)).numpy())


def _parts(system: System, coordinates: Coordinates) -> tuple[Part, ...]:
    grouped: dict[tuple[int, ...], list[Array]] = {}
    if system.interaction is not None:
        for first, second in zip(*np.triu_indices(system.particles, 1), strict=True):
            vector = coordinates.of_pair(int(first), int(second))
            # rounding leaves tiny coefficients where there are none
            vector = np.where(np.abs(vector) < 1e-12, 0.0, vector)
            modes = np.flatnonzero(vector)
            taken = [coordinates.axis(int(m), a) for m in modes for a in range(coordinates.dimensions)]
            grouped.setdefault(tuple(sorted(taken)), []).append(vector)
    left = set(range(coordinates.count))
    parts = []
    # the smallest subgrids take the harmonic energies
    for axes in sorted(grouped, key=len):
        parts.append(Part(axes, tuple(grouped[axes]), tuple(sorted(left & set(axes)))))
        left -= set(axes)
    return (*parts, *(Part((axis,), (), (axis,)) for axis in sorted(left)))
