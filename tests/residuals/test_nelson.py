"""Nelson's equations: exact solutions leave nothing, and errors leave what they should.

newton:  d_t v + grad V / m - [ (u.grad)u - (v.grad)v ] - (hbar/2m) grad div u
score:   d_t u + grad (v.u) + (hbar/2m) grad div v
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from network_fields import fields_of, points
from residual_cases import exact_fields, make_config, network_config
from torch import Tensor

from dsmsim.config import Config
from dsmsim.networks import FieldPair
from dsmsim.residuals import derivatives, nelson_residuals
from dsmsim.residuals.nelson import Form
from dsmsim.system import System, build_system

FORMS: list[Form] = ["gradient", "convective"]
HALF = 0.3 / (2.0 * 0.7)  # hbar / 2m of `make_config`

TRAP = {"kind": "harmonic", "omega": 1.1, "center": 0.1}
REST = {"kind": "gaussian", "mean": 0.0, "variance": 0.1}
MOVING = {"kind": "gaussian", "mean": 0.3, "variance": 0.1, "phase": -5.0}
SPREAD = {
    "kind": "gaussian",
    "mean": [0.3, 0.0, -0.2],
    "variance": [0.1, 0.4, 0.03],
    "phase": [1.0, -2.0, 0.5],
}
UNEQUAL = {"kind": "harmonic", "omega": [1.1, 0.7, 2.3], "center": [0.1, 0.0, -0.4]}
SUDDEN = {"kind": "harmonic", "omega": 1.1, "quench": {"omega": {"to": 2.0}, "center": {"to": 0.3}}}


def pair(g: float, **quench: Any) -> dict[str, Any]:
    """Harmonic interaction."""
    return {"kind": "harmonic", "g": g} | quench


EXACT: dict[str, tuple[dict[str, Any], dict[str, Any] | None]] = {
    "ground state": ({"trap": TRAP}, None),
    "zero phase": ({"trap": TRAP}, REST),
    "phase": ({"trap": TRAP}, MOVING),
    "narrow start": ({"trap": TRAP}, {"kind": "gaussian", "variance": 1e-3}),
    "free": ({}, MOVING),
    "trap without force": ({"trap": {"kind": "harmonic", "omega": 0.0}}, MOVING),
    "sudden quench": ({"trap": SUDDEN}, None),
    "pair of one": ({"trap": TRAP, "interaction": pair(0.8)}, MOVING),
    "2 attracted": ({"particles": 2, "trap": TRAP, "interaction": pair(0.8)}, MOVING),
    "3 attracted": ({"particles": 3, "trap": TRAP, "interaction": pair(0.8)}, MOVING),
    "4 attracted": ({"particles": 4, "trap": TRAP, "interaction": pair(0.8)}, REST),
    "2 repelled": ({"particles": 2, "trap": TRAP, "interaction": pair(-0.2)}, MOVING),
    "3 repelled out of the trap": ({"particles": 3, "trap": TRAP, "interaction": pair(-0.6)}, MOVING),
    "2 neutral": (
        {"particles": 2, "mass": 1.0, "trap": {"kind": "harmonic", "omega": 1.0}, "interaction": pair(-0.5)},
        MOVING,
    ),  # relative frequency exactly 0
    "3 free, attracted": ({"particles": 3, "interaction": pair(0.8)}, MOVING),
    "2 quenched coupling": (
        {"particles": 2, "trap": TRAP, "interaction": pair(0.0, quench={"g": {"to": 0.9}})},
        REST,
    ),
    "3-d": ({"dimensions": 3, "trap": TRAP}, MOVING),
    "3-d zero phase": ({"dimensions": 3, "trap": TRAP}, REST),
    "3-d anisotropic": ({"dimensions": 3, "trap": UNEQUAL}, SPREAD),
    "3-d free": ({"dimensions": 3}, SPREAD),
    "3-d, 2 attracted": (
        {"particles": 2, "dimensions": 3, "trap": UNEQUAL, "interaction": pair(0.8)},
        SPREAD,
    ),
    "2-d, 4 repelled": ({"particles": 4, "dimensions": 2, "trap": TRAP, "interaction": pair(-0.1)}, MOVING),
}


def exact(name: str) -> Config:
    system, initial = EXACT[name]
    return make_config(system, initial)


def acceleration_scale(fields: FieldPair, system: System, x: Tensor, t: Tensor) -> float:
    """The largest single term of the two equations."""
    d = derivatives(fields, x, t)
    terms = [d.dt_u, d.dt_v, system.gradient(x, t) / system.mass]
    for jacobian in (d.jacobian_u, d.jacobian_v):
        terms += [torch.einsum("bij,bj->bi", jacobian.abs(), f.abs()) for f in (d.u, d.v)]
    return max(term.abs().max().item() for term in terms)


@pytest.mark.parametrize("name", EXACT)
def test_exact_solutions_leave_no_residual(name: str) -> None:
    config = exact(name)
    system, _, fields = exact_fields(config)
    x, t = points(config, 1000, spread=2.0)
    scale = acceleration_scale(fields, system, x, t)
    for form in FORMS:
        for residual in nelson_residuals(fields, system, x, t, form):
            assert residual.shape == x.shape
            assert residual.abs().max().item() <= 1e-12 * scale


@pytest.mark.parametrize("name", ["phase", "3-d anisotropic", "3 attracted"])
def test_the_solution_in_another_trap_leaves_a_residual(name: str) -> None:
    """Its size is the missing force: (omega'^2 - omega^2)(x - c)."""
    config = exact(name)
    right, _, fields = exact_fields(config)
    system, initial = EXACT[name]
    wrong = build_system(make_config(system | {"trap": system["trap"] | {"omega": 1.4}}, initial))
    x, t = points(config, 50)
    scale = acceleration_scale(fields, right, x, t)
    missing = (wrong.gradient(x, t) - right.gradient(x, t)) / right.mass
    score, newton = nelson_residuals(fields, wrong, x, t)
    torch.testing.assert_close(newton, missing, rtol=0.0, atol=1e-12 * scale)
    assert score.abs().max() <= 1e-12 * scale
    assert newton.abs().max() > 1e-2 * scale


POTENTIAL_ONLY: dict[str, dict[str, Any]] = {
    "free": {},
    "harmonic": {"trap": TRAP},
    "ramp": {"trap": {"kind": "harmonic", "omega": 1.0, "quench": {"omega": {"to": 2.0, "duration": 1.0}}}},
    "pair": {"trap": TRAP, "interaction": {"kind": "gaussian", "g": 2.0, "s2": 0.2}},
}


def shear(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """u = (y^2 + x t, x^3), v = (x y, x^2 t): both have a curl."""
    a, b, s = x[:, 0], x[:, 1], t[:, 0]
    return torch.stack([b**2 + a * s, a**3], 1), torch.stack([a * b, a**2 * s], 1)


@pytest.mark.parametrize("name", POTENTIAL_ONLY)
def test_a_field_with_curl_against_formulas_by_hand(name: str) -> None:
    config = make_config(POTENTIAL_ONLY[name] | {"particles": 2}, REST)
    system = build_system(config)
    x, t = points(config, 20, spread=4.0)
    a, b, s = x[:, 0], x[:, 1], t[:, 0]
    (u1, u2), (v1, v2) = (f.unbind(1) for f in shear(x, t))
    force = system.gradient(x, t) / system.mass
    # grad (u.v) with u.v = (y^2 + x t) x y + x^5 t; div v = y, div u = t
    transport = torch.stack([b**3 + 2 * a * b * s + 5 * a**4 * s, 3 * a * b**2 + a**2 * s], 1)
    score = torch.stack([a, 0 * a], 1) + transport + HALF * torch.tensor([0.0, 1.0]).double()
    rate = torch.stack([0 * a, a**2], 1)
    expected = {
        # J_u u - J_v v, with J_u = [[t, 2y], [3x^2, 0]], J_v = [[y, x], [2xt, 0]]
        "convective": torch.stack([s * u1 + 2 * b * u2 - b * v1 - a * v2, 3 * a**2 * u1 - 2 * a * s * v1], 1),
        # the transposes: grad |u|^2 / 2 - grad |v|^2 / 2
        "gradient": torch.stack([s * u1 + 3 * a**2 * u2 - b * v1 - 2 * a * s * v2, 2 * b * u1 - a * v1], 1),
    }
    found = {form: nelson_residuals(shear, system, x, t, form) for form in FORMS}
    for form in FORMS:
        torch.testing.assert_close(found[form][0], score, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(found[form][1], rate + force - expected[form], rtol=1e-12, atol=1e-12)
    assert ((found["gradient"][1] - found["convective"][1]).abs().amax(1) > 1e-3).all()


def rotation(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """u = 0 and v a rigid rotation with angular velocity 2."""
    return torch.zeros_like(x), 2.0 * torch.stack([-x[:, 1], x[:, 0]], 1)


def test_a_rotation_is_told_apart() -> None:
    """(v.grad)v = -omega^2 r points inwards, grad |v|^2 / 2 = omega^2 r outwards."""
    config = make_config({"particles": 2}, REST)
    x, t = points(config, 10)
    for form, sign in (("convective", -1.0), ("gradient", 1.0)):
        _, newton = nelson_residuals(rotation, build_system(config), x, t, form)  # type: ignore[arg-type]
        torch.testing.assert_close(newton, sign * 4.0 * x)


class Wave(torch.nn.Module):
    """u = (hbar/m) grad R, v = (hbar/m) grad S with small networks R and S: no curl by construction."""

    def __init__(self, coordinates: int) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.net = torch.nn.Sequential(
            torch.nn.Linear(coordinates + 1, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2)
        ).double()

    def forward(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        def total(y: Tensor, k: int) -> Tensor:
            out: Tensor = self.net(torch.cat([y, t], 1))[:, k]
            return out.sum()

        return tuple(2.0 * HALF * torch.func.grad(total)(x, k) for k in (0, 1))  # type: ignore[return-value]


def test_the_forms_agree_without_curl_and_are_gradients() -> None:
    config = network_config(3, 1)
    system, fields = build_system(config), Wave(3)
    x, t = points(config, 20)
    gradient, convective = (nelson_residuals(fields, system, x, t, form) for form in FORMS)
    for a, b in zip(gradient, convective, strict=True):
        assert a.abs().max() > 1e-2
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-11)
    # Madelung: the residuals are hbar/m times the gradients of these two scalars
    hbar, mass = system.hbar, system.mass

    def scalars(y: Tensor, s: Tensor) -> Tensor:
        def amplitude_phase(z: Tensor, c: Tensor) -> Tensor:
            out: Tensor = fields.net(torch.cat([z, c]))
            return out

        slope = torch.func.jacrev(amplitude_phase)(y, s)  # (2, n)
        curved = torch.func.hessian(amplitude_phase)(y, s).diagonal(dim1=1, dim2=2).sum(1)  # (2,)
        rate = torch.func.jacrev(amplitude_phase, argnums=1)(y, s).squeeze(1)
        potential = system.potential(y[None], s[None]).squeeze(0)
        score = rate[0] + hbar / (2 * mass) * (curved[1] + 2 * slope[0] @ slope[1])
        newton = rate[1] - hbar / (2 * mass) * (curved[0] + slope[0] @ slope[0] - slope[1] @ slope[1])
        return torch.stack([score, newton + potential / hbar])

    slopes = torch.vmap(torch.func.jacrev(scalars))(x, t) * hbar / mass  # (B, 2, n)
    torch.testing.assert_close(gradient[0], slopes[:, 0], rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(gradient[1], slopes[:, 1], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["phase", "3 attracted", "3-d anisotropic"])
def test_an_error_of_v_leaves_a_residual_of_its_size(name: str, form: Form) -> None:
    """v + e t a with a constant vector a: newton = e a + e t J_v a, score = e t J_u a, both exact."""
    config = exact(name)
    system, form_exact, fields = exact_fields(config)
    x, t = points(config, 30)
    a = torch.linspace(0.5, 1.5, x.shape[1], dtype=torch.float64)
    size = 1e-3

    def wrong(y: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        return form_exact.u(y, s), form_exact.v(y, s) + size * s * a

    d, scale = derivatives(fields, x, t), acceleration_scale(fields, system, x, t)
    score, newton = nelson_residuals(wrong, system, x, t, form)
    expected = size * a + size * t * torch.einsum("bij,j->bi", d.jacobian_v, a)
    torch.testing.assert_close(newton, expected, rtol=0.0, atol=1e-11 * scale)
    expected = size * t * torch.einsum("bij,j->bi", d.jacobian_u, a)
    torch.testing.assert_close(score, expected, rtol=0.0, atol=1e-11 * scale)
    assert newton.abs().max() > 0.1 * size


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["phase", "3 attracted", "3-d anisotropic"])
def test_an_error_of_u_leaves_a_residual_of_its_size(name: str, form: Form) -> None:
    """(1 + e) u: newton = -(2 e + e^2) J_u u; the score equation of a Gaussian is linear in u."""
    config = exact(name)
    system, form_exact, fields = exact_fields(config)
    x, t = points(config, 30)
    size = 1e-3

    def wrong(y: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        return (1.0 + size) * form_exact.u(y, s), form_exact.v(y, s)

    d = derivatives(fields, x, t)
    scale = acceleration_scale(fields, system, x, t)
    score, newton = nelson_residuals(wrong, system, x, t, form)
    expected = -(2.0 * size + size**2) * torch.einsum("bij,bj->bi", d.jacobian_u, d.u)
    torch.testing.assert_close(newton, expected, rtol=0.0, atol=1e-12 * scale)
    assert newton.abs().max() > 1e-4 * scale
    assert score.abs().max() <= 1e-12 * scale


def test_grad_div_enters_with_the_right_sign() -> None:
    """u = x^2 in one dimension: newton = V'/m - 2 x^3 - (hbar/2m) 2; v = x^2: score = (hbar/2m) 2."""
    config = make_config({}, REST)
    system, (x, t) = build_system(config), points(config, 5)
    score, newton = nelson_residuals(lambda y, s: (y**2, 0.0 * y), system, x, t)
    torch.testing.assert_close(newton, -2.0 * x**3 - 2.0 * HALF)
    torch.testing.assert_close(score, torch.zeros_like(x))
    score, newton = nelson_residuals(lambda y, s: (0.0 * y, y**2), system, x, t)
    torch.testing.assert_close(score, torch.full_like(x, 2.0 * HALF))
    torch.testing.assert_close(newton, 2.0 * x**3)


def test_the_published_form_is_the_default() -> None:
    config = network_config(2, 1)
    system, fields = build_system(config), fields_of(config)
    x, t = points(config, 5)
    default = nelson_residuals(fields, system, x, t)
    published = nelson_residuals(fields, system, x, t, "gradient")
    other = nelson_residuals(fields, system, x, t, "convective")
    assert torch.equal(default[1], published[1])
    assert not torch.equal(default[1], other[1])
