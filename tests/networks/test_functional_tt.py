"""The functional tensor train: values and derivatives against the definition, symmetry, work."""

from __future__ import annotations

import itertools
from functools import partial

import pytest
import torch
from plain_potential import assert_gradients_equal, assert_jets_equal, plain_ring
from torch import Tensor

from dsmsim.config import NetworkTable
from dsmsim.networks.functional_tt import FunctionalTT

CASES = [(1, 1, 3, 1), (2, 1, 1, 1), (2, 1, 4, 2), (3, 2, 3, 1), (5, 1, 3, 1), (2, 3, 2, 1)]
cases = pytest.mark.parametrize(("particles", "dimensions", "rank", "blocks"), CASES)


def network(particles: int, dimensions: int, rank: int, blocks: int = 1, size: float = 4.0) -> FunctionalTT:
    torch.manual_seed(particles + 10 * dimensions)
    table = NetworkTable(kind="functional_tt", width=6, blocks=blocks, bond_rank=rank)
    net = FunctionalTT(table, particles, dimensions, (1.0, 0.7, 1.3)[:dimensions]).double()
    with torch.no_grad():  # away from the linear range
        net.node_output.weight.mul_(size)
    return net


def points(net: FunctionalTT, count: int = 4) -> tuple[Tensor, Tensor]:
    torch.manual_seed(3)
    n = net.particles * net.dimensions
    return torch.randn(count, n, dtype=torch.float64), torch.rand(count, 1, dtype=torch.float64)


@cases
def test_jet_is_the_value_with_its_derivatives(
    particles: int, dimensions: int, rank: int, blocks: int
) -> None:
    net = network(particles, dimensions, rank, blocks)
    assert_jets_equal(net, partial(plain_ring, net), *points(net))


@cases
def test_gradients_of_the_weights(particles: int, dimensions: int, rank: int, blocks: int) -> None:
    net = network(particles, dimensions, rank, blocks)
    assert_gradients_equal(net, partial(plain_ring, net), *points(net))


@pytest.mark.parametrize(("particles", "rank"), [(2, 4), (3, 4), (3, 1)])
def test_up_to_three_particles_may_be_exchanged(particles: int, rank: int) -> None:
    net = network(particles, 1, rank)
    y, clock = points(net)
    for order in itertools.permutations(range(particles)):
        torch.testing.assert_close(net(y[:, order], clock), net(y, clock), rtol=1e-13, atol=1e-13)


def test_the_ring_may_be_turned_and_reversed() -> None:
    net = network(5, 1, 4)
    y, clock = points(net)
    for order in ([1, 2, 3, 4, 0], [4, 3, 2, 1, 0]):
        torch.testing.assert_close(net(y[:, order], clock), net(y, clock), rtol=1e-13, atol=1e-13)


def test_asymmetry_begins_at_fourth_order() -> None:
    """Cores near the identity: exchanging two of five particles costs the fourth power of their distance."""
    sizes, changes = [0.02, 0.04], []
    for size in sizes:
        net = network(5, 1, 4, size=size)
        y, clock = points(net)
        changes.append((net(y[:, [1, 0, 2, 3, 4]], clock) - net(y, clock)).abs().max().item())
    assert changes[1] / changes[0] == pytest.approx(2.0**4, rel=0.1)


def test_pair_functions_of_both_signs() -> None:
    """With one sign alone d^2 F / dx dy at x = y would have that sign: Mercer's theorem."""
    net = network(2, 1, 4)
    clock = torch.zeros(1, dtype=torch.float64)

    def value(a: Tensor, b: Tensor) -> Tensor:
        return plain_ring(net, torch.stack([a, b]), clock)[0]

    crossed = torch.func.grad(torch.func.grad(value, 0), 1)
    places = torch.linspace(-3.0, 3.0, 31, dtype=torch.float64)
    found = torch.stack([crossed(x, x) for x in places])
    assert found.min() < 0.0 < found.max()
