"""SOAP: Adam before its first basis, turned with the problem after it, and never steered by rounding."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from dsmsim.training.soap import BETAS, REFRESH_EVERY, Soap


def _problem(seed: int = 0) -> tuple[nn.Linear, Tensor, Tensor]:
    """An ill-conditioned least-squares problem whose axes are turned against those of the weights."""
    torch.manual_seed(seed)
    turn = torch.linalg.qr(torch.randn(12, 12, dtype=torch.float64))[0]
    x = torch.randn(400, 12, dtype=torch.float64) * torch.logspace(0, -3, 12, dtype=torch.float64) @ turn
    y = x @ torch.randn(12, 8, dtype=torch.float64)
    return nn.Linear(12, 8, dtype=torch.float64), x, y


def _train(optimizer: torch.optim.Optimizer, layer: nn.Linear, x: Tensor, y: Tensor, steps: int) -> float:
    for k in range(steps):
        optimizer.param_groups[0]["lr"] = 0.05 * (1.0 - k / steps)
        optimizer.zero_grad()
        loss = (layer(x) - y).square().mean()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return float(loss.detach())


def test_before_the_first_basis_it_is_adam_up_to_the_damping() -> None:
    layer, x, y = _problem()
    twin = copy.deepcopy(layer)
    steps = REFRESH_EVERY
    _train(Soap(layer.parameters(), lr=0.05), layer, x, y, steps)
    _train(torch.optim.Adam(twin.parameters(), lr=0.05, betas=BETAS), twin, x, y, steps)
    torch.testing.assert_close(layer.weight, twin.weight, rtol=0.0, atol=2e-2)
    assert (layer.weight - _problem()[0].weight).abs().max() > 0.2


def test_it_beats_adam_where_the_axes_are_turned() -> None:
    layer, x, y = _problem()
    twin = copy.deepcopy(layer)
    soap = _train(Soap(layer.parameters()), layer, x, y, 1000)
    adam = _train(torch.optim.Adam(twin.parameters()), twin, x, y, 1000)
    assert soap < 0.1 * adam


def test_bases_stay_orthogonal_and_only_short_sides_turn() -> None:
    layer, x, y = _problem()
    optimizer = Soap(layer.parameters())
    _train(optimizer, layer, x, y, 45)
    state = optimizer.state[layer.weight]  # (8, 12): the side of 12 has a null space
    assert "right" not in state
    basis = state["left_basis"]
    torch.testing.assert_close(basis.T @ basis, torch.eye(8, dtype=torch.float64), rtol=0.0, atol=1e-12)
    assert (basis - torch.eye(8, dtype=torch.float64)).abs().max() > 0.1


def test_rounding_of_the_gradient_does_not_steer_it() -> None:
    """Gradients of rank 3 in a 12 x 12 matrix: most of both bases is decided by rounding."""
    torch.manual_seed(1)
    a, b = torch.randn(60, 12, 3, dtype=torch.float64), torch.randn(60, 3, 12, dtype=torch.float64)
    gradients = (a[:, :, :1] @ b[:, :1]) + 1e-9 * (a @ b)
    weights = []
    for noise in (0.0, 1e-16):
        weight = nn.Parameter(torch.zeros(12, 12, dtype=torch.float64))
        optimizer = Soap([weight], lr=1e-2)
        torch.manual_seed(2)
        for gradient in gradients:
            weight.grad = gradient * (1.0 + noise * torch.randn_like(gradient).sign())
            optimizer.step()
        weights.append(weight.detach())
    assert (weights[0] - weights[1]).abs().max() < 1e-9
    assert weights[0].abs().max() > 1e-2


@pytest.mark.parametrize("shape", [(5,), (4, 6), (2, 3, 4, 5), ()])
def test_every_shape_moves_downhill(shape: tuple[int, ...]) -> None:
    torch.manual_seed(3)
    goal = torch.randn(shape, dtype=torch.float64)
    weight = nn.Parameter(torch.zeros(shape, dtype=torch.float64))
    optimizer = Soap([weight], lr=0.03)
    for _ in range(200):
        optimizer.zero_grad()
        (weight - goal).square().sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert (weight - goal).abs().max() < 0.05
