"""Potential networks that march: rows and targets against derivatives taken otherwise, and closed forms."""

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
from plain_potential import plain_ring, plain_value
from torch import Tensor

from dsmsim.config import Config
from dsmsim.errors import StoreError
from dsmsim.march import potential_model
from dsmsim.march.potential_model import PotentialModel
from dsmsim.networks.functional_tt import FunctionalTT
from dsmsim.networks.pair_potential import PairPotential
from dsmsim.system import closed_form

CLOSE = {"rtol": 1e-11, "atol": 1e-11}
CASES: dict[str, dict[str, Any]] = {
    "one": {"system.particles": 1, "system.interaction": None},
    "two": {},
    "three": CROWD,
    "no messages": {**CROWD, "network.messages": False},
    "tensor layers": {**CROWD, "network.tensor": {"rank": 2}},
    "plane": {**PLANE, "system.interaction": {"kind": "gaussian", "g": 1.0, "s2": 0.2}},
    "product": PRODUCT,
    "ring": {**CROWD, "network.kind": "functional_tt"},
    "ring, tensor layers": {**CROWD, "network.kind": "functional_tt", "network.tensor": {"rank": 2}},
}
cases = pytest.mark.parametrize("name", CASES)


def problem(name: str) -> tuple[Config, PotentialModel]:
    config = march_config("potential", CASES[name])
    model = model_of(config)
    assert isinstance(model, PotentialModel)
    return config, model


def plain_log_psi(model: PotentialModel, theta: Array) -> Callable[[Tensor], Tensor]:
    """x (n,) -> (R, S) (2,) of the networks at theta and at the start, in elementary operations."""
    fields, clock = model.fields, torch.zeros(1, dtype=torch.float64)
    start, now = fields.potential, copy.deepcopy(fields.potential)
    now.load_state_dict(model.parameters.named(theta))

    def value(net: Any, y: Tensor) -> Tensor:
        if isinstance(net, FunctionalTT):
            return plain_ring(net, y, clock)
        assert isinstance(net, PairPotential)
        return plain_value(net, y, clock)

    def log_psi(x: Tensor) -> Tensor:
        y = (x - fields.frame.center) / fields.length
        base = torch.stack([0.5 * model.initial.log_density(x[None])[0], model.initial.phase(x[None])[0]])
        return base + fields.amplitude * (value(now, y) - value(start, y))

    return log_psi


@cases
def test_the_start_is_the_initial_state(name: str) -> None:
    config, model = problem(name)
    x, theta = places(config), model.start()
    assert theta.shape == (len(model.names),)
    u, v = model.velocities(theta, x)
    torch.testing.assert_close(u, model.initial.u(x), rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(v, model.initial.v(x).expand_as(x), rtol=1e-14, atol=1e-14)
    local = model.local(theta, x)
    torch.testing.assert_close(local.u, u, **CLOSE)
    torch.testing.assert_close(local.v, v, **CLOSE)
    assert torch.equal(local.log_density, model.initial.log_density(x))


@cases
def test_fields_and_targets_are_those_of_the_plain_network(name: str) -> None:
    config, model = problem(name)
    x, theta, t = places(config), elsewhere(model), 0.4
    log_psi, func = plain_log_psi(model, theta), torch.func
    value = func.vmap(log_psi)(x)
    gradient = func.vmap(func.jacrev(log_psi))(x)
    hessian = func.vmap(func.jacfwd(func.jacrev(log_psi)))(x)
    laplacian = hessian.diagonal(dim1=-2, dim2=-1).sum(-1)
    hbar, mass = model.system.hbar, model.system.mass
    # H psi / psi, as complex numbers
    slope = torch.complex(gradient[:, 0], gradient[:, 1])
    energy = -0.5 * hbar**2 / mass * (torch.complex(*laplacian.unbind(1)) + slope.square().sum(-1))
    energy = energy + model.system.potential(x, x.new_full((len(x), 1), t))
    equations = model.equations(theta, x, t)
    local = equations.local
    torch.testing.assert_close(torch.complex(*equations.targets.unbind(1)), -1j / hbar * energy, **CLOSE)
    torch.testing.assert_close(local.u, hbar / mass * gradient[:, 0], **CLOSE)
    torch.testing.assert_close(local.v, hbar / mass * gradient[:, 1], **CLOSE)
    torch.testing.assert_close(local.div_v, hbar / mass * laplacian[:, 1], **CLOSE)
    torch.testing.assert_close(local.log_density, 2.0 * value[:, 0], **CLOSE)
    torch.testing.assert_close(model.log_psi(theta, x), value, **CLOSE)
    # and the other ways to ask for them
    for found, expected in zip(model.local(theta, x), local, strict=True):
        torch.testing.assert_close(found, expected, **CLOSE)
    for found, expected in zip(model.velocities(theta, x), local[:2], strict=True):
        torch.testing.assert_close(found, expected, **CLOSE)
    u, log_density = model.score(theta, x)
    torch.testing.assert_close(u, local.u, **CLOSE)
    torch.testing.assert_close(log_density, local.log_density, **CLOSE)


@cases
def test_rows_are_derivatives_of_log_psi(name: str) -> None:
    config, model = problem(name)
    x, theta, step = places(config), elsewhere(model), 1e-5
    rows = model.equations(theta, x, 0.0).rows
    assert rows.shape == (len(x), 2, len(theta))
    assert bool((rows.abs().amax((0, 1)) > 0.0).all())
    for k in range(len(theta)):
        shift = np.zeros_like(theta)
        shift[k] = step
        slope = (model.log_psi(theta + shift, x) - model.log_psi(theta - shift, x)) / (2.0 * step)
        torch.testing.assert_close(rows[:, :, k], slope, rtol=1e-6, atol=1e-8)


@cases
def test_what_theta_leaves_out_are_the_weights_of_the_clock(name: str) -> None:
    """Their column comes first in the input layers; every other number of the network is in theta."""
    _, model = problem(name)
    potential = model.fields.potential
    every = {
        f"{name}[{','.join(map(str, place))}]"
        for name, p in potential.named_parameters()
        for place in itertools.product(*map(range, p.shape))
    }
    clocks = {
        f"{part}_input.weight[{row},0]"
        for part in ("node", "pair")
        if hasattr(potential, f"{part}_input")
        for row in range(4)
    }
    assert len(model.names) == len(set(model.names))
    assert set(model.names) == every - clocks


@pytest.mark.parametrize("changes", [{}, PLANE, {"system.particles": 4}])
@pytest.mark.parametrize("t", [0.0, 0.6])
def test_targets_at_the_start_are_those_of_the_closed_form(changes: dict[str, Any], t: float) -> None:
    """u and v are linear in x there, so half the way along x is enough to integrate them."""
    config = march_config("potential", changes)
    model, form = model_of(config), closed_form(config)
    assert form is not None
    x = places(config)
    both = torch.cat([x, torch.zeros_like(x)])
    targets = model.equations(model.start(), both, t).targets
    found = targets[: len(x)] - targets[len(x) :]
    du, dv = exact_rates(form, 0.5 * x, 0.0)
    expected = config.system.mass / config.system.hbar * torch.stack([(du * x).sum(-1), (dv * x).sum(-1)], 1)
    torch.testing.assert_close(found, expected, **CLOSE)


def test_a_potential_that_moves_is_seen() -> None:
    quench = {"kind": "harmonic", "omega": 1.0, "quench": {"omega": {"to": 2.0, "duration": 1.0}}}
    config = march_config("potential", {"system.trap": quench})
    model, x = model_of(config), places(march_config("potential", {}))
    theta = elsewhere(model)
    before, after = (model.equations(theta, x, t).targets for t in (0.1, 0.7))
    times = [torch.full((len(x), 1), t, dtype=torch.float64) for t in (0.1, 0.7)]
    change = model.system.potential(x, times[1]) - model.system.potential(x, times[0])
    assert float(change.abs().min()) > 1e-4
    torch.testing.assert_close(after[:, 0], before[:, 0], rtol=0.0, atol=0.0)
    torch.testing.assert_close(after[:, 1] - before[:, 1], -change / config.system.hbar, **CLOSE)


@pytest.mark.parametrize("name", ["three", "no messages", "tensor layers", "ring"])
def test_exchanging_particles_changes_nothing_but_their_velocities(name: str) -> None:
    config, model = problem(name)
    x, theta = places(config), elsewhere(model)
    equations = model.equations(theta, x, 0.0)
    for order in itertools.permutations(range(3)):
        moved = model.equations(theta, x[:, list(order)], 0.0)
        torch.testing.assert_close(moved.rows, equations.rows, **CLOSE)
        torch.testing.assert_close(moved.targets, equations.targets, **CLOSE)
        torch.testing.assert_close(moved.local.u, equations.local.u[:, list(order)], **CLOSE)
        torch.testing.assert_close(moved.local.v, equations.local.v[:, list(order)], **CLOSE)


@pytest.mark.parametrize("name", ["plane", "tensor layers", "ring"])
def test_chunks_make_no_difference(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config, model = problem(name)
    x, theta = places(config, 11), elsewhere(model)
    whole, velocities = model.equations(theta, x, 0.0), model.velocities(theta, x)
    one_point = 8 * model.fields.potential.values_per_point
    monkeypatch.setattr(potential_model, "CACHED_BYTES", 4 * one_point)
    assert [len(part) for part in model._chunks(x, streams=x.shape[1] + 3)] == [4, 4, 3]
    parts = model.equations(theta, x, 0.0)
    for found, expected in zip((*parts.local, *parts[1:]), (*whole.local, *whole[1:]), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    for found, expected in zip(model.velocities(theta, x), velocities, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@cases
def test_a_rank_may_have_no_walkers(name: str) -> None:
    config, model = problem(name)
    x, theta = places(config)[:0], model.start()
    equations = model.equations(theta, x, 0.0)
    assert equations.rows.shape == (0, 2, len(theta))
    assert equations.targets.shape == (0, 2)
    for found in (*model.local(theta, x), *model.velocities(theta, x), *model.score(theta, x)):
        assert found is not None
        assert found.shape in (x.shape, (0,))


def test_a_model_comes_back_from_its_arrays() -> None:
    """Also where the seed would now draw another network."""
    config = march_config("potential", CROWD)
    model, other = model_of(config), model_of(march_config("potential", {**CROWD, "seed": 7}))
    x, theta = places(config), elsewhere(model)
    assert not np.array_equal(other.start(), model.start())
    again = model_of(march_config("potential", {**CROWD, "seed": 7}), model.arrays())
    assert np.array_equal(again.start(), model.start())
    assert again.names == model.names
    for found, expected in zip(again.local(theta, x), model.local(theta, x), strict=True):
        assert expected is not None
        assert torch.equal(found, expected)
    with pytest.raises(StoreError, match=r"start/node_input\.weight"):
        model_of(march_config("potential", CROWD, width=5), model.arrays())


def test_theta_of_another_length_is_refused() -> None:
    config, model = problem("two")
    with pytest.raises(ValueError, match=f"must be {len(model.names)} real numbers"):
        model.local(np.zeros(3), places(config))


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("potential", {"system.mass": 1.0, "initial.phase": 0.0, "initial.mean": 0.4}),
        ("potential", {"initial.phase": -0.6}),
        ("functional_tt", {"initial.phase": -0.6}),
    ],
    ids=["displaced and breathing", "moving", "ring"],
)
def test_an_oscillator_follows_the_closed_form(kind: str, changes: dict[str, Any]) -> None:
    """A fifteenth of a period: the cloud moves by up to a third of its width, and breathes."""
    alone = {"system.particles": 1, "system.interaction": None}
    config = march_config(kind, {**alone, **changes}, width=8)
    model = model_of(config)
    assert max(field_errors(model, model.start(), config, 0.4)) > 0.1
    theta = march(model, config, 0.4, 30, cutoff=3e-4)
    assert max(field_errors(model, theta, config, 0.4)) < 5e-3
