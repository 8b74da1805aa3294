"""Fields of a march: their parameters at the time of every point, and points of many times together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from cluster_marches import cluster_of, elsewhere, places
from network_marches import march_config
from torch import Tensor

from dsmsim.march.cluster import ClusterModel
from dsmsim.march.fields import MarchedFields
from dsmsim.march.history import History
from dsmsim.march.network_model import build_network_model
from dsmsim.networks import natural_frame
from dsmsim.system import build_initial, build_system

TIMES = np.array([0.0, 0.2, 0.5, 1.0])


def marched(name: str = "three") -> tuple[MarchedFields, ClusterModel, Tensor]:
    """Fields with parameters that move, their model, and twelve places."""
    config, model = cluster_of(name)
    theta = np.array([elsewhere(model, seed=k) for k in range(len(TIMES))])
    theta[0] = 0.0
    rates = np.array([elsewhere(model, seed=k + 10) for k in range(len(TIMES))])
    history = History(TIMES, theta, rates, 0.5 * rates)
    fields = MarchedFields(model, history, model.initial, natural_frame(config, model.system, model.initial))
    return fields, model, places(config, 12)


def test_one_time() -> None:
    fields, model, x = marched()
    for t in (0.0, 0.2, 0.37, 1.0):
        clock = x.new_full((len(x), 1), t)
        theta = fields.history.at(t)
        for found, expected in zip(fields(x, clock), model.velocities(theta, x), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-13)
        torch.testing.assert_close(fields.log_psi(x, clock), model.log_psi(theta, x), rtol=1e-13, atol=1e-13)
        assert (
            float(fields.drift(x, clock, 0.5).sub(fields(x, clock)[1] + 0.5 * fields(x, clock)[0]).norm())
            == 0
        )


def test_the_start_is_the_initial_state() -> None:
    fields, model, x = marched()
    u, v = fields(x, x.new_zeros(len(x), 1))
    torch.testing.assert_close(u, model.initial.u(x), rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(v, model.initial.v(x), rtol=1e-14, atol=1e-14)


def test_points_of_many_times_are_those_of_each() -> None:
    fields, _, x = marched()
    t = torch.tensor([0.5, 0.1, 0.9, 0.1, 0.0, 1.0, 0.5, 0.9, 0.1, 0.33, 0.0, 0.5], dtype=torch.float64)
    u, v = fields(x, t[:, None])
    log_psi = fields.log_psi(x, t[:, None])
    for k in range(12):
        here = x[k : k + 1], t[k].reshape(1, 1)
        one_u, one_v = fields(*here)
        torch.testing.assert_close(u[k], one_u[0], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(v[k], one_v[0], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(log_psi[k], fields.log_psi(*here)[0], rtol=1e-12, atol=1e-12)
    # times matter here
    later, _ = fields(x, t[:, None].flip(0))
    assert float((later - u).abs().max()) > 1e-3


def test_no_points() -> None:
    fields, _, x = marched()
    u, v = fields(x[:0], x.new_zeros(0, 1))
    assert u.shape == v.shape == (0, x.shape[1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("one", [True, False])
def test_numbers_keep_their_type(dtype: torch.dtype, one: bool) -> None:
    fields, _, x = marched()
    t = torch.full((12, 1), 0.25) if one else torch.arange(12).reshape(12, 1) / 16.0
    exact = fields(x, t.double())
    found = fields(x.to(dtype), t.to(dtype))
    for part, whole in zip(found, exact, strict=True):
        assert part.dtype == dtype
        assert part.device == x.device
        torch.testing.assert_close(part.double(), whole, rtol=2e-6, atol=2e-6)


def test_what_states_are_compared_by() -> None:
    fields, _, _ = marched()
    state = fields.state_dict()
    np.testing.assert_array_equal(state["theta"].numpy(), fields.history.theta)
    np.testing.assert_array_equal(state["times"].numpy(), TIMES)
    assert list(fields.parameters()) == []
    assert fields.networks() == {}
    assert fields.exact_initial
    with pytest.raises(TypeError, match="no parameters"):
        fields.numbers_per_point()


@pytest.mark.parametrize("kind", ["mlp", "potential"])
def test_networks_that_marched(kind: str) -> None:
    config = march_config(kind, {})
    system, initial = build_system(config), build_initial(config)
    model = build_network_model(config, system, initial)
    start: Any = model.start()
    theta = np.array([start, start + 0.1])
    still = np.zeros_like(theta)
    frame = natural_frame(config, system, initial)
    fields = MarchedFields(model, History(np.array([0.0, 1.0]), theta, still, still), initial, frame)
    x = places(config, 4)
    t = torch.tensor([[0.0], [1.0], [0.0], [1.0]], dtype=torch.float64)
    u, _ = fields(x, t)
    torch.testing.assert_close(u[::2], initial.u(x)[::2], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(u[1::2], model.velocities(theta[1], x)[0][1::2], rtol=1e-12, atol=1e-12)
    if kind == "mlp":
        with pytest.raises(TypeError, match="know no wave function"):
            fields.log_psi(x, t)
    else:
        assert fields.log_psi(x, t).shape == (4, 2)
