"""The loop: what it logs, when it saves, how it stops and how it gives up."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from cases import config_of
from ranks import run_ranks

from dsmsim.config import Config
from dsmsim.errors import DivergedError, StoppedEarly
from dsmsim.parallel import StopRequest, World
from dsmsim.training import keeping
from dsmsim.training.loop import Hooks, train
from dsmsim.training.optimizers import learning_rate
from dsmsim.training.state import TrainState, new_state

ENTRY = ["epoch", "loss", "loss_newton", "loss_score", "loss_initial", "learning_rate", "gradient_norm"]
# one step of Adam with this rate takes the weights so far that the next loss overflows
RUNAWAY = {"train.learning_rate": 1e200, "train.warmup": 0, "train.schedule": "constant"}


def asked() -> StopRequest:
    """A request to stop that has come."""
    stop = StopRequest()
    stop.ask(signal.SIGUSR1)
    return stop


def nothing(*_: Any) -> None:
    """A hook that is not looked at."""


class Recorder:
    """Keeps what the loop tells."""

    def __init__(self, state: TrainState, then: Callable[[int], None] = nothing) -> None:
        self.entries: list[dict[str, Any]] = []
        self.losses: list[tuple[int, float]] = []
        self.saved: list[int] = []
        self.arrays: dict[str, np.ndarray] = {}
        self._state, self._then = state, then
        self.hooks = Hooks(self.entries.append, self._progress, self._save)

    def _progress(self, epoch: int, loss: float) -> None:
        self.losses.append((epoch, loss))
        self._then(epoch)

    def _save(self) -> None:
        self.saved.append(self._state.epoch)
        self.arrays = {name: value.copy() for name, value in self._state.arrays().items()}


def start(changes: dict[str, Any]) -> tuple[Config, TrainState]:
    config = config_of(changes)
    return config, new_state(config, World())


def same(left: dict[str, np.ndarray], right: dict[str, np.ndarray]) -> bool:
    return left.keys() == right.keys() and all(np.array_equal(left[name], right[name]) for name in left)


def test_log_entries() -> None:
    config, state = start({"train.epochs": 10, "train.log_every": 4, "output.checkpoint_every": "1 h"})
    told = Recorder(state)
    train(config, state, World(), StopRequest(), told.hooks)
    assert [entry["epoch"] for entry in told.entries] == [1, 4, 8, 10]
    assert [epoch for epoch, _ in told.losses] == list(range(1, 11))
    losses = dict(told.losses)
    for entry in told.entries:
        assert list(entry) == [*ENTRY, "seconds"]
        assert entry["loss"] == losses[entry["epoch"]]
        assert entry["loss"] == pytest.approx(entry["loss_newton"] + entry["loss_score"], rel=1e-14)
        assert entry["loss_initial"] == 0.0  # built into the networks
        assert entry["learning_rate"] == learning_rate(config.train, entry["epoch"] - 1)
        assert entry["gradient_norm"] > 0.0
    seconds = [entry["seconds"] for entry in told.entries]
    assert seconds == sorted(seconds)
    assert state.epoch == 10


@pytest.mark.parametrize(
    ("every", "expected"), [("3 epochs", [3, 6, 9, 10]), ("5 epochs", [5, 10]), ("99 epochs", [10])]
)
def test_checkpoints_by_epochs(every: str, expected: list[int]) -> None:
    config, state = start({"train.epochs": 10, "output.checkpoint_every": every})
    told = Recorder(state)
    train(config, state, World(), StopRequest(), told.hooks)
    assert told.saved == expected


def test_checkpoints_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that one epoch moves by a second."""
    config, state = start({"train.epochs": 10, "output.checkpoint_every": "2.5 s"})
    clock = [0.0]

    def tick(epoch: int) -> None:
        clock[0] = float(epoch)

    monkeypatch.setattr(keeping, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    told = Recorder(state, tick)
    train(config, state, World(), StopRequest(), told.hooks)
    assert told.saved == [3, 6, 9, 10]


def test_checkpoint_that_is_due_on_one_rank_is_written_by_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clocks differ: here only the last rank's epochs take long, and rank 0 writes the file."""
    config = config_of({"train.epochs": 4, "output.checkpoint_every": "1 s"})
    states = [new_state(config, World()) for _ in range(2)]
    clocks = [0.0, 0.0]
    turn: list[int] = []
    monkeypatch.setattr(keeping, "time", SimpleNamespace(monotonic=lambda: clocks[turn[-1]]))

    def work(world: World) -> list[int]:
        def tick(epoch: int) -> None:
            turn.append(world.rank)
            clocks[world.rank] = 0.6 * epoch * world.rank

        turn.append(world.rank)
        told = Recorder(states[world.rank], tick)
        train(config, states[world.rank], world, StopRequest(clock=lambda: 0.0), told.hooks)
        return told.saved

    assert run_ranks(2, work) == [[2, 4], [2, 4]]


def test_training_on_three_ranks_is_training_on_one() -> None:
    config, state = start({"train.epochs": 4})
    alone = Recorder(state)
    train(config, state, World(), StopRequest(), alone.hooks)
    states = [new_state(config, World()) for _ in range(3)]

    def work(world: World) -> Recorder:
        told = Recorder(states[world.rank])
        train(config, states[world.rank], world, StopRequest(), told.hooks)
        return told

    for told in run_ranks(3, work):
        np.testing.assert_allclose(told.losses, alone.losses, rtol=1e-11)
        assert told.saved == alone.saved
        for name, value in alone.arrays.items():
            np.testing.assert_allclose(told.arrays[name], value, rtol=0.0, atol=1e-10, err_msg=name)


def test_divergence_saves_the_last_good_state_and_leaves_it_untouched() -> None:
    config, state = start(RUNAWAY)
    after_epoch: list[dict[str, np.ndarray]] = []
    told = Recorder(state, lambda epoch: after_epoch.append(state.arrays()))
    with pytest.raises(DivergedError, match=r"epoch 2 are not finite: lower train\.learning_rate = 1e\+200"):
        train(config, state, World(), StopRequest(), told.hooks)
    assert told.saved == [1]
    assert state.epoch == 1
    assert all(np.isfinite(value).all() for value in told.arrays.values())
    assert same(told.arrays, after_epoch[0])
    assert same(told.arrays, state.arrays())
    assert [entry["epoch"] for entry in told.entries] == [1]


def test_divergence_of_one_rank_is_that_of_all() -> None:
    config = config_of({})
    states = [new_state(config, World()) for _ in range(2)]

    def work(world: World) -> tuple[bool, int]:
        state = states[world.rank]

        def poison(epoch: int) -> None:
            if epoch == 2 and world.rank == 1:
                with torch.no_grad():
                    next(state.fields.parameters()).fill_(float("nan"))

        told = Recorder(state, poison)
        with pytest.raises(DivergedError):
            train(config, state, world, StopRequest(), told.hooks)
        return told.saved[-1] == 2, state.epoch

    assert run_ranks(2, work) == [(True, 2), (True, 2)]


def test_stop_request_saves_and_leaves() -> None:
    config, state = start({"output.checkpoint_every": "1 h"})
    stop = StopRequest()

    def ask(epoch: int) -> None:
        if epoch == 3:
            stop.ask(signal.SIGUSR1)

    told = Recorder(state, ask)
    with pytest.raises(StoppedEarly, match=r"after epoch 3 of 6 \(signal SIGUSR1\); the state is saved"):
        train(config, state, World(), stop, told.hooks)
    assert told.saved == [3]
    assert same(told.arrays, state.arrays())


def test_time_limit_stops() -> None:
    config, state = start({"output.checkpoint_every": "1 h"})
    clock = [0.0]

    def tick(epoch: int) -> None:
        clock[0] = float(epoch)

    told = Recorder(state, tick)
    stop = StopRequest(2.5, clock=lambda: clock[0])
    with pytest.raises(StoppedEarly, match=r"after epoch 3 of 6 \(time limit of 2\.5 s\)"):
        train(config, state, World(), stop, told.hooks)
    assert told.saved == [3]


def test_an_epoch_that_would_end_too_late_is_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    config, state = start({"output.checkpoint_every": "1 h"})
    clock = [0.0]

    def tick(epoch: int) -> None:  # epochs of 1 s, but for the second, which takes 3 s
        clock[0] += 3.0 if epoch == 2 else 1.0

    monkeypatch.setattr(keeping, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    told = Recorder(state, tick)
    stop = StopRequest(7.5, clock=lambda: clock[0])
    with pytest.raises(StoppedEarly, match=r"after epoch 3 of 6 \(time limit of 7\.5 s\)"):
        train(config, state, World(), stop, told.hooks)
    assert told.saved == [3]


def test_all_ranks_stop_when_one_is_asked() -> None:
    config = config_of({})
    states = [new_state(config, World()) for _ in range(2)]

    def work(world: World) -> tuple[str, list[int]]:
        told = Recorder(states[world.rank])
        stop = asked() if world.rank == 1 else StopRequest()
        with pytest.raises(StoppedEarly) as caught:
            train(config, states[world.rank], world, stop, told.hooks)
        return str(caught.value), told.saved

    (first, saved), (second, saved_too) = run_ranks(2, work)
    assert first == second
    assert "after epoch 1 of 6 (signal SIGUSR1)" in second
    assert saved == saved_too == [1]


def test_stop_request_in_the_last_epoch_is_no_early_stop() -> None:
    config, state = start({"train.epochs": 1, "train.warmup": 0})
    told = Recorder(state)
    train(config, state, World(), asked(), told.hooks)
    assert told.saved == [1]


def test_a_finished_state_is_not_trained_further() -> None:
    config, state = start({})
    train(config, state, World(), StopRequest(), Recorder(state).hooks)
    before = state.arrays()
    again = Recorder(state)
    train(config, state, World(), StopRequest(), again.hooks)
    assert again.entries == again.losses == []
    assert same(before, state.arrays())
