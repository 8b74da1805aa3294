"""Training that ends early because the loss is small enough."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from cases import PLAIN, config_of, flat
from commands import call
from ranks import run_ranks
from run_files import losses_of
from tiny import write_input

from dsmsim.parallel import StopRequest, World
from dsmsim.store import Checkpoint
from dsmsim.training.loop import Hooks, train
from dsmsim.training.state import PATIENCE, SMOOTHING, TrainState, new_state
from dsmsim.training.step import StepReport

ENDLESS = {"train.epochs": 80, "train.log_every": 7, "output.checkpoint_every": "1 h"}
TARGET = ENDLESS | {"train.target_loss": 0.2}


class Recorder:
    """Keeps what the loop tells."""

    def __init__(self, state: TrainState) -> None:
        self.losses: list[float] = []
        self.entries: list[dict[str, Any]] = []
        self.messages: list[str] = []
        self.saved: list[int] = []
        self.hooks = Hooks(
            self.entries.append,
            lambda epoch, loss: self.losses.append(loss),
            lambda: self.saved.append(state.epoch),
            self.messages.append,
        )


def expected_end(losses: list[float], target: float) -> int:
    """The epoch at whose end the smoothed loss has been below the target for PATIENCE epochs."""
    smoothed, below = losses[0], 0
    for epoch, loss in enumerate(losses, start=1):
        smoothed = SMOOTHING * smoothed + (1.0 - SMOOTHING) * loss
        below = below + 1 if smoothed < target else 0
        if below == PATIENCE:
            return epoch
    raise AssertionError("the target was not reached")


def test_training_ends_in_order() -> None:
    endless, config = config_of(ENDLESS), config_of(TARGET)
    whole, state = new_state(endless, World()), new_state(config, World())
    everything, told = Recorder(whole), Recorder(state)
    train(endless, whole, World(), StopRequest(), everything.hooks)
    assert len(everything.losses) == 80
    assert everything.messages == []

    train(config, state, World(), StopRequest(), told.hooks)
    end = expected_end(everything.losses, 0.2)
    assert 15 < end < 75  # neither at once nor at the end anyway
    assert state.epoch == end
    assert told.losses == everything.losses[:end]
    assert told.entries[-1]["epoch"] == end  # logged although not due
    assert told.saved == [end]
    assert len(told.messages) == 1
    assert f"training ended after epoch {end} of 80: the smoothed loss 0." in told.messages[0]
    assert "train.target_loss = 0.2" in told.messages[0]


def test_a_resumed_run_does_not_train_again(tmp_path: Any) -> None:
    config = config_of(TARGET)
    state = new_state(config, World())
    train(config, state, World(), StopRequest(), Recorder(state).hooks)
    again = new_state(config, World())
    again.load(Checkpoint(state.epoch, state.arrays(), {}, tmp_path))
    told = Recorder(again)
    train(config, again, World(), StopRequest(), told.hooks)
    assert told.losses == told.entries == []
    assert torch.equal(flat(again), flat(state))

    # a lower target asks for more
    further = config_of(TARGET | {"train.target_loss": 1e-9})
    train(further, again, World(), StopRequest(), Recorder(again).hooks)
    assert again.epoch == 80


def test_a_run_that_is_interrupted_before_its_end_ends_at_the_same_epoch(tmp_path: Any) -> None:
    config = config_of(TARGET)
    whole, saved = new_state(config, World()), []

    def save(epoch: int, loss: float) -> None:
        if whole.below == 4:
            arrays = {name: value.copy() for name, value in whole.arrays().items()}
            saved.append(Checkpoint(epoch, arrays, {}, tmp_path))

    train(config, whole, World(), StopRequest(), Hooks(lambda entry: None, save, lambda: None))
    again = new_state(config, World())
    again.load(saved[-1])
    assert again.epoch == whole.epoch - PATIENCE + 4
    train(config, again, World(), StopRequest(), Recorder(again).hooks)
    assert again.epoch == whole.epoch


def test_all_ranks_end_together() -> None:
    config = config_of(TARGET)
    states = [new_state(config, World()) for _ in range(3)]

    def work(world: World) -> None:
        train(config, states[world.rank], world, StopRequest(), Recorder(states[world.rank]).hooks)

    run_ranks(3, work)
    (alone,) = [new_state(config, World())]
    train(config, alone, World(), StopRequest(), Recorder(alone).hooks)
    assert [state.epoch for state in states] == [alone.epoch] * 3


@pytest.mark.parametrize("spike", [3.0, 30.0])
def test_a_spike_starts_the_count_anew(spike: float) -> None:
    state = new_state(config_of({}), World())
    for _ in range(PATIENCE - 1):
        state.advance(StepReport(0.1, 0.0, 0.0, 0.0, 1.0), 0.15)
    assert not state.reached(0.15)
    state.advance(StepReport(spike, 0.0, 0.0, 0.0, 1.0), 0.15)
    assert state.below == 0
    epochs = 0
    while not state.reached(0.15):
        state.advance(StepReport(0.1, 0.0, 0.0, 0.0, 1.0), 0.15)
        epochs += 1
    assert epochs > PATIENCE


def test_the_user_is_told(tmp_path: Any) -> None:
    """Once, by the run and by its resumption, which finds nothing left to do."""
    file = write_input(tmp_path / "input.toml", PLAIN | TARGET | {"compare.with": []})
    outcome = call("run", file, "--out", tmp_path / "run")
    assert outcome.code == 0, outcome.err
    assert outcome.err.count("training ended after epoch") == 1
    losses = losses_of(tmp_path / "run")
    again = call("resume", tmp_path / "run")
    assert again.code == 0, again.err
    assert "nothing to train" in again.err
    assert losses_of(tmp_path / "run") == losses
