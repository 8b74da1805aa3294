"""Potential and initial state of bosons on a grid, from the grids of one and of two particles.

    V(x_1, ..., x_N) = sum_i V_1(x_i) + sum_{i<j} V_2(x_i, x_j),       psi_0 = prod_i phi(x_i)

Sums and products of small tables are far cheaper than formulas at every point of the whole grid, and of a
potential that changes only the tables that change are made anew.

Shapes: `N` particles, `D` dimensions, `n = N D`, `M` points per coordinate; V and psi (M, ..., M), or their
first `R` points along the first axis (R, M, ..., M).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from baselines.finite import require_finite
from baselines.grids.product import Array, Grid, Wave
from dsmsim.system import InitialState, System


class PotentialTables:
    """Phases of V on a grid, at any time."""

    def __init__(self, system: System, grid: Grid) -> None:
        self.system = system
        self.grid = grid
        self._one = Grid(grid.box, grid.points, 1)
        self._two = Grid(grid.box, grid.points, 2)
        self._kept_pair: Array | None = None

    def weighted(self, kick: Sequence[tuple[float, float]]) -> list[Array]:
        """sum_k w_k V(t_k) for pairs (w_k, t_k): of one particle (D axes of M); and of two (2 D).

        Raises:
            ConfigError: V is not finite everywhere on the grid.
        """
        kinds = [self._one_body]
        if self.system.interaction is not None and self.system.particles > 1:
            kinds.append(self._pair)
        return [np.asarray(np.sum([weight * kind(t) for weight, t in kick], axis=0)) for kind in kinds]

    def phase(self, tables: Sequence[Array], out: Any) -> None:
        """exp(-i sum_k w_k V(t_k)/hbar) from the tables of `weighted`, into `out` (R, M, ..., M).

        `out` has the first R points along the first axis.
        """
        particles, dimensions = self.system.particles, self.system.dimensions
        out[...] = 1.0
        for count, table in enumerate(tables, start=1):
            for chosen in itertools.combinations(range(particles), count):
                exponent = placed(table, dimensions, particles, *chosen)[: len(out)]
                out *= np.exp((-1j / self.system.hbar) * exponent)

    def _one_body(self, t: float) -> Array:
        def value(x: torch.Tensor) -> torch.Tensor:
            clock = x.new_full((x.shape[0],), t)
            return sum((term.value(x, clock) for term in self.system.terms.values()), torch.zeros_like(clock))

        return self._checked(self._one.values(value), t)

    def _pair(self, t: float) -> Array:
        interaction, dimensions = self.system.interaction, self.system.dimensions
        assert interaction is not None

        def value(x: torch.Tensor) -> torch.Tensor:
            return interaction.value(x[:, :dimensions] - x[:, dimensions:], x.new_full((x.shape[0],), t))

        if not interaction.is_static:
            return self._checked(self._two.values(value), t)
        if self._kept_pair is None:
            self._kept_pair = self._checked(self._two.values(value), t)
        return self._kept_pair

    def _checked(self, table: Array, t: float) -> Array:
        require_finite(table, t)
        return table


def placed(table: Any, dimensions: int, count: int, *particles: int) -> Any:
    """A table over the coordinates of some of `count` particles, shaped to broadcast over all of them."""
    wanted = {i * dimensions + axis for i in particles for axis in range(dimensions)}
    shape = [table.shape[0] if k in wanted else 1 for k in range(count * dimensions)]
    return table.reshape(shape)


def initial_factor(initial: InitialState, grid: Grid) -> Wave:
    """phi on the grid of one particle (D dimensions of M points), of norm 1.

    All bosons start in the same state: the others are put at its mean, and what they contribute is left out.
    """
    others = torch.from_numpy(initial.mean[grid.dimensions :])
    one = Grid(grid.box, grid.points, 1)

    def configuration(x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, others.expand(x.shape[0], -1)], dim=1)

    log_density = one.values(lambda x: initial.log_density(configuration(x)))
    phase = one.values(lambda x: initial.phase(configuration(x)))
    phi = np.exp(0.5 * (log_density - log_density.max()) + 1j * phase)
    return np.asarray(phi / np.sqrt(one.norm(phi)))


def product_wave(phi: Wave, grid: Grid, out: Any) -> None:
    """psi_0 = prod_i phi(x_i) into `out` (R, M, ..., M): its first R points along the first axis."""
    out[...] = 1.0
    for i in range(grid.particles):
        out *= placed(phi, grid.dimensions, grid.particles, i)[: len(out)]
