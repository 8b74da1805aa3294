"""A symmetric potential network: log-amplitude and phase of a boson wave function.

Two channels (R, S), each a sum of one-body, pair and many-body terms,

    F(x, t) = sum_{i<j} p(e_ij) + sum_i q(h_i),
    e_ij = E(pair features of x_i, x_j; t)                               one vector for each pair
    h_i  = G(features of x_i; t, sum_{j != i} A e_ij / sqrt(N))          one for each particle, with messages

E and G are residual tanh networks. Pair features do not change when the two particles are exchanged, so F is
symmetric and smooth, also where particles meet: Gaussians of x_i - x_j as wide as the interaction and twice
that, a softened distance, and the sum x_i + x_j. Without messages (`network.messages = false`) h_i sees x_i
alone and F stops at two-body terms (Jastrow form).

Only the value, the n derivatives, d/dt and the LAPLACIAN of F are ever needed, and one forward pass of jets
yields them (see `jets.py`): a pair has 2 D directions, a particle with messages all n.
Cost per point: N(N-1)/2 (2 D + 3) rows through E and N (n + 3) rows through G.

Shapes: P points, N particles, D axes, n = N D, Q pairs, H width.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from dsmsim.config import NetworkTable
from dsmsim.networks import jets
from dsmsim.networks.layers import hidden_linear
from dsmsim.networks.potential import CHANNELS, SOFTENING, START, Potential, PotentialJet, clock_feature


class PairPotential(Potential):
    """(R, S) of dimensionless positions and time: (P, n), (P, 1) -> (P, 2).

    Args:
        table: [network].
        particles, dimensions: N and D.
        widths: widths of the Gaussian pair features, in the unit of length of the positions.
        stretch: (D,) initial widths along the axes in the same unit, 1 where all axes are alike.
        interacting: False leaves one-body terms alone: without interaction a product stays a product.
    """

    first: Tensor
    second: Tensor
    pair_of: Tensor
    own_column: Tensor
    other_column: Tensor
    place: Tensor

    def __init__(
        self,
        table: NetworkTable,
        particles: int,
        dimensions: int,
        widths: Sequence[float] = (1.0, 2.0),
        stretch: Sequence[float] | None = None,
        interacting: bool = True,
    ) -> None:
        super().__init__()
        width = table.width
        self.particles, self.dimensions = particles, dimensions
        self.pairs = interacting and particles > 1
        self.messages = table.messages and self.pairs
        self.widths = tuple(widths)
        self.stretch = tuple(stretch) if stretch is not None else (1.0,) * dimensions
        self.node_input = nn.Linear(1 + 2 * dimensions, width)
        self.node_hidden = nn.ModuleList(hidden_linear(table) for _ in range(table.blocks))
        self.node_output = nn.Linear(width, CHANNELS, bias=False)
        if self.pairs:
            squares = dimensions + math.comb(dimensions, 2)
            self.pair_input = nn.Linear(1 + dimensions + squares + len(self.widths), width)
            self.pair_hidden = nn.ModuleList(hidden_linear(table) for _ in range(table.blocks))
            self.pair_output = nn.Linear(width, CHANNELS, bias=False)
            if self.messages:
                self.message = hidden_linear(table, bias=False)
        with torch.no_grad():
            self.node_output.weight.mul_(START)
            if self.pairs:
                self.pair_output.weight.mul_(START)
        for name, values in _tables(particles).items():
            self.register_buffer(name, torch.as_tensor(values), persistent=False)

    @property
    def values_per_point(self) -> int:
        """Hidden values of all streams of a jet at one point, in one layer of each network."""
        count, axes, width = self.particles, self.dimensions, self.node_input.out_features
        directions = count * axes if self.messages else axes
        rows = count * (directions + 3)
        if self.pairs:
            rows += math.comb(count, 2) * (2 * axes + 3)
        return rows * width

    def forward(self, y: Tensor, clock: Tensor, weights: Mapping[str, Tensor] | None = None) -> Tensor:
        """(R, S), each summed over all terms: (P, 2); `weights` as in `jet`."""
        weights = self.weights() if weights is None else weights
        nodes = self._node_features(y, clock, derivatives=False)
        total = y.new_zeros(len(y), CHANNELS)
        messages = None
        if self.pairs:
            pairs = self._network("pair", self._pair_features(y, clock, derivatives=False), weights, None)
            total = jets.linear_layer(pairs, weights["pair_output.weight"])[:, 0].sum(1)
            if self.messages:
                messages = self._gathered(self._message(pairs, weights))
        hidden = self._network("node", nodes, weights, messages)
        return total + jets.linear_layer(hidden, weights["node_output.weight"])[:, 0].sum(1)

    def jet(self, y: Tensor, clock: Tensor, weights: Mapping[str, Tensor] | None = None) -> PotentialJet:
        """F with its derivatives in y and clock; differentiable once in `weights` (see `weights`)."""
        weights = self.weights() if weights is None else weights
        points, count, axes = len(y), self.particles, self.dimensions
        nodes = self._node_features(y, clock, derivatives=True)
        messages = pair_terms = None
        if self.pairs:
            pairs = self._network("pair", self._pair_features(y, clock, derivatives=True), weights, None)
            pair_terms = jets.linear_layer(pairs, weights["pair_output.weight"])
            if self.messages:
                nodes = self._widen(nodes)
                messages = self._spread(self._message(pairs, weights))
        hidden = self._network("node", nodes, weights, messages)
        out = jets.linear_layer(hidden, weights["node_output.weight"])
        if self.messages:
            summed = out.sum(2)
            gradient = summed[:, 1:-2]
        else:
            summed = torch.cat([out[:, :1], out[:, -2:]], 1).sum(2)
            gradient = out[:, 1:-2].transpose(1, 2).reshape(points, count * axes, CHANNELS)
        value, dt, laplacian = summed[:, 0], summed[:, -2], summed[:, -1]
        if pair_terms is not None:
            ends = pair_terms[:, [0, -2, -1]].sum(2)
            value, dt, laplacian = value + ends[:, 0], dt + ends[:, 1], laplacian + ends[:, 2]
            own, _ = self._by_partner(pair_terms)
            gradient = gradient + own.sum(-2).transpose(1, 2).reshape(points, count * axes, CHANNELS)
        return PotentialJet(value, gradient, dt, laplacian)

    def _message(self, pairs: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        return jets.linear_layer(pairs, weights["message.weight"] / math.sqrt(self.particles))

    def _pair_features(self, y: Tensor, clock: Tensor, derivatives: bool) -> Tensor:
        """Time, sums, softened squares of differences, Gaussians of the distance: (P, 2 D + 3 or 1, Q, F)."""
        r, axes = y.reshape(len(y), self.particles, self.dimensions), self.dimensions
        one, two = r.index_select(1, self.first), r.index_select(1, self.second)
        features = [clock_feature(clock, len(self.first), 2 * axes, derivatives)]
        half = math.sqrt(0.5)
        differences, distance = [], None
        for axis in range(axes):
            if derivatives:
                a = jets.variable(one[:, :, axis], axis, 2 * axes)
                b = jets.variable(two[:, :, axis], axes + axis, 2 * axes)
            else:
                a, b = one[:, :, axis].unsqueeze(1), two[:, :, axis].unsqueeze(1)
            features.append(jets.soft_sign_length((a + b) * (half / self.stretch[axis]), SOFTENING))
            difference = (a - b) * half
            differences.append(difference)
            square = jets.product(difference, difference)
            features.append(jets.soft_length(square / self.stretch[axis] ** 2, SOFTENING))
            distance = square if distance is None else distance + square
        assert distance is not None
        if axes > 1:
            inverse = jets.reciprocal(jets.soft_length(distance, SOFTENING))
            for a, b in itertools.combinations(differences, 2):
                features.append(jets.product(jets.product(a, b), inverse))
        features += [jets.gaussian(distance, width) for width in self.widths]
        return torch.stack(features, -1)

    def _by_partner(self, pairs: Tensor) -> tuple[Tensor, Tensor]:
        """Derivatives of pair values (P, K, Q, H) along each particle and along its partner.

        Returns:
            (P, D, N, N-1, H) derivatives of e_ij along x_i, and the same along x_j.
        """
        axes, count = self.dimensions, self.particles
        both = torch.cat([pairs[:, 1 : 1 + axes], pairs[:, 1 + axes : 1 + 2 * axes]], 2)
        shape = (len(pairs), axes, count, count - 1, pairs.shape[-1])
        own = both.index_select(2, self.own_column).reshape(shape)
        return own, both.index_select(2, self.other_column).reshape(shape)

    def _gathered(self, pairs: Tensor) -> Tensor:
        """Sum over partners of pair values (P, K, Q, H): (P, K, N, H)."""
        chosen = pairs.index_select(2, self.pair_of)
        shape = (*pairs.shape[:2], self.particles, self.particles - 1, pairs.shape[-1])
        return chosen.reshape(shape).sum(3)

    def _spread(self, pairs: Tensor) -> Tensor:
        """Sum over partners of pair jets, with derivatives along all n directions: (P, n + 3, N, H)."""
        points, axes, count, width = len(pairs), self.dimensions, self.particles, pairs.shape[-1]
        ends = self._gathered(pairs[:, [0, -2, -1]])
        own, other = self._by_partner(pairs)
        # for each particle: its own direction first, then those of its partners; then put in order
        row = torch.cat([own.sum(3, keepdim=True), other], 3).reshape(points, axes, count * count, width)
        along = row.index_select(2, self.place).reshape(points, axes, count, count, width)
        along = along.transpose(1, 2).reshape(points, count * axes, count, width)
        return torch.cat([ends[:, :1], along, ends[:, 1:]], 1)

    def _widen(self, nodes: Tensor) -> Tensor:
        """Node jets with D directions as jets with all n, zero along the other particles."""
        points, count, axes = len(nodes), self.particles, self.dimensions
        wide = nodes.new_zeros(points, count, axes, count, nodes.shape[-1])
        index = torch.arange(count, device=nodes.device)
        wide[:, index, :, index] = nodes[:, 1:-2].permute(2, 0, 1, 3)
        wide = wide.reshape(points, count * axes, count, nodes.shape[-1])
        return torch.cat([nodes[:, :1], wide, nodes[:, -2:]], 1)


def _tables(particles: int) -> dict[str, np.ndarray]:
    """Who meets whom: pairs in the order of `numpy.triu_indices`, partners of a particle in rising order.

    `own_column` and `other_column` number the columns of (derivative along the first particle of each pair,
    derivative along the second); `place` puts [own, partners ...] of each particle in the order (direction,
    particle).
    """
    first, second = np.triu_indices(particles, 1)
    number = np.zeros((particles, particles), dtype=np.int64)
    number[first, second] = number[second, first] = np.arange(first.size)
    others = ~np.eye(particles, dtype=bool)
    comes_second = np.tril(np.ones((particles, particles), dtype=np.int64), -1)
    pair_of = number[others]
    is_second = comes_second[others]
    place = np.zeros((particles, particles), dtype=np.int64)
    for node, direction in itertools.product(range(particles), repeat=2):
        partner = 1 + direction - (direction > node)
        place[direction, node] = node * particles + (0 if direction == node else partner)
    return {
        "first": first.astype(np.int64),
        "second": second.astype(np.int64),
        "pair_of": pair_of,
        "own_column": pair_of + first.size * is_second,
        "other_column": pair_of + first.size * (1 - is_second),
        "place": place.reshape(-1),
    }
