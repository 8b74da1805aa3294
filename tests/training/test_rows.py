"""Rows: their squares are the point losses, and their Jacobian is what autograd says."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from cases import POTENTIAL, RING, TT, WEIGHTS, config_of, loss_of
from torch import Tensor

from dsmsim.config import Config
from dsmsim.parallel import World
from dsmsim.residuals import initial_loss
from dsmsim.residuals.madelung import centred
from dsmsim.training import rows as rows_module
from dsmsim.training.batch import Batch, training_points
from dsmsim.training.rows import InitialRows, Parameters, residual_rows
from dsmsim.training.state import TrainState, new_state

CLOSE = {"rtol": 1e-12, "atol": 1e-13}
KINDS = pytest.mark.parametrize(
    "changes",
    [
        {},
        {"train.form": "convective"},
        {"network.frame": "comoving"},
        {"network.kind": "equivariant"},
        TT,
        POTENTIAL,
        POTENTIAL | TT,
        RING,
    ],
    ids=["mlp", "convective", "comoving", "equivariant", "tt", "potential", "potential tt", "functional"],
)


def start(changes: dict[str, Any]) -> tuple[Config, TrainState, Batch, Parameters]:
    config = config_of(changes)
    state = new_state(config, World())
    batch = training_points(config, state.system, state.initial, state.fields, 0, [0, 1])
    return config, state, batch, {name: p.detach() for name, p in state.fields.named_parameters()}


def by_autograd(values: Tensor, state: TrainState) -> Tensor:
    """Jacobian of values (...) in all parameters, one at a time: (..., p)."""
    parameters = list(state.fields.parameters())
    columns = []
    for value in values.flatten():
        gradients = torch.autograd.grad(value, parameters, retain_graph=True, materialize_grads=True)
        columns.append(torch.cat([gradient.reshape(-1) for gradient in gradients]))
    return torch.stack(columns).reshape(*values.shape, -1)


@KINDS
def test_squares_of_the_rows_are_the_point_losses(changes: dict[str, Any]) -> None:
    config, state, batch, parameters = start(changes)
    found = residual_rows(state.fields, state.system, config.train.form).values(parameters, batch.x, batch.t)
    assert found.shape == (16, 2, state.fields.numbers_per_point())
    if batch.group > 1:
        found = centred(found, batch.group)
    expected = loss_of(config, state)(batch.x, batch.t)
    torch.testing.assert_close(found[:, 0].square().sum(-1), expected.score.detach(), **CLOSE)
    torch.testing.assert_close(found[:, 1].square().sum(-1), expected.newton.detach(), **CLOSE)


@KINDS
def test_jacobian_is_that_of_autograd(changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    config, state, batch, parameters = start(changes)
    rows = residual_rows(state.fields, state.system, config.train.form)
    live = dict(state.fields.named_parameters())
    expected = by_autograd(rows.values(live, batch.x[:5], batch.t[:5]), state)
    assert expected.abs().max() > 0.1
    monkeypatch.setattr(rows_module, "JACOBIAN_CHUNK", 2)
    torch.testing.assert_close(rows.jacobian(parameters, batch.x[:5], batch.t[:5]), expected, **CLOSE)


def test_rows_are_those_of_the_given_parameters() -> None:
    config, state, batch, parameters = start({})
    rows = residual_rows(state.fields, state.system, config.train.form)
    other = {name: 0.5 * value for name, value in parameters.items()}
    found = rows.values(other, batch.x, batch.t), rows.jacobian(other, batch.x, batch.t)
    with torch.no_grad():
        for name, parameter in state.fields.named_parameters():
            parameter.copy_(other[name])
    again = rows.values(parameters, batch.x, batch.t)
    live = dict(state.fields.named_parameters())
    torch.testing.assert_close(found[0], rows.values(live, batch.x, batch.t).detach(), **CLOSE)
    torch.testing.assert_close(found[1], rows.jacobian(live, batch.x, batch.t), **CLOSE)
    assert torch.equal(again, found[0])  # the given parameters are the fields' own memory


def test_initial_rows() -> None:
    _, state, batch, parameters = start(WEIGHTS)
    rows = InitialRows(state.fields)
    found = rows.values(parameters, batch.x0)
    torch.testing.assert_close(found.square().sum(), initial_loss(state.fields, batch.x0).detach(), **CLOSE)
    live = dict(state.fields.named_parameters())
    expected = by_autograd(rows.values(live, batch.x0), state)
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(rows.jacobian(parameters, batch.x0), expected, **CLOSE)
