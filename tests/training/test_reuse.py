"""Reused batches: how long they live, what ends them, and how they survive a restart."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from cases import SILENT, config_of, flat, trained_on
from ranks import run_ranks

from dsmsim.config import Config
from dsmsim.parallel import StopRequest, World, blocks_of_rank
from dsmsim.store import Checkpoint
from dsmsim.training.batch import Batch, block_count, training_points
from dsmsim.training.loop import Hooks, train
from dsmsim.training.state import TrainState, new_state

LONG = {"train.reuse": 4, "train.staleness": 1e3, "train.epochs": 12}


def source(config: Config, state: TrainState, world: World) -> tuple[Callable[[int], Batch], list[int]]:
    """The batch of an epoch, and the epochs at which one was drawn."""
    blocks, drawn = blocks_of_rank(block_count(config), world.rank, world.size), []

    def draw(epoch: int) -> Batch:
        drawn.append(epoch)
        return training_points(config, state.system, state.initial, state.fields, epoch, blocks)

    return lambda epoch: state.batches.batch(config, state.fields, epoch, draw, world), drawn


def test_without_reuse_every_epoch_has_its_own_points() -> None:
    config = config_of({})
    state = new_state(config, World())
    batch, drawn = source(config, state, World())
    for epoch in range(3):
        batch(epoch)
    assert drawn == [0, 1, 2]
    assert state.batches.arrays() == {}


def test_a_batch_serves_for_as_many_epochs_as_asked() -> None:
    config = config_of(LONG)
    batch, drawn = source(config, new_state(config, World()), World())
    batches = [batch(epoch) for epoch in range(9)]
    assert drawn == [0, 4, 8]
    assert [batches[k] is batches[k - k % 4] for k in range(9)] == [True] * 9


@pytest.mark.parametrize("nu", [0.0, 2.0])
def test_a_batch_ends_when_the_drift_has_changed(nu: float) -> None:
    """Output biases change u and v by known amounts, times t / T: the rms is that of t / T at the points."""
    config = config_of({"train.reuse": 100, "train.staleness": 0.05, "sampler.nu": nu})
    state = new_state(config, World())
    batch, drawn = source(config, state, World())
    rms = float((batch(0).t / config.time.end).square().mean().sqrt())

    def move(by: float) -> None:
        with torch.no_grad():
            state.fields.u.output.bias += by  # type: ignore[operator, union-attr]
            state.fields.v.output.bias -= 0.5 * by  # type: ignore[operator, union-attr]

    just = 0.05 / (rms * abs(nu - 0.5))
    move(0.99 * just)
    batch(1)
    assert drawn == [0]
    move(0.02 * just)
    batch(2)
    assert drawn == [0, 2]
    move(0.5 * just)  # counted from the new batch on
    batch(3)
    assert drawn == [0, 2]


def test_all_ranks_draw_when_the_whole_batch_is_stale() -> None:
    """Only the points of one rank have changed, by enough for the mean over all."""
    config = config_of({"train.reuse": 100, "train.staleness": 0.1})
    states = [new_state(config, World()) for _ in range(3)]

    def work(world: World) -> list[int]:
        state = states[world.rank]
        batch, drawn = source(config, state, world)
        for epoch, change in enumerate((0.0, 0.05, 0.6)):
            with torch.no_grad():
                if world.rank == 1:
                    state.fields.v.output.bias += change  # type: ignore[operator, union-attr]
            batch(epoch)
        return drawn

    assert run_ranks(3, work) == [[0, 2]] * 3


def test_ranks_agree() -> None:
    config = config_of({"train.reuse": 3, "train.staleness": 0.02, "train.epochs": 10, "train.warmup": 0})
    (alone,) = trained_on(1, config)
    for state in trained_on(3, config):
        assert state.batches.drawn_at == alone.batches.drawn_at
        torch.testing.assert_close(flat(state), flat(alone), rtol=0.0, atol=1e-10)


@pytest.mark.parametrize("at", [5, 8], ids=["in use", "used up"])
@pytest.mark.parametrize("size", [1, 2])
def test_a_batch_in_use_is_made_again_on_any_number_of_ranks(at: int, size: int, tmp_path: object) -> None:
    config = config_of(LONG)
    whole = new_state(config, World())
    saved: list[Checkpoint] = []

    def save(epoch: int, loss: float) -> None:
        if epoch == at:
            arrays = {name: value.copy() for name, value in whole.arrays().items()}
            saved.append(Checkpoint(epoch, arrays, {}, tmp_path))  # type: ignore[arg-type]

    train(config, whole, World(), StopRequest(), Hooks(lambda entry: None, save, lambda: None))
    assert saved[0].arrays["batches/drawn_at"] == 4
    states = [new_state(config, World()) for _ in range(size)]
    for state in states:
        state.load(saved[0])
    run_ranks(size, lambda world: train(config, states[world.rank], world, StopRequest(), SILENT))
    for state in states:
        if size == 1:
            assert torch.equal(flat(state), flat(whole))
        torch.testing.assert_close(flat(state), flat(whole), rtol=0.0, atol=1e-10)
