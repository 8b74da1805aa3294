"""The networks against the formulas of their docstrings, written out particle by particle."""

from __future__ import annotations

import pytest
import torch
from field_problems import problem
from network_fields import fields_of, points
from torch import Tensor, nn

from dsmsim.networks.equivariant import Equivariant
from dsmsim.networks.mlp import MLP
from dsmsim.networks.sorted_mlp import SortedMLP


def affine(layer: nn.Module, x: Tensor) -> Tensor:
    """W x + b with the weight as a dense matrix; the bias may be absent."""
    bias = layer.bias if isinstance(layer.bias, Tensor) else 0.0
    weight: Tensor = layer.weight  # type: ignore[assignment]
    return x @ weight.T + bias


def residual_blocks(blocks: nn.Sequential, h: Tensor) -> Tensor:
    """h -> tanh(h + tanh(W_b tanh(W_a h + b_a) + b_b)) for every block."""
    for block in blocks:
        h = torch.tanh(h + torch.tanh(affine(block.second, torch.tanh(affine(block.first, h)))))
    return h


@pytest.mark.parametrize("tensor", [{}, {"tensor": {"rank": 2}}], ids=["dense", "tt"])
@pytest.mark.parametrize("dimensions", [1, 2])
def test_equivariant(dimensions: int, tensor: dict[str, object]) -> None:
    """m_i = mean_j tanh(A x_i + B (x_i - x_j) + a t + b) and s = mean_j tanh(C x_j + c t + e)."""
    config = problem("equivariant", dimensions=dimensions, blocks=2, **tensor)
    net = fields_of(config).u
    assert isinstance(net, Equivariant)
    x, t = points(config, 3)
    for b in range(3):
        r, clock = x[b].reshape(3, dimensions), t[b]
        own = [torch.cat([r[i], clock]) for i in range(3)]
        common = sum(torch.tanh(affine(net.symmetric, own[j])) for j in range(3)) / 3
        for i in range(3):
            message = sum(
                torch.tanh(affine(net.message_self, own[i]) + affine(net.message_pair, r[i] - r[j]))
                for j in range(3)
            )
            h = torch.tanh(affine(net.input, torch.cat([own[i], message / 3, common])))
            expected = affine(net.output, residual_blocks(net.blocks, h))
            found = net(x[b : b + 1], t[b : b + 1]).reshape(3, dimensions)[i]
            torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("tensor", [{}, {"tensor": {"rank": 2}}], ids=["dense", "tt"])
def test_mlp_and_sorted(tensor: dict[str, object]) -> None:
    config = problem("mlp", blocks=2, **tensor)
    net, by_order = fields_of(config).u, fields_of(problem("sorted", blocks=2, **tensor)).u
    assert isinstance(net, MLP)
    assert isinstance(by_order, SortedMLP)
    by_order.mlp.load_state_dict(net.state_dict())
    x, t = points(config, 6)

    def formula(y: Tensor, s: Tensor) -> Tensor:
        h = torch.tanh(affine(net.input, torch.cat([y, s], 1)))
        return affine(net.output, residual_blocks(net.blocks, h))

    torch.testing.assert_close(net(x, t), formula(x, t), rtol=1e-12, atol=1e-13)
    order = x.argsort(1)
    values = formula(x.gather(1, order), t)
    for b in range(6):
        for place, particle in enumerate(order[b]):
            torch.testing.assert_close(by_order(x, t)[b, particle], values[b, place], rtol=1e-12, atol=1e-13)
