"""The velocity fields: initial condition, switches of the input, seeds, and use under torch.func."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from field_problems import INITIALS, problem
from network_fields import fields_of, points

from dsmsim.config import Config, make_plan
from dsmsim.networks import Fields
from dsmsim.system import InitialState, build_initial
from dsmsim.tensor import TTLinear

KINDS = ["mlp", "equivariant", "sorted"]
FRAMES = ["lab", "comoving"]
TENSOR = {"rank": 2}


def learned(kind: str, frame: str) -> Config:
    """An input whose initial condition is left to the loss."""
    config = problem(kind, frame=frame)
    network = config.network.model_copy(update={"initial": "learned"})
    return config.model_copy(update={"network": network})


def silence(fields: Fields) -> None:
    """Make both networks return exactly zero."""
    with torch.no_grad():
        for name, parameter in fields.named_parameters():
            if ".output." in name:
                parameter.zero_()


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("initial", INITIALS)
def test_exact_initial_condition(kind: str, frame: str, initial: str) -> None:
    config = problem(kind, initial=initial, frame=frame)
    fields, state = fields_of(config), build_initial(config)
    x, _ = points(config, 50, spread=3.0)
    u, v = fields(x, torch.zeros(len(x), 1, dtype=torch.float64))
    for found, expected in ((u, state.u(x)), (v, state.v(x))):
        scale = max(1.0, expected.abs().max().item())
        torch.testing.assert_close(found, expected, rtol=0.0, atol=1e-14 * scale)


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("kind", ["mlp", "equivariant"])
def test_exact_initial_condition_in_three_dimensions(kind: str, frame: str) -> None:
    initial = {
        "kind": "gaussian",
        "mean": [0.1, -0.2, 0.3],
        "variance": [0.02, 0.1, 1.0],
        "phase": [1.0, 0, -2],
    }
    config = problem(kind, particles=2, dimensions=3, initial=initial, frame=frame)
    fields, state = fields_of(config), build_initial(config)
    x, _ = points(config, 50)
    u, v = fields(x, torch.zeros(len(x), 1, dtype=torch.float64))
    torch.testing.assert_close(u, state.u(x), rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(v, state.v(x), rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_network_acts_after_the_start(kind: str, frame: str) -> None:
    config = problem(kind, frame=frame)
    fields = fields_of(config)
    x, t = points(config)
    live = fields(x, t)
    silence(fields)
    for with_net, without in zip(live, fields(x, t), strict=True):
        assert ((with_net - without).abs() > 1e-6 * fields.frame.velocity).all()


def test_silent_networks_keep_the_initial_velocities_in_the_lab() -> None:
    config = problem("mlp", initial="product")
    fields, state = fields_of(config), build_initial(config)
    silence(fields)
    x, t = points(config)
    u, v = fields(x, t)
    assert torch.equal(u, state.u(x))
    assert torch.equal(v, state.v(x))


@pytest.mark.parametrize("dimensions", [1, 3])
def test_silent_networks_spread_like_a_free_packet_when_comoving(dimensions: int) -> None:
    """u = -(hbar/2m)(x - c - v0 t)/(sigma^2 + (hbar t / 2 m sigma)^2), that of a free packet, is built in."""
    variance = [0.02, 0.1, 1.0][:dimensions]
    initial = {"kind": "gaussian", "mean": 0.2, "variance": variance, "phase": -3.0}
    config = problem(particles=2, dimensions=dimensions, initial=initial, frame="comoving")
    fields = fields_of(config)
    silence(fields)
    x, t = points(config)
    s0 = torch.tensor(variance, dtype=torch.float64).repeat(2)
    half = 0.3 / (2.0 * 0.7)
    spread, mean = s0 + (half * t) ** 2 / s0, 0.2 - 3.0 * 2.0 * half * t
    u, v = fields(x, t)
    torch.testing.assert_close(u, -half * (x - mean) / spread, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(v, torch.full_like(x, -3.0 * 2.0 * half), rtol=1e-12, atol=0.0)


class _Untouchable(InitialState):
    """An initial state that must not be asked."""

    def __init__(self) -> None:
        super().__init__(1, 1, [0.0], [1.0])

    def _refuse(self, *arguments: Any) -> Any:
        raise AssertionError("the initial state was asked")

    u = v = log_density = phase = sample = quantiles = _refuse


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("kind", KINDS)
def test_learned_fields_know_nothing_of_the_initial_state(kind: str, frame: str) -> None:
    config = learned(kind, frame)
    fields, state = fields_of(config), build_initial(config)
    x, t = points(config, 20)
    start = torch.zeros_like(t)
    u, v = fields(x, start)
    assert (u - state.u(x)).abs().max() > 0.1 * state.u(x).abs().max()
    assert (v - state.v(x)).abs().max() > 0.1 * state.v(x).abs().max()
    before = fields(x, t)
    fields.initial = _Untouchable()
    assert all(torch.equal(a, b) for a, b in zip(before, fields(x, t), strict=True))
    silence(fields)
    for value in (*fields(x, start), *fields(x, t)):
        assert (value == 0.0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_tensor_layers_are_used_when_asked(kind: str) -> None:
    dense, tt = (fields_of(problem(kind, blocks=2, **extra)) for extra in ({}, {"tensor": TENSOR}))
    layers = [module for module in tt.modules() if isinstance(module, TTLinear)]
    assert len(layers) == 2 * 2 * 2  # two networks, two blocks, two layers each
    assert {layer.ranks for layer in layers} == {(1, 2, 1)}
    assert not any(isinstance(module, TTLinear) for module in dense.modules())
    plan = make_plan(problem(kind, blocks=2, tensor=TENSOR))
    assert sum(p.numel() for p in tt.parameters()) == plan.parameters


def test_modes_of_tensor_layers() -> None:
    fields = fields_of(problem(tensor={"rank": 3, "modes_out": [2, 1, 4], "modes_in": [2, 2, 2]}))
    layer = next(module for module in fields.modules() if isinstance(module, TTLinear))
    assert (layer.modes_out, layer.modes_in, layer.ranks) == ((2, 1, 4), (2, 2, 2), (1, 3, 3, 1))


@pytest.mark.parametrize("kind", KINDS)
def test_fields_depend_on_the_seed_alone(kind: str) -> None:
    torch.manual_seed(10)
    first = fields_of(problem(kind)).state_dict()
    drawn = torch.rand(3)
    torch.manual_seed(10)
    assert torch.equal(torch.rand(3), drawn)  # building left the global stream alone
    second = fields_of(problem(kind)).state_dict()
    other = fields_of(problem(kind, seed=2)).state_dict()
    assert first.keys() == second.keys() == other.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first)
    pairs = [(name, name.replace("u.", "v.", 1)) for name in first if name.startswith("u.")]
    assert pairs
    assert not any(torch.equal(first[u], first[v]) for u, v in pairs)


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("kind", KINDS)
def test_both_precisions_start_alike(kind: str, frame: str) -> None:
    config = problem(kind, frame=frame)
    double, single = fields_of(config), fields_of(problem(kind, frame=frame, precision="float32"))
    x, t = points(config)
    for a, b in zip(double(x, t), single(x.float(), t.float()), strict=True):
        assert (a.dtype, b.dtype) == (torch.float64, torch.float32)
        torch.testing.assert_close(b.double(), a, rtol=1e-4, atol=1e-4 * double.frame.velocity)


def test_state_holds_trained_numbers_only() -> None:
    """Units follow from the input: they are no part of what is saved."""
    fields = fields_of(problem(frame="comoving"))
    assert set(fields.state_dict()) == {name for name, _ in fields.named_parameters()}


@pytest.mark.parametrize("initial", ["exact", "learned"])
@pytest.mark.parametrize("kind", KINDS)
def test_functional_call_and_vmap(kind: str, initial: str) -> None:
    config = learned(kind, "comoving") if initial == "learned" else problem(kind, frame="comoving")
    fields = fields_of(config)
    x, t = points(config)
    expected = fields(x, t)
    values = {name: p.detach() for name, p in fields.named_parameters()}
    found = torch.func.functional_call(fields, values, (x, t))
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    other = fields_of(config.model_copy(update={"seed": 5}))
    moved = torch.func.functional_call(fields, dict(other.named_parameters()), (x, t))
    assert all(torch.equal(a, b) for a, b in zip(moved, other(x, t), strict=True))
    one_by_one = torch.vmap(lambda y, s: fields(y[None], s[None]))(x, t)
    for a, b in zip(one_by_one, expected, strict=True):
        torch.testing.assert_close(a.squeeze(1), b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", ["mlp", "equivariant", "sorted"])
def test_per_sample_gradients_of_the_parameters(kind: str) -> None:
    config = problem(kind, tensor=TENSOR)
    fields = fields_of(config)
    x, t = points(config, 4)
    values = {name: p.detach() for name, p in fields.named_parameters()}

    def loss(values: dict[str, torch.Tensor], y: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
        u, v = torch.func.functional_call(fields, values, (y[None], s[None]))
        return u.square().sum() + v.square().sum()

    each = torch.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))(values, x, t)
    u, v = fields(x, t)
    (u.square().sum() + v.square().sum()).backward()
    for name, parameter in fields.named_parameters():
        torch.testing.assert_close(each[name].sum(0), parameter.grad, rtol=1e-10, atol=1e-10)
