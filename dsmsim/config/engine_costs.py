"""What the loss and its gradient cost, engine by engine.

The numbers kept per point were counted in the allocations of each engine; they are polynomials in width,
coordinates and blocks.

Symbols: `n` coordinates, N particles, H width, b blocks, P points that go through together.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from dsmsim.config.network_costs import NetworkCosts, PotentialCosts
from dsmsim.config.run_tables import POTENTIAL_KINDS, NetworkTable
from dsmsim.tensor_shapes.strategy import plan
from dsmsim.tensor_shapes.work import chain

if TYPE_CHECKING:
    from dsmsim.config.model import Config

RESIDUAL_CHUNK = 4096  # residual points that go through the derivative graph at a time
NUMBER_BYTES = {"float32": 4, "float64": 8}
# the C library returns tensors of at least this size at once, and keeps smaller ones in a heap with holes
MAPPED_BYTES = 32 << 20
HEAP_WITH_HOLES = 1.6  # resident / allocated, measured for graphs of many tensors of unlike sizes


class EngineCosts(ABC):
    """The loss with its gradient by one engine.

    Args:
        config: the input.
        network: what one of its networks costs.
    """

    def __init__(self, config: Config, network: NetworkCosts) -> None:
        self.config, self.network = config, network
        self.n, self.width, self.blocks = network.n, network.width, config.network.blocks
        self.size = NUMBER_BYTES[config.train.precision]
        self.networks = len(network.names)

    @abstractmethod
    def multiply_adds(self) -> int:
        """Of loss and gradient at one point, all networks."""

    @abstractmethod
    def memory(self, points: int) -> int:
        """Bytes at the peak of one gradient of a batch."""

    @abstractmethod
    def values(self) -> float:
        """Numbers at the peak of the residuals alone at one point."""

    def numbers_per_point(self) -> int:
        """Numbers of one residual at one point."""
        return self.n


def rebuilt_values(table: NetworkTable) -> int:
    """Numbers that exist while one layer's weight is made from its cores and differentiated; 0 if dense.

    Counted in the allocations of all formats: the matrix four times, and its two halves, which large ranks
    make larger than the matrix, twice (four times where a core of all ranks joins the factors).
    """
    tensor, width = table.tensor, table.width
    if tensor is None:
        return 0
    (modes_out, modes_in), ranks = tensor.modes(width), tensor.ranks(width)
    sizes = tensor.format, tuple(modes_out), tuple(modes_in), ranks
    halves = chain(*sizes, plan(*sizes, 1, backward=True, choice="rebuild").grouping)
    bonds = zip(halves.bonds[:-1], halves.modes_out, halves.modes_in, halves.bonds[1:], strict=True)
    copies = 4 if tensor.format in ("tucker", "blockterm") else 2
    return 4 * width**2 + copies * sum(math.prod(half) for half in bonds)


class GraphCosts(EngineCosts):
    """An engine that keeps a graph of one chunk of points at a time: flat from RESIDUAL_CHUNK points on."""

    @abstractmethod
    def kept(self) -> float:
        """Numbers at the peak for one point, all networks."""

    @abstractmethod
    def stack(self) -> int:
        """Numbers for one point in a typical tensor of the graph."""

    heap = HEAP_WITH_HOLES

    def chunk(self, points: int) -> int:
        """Points that go through together."""
        return min(points, RESIDUAL_CHUNK)

    def memory(self, points: int) -> int:
        chunk = self.size * self.chunk(points)
        holes = 1.0 if chunk * self.stack() >= MAPPED_BYTES else self.heap
        return math.ceil(holes * chunk * self.kept()) + self.rebuilt()

    def rebuilt(self) -> int:
        """Bytes of decomposed layers as dense matrices, with their gradients and what makes them."""
        return self.size * self.networks * self.network.hidden_layers * rebuilt_values(self.config.network)


class TorchFuncCosts(GraphCosts):
    """torch.func: n + 1 directions forward, reverse for grad div, reverse for the parameters."""

    def multiply_adds(self) -> int:
        return self.networks * (6 * self.n + 16) * self.network.multiply_adds()  # counted

    def kept(self) -> float:
        n, particles = self.n, self.network.particles
        hidden = 6.5 * n + 12  # for each hidden value of a block
        if self.config.network.kind == "equivariant":
            pairs, own = particles**2 * (5.5 * n + 9), particles * (12 * n + 23)
            values = (pairs + own + 2 * self.blocks * particles * hidden) * self.width
        else:
            values = (7 * n + 11 + 2 * self.blocks * hidden) * self.width
        return self.networks * (values + 3 * n**2 + 9 * n + 3)

    def values(self) -> float:
        return self.kept() / 3.0

    def stack(self) -> int:
        rows = self.network.particles if self.config.network.kind == "equivariant" else 1
        return (self.n + 1) * rows * self.width


class HutchinsonCosts(GraphCosts):
    """torch.func along two random directions: the same whatever n is."""

    PASSES = 45  # forward passes per point, counted
    heap = 2.1  # smaller tensors, and more of them

    def multiply_adds(self) -> int:
        return self.networks * self.PASSES * self.network.multiply_adds()

    def kept(self) -> float:
        n, particles = self.n, self.network.particles
        if self.config.network.kind == "equivariant":
            values = (19 * particles**2 + 67 * particles + 2 * self.blocks * particles * 33) * self.width
        else:
            values = (25 + 2 * self.blocks * 33) * self.width
        return self.networks * (values + n**2 + 25 * n)

    def values(self) -> float:
        return self.kept() / 3.0

    def stack(self) -> int:
        return self.width


class FusedCosts(EngineCosts):
    """Hand-derived sweeps over stacks of n + 1 rows, in chunks of a fixed size in bytes."""

    STACK_BYTES = 3 << 20
    SEPARATE_WIDTH = 128  # from here on the networks go one by one

    def multiply_adds(self) -> int:
        return self.networks * (6 * self.n + 6) * self.network.multiply_adds()

    def memory(self, points: int) -> int:
        n, rows = self.n, self.n + 1
        together = 1 if self.width >= self.SEPARATE_WIDTH else self.networks
        largest = max(16, self.STACK_BYTES // (together * rows * self.width * self.size))
        chunk = math.ceil(points / math.ceil(points / largest))
        # layers, cotangents and three to pass through, and rows of slopes and their like
        stacks = 6 + 10 * self.blocks + (5 + 15 * self.blocks) / rows
        sweeps = self.networks * rows * self.width * stacks
        residuals = HEAP_WITH_HOLES * 18 * rows**2
        chart = 3 * n**2 + 22 * n + 118  # forces and frames
        charted = min(points, RESIDUAL_CHUNK)
        return math.ceil(self.size * (chunk * (sweeps + residuals) + charted * chart)) + self._weights()

    def values(self) -> float:
        return self.memory(1) / self.size

    def _weights(self) -> int:
        """Bytes of stacked weights and of their gradients, dense."""
        dense = 3 * self.networks * self.network.parameters(dense=True)
        layers = self.networks * self.network.hidden_layers * rebuilt_values(self.config.network)
        return self.size * (dense + layers)


class MadelungCosts(GraphCosts):
    """Jets of a potential network, and one reverse pass through them."""

    network: PotentialCosts

    CACHED_BYTES = 4 << 20  # of one layer's jets, as in `potential_fields.py`

    def chunk(self, points: int) -> int:
        net, group = self.network, self.config.train.block
        fitting = self.CACHED_BYTES // (self.size * net.values_per_point)
        return min(points, max(group, min(fitting, RESIDUAL_CHUNK) // group * group))

    def multiply_adds(self) -> int:
        return 3 * self.network.jet_multiply_adds()

    def kept(self) -> float:
        return self._kept(self.blocks)

    def values(self) -> float:
        return 0.55 * self._kept(1)  # deeper networks reuse what one block leaves

    def numbers_per_point(self) -> int:
        return 1

    def _kept(self, blocks: int) -> float:
        net = self.network
        nodes, pairs = net.particles * net.node_streams, net.pairs * net.pair_streams
        # every layer keeps what enters its tanh and what leaves it; a layer's reverse pass takes three more
        layers = 2 * (1 + blocks)
        at_nodes = self.width * (layers * (nodes + pairs) + 3 * (nodes + net.particles))
        at_pairs = self.width * (layers * pairs + 3 * (pairs + net.pairs))
        beside = self.width * layers * nodes + net.values_beside()
        features = nodes * net.node_features + pairs * net.pair_features
        return max(at_nodes, at_pairs, beside) + 1.25 * features

    def stack(self) -> int:
        return self.network.particles * self.network.node_streams * self.width


def engine_name(config: Config) -> str:
    """The engine that a run takes: a key of `ENGINE_COSTS`."""
    if config.network.kind in POTENTIAL_KINDS:
        return "madelung"
    if config.train.divergence == "hutchinson":
        return "hutchinson"
    if config.train.optimizer == "gauss_newton":
        return "torch_func"
    if config.train.engine == "auto":
        return "fused" if config.network.kind == "mlp" else "torch_func"
    return config.train.engine


ENGINE_COSTS: dict[str, type[EngineCosts]] = {
    "torch_func": TorchFuncCosts,
    "hutchinson": HutchinsonCosts,
    "fused": FusedCosts,
    "madelung": MadelungCosts,
}


def engine_costs(config: Config, network: NetworkCosts) -> EngineCosts:
    """The costs of the engine that a run takes."""
    return ENGINE_COSTS[engine_name(config)](config, network)
