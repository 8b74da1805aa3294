"""The potential network: values and derivatives against the oracle, symmetry, gradients of its weights."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from plain_potential import assert_gradients_equal, assert_jets_equal, plain_value
from torch import Tensor

from dsmsim.config import NetworkTable
from dsmsim.networks.pair_potential import PairPotential

CASES = [
    (particles, dimensions, messages, blocks)
    for particles, dimensions in ((1, 1), (2, 1), (4, 1), (1, 3), (3, 2), (2, 3))
    for messages in (True, False)
    for blocks in (1, 2)
    if (blocks == 1 or particles == 3) and (messages or particles > 1)
]
cases = pytest.mark.parametrize(("particles", "dimensions", "messages", "blocks"), CASES)


def network(particles: int, dimensions: int, messages: bool, blocks: int) -> PairPotential:
    torch.manual_seed(particles + 10 * dimensions)
    table = NetworkTable(width=6, blocks=blocks, messages=messages)
    return PairPotential(table, particles, dimensions, (0.8, 1.7), (1.0, 0.7, 1.3)[:dimensions]).double()


def points(net: PairPotential, count: int = 4) -> tuple[Tensor, Tensor]:
    torch.manual_seed(3)
    n = net.particles * net.dimensions
    return 2.0 * torch.randn(count, n, dtype=torch.float64), torch.rand(count, 1, dtype=torch.float64)


@cases
def test_jet_is_the_value_with_its_derivatives(
    particles: int, dimensions: int, messages: bool, blocks: int
) -> None:
    net = network(particles, dimensions, messages, blocks)
    assert_jets_equal(net, partial(plain_value, net), *points(net))


@cases
def test_gradients_of_the_weights(particles: int, dimensions: int, messages: bool, blocks: int) -> None:
    net = network(particles, dimensions, messages, blocks)
    assert_gradients_equal(net, partial(plain_value, net), *points(net))


@pytest.mark.parametrize("messages", [True, False])
@pytest.mark.parametrize("dimensions", [1, 2])
def test_particles_may_be_exchanged(dimensions: int, messages: bool) -> None:
    net = network(4, dimensions, messages, 1)
    y, clock = points(net)
    order = [2, 0, 3, 1]
    exchanged = y.reshape(-1, 4, dimensions)[:, order].reshape(y.shape)
    torch.testing.assert_close(net(exchanged, clock), net(y, clock), rtol=1e-13, atol=1e-13)
    gradient = net.jet(y, clock).gradient.reshape(-1, 4, dimensions, 2)[:, order]
    found = net.jet(exchanged, clock).gradient.reshape(gradient.shape)
    torch.testing.assert_close(found, gradient, rtol=1e-12, atol=1e-13)


def test_messages_carry_more_than_pairs() -> None:
    """A Jastrow form has no mixed third derivative among three particles; with messages there is one."""

    def third(net: PairPotential) -> float:
        y, clock = points(net, 1)
        func = torch.func

        def value(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
            return plain_value(net, torch.stack([a, b, c]), clock[0])[0]

        third_derivative = func.grad(func.grad(func.grad(value, 0), 1), 2)
        return float(third_derivative(*y[0]).detach().abs())

    assert third(network(3, 1, False, 1)) < 1e-14
    assert third(network(3, 1, True, 1)) > 1e-6


def test_without_interaction_only_particles_count() -> None:
    torch.manual_seed(1)
    net = PairPotential(NetworkTable(width=6), 3, 1, interacting=False).double()
    assert {name.split("_")[0] for name, _ in net.named_parameters()} == {"node"}
    y, clock = points(net)
    alone = [net.jet(torch.cat([y[:, :k], 0.0 * y[:, k : k + 1], y[:, k + 1 :]], 1), clock) for k in range(3)]
    jet = net.jet(y, clock)
    # a sum over particles: taking each in turn to the centre changes one term at a time
    origin = net.jet(0.0 * y, clock).value / 3
    torch.testing.assert_close(sum(jet.value - a.value + origin for a in alone), jet.value)
    assert jet.gradient.shape == (4, 3, 2)


def test_weights_of_tensor_layers_are_dense() -> None:
    table = NetworkTable.model_validate({"width": 6, "tensor": {"rank": 2}})
    net = PairPotential(table, 2, 1).double()
    weights = net.weights()
    assert weights["pair_hidden.0.weight"].shape == (6, 6)
    assert set(weights) == {
        f"{name}.{part}"
        for name in ("node_input", "node_hidden.0", "pair_input", "pair_hidden.0")
        for part in ("weight", "bias")
    } | {"node_output.weight", "pair_output.weight", "message.weight"}
