"""Random probes: the average over ALL probes is the exact residual, and the exact squared residual."""

from __future__ import annotations

import itertools
from typing import get_args

import pytest
import torch
from network_fields import fields_of, points
from residual_cases import network_config

from dsmsim.residuals import nelson_residuals, residual_loss
from dsmsim.residuals.hutchinson import estimated_loss, estimated_residuals
from dsmsim.residuals.nelson import Form
from dsmsim.system import build_system

FORMS: tuple[Form, ...] = get_args(Form)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("kind", "dimensions"), [("mlp", 1), ("equivariant", 1), ("mlp", 2)])
def test_average_over_all_probes_is_exact(kind: str, dimensions: int, form: Form) -> None:
    config = network_config(2, dimensions, kind=kind)
    system, fields = build_system(config), fields_of(config)
    x, t = points(config, 5)
    n = system.coordinates
    signs = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=n)), dtype=x.dtype)
    probes = signs[:, None, :].expand(len(signs), len(x), n)
    score, newton = estimated_residuals(fields, system, x, t, probes, form)
    expected = nelson_residuals(fields, system, x, t, form)
    torch.testing.assert_close(score.mean(0), expected[0], rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(newton.mean(0), expected[1], rtol=1e-11, atol=1e-12)
    assert score.std(0).max() > 1e-3  # single probes are not exact


@pytest.mark.parametrize("kind", ["mlp", "equivariant"])
def test_products_of_independent_probes_are_unbiased_squares(kind: str) -> None:
    """And so are the gradients of the parameters; the square of one estimate is not."""
    config = network_config(2, 1, kind=kind)
    system, fields = build_system(config), fields_of(config)
    x, t = points(config, 4)
    signs = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=2)), dtype=x.dtype)
    pairs = list(itertools.product(range(len(signs)), repeat=2))
    parameters = list(fields.parameters())

    exact = residual_loss(fields, system, "gradient")(x, t)
    expected = torch.autograd.grad(exact.score.sum() + 2.0 * exact.newton.sum(), parameters)
    total, square = torch.zeros_like(exact.score), torch.zeros_like(exact.score)
    gradients = [torch.zeros_like(p) for p in parameters]
    for a, b in pairs:
        probes = torch.stack([signs[a].expand_as(x), signs[b].expand_as(x)])
        found = estimated_loss(fields, system, "gradient", x, t, probes)
        total += found.score.detach() / len(pairs)
        if a == b:
            square += found.score.detach() / len(signs)
        parts = torch.autograd.grad(found.score.sum() + 2.0 * found.newton.sum(), parameters)
        for gradient, part in zip(gradients, parts, strict=True):
            gradient += part / len(pairs)
    torch.testing.assert_close(total, exact.score.detach(), rtol=1e-10, atol=1e-12)
    assert (square - exact.score).min() > 0.0
    for gradient, part in zip(gradients, expected, strict=True):
        torch.testing.assert_close(gradient, part, rtol=1e-9, atol=1e-10)
