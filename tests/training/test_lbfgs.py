"""L-BFGS: several steps on a batch, with curvature that is carried from batch to batch."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from cases import LBFGS, WEIGHTS, config_of, flat, objective, trained_on
from ranks import run_ranks
from torch import Tensor

from dsmsim.config import Config
from dsmsim.parallel import World
from dsmsim.residuals import PointLoss
from dsmsim.training import lbfgs
from dsmsim.training.batch import Batch
from dsmsim.training.lbfgs import HISTORY, ITERATIONS, QuasiNewton
from dsmsim.training.state import TrainState, new_state

LOSSES = (3.0, 0.5, 2.0, 1.0)


def start(changes: dict[str, Any]) -> tuple[Config, TrainState, QuasiNewton]:
    config = config_of(LBFGS | changes)
    state = new_state(config, World())
    assert isinstance(state.optimizer, QuasiNewton)
    return config, state, state.optimizer


@pytest.mark.parametrize("changes", [{}, WEIGHTS | {"train.causal": 0.5}], ids=["plain", "weighted"])
def test_first_batch_is_that_of_torch(changes: dict[str, Any]) -> None:
    """With causal weights it is the weighted loss that is lowered, and the other one that is reported."""
    config, state, optimizer = start(changes)
    report = optimizer.epoch(objective(config, state, World(), losses=LOSSES), 1.0)

    other = new_state(config, World())
    loss = objective(config, other, World(), losses=LOSSES)
    plain = torch.optim.LBFGS(
        list(other.fields.parameters()),
        lr=1.0,
        max_iter=ITERATIONS,
        history_size=HISTORY,
        tolerance_grad=0.0,
        tolerance_change=0.0,
        line_search_fn="strong_wolfe",
    )
    first = loss.loss_and_gradient()
    plain.step(lambda: torch.tensor(loss.loss_and_gradient().weighted, dtype=torch.float64))  # type: ignore[no-untyped-call]
    assert torch.equal(flat(state), flat(other))
    assert report == first
    last = loss.loss_and_gradient()
    assert last.weighted < 0.2 * first.weighted


def test_no_pair_reaches_from_one_batch_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one step on a batch, there is no pair at all: its second gradient belongs to the next batch."""
    monkeypatch.setattr(lbfgs, "ITERATIONS", 1)
    config, state, optimizer = start({})
    for epoch in range(3):
        optimizer.epoch(objective(config, state, World(), epoch), 1.0)
        assert set(optimizer.arrays()) == {"scale"}
    monkeypatch.setattr(lbfgs, "ITERATIONS", 3)
    config, state, optimizer = start({})
    for epoch in range(3):
        optimizer.epoch(objective(config, state, World(), epoch), 1.0)
        assert len(optimizer.arrays()["steps"]) <= 2 * (epoch + 1)
    assert len(optimizer.arrays()["steps"]) > 2  # those of the earlier batches are still there


def test_the_loss_of_a_batch_never_rises() -> None:
    config, state, optimizer = start({})
    loss = objective(config, state, World())
    losses = [optimizer.epoch(loss, 1.0).loss for _ in range(5)]
    assert all(after <= before for before, after in itertools.pairwise(losses))
    assert losses[-1] < losses[0] / 30


def test_what_it_remembers_comes_back() -> None:
    config, state, optimizer = start({})
    optimizer.epoch(objective(config, state, World(), epoch=0), 1.0)
    arrays = {name: value.copy() for name, value in optimizer.arrays().items()}
    assert {name: value.shape for name, value in arrays.items()} == {
        "gradient_changes": (19, len(flat(state))),
        "steps": (19, len(flat(state))),
        "inverse_products": (19,),
        "scale": (),
    }
    other = new_state(config, World())
    other.fields.load_state_dict(state.fields.state_dict())
    other.optimizer.load(arrays)
    for each in (state, other):
        each.optimizer.epoch(objective(config, each, World(), epoch=1), 1.0)
    assert torch.equal(flat(state), flat(other))


@pytest.mark.parametrize("changes", [{}, WEIGHTS], ids=["plain", "weighted"])
def test_ranks_agree(changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lbfgs, "ITERATIONS", 6)
    config = config_of(LBFGS | changes | {"train.epochs": 2})
    (alone,) = trained_on(1, config)
    for size in (2, 7):  # six blocks: one rank of seven has none
        for state in trained_on(size, config):
            torch.testing.assert_close(flat(state), flat(alone), rtol=0.0, atol=1e-8)


@pytest.mark.parametrize(("bad", "good"), [(math.nan, 1), (math.inf, 1), (math.nan, 2), (math.inf, 3)])
def test_a_step_into_nothing_is_not_taken(bad: float, good: int) -> None:
    """The first `good` losses are right, and all later ones are not."""
    config, state, optimizer = start({})
    loss = objective(config, state, World())
    honest, calls = loss.gradient, [0]
    seen: list[Tensor] = []

    def gradient(batch: Batch, score: Tensor, newton: Tensor) -> PointLoss:
        calls[0] += 1
        found = honest(batch, score, newton)
        if calls[0] <= good:
            seen.append(flat(state))
            return found
        return PointLoss(found.score * bad, found.newton)

    object.__setattr__(loss, "gradient", gradient)
    assert optimizer.epoch(loss, 1.0).finite
    assert calls[0] > good
    assert any(torch.equal(flat(state), each) for each in seen)


def test_a_loss_that_is_not_finite_moves_nothing_on_any_rank() -> None:
    config = config_of(LBFGS)
    states = [new_state(config, World()) for _ in range(2)]
    before = flat(states[0])

    def work(world: World) -> bool:
        loss = objective(config, states[world.rank], world)
        if world.rank == 1:
            loss.batch.x[0, 0] = math.nan
        return states[world.rank].optimizer.epoch(loss, 1.0).finite

    assert run_ranks(2, work) == [False, False]
    assert all(torch.equal(flat(state), before) for state in states)
