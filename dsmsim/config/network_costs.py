"""Parameters, arithmetic and hidden values of the networks, kind by kind.

Parameter counts are exact; the networks themselves are not needed for them (torch takes seconds to load).

Symbols: `n` coordinates, N particles, D dimensions, H width, Q = N (N - 1) / 2 pairs, 0 without
interaction.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dsmsim.config.model import Config

Shape = tuple[int, ...]

CHANNELS = 2  # R and S of a potential
PAIR_WIDTHS = 2  # Gaussians of the distance among the features of a pair


class NetworkCosts(ABC):
    """What one network of a kind takes.

    Args:
        config: the input; [system] and [network] are read.

    Attributes:
        names: of the networks of the fields, all of one shape.
    """

    names: tuple[str, ...] = ("u", "v")

    def __init__(self, config: Config) -> None:
        system, self.table = config.system, config.network
        self.n, self.particles, self.dimensions = system.coordinates, system.particles, system.dimensions
        self.width = self.table.width
        # without interaction a product stays a product: no network of pairs is made
        self.pairs = math.comb(self.particles, 2) if system.interaction is not None else 0

    @abstractmethod
    def layers(self) -> list[Shape]:
        """Shapes of all weights and biases outside the hidden layers."""

    def shapes(self, *, dense: bool = False) -> list[tuple[Shape, int]]:
        """Shapes of all parameters, and how many there are of each.

        Args:
            dense: with dense hidden layers even where [network.tensor] is given.
        """
        tensor, width = None if dense else self.table.tensor, self.width
        hidden = [(width, width)] if tensor is None else tensor.core_shapes(width)
        repeated = [*((shape, self.hidden_layers) for shape in hidden), ((width,), self.hidden_biases)]
        return [*((shape, 1) for shape in self.layers()), *repeated]

    def parameters(self, *, dense: bool = False) -> int:
        """Trainable parameters, exactly."""
        return sum(count * math.prod(shape) for shape, count in self.shapes(dense=dense))

    def silent_weights(self) -> int:
        """Weights of one network on which nothing depends while its clock stands at 0, as in a march."""
        return self.width

    @abstractmethod
    def multiply_adds(self) -> int:
        """Of the value at one point; decomposed layers are applied as dense ones."""

    def drift_multiply_adds(self) -> int:
        """Of the network's part of the velocities at one point."""
        return self.multiply_adds()

    @abstractmethod
    def hidden_values(self) -> int:
        """Numbers in the hidden layers at one point."""

    @abstractmethod
    def drift_values(self) -> int:
        """Numbers that exist at the peak of evaluating the velocities at one point."""

    @property
    def hidden_layers(self) -> int:
        """Number of layers of H x H weights that may be decomposed."""
        return 2 * self.table.blocks

    @property
    def hidden_biases(self) -> int:
        """How many of them have a bias."""
        return self.hidden_layers


class PlainCosts(NetworkCosts):
    """(x, t) -> H, residual blocks of two layers, H -> n."""

    def layers(self) -> list[Shape]:
        return [*_linear(self.n + 1, self.width), *_linear(self.width, self.n)]

    def multiply_adds(self) -> int:
        return (2 * self.n + 1) * self.width + self.hidden_layers * self.width**2

    def hidden_values(self) -> int:
        return (1 + self.hidden_layers) * self.width

    def drift_values(self) -> int:
        return 4 * self.width + self.n


class EquivariantCosts(NetworkCosts):
    """Messages (x_i, t) -> H, x_i - x_j -> H (no bias), sums (x_j, t) -> H, all of it -> H, blocks, -> D."""

    @property
    def _entering(self) -> int:
        return self.dimensions + 1 + 2 * self.width

    def layers(self) -> list[Shape]:
        features = 2 * _linear(self.dimensions + 1, self.width) + [(self.width, self.dimensions)]
        return [*features, *_linear(self._entering, self.width), *_linear(self.width, self.dimensions)]

    def silent_weights(self) -> int:
        alone = self.dimensions if self.particles == 1 else 0  # no other particle to be apart from
        return (3 + alone) * self.width

    def multiply_adds(self) -> int:
        features = (4 * self.dimensions + 2 + self._entering) * self.width
        return self.particles * (features + self.hidden_layers * self.width**2)

    def hidden_values(self) -> int:
        return (self.particles**2 + (3 + self.hidden_layers) * self.particles) * self.width

    def drift_values(self) -> int:
        return (3 * self.particles**2 + 2 * self.particles) * self.width


class PotentialCosts(NetworkCosts):
    """(R, S): features of a particle -> H, layers, -> 2; the same for pairs; messages between particles."""

    names = ("potential",)

    @property
    def messages(self) -> bool:
        """Whether pairs tell particles of each other."""
        return self.table.messages and self.pairs > 0

    @property
    def node_features(self) -> int:
        """Time, a position and a distance along every axis."""
        return 1 + 2 * self.dimensions

    @property
    def pair_features(self) -> int:
        """Time, sums, products of differences along all pairs of axes, Gaussians of the distance."""
        return 1 + self.dimensions + math.comb(self.dimensions + 1, 2) + PAIR_WIDTHS

    @property
    def hidden_layers(self) -> int:
        return self.hidden_biases + self.messages

    @property
    def hidden_biases(self) -> int:
        return self.table.blocks * (2 if self.pairs else 1)

    def layers(self) -> list[Shape]:
        found = [*_linear(self.node_features, self.width), (CHANNELS, self.width)]
        if self.pairs:
            found += [*_linear(self.pair_features, self.width), (CHANNELS, self.width)]
        return found

    def silent_weights(self) -> int:
        return (2 if self.pairs else 1) * self.width

    @property
    def node_row(self) -> int:
        """Multiply-adds of one row of a jet through the network of a particle."""
        return (self.node_features + CHANNELS + self.table.blocks * self.width) * self.width

    @property
    def pair_row(self) -> int:
        """The same for a pair, its message included."""
        layers = self.table.blocks + self.messages
        return (self.pair_features + CHANNELS + layers * self.width) * self.width

    @property
    def values_per_point(self) -> int:
        """Hidden values of all streams of a jet at one point, in one layer of each network."""
        rows = self.particles * self.node_streams + self.pairs * self.pair_streams
        return rows * self.width

    def values_beside(self) -> int:
        """Numbers at the peak of what is made of the last layers' jets at one point."""
        return 0

    @property
    def node_streams(self) -> int:
        """Streams of the jet of a particle: value, derivatives, d/dt, Laplacian."""
        return (self.n if self.messages else self.dimensions) + 3

    @property
    def pair_streams(self) -> int:
        """Streams of the jet of a pair."""
        return 2 * self.dimensions + 3

    def multiply_adds(self) -> int:
        return self.particles * self.node_row + self.pairs * self.pair_row

    def drift_multiply_adds(self) -> int:
        return 2 * self.multiply_adds()  # its value, and one reverse pass to the positions

    def jet_multiply_adds(self) -> int:
        """Of value, gradient, time derivative and Laplacian at one point."""
        of_nodes = self.particles * self.node_streams * self.node_row
        return of_nodes + self.pairs * self.pair_streams * self.pair_row

    def hidden_values(self) -> int:
        layers = 1 + self.table.blocks
        return (self.particles * layers + self.pairs * (layers + self.messages)) * self.width

    def drift_values(self) -> int:
        # a gradient of the value: what every layer left and its cotangents, in a heap with holes
        return 4 * self.hidden_values()


class FunctionalTTCosts(PotentialCosts):
    """(R, S): features of a particle -> H, layers, -> symmetric matrices, multiplied around a ring."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.pairs, self.rank = 0, self.table.bond_rank

    @property
    def messages(self) -> bool:
        return False

    @property
    def hidden_biases(self) -> int:
        return self.table.blocks

    def layers(self) -> list[Shape]:
        entries = CHANNELS * math.comb(self.rank + 1, 2)
        return [*_linear(self.node_features, self.width), (entries, self.width)]

    def silent_weights(self) -> int:
        # of a single matrix only the diagonal is in the trace
        beside = CHANNELS * math.comb(self.rank, 2) if self.particles == 1 else 0
        return (1 + beside) * self.width

    @property
    def node_row(self) -> int:
        cores = CHANNELS * self.rank**2
        return (self.node_features + cores + self.table.blocks * self.width) * self.width

    def multiply_adds(self) -> int:
        return super().multiply_adds() + self.particles * CHANNELS * self.rank**3

    def jet_multiply_adds(self) -> int:
        ring = 3 * self.particles * CHANNELS * self.rank**3  # products from the left, the right, and of both
        return super().jet_multiply_adds() + ring

    @property
    def values_per_point(self) -> int:
        return self.particles * self.node_streams * max(self.width, CHANNELS * self.rank**2)

    def hidden_values(self) -> int:
        layers = (1 + self.table.blocks) * self.width
        return self.particles * (layers + 3 * CHANNELS * self.rank**2)

    def values_beside(self) -> int:
        # cores three times over: as they leave their layer, with the identity, and their cotangents; products
        matrices = 3 * self.particles * self.node_streams
        products = 5 * self.particles + 12 * max(0, self.particles - 2)
        return (matrices + products) * CHANNELS * self.rank**2


NETWORK_COSTS: dict[str, type[NetworkCosts]] = {
    "mlp": PlainCosts,
    "sorted": PlainCosts,
    "equivariant": EquivariantCosts,
    "potential": PotentialCosts,
    "functional_tt": FunctionalTTCosts,
}


def network_costs(config: Config) -> NetworkCosts:
    """The costs of the kind of network that the input asks for."""
    return NETWORK_COSTS[config.network.kind](config)


def _linear(inputs: int, outputs: int) -> list[Shape]:
    """A dense layer with bias."""
    return [(outputs, inputs), (outputs,)]
