"""Ranks that training finds on really separate processes: the same cores on all of them, and those of one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny import tiny_config

from dsmsim.parallel import StopRequest, World
from dsmsim.training.loop import Hooks, train
from dsmsim.training.ranks import bonds_of
from dsmsim.training.state import TrainState, new_state

pytestmark = pytest.mark.mpi(min_size=2)

TENSOR = {"rank": "auto", "rank_start": 4, "adapt_every": 3, "tolerance": 0.35}
SILENT = Hooks(lambda entry: None, lambda epoch, loss: None, lambda: None)


def trained(changes: dict[str, Any], world: World) -> TrainState:
    config = tiny_config({"train.epochs": 8, "network.tensor": TENSOR} | changes)
    state = new_state(config, world)
    train(config, state, world, StopRequest(), SILENT)
    return state


@pytest.mark.parametrize(
    "changes",
    [
        {"train.optimizer": "adam"},
        {"train.optimizer": "adam", "network.tensor": TENSOR | {"adapter": "shrinkage"}},
        {"network.kind": "potential", "train.optimizer": "gauss_newton", "train.warmup": 0},
    ],
    ids=["adam", "shrinkage", "gauss_newton"],
)
def test_all_ranks_hold_the_cores_that_one_finds(world: World, changes: dict[str, Any]) -> None:
    together, alone = (trained(changes, each) for each in (world, World()))
    found, expected = bonds_of(together.fields), bonds_of(alone.fields)
    assert found.ranks == expected.ranks
    assert max(found.ranks) < 4
    for mine, own in zip(together.fields.parameters(), alone.fields.parameters(), strict=True):
        first = world.broadcast_(mine.detach().clone())
        assert torch.equal(first, mine)
        torch.testing.assert_close(mine, own, rtol=1e-6, atol=1e-8)
