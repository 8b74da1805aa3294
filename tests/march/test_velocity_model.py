"""Velocity networks that march: rows and targets against derivatives taken otherwise, and closed forms."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from network_marches import (
    CROWD,
    PLANE,
    PRODUCT,
    Array,
    elsewhere,
    exact_rates,
    field_errors,
    march,
    march_config,
    model_of,
    places,
)
from torch import Tensor

from dsmsim.config import Config
from dsmsim.errors import ConfigError, StoreError
from dsmsim.march import velocity_model
from dsmsim.march.velocity_model import VelocityModel
from dsmsim.system import closed_form

CLOSE = {"rtol": 1e-11, "atol": 1e-11}
# kind of the network, and changes of the input
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "one": ("mlp", {"system.particles": 1, "system.interaction": None}),
    "mlp": ("mlp", CROWD),
    "tensor layers": ("mlp", {"network.tensor": {"rank": 2}}),
    "equivariant": ("equivariant", CROWD),
    "plane": ("equivariant", {**PLANE, "system.interaction": {"kind": "gaussian", "g": 1.0, "s2": 0.2}}),
    "product": ("mlp", PRODUCT),
    "sorted": ("sorted", CROWD),
}
cases = pytest.mark.parametrize("name", CASES)


def problem(name: str) -> tuple[Config, VelocityModel]:
    kind, changes = CASES[name]
    config = march_config(kind, changes)
    model = model_of(config)
    assert isinstance(model, VelocityModel)
    return config, model


def plain_field(model: VelocityModel, theta: Array, part: str) -> Callable[[Tensor], Tensor]:
    """x (n,) -> u or v (n,), from two modules with parameters of their own."""
    start = model.fields.networks()[part]
    now, frame = copy.deepcopy(start), model.fields.frame
    named = model.parameters.named(theta)
    now.load_state_dict({name: named[f"{part}.{name}"] for name in dict(start.named_parameters())})
    base = model.initial.u if part == "u" else model.initial.v

    def field(x: Tensor) -> Tensor:
        y, clock = ((x - frame.center) / frame.sigma)[None], x.new_zeros(1, 1)
        change: Tensor = frame.velocity * (now(y, clock) - start(y, clock))
        return (base(x[None]) + change)[0]

    return field


@cases
def test_the_start_is_the_initial_state_exactly(name: str) -> None:
    config, model = problem(name)
    x, theta = places(config), model.start()
    assert theta.shape == (len(model.names),)
    u, v = model.velocities(theta, x)
    assert torch.equal(u, model.initial.u(x))
    assert torch.equal(v, model.initial.v(x).expand_as(x))


@cases
def test_fields_and_targets_are_those_of_plain_derivatives(name: str) -> None:
    config, model = problem(name)
    x, theta, t = places(config), elsewhere(model), 0.4
    u, v = (plain_field(model, theta, part) for part in ("u", "v"))
    func, system = torch.func, model.system
    half = system.hbar / (2.0 * system.mass)

    def divergence(field: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        return lambda x: func.jacfwd(field)(x).diagonal().sum()

    def dt_u(x: Tensor) -> Tensor:
        return -func.grad(lambda x: (u(x) * v(x)).sum() + half * divergence(v)(x))(x)

    def dt_v(x: Tensor) -> Tensor:
        kinetic = func.grad(lambda x: 0.5 * (u(x).square() - v(x).square()).sum() + half * divergence(u)(x))
        return kinetic(x) - system.gradient(x[None], x.new_full((1, 1), t))[0] / system.mass

    expected = torch.cat([func.vmap(dt_u)(x), func.vmap(dt_v)(x)], 1) / model.fields.frame.velocity
    equations = model.equations(theta, x, t)
    local = equations.local
    torch.testing.assert_close(equations.targets, expected, **CLOSE)
    torch.testing.assert_close(local.u, func.vmap(u)(x), **CLOSE)
    torch.testing.assert_close(local.v, func.vmap(v)(x), **CLOSE)
    torch.testing.assert_close(local.div_v, func.vmap(divergence(v))(x), **CLOSE)
    assert local.log_density is None
    # and the other ways to ask for them
    for found, wanted in zip(model.local(theta, x)[:3], local[:3], strict=True):
        torch.testing.assert_close(found, wanted, **CLOSE)
    for found, wanted in zip(model.velocities(theta, x), local[:2], strict=True):
        torch.testing.assert_close(found, wanted, **CLOSE)
    score, density = model.score(theta, x)
    assert density is None
    torch.testing.assert_close(score, local.u, **CLOSE)


@cases
def test_rows_are_derivatives_of_the_velocities(name: str) -> None:
    config, model = problem(name)
    x, theta, step = places(config), elsewhere(model), 1e-5
    rows = model.equations(theta, x, 0.0).rows
    assert rows.shape == (len(x), 2 * x.shape[1], len(theta))
    for k in range(len(theta)):
        shift = np.zeros_like(theta)
        shift[k] = step
        ahead, behind = (torch.cat(model.velocities(theta + sign * shift, x), 1) for sign in (1.0, -1.0))
        slope = (ahead - behind) / (2.0 * step * model.fields.frame.velocity)
        torch.testing.assert_close(rows[:, :, k], slope, rtol=1e-6, atol=1e-8)


@cases
def test_what_theta_leaves_out_has_no_effect(name: str) -> None:
    """The weights of the clock, as many as the input layers have rows, and nothing else of these networks."""
    config, model = problem(name)
    kind, (theta, x) = CASES[name][0], (elsewhere(model), places(config))
    every = {
        f"{part}.{name}[{','.join(map(str, place))}]"
        for part, network in model.fields.networks().items()
        for name, p in network.named_parameters()
        for place in itertools.product(*map(range, p.shape))
    }
    left_out = every - set(model.names)
    layers = {"mlp": ["input"], "sorted": ["mlp.input"]}
    inputs = layers.get(kind, ["input", "message_self", "symmetric"])
    assert {name.split(".weight")[0] for name in left_out} == {f"{p}.{i}" for p in "uv" for i in inputs}
    assert len(left_out) == 2 * 4 * len(inputs)
    before = model.local(theta, x)
    arrays = model.arrays()
    for name in left_out:
        key, place = name.removesuffix("]").split("[")
        arrays[f"start/{key}"] = arrays[f"start/{key}"].copy()
        arrays[f"start/{key}"][tuple(map(int, place.split(",")))] += 0.5
    after = model_of(config, arrays).local(theta, x)
    for found, expected in zip(after[:3], before[:3], strict=True):
        torch.testing.assert_close(found, expected, **CLOSE)


@pytest.mark.parametrize("changes", [{}, PLANE, {"system.particles": 4}])
def test_targets_at_the_start_are_those_of_the_closed_form(changes: dict[str, Any]) -> None:
    config = march_config("mlp", changes)
    model, form = model_of(config), closed_form(config)
    assert form is not None
    x = places(config)
    found = model.fields.frame.velocity * model.equations(model.start(), x, 0.0).targets
    torch.testing.assert_close(found, torch.cat(exact_rates(form, x, 0.0), 1), **CLOSE)


@pytest.mark.parametrize("changes", [CROWD, PRODUCT, CROWD | PRODUCT])
def test_both_kinds_of_models_agree(changes: dict[str, Any]) -> None:
    """The targets of velocities are the gradients of those of log psi, and div v is the same."""
    config = march_config("equivariant", changes)
    velocities, potential = model_of(config), model_of(march_config("potential", changes))
    x, theta = places(config), potential.start()
    of_velocities = velocities.equations(velocities.start(), x, 0.0)
    local = potential.equations(theta, x, 0.0).local
    for found, expected in zip(of_velocities.local[:3], local[:3], strict=True):
        torch.testing.assert_close(found, expected, **CLOSE)
    step, columns = 1e-5, []
    for k in range(x.shape[1]):
        shift = torch.zeros_like(x)
        shift[:, k] = step
        ahead, behind = (potential.equations(theta, x + sign * shift, 0.0).targets for sign in (1.0, -1.0))
        columns.append((ahead - behind) / (2.0 * step))
    quantum = config.system.hbar / config.system.mass
    slopes = quantum * torch.stack(columns, -1).reshape(len(x), -1)
    found = velocities.fields.frame.velocity * of_velocities.targets
    torch.testing.assert_close(found, slopes, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", ["equivariant", "sorted"])
def test_exchanging_particles_exchanges_their_equations(name: str) -> None:
    config, model = problem(name)
    x, theta = places(config), elsewhere(model)
    equations = model.equations(theta, x, 0.0)
    for order in itertools.permutations(range(3)):
        both = [*order, *(3 + i for i in order)]
        moved = model.equations(theta, x[:, list(order)], 0.0)
        torch.testing.assert_close(moved.rows, equations.rows[:, both], **CLOSE)
        torch.testing.assert_close(moved.targets, equations.targets[:, both], **CLOSE)


def test_chunks_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    config, model = problem("equivariant")
    x, theta = places(config, 11), elsewhere(model)
    whole, local = model.equations(theta, x, 0.0), model.local(theta, x)
    monkeypatch.setattr(velocity_model, "CHUNK", 4)
    parts = model.equations(theta, x, 0.0)
    for found, expected in zip((*parts.local[:3], *parts[1:]), (*whole.local[:3], *whole[1:]), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    for found, expected in zip(model.local(theta, x)[:3], local[:3], strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@cases
def test_a_rank_may_have_no_walkers(name: str) -> None:
    config, model = problem(name)
    x, theta = places(config)[:0], model.start()
    equations = model.equations(theta, x, 0.0)
    assert equations.rows.shape == (0, 2 * x.shape[1], len(theta))
    assert equations.targets.shape == (0, 2 * x.shape[1])
    for found in (*model.local(theta, x)[:3], *model.velocities(theta, x), model.score(theta, x)[0]):
        assert found.shape in (x.shape, (0,))


def test_a_model_comes_back_from_its_arrays() -> None:
    """Also where the seed would now draw another network."""
    config, other = march_config("mlp", CROWD), march_config("mlp", {**CROWD, "seed": 7})
    model = model_of(config)
    x, theta = places(config), elsewhere(model)
    assert not np.array_equal(model_of(other).start(), model.start())
    again = model_of(other, model.arrays())
    assert np.array_equal(again.start(), model.start())
    for found, expected in zip(again.velocities(theta, x), model.velocities(theta, x), strict=True):
        assert torch.equal(found, expected)
    with pytest.raises(StoreError, match=r"start/u\.input\.weight"):
        model_of(march_config("mlp", CROWD, width=5), model.arrays())


@pytest.mark.parametrize(("key", "value"), [("initial", "learned"), ("frame", "comoving")])
def test_what_cannot_march_is_refused(key: str, value: str) -> None:
    with pytest.raises(ConfigError, match=rf"network\.{key} = '{value}'.*needs") as caught:
        model_of(march_config("mlp", {f"network.{key}": value}))
    assert caught.value.key == f"network.{key}"


@pytest.mark.parametrize(
    ("kind", "width", "changes"),
    [
        ("mlp", 8, {"system.mass": 1.0, "initial.phase": 0.0, "initial.mean": 0.4}),
        ("equivariant", 6, {"initial.phase": -0.6}),
    ],
    ids=["displaced and breathing", "moving"],
)
def test_an_oscillator_follows_the_closed_form(kind: str, width: int, changes: dict[str, Any]) -> None:
    """A fifteenth of a period: the cloud moves by up to a third of its width, and breathes."""
    alone = {"system.particles": 1, "system.interaction": None}
    config = march_config(kind, {**alone, **changes}, width)
    model = model_of(config)
    assert max(field_errors(model, model.start(), config, 0.4)) > 0.1
    theta = march(model, config, 0.4, 10, cutoff=1e-4)
    assert max(field_errors(model, theta, config, 0.4)) < 1e-3
