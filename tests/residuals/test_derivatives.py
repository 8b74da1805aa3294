"""The derivative engine against nested automatic differentiation, one sample and one entry at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from network_fields import fields_of, points
from residual_cases import network_config
from torch import Tensor

from dsmsim.networks import FieldPair
from dsmsim.residuals import Derivatives, derivatives

CASES: list[tuple[int, int, dict[str, Any]]] = [
    (1, 1, {"kind": "mlp"}),
    (2, 1, {"kind": "mlp", "blocks": 2}),
    (1, 3, {"kind": "mlp", "tensor": {"rank": 2}}),
    (1, 3, {"kind": "mlp", "frame": "comoving"}),
    (2, 1, {"kind": "mlp", "initial": "learned"}),
    (2, 1, {"kind": "equivariant"}),
    (3, 1, {"kind": "equivariant", "frame": "comoving"}),
    (2, 2, {"kind": "equivariant", "tensor": {"rank": 3}}),
    (1, 3, {"kind": "equivariant", "frame": "comoving", "tensor": {"rank": 2}, "initial": "learned"}),
    (3, 1, {"kind": "sorted"}),
]
NAMES = [
    f"{kind}-{particles}x{dimensions}" for particles, dimensions, table in CASES for kind in [table["kind"]]
]


def reference(fields: FieldPair, x: Tensor, t: Tensor) -> Derivatives:
    """The same by loops over samples and coordinates with reverse mode only."""
    per_sample = [_at_one_point(fields, x[b], t[b]) for b in range(len(x))]
    return Derivatives(*(torch.stack(parts) for parts in zip(*per_sample, strict=True)))


def _at_one_point(fields: FieldPair, x: Tensor, t: Tensor) -> list[Tensor]:
    x, t = x.clone().requires_grad_(True), t.clone().requires_grad_(True)
    values = [value[0] for value in fields(x[None], t[None])]
    jacobians, rates, gradients = [], [], []
    for value in values:
        rows = [torch.autograd.grad(entry, (x, t), create_graph=True) for entry in value]
        jacobians.append(torch.stack([row[0] for row in rows]))
        rates.append(torch.cat([row[1] for row in rows]))
        divergence = sum((rows[i][0][i] for i in range(len(x))), x.new_zeros(()))
        gradients.append(torch.autograd.grad(divergence, x, create_graph=True)[0])
    return [*values, *jacobians, *rates, *gradients]


def assert_close(found: Derivatives, expected: Derivatives) -> None:
    for name, a, b in zip(Derivatives._fields, found, expected, strict=True):
        assert a.shape == b.shape, name
        scale = max(1.0, b.abs().max().item())
        torch.testing.assert_close(
            a, b, rtol=0.0, atol=1e-10 * scale, msg=lambda text, name=name: f"{name}: {text}"
        )


@pytest.mark.parametrize(("particles", "dimensions", "table"), CASES, ids=NAMES)
def test_derivatives_and_their_parameter_gradients(
    particles: int, dimensions: int, table: dict[str, Any]
) -> None:
    config = network_config(particles, dimensions, **table)
    fields = fields_of(config)
    x, t = points(config, 4)
    found, expected = derivatives(fields, x, t), reference(fields, x, t)
    assert_close(found, expected)
    assert all(bool((value != 0.0).any()) for value in found)
    # every derivative enters one scalar with its own random weights
    generator = torch.Generator().manual_seed(3)
    weights = [torch.randn(value.shape, dtype=torch.float64, generator=generator) for value in found]
    gradients = []
    for values in (found, expected):
        scalar = sum(((w * value).sum() for w, value in zip(weights, values, strict=True)), x.new_zeros(()))
        gradients.append(torch.autograd.grad(scalar, list(fields.parameters())))
    for (name, _), a, b in zip(fields.named_parameters(), *gradients, strict=True):
        scale = max(1.0, b.abs().max().item())
        torch.testing.assert_close(
            a, b, rtol=0.0, atol=1e-10 * scale, msg=lambda text, name=name: f"{name}: {text}"
        )


@pytest.mark.parametrize(("particles", "dimensions"), [(2, 1), (1, 3)])
def test_jacobians_against_the_functional_interface(particles: int, dimensions: int) -> None:
    config = network_config(particles, dimensions, kind="mlp", frame="comoving")
    fields = fields_of(config)
    x, t = points(config, 3)
    found = derivatives(fields, x, t)
    for k, jacobian in enumerate((found.jacobian_u, found.jacobian_v)):

        def field(y: Tensor, k: int = k) -> Tensor:
            return fields(y, t)[k]

        whole = torch.autograd.functional.jacobian(field, x)  # (B, n, B, n); samples do not mix
        torch.testing.assert_close(jacobian, torch.einsum("bibj->bij", whole), rtol=0.0, atol=1e-10)


def hand_made(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """u = (x^2 y, sin(x) t), v = (y^3 t^2, x y)."""
    a, b, s = x[:, 0], x[:, 1], t[:, 0]
    return torch.stack([a**2 * b, torch.sin(a) * s], 1), torch.stack([b**3 * s**2, a * b], 1)


def test_derivatives_of_a_field_written_by_hand() -> None:
    x = torch.tensor([[0.3, -0.8], [1.2, 0.4]], dtype=torch.float64)
    t = torch.tensor([[0.7], [0.2]], dtype=torch.float64)
    d = derivatives(hand_made, x, t)
    a, b, s, zero = x[:, 0], x[:, 1], t[:, 0], torch.zeros(2, dtype=torch.float64)

    def rows(*entries: Tensor) -> Tensor:
        return torch.stack(entries, 1)

    expected = {
        "jacobian_u": torch.stack([rows(2 * a * b, a**2), rows(torch.cos(a) * s, zero)], 1),
        "jacobian_v": torch.stack([rows(zero, 3 * b**2 * s**2), rows(b, a)], 1),
        "dt_u": rows(zero, torch.sin(a)),
        "dt_v": rows(2 * b**3 * s, zero),
        "grad_div_u": rows(2 * b, 2 * a),
        "grad_div_v": rows(zero + 1.0, zero),
    }
    for name, value in expected.items():
        torch.testing.assert_close(getattr(d, name), value, rtol=1e-14, atol=1e-14, msg=name)


FLAT: list[tuple[str, Callable[[Tensor, Tensor], Tensor]]] = [
    ("constant", lambda x, t: torch.ones_like(x)),
    ("of time only", lambda x, t: (t**2).expand_as(x)),
    ("linear", lambda x, t: x @ x.new_tensor([[0.0, 2.0], [1.0, 3.0]])),
]


@pytest.mark.parametrize("field", [field for _, field in FLAT], ids=[name for name, _ in FLAT])
def test_fields_without_second_derivatives(field: Callable[[Tensor, Tensor], Tensor]) -> None:
    x, t = torch.randn(3, 2, dtype=torch.float64), torch.rand(3, 1, dtype=torch.float64)
    d = derivatives(lambda y, s: (field(y, s), 2.0 * field(y, s)), x, t)
    assert (d.grad_div_u == 0.0).all()
    assert (d.grad_div_v == 0.0).all()
    torch.testing.assert_close(d.jacobian_v, 2.0 * d.jacobian_u)
    assert d.jacobian_u.shape == (3, 2, 2)


def test_a_network_that_is_flat_in_x_keeps_its_other_gradients() -> None:
    """u = a(t) with a trainable amplitude: d_t u must still reach it."""
    amplitude = torch.tensor([2.0, 3.0], dtype=torch.float64, requires_grad=True)
    x, t = torch.randn(3, 2, dtype=torch.float64), torch.rand(3, 1, dtype=torch.float64)
    d = derivatives(lambda y, s: (amplitude * s**2, amplitude * y), x, t)
    (d.dt_u.sum() + d.grad_div_u.sum() + d.grad_div_v.sum()).backward()
    torch.testing.assert_close(amplitude.grad, (2.0 * t).sum().expand(2))


def test_samples_do_not_mix_and_inputs_are_left_alone() -> None:
    config = network_config(2, 1)
    fields = fields_of(config)
    x, t = points(config, 5)
    together = derivatives(fields, x, t)
    assert not x.requires_grad
    alone = [derivatives(fields, x[b : b + 1], t[b : b + 1]) for b in range(5)]
    for k, value in enumerate(together):
        torch.testing.assert_close(value, torch.cat([one[k] for one in alone]), rtol=1e-12, atol=1e-12)


def test_no_points() -> None:
    """A rank that owns no block of trajectories."""
    config = network_config(2, 1)
    d = derivatives(fields_of(config), torch.zeros(0, 2).double(), torch.zeros(0, 1).double())
    assert d.jacobian_u.shape == (0, 2, 2)
    assert d.grad_div_v.shape == (0, 2)
