"""The potential of the whole system.

    V(x, t) = sum_i sum_terms V_term(x_i, t) + (g/2) sum_{i<j} w(x_i - x_j, t)

in i hbar d/dt psi = [-hbar^2/(2 mass) Laplacian + V(x, t)] psi. Units are those of the input.

Shapes: `B` batch, `N` particles, `D` dimensions per particle, `n = N D` coordinates, `P = N (N-1)/2` pairs;
positions x (B, n) particle-major, so that x.reshape(B, N, D) is (particle, axis); times t (B, 1).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from dsmsim.config import Config
from dsmsim.system.interactions import PairEnergy, build_interaction
from dsmsim.system.potentials import build_one_body
from dsmsim.system.term import Setting, TermFunction


class System:
    """N particles in a potential: `potential` and `gradient` on batches of configurations.

    Attributes:
        particles, dimensions, coordinates: N, D and n = N D.
        hbar, mass: of the input.
        terms: one-body terms by dotted key.
        interaction: energy of one pair, or None.
        is_static: True when V does not depend on t for t >= 0, so that the energy is conserved.
        breakpoints: times in (0, end) at which V is not smooth in t (quenches start or end), increasing.
    """

    def __init__(
        self,
        *,
        particles: int,
        dimensions: int,
        hbar: float,
        mass: float,
        end: float,
        terms: Mapping[str, TermFunction],
        interaction: PairEnergy | None,
    ) -> None:
        self.particles = particles
        self.dimensions = dimensions
        self.coordinates = particles * dimensions
        self.hbar = hbar
        self.mass = mass
        self.terms = dict(terms)
        self.interaction = interaction
        parts = [*self.terms.values(), *([] if interaction is None else [interaction])]
        self.is_static = all(part.is_static for part in parts)
        points = {point for part in parts for point in part.breakpoints}
        self.breakpoints = tuple(sorted(point for point in points if 0.0 < point < end))
        self._first, self._second = np.triu_indices(particles, 1)
        self._pair_of, self._sign_of = _pairs_of_each_particle(particles)
        self._on_device: dict[tuple[torch.device, torch.dtype], tuple[Tensor, Tensor, Tensor, Tensor]] = {}

    def potential(self, x: Tensor, t: Tensor) -> Tensor:
        """V at x (B, n) and t (B, 1): (B,)."""
        r = self._by_particle(x)
        total = torch.zeros_like(x[..., 0])
        for term in self.terms.values():
            total = total + term.value(r, t).sum(-1)
        if self.interaction is not None and self.particles > 1:
            total = total + self.interaction.value(self.pair_differences(x), t).sum(-1)
        return total

    def gradient(self, x: Tensor, t: Tensor) -> Tensor:
        """dV/dx at x (B, n) and t (B, 1): (B, n)."""
        r = self._by_particle(x)
        total = torch.zeros_like(r)
        for term in self.terms.values():
            total = total + term.gradient(r, t)
        if self.interaction is not None and self.particles > 1:
            pairs = self.interaction.gradient(self.pair_differences(x), t)
            total = total + self._sum_over_partners(pairs)
        return total.reshape(x.shape)

    def potential_and_gradient(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """V (B,) and dV/dx (B, n) at x (B, n) and t (B, 1), together.

        The same as the two methods above, but for rounding, and several times faster on a few particles:
        the batch is the last index in memory. It is so from the start if x is a transposed (n, B).
        """
        count, shape = len(x), (self.particles, self.dimensions, len(x))
        r, clock = x.t().contiguous().reshape(shape).transpose(1, 2), t.reshape(1, count)
        total, slope = x.new_zeros(count), torch.zeros_like(r)
        for term in self.terms.values():
            total = total + term.value(r, clock).sum(0)
            slope = slope + term.gradient(r, clock)
        if self.interaction is not None and self.particles > 1:
            first, second, pair_of, sign_of = self._tables(x)
            pairs = r.index_select(0, first) - r.index_select(0, second)
            total = total + self.interaction.value(pairs, clock).sum(0)
            chosen = self.interaction.gradient(pairs, clock).index_select(0, pair_of.flatten())
            chosen = chosen.reshape(*pair_of.shape, count, self.dimensions)
            slope = slope + (sign_of[..., None, None] * chosen).sum(1)
        return total, slope.transpose(1, 2).reshape(self.coordinates, count).t()

    def pair_differences(self, x: Tensor) -> Tensor:
        """x_i - x_j for every pair i < j, in the order of `numpy.triu_indices`: (B, P, D); P may be 0."""
        first, second, _, _ = self._tables(x)
        r = self._by_particle(x)
        return r.index_select(-2, first) - r.index_select(-2, second)

    def _by_particle(self, x: Tensor) -> Tensor:
        return x.reshape(*x.shape[:-1], self.particles, self.dimensions)

    def _sum_over_partners(self, pairs: Tensor) -> Tensor:
        # a gather, not an index_add: the sum has the same order on every device and in every run
        _, _, pair_of, sign_of = self._tables(pairs)
        chosen = pairs.index_select(-2, pair_of.flatten())
        chosen = chosen.reshape(*pairs.shape[:-2], self.particles, self.particles - 1, self.dimensions)
        return (sign_of.unsqueeze(-1) * chosen).sum(-2)

    def _tables(self, like: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        place = (like.device, like.dtype)
        if place not in self._on_device:
            # a table first made under inference_mode could not be used in a backward pass later
            with torch.inference_mode(False):
                self._on_device[place] = (
                    torch.as_tensor(self._first, device=like.device),
                    torch.as_tensor(self._second, device=like.device),
                    torch.as_tensor(self._pair_of, device=like.device),
                    torch.as_tensor(self._sign_of, device=like.device, dtype=like.dtype),
                )
        return self._on_device[place]


def _pairs_of_each_particle(particles: int) -> tuple[np.ndarray, np.ndarray]:
    """The N - 1 pairs of each particle, and +1 where it comes first, -1 where second: two (N, N-1) arrays."""
    first, second = np.triu_indices(particles, 1)
    number = np.zeros((particles, particles), dtype=np.int64)
    number[first, second] = number[second, first] = np.arange(first.size)
    sign = np.zeros((particles, particles))
    sign[first, second], sign[second, first] = 1.0, -1.0
    others = ~np.eye(particles, dtype=bool)
    return number[others].reshape(particles, -1), sign[others].reshape(particles, -1)


def build_system(config: Config) -> System:
    """The system of an input.

    Raises:
        ConfigError: a formula, target or list of the input that cannot be used.
    """
    table = config.system
    setting = Setting(dimensions=table.dimensions, mass=table.mass, end=config.time.end)
    return System(
        particles=table.particles,
        dimensions=table.dimensions,
        hbar=table.hbar,
        mass=table.mass,
        end=config.time.end,
        terms={key: build_one_body(term, key, setting) for key, term in table.one_body_terms().items()},
        interaction=None if table.interaction is None else build_interaction(table.interaction, setting),
    )
