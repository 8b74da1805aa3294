"""The fused engine against the oracle, and what it promises beside the numbers."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from network_fields import fields_of, points
from residual_cases import make_config, network_config
from torch import Tensor

from dsmsim.config import Config
from dsmsim.networks import Fields, VelocityFields
from dsmsim.residuals import fused, fused_products
from dsmsim.residuals.fused import applies, fused_loss, fused_loss_and_gradient
from dsmsim.residuals.loss import PointLoss, residual_loss
from dsmsim.residuals.nelson import Form
from dsmsim.system import build_system

FORMS: list[Form] = ["gradient", "convective"]
TRAP = {"particles": 2, "dimensions": 2, "trap": {"kind": "harmonic", "omega": 1.3}}
UNEQUAL = {"kind": "gaussian", "mean": [0.2, -0.1], "variance": [0.03, 0.4], "phase": [-1.0, 2.0]}
WAVE = {
    "kind": "product",
    "amplitude": "exp(-x**2) * (2 + tanh(x))",
    "phase": "sin(2*x) + x**2/3",
    "range": [-5.0, 5.0],
}
CASES: dict[str, Config] = {
    "1x1": network_config(1, 1, kind="mlp"),
    "2x1 two blocks": network_config(2, 1, kind="mlp", blocks=2),
    "3x1 three blocks": network_config(3, 1, kind="mlp", blocks=3),
    "5x1": network_config(5, 1, kind="mlp"),
    "1x2": network_config(1, 2, kind="mlp"),
    "2x2": network_config(2, 2, kind="mlp"),
    "tensor": network_config(3, 1, kind="mlp", tensor={"rank": 2}, blocks=2),
    "learned": network_config(2, 1, kind="mlp", initial="learned"),
    "comoving": network_config(3, 1, kind="mlp", frame="comoving"),
    "comoving learned tensor": network_config(
        1, 2, kind="mlp", frame="comoving", initial="learned", tensor={"rank": 3}
    ),
    "comoving, unequal axes": make_config(TRAP, UNEQUAL, {"kind": "mlp", "frame": "comoving"}),
    "lab, unequal axes": make_config(TRAP, UNEQUAL, {"kind": "mlp"}),
    "product": make_config(TRAP | {"dimensions": 1}, WAVE, {"kind": "mlp"}),
    "product, comoving": make_config(TRAP, WAVE, {"kind": "mlp", "frame": "comoving"}),
    "width of separate networks": network_config(2, 1, kind="mlp", width=128),
}


def point_weights(count: int) -> Tensor:
    """(2, P) weights for (score, newton), all different."""
    generator = torch.Generator().manual_seed(5)
    return torch.rand(2, count, generator=generator, dtype=torch.float64) / count


def weighted(loss: PointLoss, weights: Tensor) -> Tensor:
    """The sum whose gradient is asked for."""
    return (weights[0] * loss.score + weights[1] * loss.newton).sum()


def gradients(fields: Fields) -> list[Tensor]:
    """Gradients of all parameters, which are cleared."""
    found = []
    for parameter in fields.parameters():
        assert parameter.grad is not None
        found.append(parameter.grad)
        parameter.grad = None
    return found


def assert_close(found: Tensor, expected: Tensor, tolerance: float) -> None:
    scale = expected.abs().max().item()
    assert scale > 0.0
    torch.testing.assert_close(found, expected, rtol=0.0, atol=tolerance * scale)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients_are_those_of_the_oracle(case: str, form: Form) -> None:
    """Both ways to the gradient: as a node of a graph, and at once."""
    config = CASES[case]
    fields, system = fields_of(config), build_system(config)
    x, t = points(config, 6)
    weights = point_weights(6)
    assert applies(fields)
    oracle = residual_loss(fields, system, form)(x, t)
    weighted(oracle, weights).backward()
    expected = gradients(fields)
    node = fused_loss(fields, system, form)(x, t)
    weighted(node, weights).backward()
    by_graph = gradients(fields)
    at_once = fused_loss_and_gradient(fields, system, form, x, t, *weights)
    for loss in (node, at_once):
        for found, reference in zip(loss, oracle, strict=True):
            assert found.shape == (6,)
            assert_close(found, reference, 1e-10)
    assert not at_once.score.requires_grad
    for found in (by_graph, gradients(fields)):
        for gradient, reference in zip(found, expected, strict=True):
            assert_close(gradient, reference, 1e-9)


def test_at_the_start_and_far_away() -> None:
    """The gate is closed at t = 0, and far out every tanh is flat."""
    config = CASES["comoving, unequal axes"]
    fields, system = fields_of(config), build_system(config)
    x, t = points(config, 8)
    t[:4] = 0.0
    x[2:6] *= 30.0
    oracle = residual_loss(fields, system, "gradient")(x, t)
    for found, reference in zip(fused_loss(fields, system, "gradient")(x, t), oracle, strict=True):
        torch.testing.assert_close(found, reference, rtol=1e-10, atol=0.0)


@pytest.mark.parametrize("width", [8, 128])
def test_single_precision(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounding only, against the oracle in double precision; width 128 goes to oneDNN where torch has it."""
    config = network_config(3, 1, kind="mlp", width=width)
    x, t = points(config, 40)
    system, weights = build_system(config), point_weights(40)
    double = fields_of(config)
    weighted(residual_loss(double, system, "gradient")(x, t), weights).backward()
    expected = gradients(double)
    single = fields_of(config).float()
    for pointwise in (fused_products._pointwise, None):
        monkeypatch.setattr(fused_products, "_pointwise", pointwise)
        fused_loss_and_gradient(single, system, "gradient", x.float(), t.float(), *weights.float())
        for found, reference in zip(gradients(single), expected, strict=True):
            assert found.dtype == torch.float32
            assert_close(found.double(), reference, 1e-5)


def test_products_without_onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where torch lacks the private name, the same products come from BLAS."""
    generator = torch.Generator().manual_seed(0)
    stack = torch.randn(1, 3, 10, 130, generator=generator)
    other = torch.randn(1, 3, 10, 140, generator=generator)
    weight = torch.randn(1, 140, 130, generator=generator)

    def products() -> list[Tensor]:
        total = torch.ones(1, 140, 130)
        fused_products.outer(other, stack, total)
        return [
            fused_products.linear(stack, weight, torch.empty(1, 3, 10, 140)),
            fused_products.add_linear(torch.ones(1, 3, 10, 140), stack, weight),
            total,
        ]

    before = products()
    monkeypatch.setattr(fused_products, "_pointwise", None)
    assert not fused_products.onednn_applies(stack, 140)
    reference = stack.double() @ weight.double().transpose(1, 2).unsqueeze(1)
    expected = [reference, 1.0 + reference, 1.0 + torch.einsum("krpn,krpm->knm", other, stack).double()]
    for a, b, c in zip(before, products(), expected, strict=True):
        assert_close(a.double(), c, 1e-5)
        assert_close(b.double(), c, 1e-5)


@pytest.mark.parametrize("case", ["2x1 two blocks", "comoving, unequal axes"])
def test_chunks_change_nothing_and_bound_what_is_held(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = CASES[case]
    fields, system = fields_of(config), build_system(config)
    x, t = points(config, 50)
    weights = point_weights(50)
    whole = fused_loss_and_gradient(fields, system, "gradient", x, t, *weights)
    expected = gradients(fields)
    monkeypatch.setitem(fused.STACK_BYTES, "cpu", 1)
    seen: list[int] = []
    derivatives = fused.MLPSweeps.derivatives

    def recorded(self: fused.MLPSweeps, z: Tensor, divergence_weights: Tensor) -> Any:
        seen.append(z.shape[1])
        return derivatives(self, z, divergence_weights)

    monkeypatch.setattr(fused.MLPSweeps, "derivatives", recorded)
    parts = fused_loss_and_gradient(fields, system, "gradient", x, t, *weights)
    assert sum(seen) == 50
    assert max(seen) <= fused.SMALLEST_CHUNK < 50
    for a, b in zip(parts, whole, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=0.0)
    for a, b in zip(gradients(fields), expected, strict=True):
        assert_close(a, b, 1e-12)


GROWTH = """
import resource, sys, torch
from network_fields import fields_of, points
from residual_cases import network_config
from dsmsim.residuals.fused import fused_loss
from dsmsim.system import build_system
torch.set_num_threads(1)
config = network_config(2, 1, kind="mlp", width=64)
loss = fused_loss(fields_of(config).float(), build_system(config), "gradient")
for count in (4000, 40000):
    x, t = (part.float() for part in points(config, count))
    weights = torch.full((count,), 1.0 / count)
    loss.backward(x, t, weights, weights)
    found = loss(x, t)
    (found.score.mean() + found.newton.mean()).backward()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ru_maxrss counts kB on Linux only")
def test_memory_does_not_grow_with_the_points() -> None:
    """Ten times the points: 36,000 more would need 55 MB in each of some 25 stacks."""
    result = subprocess.run(
        [sys.executable, "-c", GROWTH],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": ":".join(sys.path), "OMP_NUM_THREADS": "1", "DSMSIM_CACHE": "off"},
    )
    few, many = (int(line) for line in result.stdout.split())
    assert many - few < 50 * 1024


def test_gradients_add_up_and_frozen_parameters_have_none() -> None:
    config = CASES["tensor"]
    fields, system = fields_of(config), build_system(config)
    assert isinstance(fields, VelocityFields)
    x, t = points(config, 5)
    weights = point_weights(5)
    loss = fused_loss(fields, system, "gradient")
    loss.backward(x, t, *weights)
    once = gradients(fields)
    loss.backward(x, t, *weights)
    loss.backward(x, t, *weights)
    for twice, gradient in zip(gradients(fields), once, strict=True):
        torch.testing.assert_close(twice, 2.0 * gradient, rtol=1e-12, atol=0.0)
    fields.u.requires_grad_(False)
    loss.backward(x, t, *weights)
    assert all(parameter.grad is None for parameter in fields.u.parameters())
    for parameter, gradient in zip(fields.v.parameters(), once[len(once) // 2 :], strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-12, atol=0.0)


def test_it_is_differentiable_once() -> None:
    config = CASES["1x1"]
    fields = fields_of(config)
    found = fused_loss(fields, build_system(config), "gradient")(*points(config, 3))
    squared = found.score.square().sum()
    first = torch.autograd.grad(squared, list(fields.parameters()), create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first[0].sum().backward()


def test_no_points() -> None:
    """A rank that owns no block of trajectories."""
    config = CASES["2x1 two blocks"]
    fields = fields_of(config)
    x, t, weights = torch.zeros(0, 2).double(), torch.zeros(0, 1).double(), torch.zeros(2, 0).double()
    loss = fused_loss(fields, build_system(config), "gradient")
    assert loss.backward(x, t, *weights).score.shape == (0,)
    assert all((gradient == 0.0).all() for gradient in gradients(fields))
    assert loss(x, t).newton.shape == (0,)


def test_inference_mode_leaves_nothing_behind() -> None:
    """Its tensors could not be changed in place later."""
    config = CASES["comoving"]
    fields = fields_of(config)
    loss = fused_loss(fields, build_system(config), "gradient")
    with torch.inference_mode():
        x, t = points(config, 5)
        before = loss(x, t)
    x, t = points(config, 5)
    after = loss.backward(x, t, *point_weights(5))
    torch.testing.assert_close(before.score, after.score, rtol=1e-13, atol=0.0)


def test_where_it_applies() -> None:
    for kind in ("equivariant", "sorted"):
        config = network_config(3, 1, kind=kind)
        fields = fields_of(config)
        assert not applies(fields)
        with pytest.raises(ValueError, match="two equal 'mlp' networks"):
            fused_loss(fields, build_system(config), "gradient")
    narrow, wide = (fields_of(network_config(2, 1, kind="mlp", width=width)) for width in (8, 12))
    assert isinstance(narrow, VelocityFields)
    assert isinstance(wide, VelocityFields)
    mixed = VelocityFields(narrow.u, wide.v, narrow.initial, narrow.frame, exact_initial=True)
    assert not applies(mixed)
