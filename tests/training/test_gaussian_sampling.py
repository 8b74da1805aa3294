"""Residual points from one fixed Gaussian: how they are distributed, and that all else goes on as before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from cases import GAUSS_NEWTON, LBFGS, POTENTIAL, config_of, flat, trained_on

from dsmsim.config import make_plan
from dsmsim.parallel import World
from dsmsim.training.batch import block_count, training_points
from dsmsim.training.gaussian_sampling import with_gaussian_points
from dsmsim.training.state import new_state

GAUSSIAN = {"train.points_from": "gaussian"}
MANY = {"train.trajectories": 400, "train.block": 100, "train.points": 4000}


@pytest.mark.parametrize("kind", ["mlp", "potential"])
@pytest.mark.parametrize("initial", [{"kind": "gaussian", "mean": 0.2, "variance": 0.3, "phase": 4.0}, None])
def test_points_are_normal_at_all_times(kind: str, initial: dict[str, Any] | None) -> None:
    """Whatever the networks do: mean and deviation are those of psi_0, the latter times the width."""
    changes = {"network.kind": kind, "train.gaussian_width": 1.7}
    changes |= {} if initial is None else {"initial": initial}
    config = config_of(GAUSSIAN | MANY | changes)
    state = new_state(config, World())
    for parameter in state.fields.parameters():
        parameter.data.normal_()
    batch = training_points(config, state.system, state.initial, state.fields, 3, range(block_count(config)))
    scaled = (batch.x.double().numpy() - state.initial.mean) / np.sqrt(state.initial.variance) / 1.7
    early = (batch.t < 0.5 * config.time.end).squeeze(-1).numpy()
    for part in (scaled, scaled[early], scaled[~early]):
        assert np.all(np.abs(part.mean(0)) < 5.0 / np.sqrt(len(part)))
        assert np.all(np.abs((part**2).mean(0) - 1.0) < 5.0 * np.sqrt(2.0 / len(part)))
    assert abs(np.mean(scaled[:, 0] * scaled[:, 1])) < 5.0 / np.sqrt(len(scaled))
    if kind == "potential":  # compared at equal times
        assert batch.group == config.train.block
        times = batch.t.reshape(-1, batch.group)
        assert torch.equal(times, times[:, :1].expand_as(times))


def test_starts_and_times_are_those_of_trajectories() -> None:
    config = config_of({"train.block": 4})
    state = new_state(config, World())
    fixed, moving = (
        training_points(each, state.system, state.initial, state.fields, 3, range(3))
        for each in (with_gaussian_points(config), config)
    )
    assert torch.equal(fixed.x0, moving.x0)
    assert torch.equal(fixed.t, moving.t)
    assert torch.equal(fixed.slices, moving.slices)
    assert not torch.isclose(fixed.x, moving.x).any()


def test_points_of_a_block_do_not_depend_on_the_others() -> None:
    config = config_of(GAUSSIAN | {"train.block": 4})
    state = new_state(config, World())
    whole, alone = (
        training_points(config, state.system, state.initial, state.fields, 3, blocks)
        for blocks in ([0, 1, 2], [1])
    )
    assert torch.equal(whole.x[16:32], alone.x)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"train.optimizer": "adam", "train.divergence": "hutchinson"},
        LBFGS,
        GAUSS_NEWTON,
        {"network.kind": "equivariant"},
        {"network.initial": "learned"},
        POTENTIAL | GAUSS_NEWTON,
        POTENTIAL,
        {"train.reuse": 3, "train.staleness": 1e-9},
    ],
    ids=[
        "fused",
        "hutchinson",
        "lbfgs",
        "gn",
        "equivariant",
        "learned",
        "potential gn",
        "potential",
        "reuse",
    ],
)
def test_every_kind_and_optimizer_on_one_rank_and_two(changes: Mapping[str, Any]) -> None:
    config = config_of(GAUSSIAN | {"train.epochs": 4, "train.warmup": 0} | dict(changes))
    (alone,) = trained_on(1, config)
    assert torch.isfinite(flat(alone)).all()
    if config.train.reuse > 1:  # fixed points are never stale
        assert alone.batches.drawn_at == 3
    for state in trained_on(2, config):
        torch.testing.assert_close(flat(state), flat(alone), rtol=0.0, atol=1e-9)


def test_the_plan_knows_that_nothing_is_integrated() -> None:
    config = config_of(MANY)
    fixed, moving = make_plan(with_gaussian_points(config)), make_plan(config)
    assert fixed.network_evaluations == 2 * config.train.points
    assert fixed.multiply_adds < moving.multiply_adds
    assert fixed.memory.residuals == moving.memory.residuals
    assert fixed.memory.sampling <= moving.memory.sampling
