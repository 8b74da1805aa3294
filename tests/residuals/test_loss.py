"""The losses, point by point."""

from __future__ import annotations

import pytest
import torch
from network_fields import fields_of, points
from residual_cases import exact_fields, make_config, network_config
from torch import Tensor, nn

from dsmsim.networks import VelocityFields, natural_frame
from dsmsim.residuals import initial_loss, nelson_residuals, residual_loss
from dsmsim.residuals.nelson import Form
from dsmsim.system import build_initial, build_system

FORMS: list[Form] = ["gradient", "convective"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("frame", ["lab", "comoving"])
def test_squares_are_those_of_the_residuals(form: Form, frame: str) -> None:
    config = network_config(2, 1, frame=frame)
    system, fields = build_system(config), fields_of(config)
    x, t = points(config, 6)
    squares = residual_loss(fields, system, form)(x, t)
    unit = fields.frame.acceleration(t)
    for residual, found in zip(
        nelson_residuals(fields, system, x, t, form), (squares.score, squares.newton), strict=True
    ):
        assert found.shape == (6,)
        torch.testing.assert_close(found, (residual / unit).square().sum(-1), rtol=1e-13, atol=0.0)
    assert fields.numbers_per_point() == 2


@pytest.mark.parametrize("frame", ["lab", "comoving"])
def test_chunks_add_up(frame: str) -> None:
    """Values, counts and gradients, also with an empty chunk, as on a rank without a block."""
    config = network_config(3, 1, kind="equivariant", frame=frame)
    system, fields = build_system(config), fields_of(config)
    x, t = points(config, 12)
    squares = residual_loss(fields, system, "gradient")
    whole = squares(x, t)
    (whole.score + whole.newton).sum().backward()
    expected = [p.grad.clone() for p in fields.parameters() if p.grad is not None]
    assert len(expected) == len(list(fields.parameters()))
    fields.zero_grad()
    chunks = [squares(a, b) for a, b in zip(x.split([5, 0, 1, 6]), t.split([5, 0, 1, 6]), strict=True)]
    for name in ("score", "newton"):
        parts = torch.cat([getattr(chunk, name) for chunk in chunks])
        torch.testing.assert_close(parts, getattr(whole, name), rtol=1e-12, atol=1e-14)
    for chunk in chunks:
        (chunk.score + chunk.newton).sum().backward()
    for parameter, gradient in zip(fields.parameters(), expected, strict=True):
        torch.testing.assert_close(
            parameter.grad, gradient, rtol=1e-10, atol=1e-12 * gradient.abs().max().item()
        )


EXACT = (
    {"particles": 2, "trap": {"kind": "harmonic", "omega": 1.1}},
    {"kind": "gaussian", "mean": 0.3, "variance": 0.1, "phase": -5.0},
)


class _Exact(nn.Module):
    """A 'network' whose learned field is the closed form, in natural units."""

    def __init__(self, which: str, scale: float = 1.0) -> None:
        super().__init__()
        config = make_config(*EXACT)
        self.form = exact_fields(config)[1]
        self.frame = natural_frame(config, build_system(config), build_initial(config))
        self.which, self.scale = which, scale

    def forward(self, y: Tensor, clock: Tensor) -> Tensor:
        x, t = self.frame.center + self.frame.sigma * y, self.frame.end * clock
        value: Tensor = getattr(self.form, self.which)(x, t)
        return self.scale * value / self.frame.velocity


def exact_learned(scale_u: float = 1.0, scale_v: float = 1.0) -> VelocityFields:
    """Learned fields that equal the exact ones, times two factors."""
    config = make_config(*EXACT)
    nets = _Exact("u", scale_u), _Exact("v", scale_v)
    return VelocityFields(*nets, build_initial(config), nets[0].frame, exact_initial=False)


def test_every_loss_vanishes_for_the_exact_solution() -> None:
    config = make_config(*EXACT)
    x, t = points(config, 50)
    fields = exact_learned()
    squares = residual_loss(fields, build_system(config), "gradient")(x, t)
    assert squares.score.sum().item() < 1e-24
    assert squares.newton.sum().item() < 1e-24
    assert initial_loss(fields, x).item() < 1e-24


@pytest.mark.parametrize(("scale_u", "scale_v"), [(1.01, 1.0), (1.0, 0.98), (1.01, 0.98)])
def test_initial_loss_measures_both_velocities(scale_u: float, scale_v: float) -> None:
    config = make_config(*EXACT)
    x, _ = points(config, 50)
    fields, state = exact_learned(scale_u, scale_v), build_initial(config)
    unit = fields.frame.velocity
    expected = ((scale_u - 1.0) * state.u(x) / unit).square().sum()
    expected = expected + ((scale_v - 1.0) * state.v(x) / unit).square().sum()
    torch.testing.assert_close(initial_loss(fields, x), expected, rtol=1e-9, atol=0.0)
    assert expected > 1e-3


@pytest.mark.parametrize("frame", ["lab", "comoving"])
@pytest.mark.parametrize("kind", ["mlp", "equivariant", "sorted"])
def test_initial_loss_is_zero_only_where_the_start_is_built_in(kind: str, frame: str) -> None:
    exact, learned = (
        fields_of(network_config(3, 1, kind=kind, frame=frame, initial=initial))
        for initial in ("exact", "learned")
    )
    x, _ = points(network_config(3, 1), 20)
    assert initial_loss(exact, x).item() < 1e-26
    loss = initial_loss(learned, x)
    assert loss.item() > 0.01 * x.numel()
    loss.backward()
    assert all(p.grad is not None for p in learned.parameters())


def test_loss_is_of_order_one_before_training() -> None:
    """Natural units: hbar = 1e-3 starts like hbar = 10."""
    for hbar in (1e-3, 0.1, 10.0):
        trap = {"kind": "harmonic", "omega": 1.0, "quench": {"omega": {"to": 2.0}}}
        config = make_config({"particles": 2, "hbar": hbar, "trap": trap})
        x, t = points(config, 200, spread=1.0)
        score, newton = residual_loss(fields_of(config), build_system(config), "gradient")(x, t)
        assert 0.01 < (score + newton).mean().item() / 2 < 100.0
