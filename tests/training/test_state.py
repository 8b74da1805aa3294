"""The state as plain arrays: what comes back is what was saved, to the last bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import tiny_config

from dsmsim.config import Config
from dsmsim.errors import ConfigError, StoreError
from dsmsim.parallel import StopRequest, World
from dsmsim.store import Checkpoint, load_checkpoint, save_checkpoint
from dsmsim.training.loop import Hooks, train
from dsmsim.training.state import TrainState, check_same_physics, new_state

TT = {"network.tensor": {"rank": 2}}
SILENT = Hooks(lambda entry: None, lambda epoch, loss: None, lambda: None)


def trained(config: Config) -> TrainState:
    state = new_state(config, World())
    train(config, state, World(), StopRequest(), SILENT)
    return state


def stored(state: TrainState, config: Config, directory: Path) -> Checkpoint:
    """The state written to a file and read back."""
    attributes = {"physics_hash": config.physics_hash(), "seed": config.seed}
    save_checkpoint(directory, state.epoch, state.arrays(), attributes, keep=1)
    return load_checkpoint(directory)


def assert_identical(left: dict[str, np.ndarray], right: dict[str, np.ndarray]) -> None:
    assert left.keys() == right.keys()
    for name, value in left.items():
        assert value.dtype == right[name].dtype, name
        assert value.shape == right[name].shape, name
        assert value.tobytes() == right[name].tobytes(), name


@pytest.mark.parametrize("changes", [{}, {"train.precision": "float32"}, TT], ids=["64", "32", "tt"])
def test_round_trip_through_a_file(changes: dict[str, Any], tmp_path: Path) -> None:
    config = tiny_config(changes | {"train.epochs": 3})
    state = trained(config)
    arrays = state.arrays()
    names = [name for name, _ in state.fields.named_parameters()]
    moments = [f"optimizer/{name}/{key}" for name in names for key in ("step", "exp_avg", "exp_avg_sq")]
    assert sorted(arrays) == sorted([*(f"model/{name}" for name in names), *moments])
    assert all(arrays[name] == 3 for name in moments if name.endswith("/step"))

    other = new_state(tiny_config(changes | {"seed": 99}), World())
    assert not np.array_equal(other.arrays()[f"model/{names[0]}"], arrays[f"model/{names[0]}"])
    other.load(stored(state, config, tmp_path))
    assert other.epoch == 3
    assert_identical(other.arrays(), arrays)


@pytest.mark.parametrize("changes", [{}, {"train.precision": "float32"}, TT], ids=["64", "32", "tt"])
def test_training_goes_on_as_if_it_had_not_been_interrupted(changes: dict[str, Any], tmp_path: Path) -> None:
    """Three epochs, a file, three more: without the moments of Adam the second half would differ."""
    config = tiny_config(changes)
    whole = trained(config)
    state = new_state(config, World())
    saved: list[Checkpoint] = []

    def save() -> None:
        if state.epoch == 3:
            saved.append(stored(state, config, tmp_path))

    hooks = Hooks(lambda entry: None, lambda epoch, loss: save(), lambda: None)
    train(config, state, World(), StopRequest(), hooks)
    continued = new_state(config, World())
    continued.load(saved[0])
    train(config, continued, World(), StopRequest(), SILENT)
    assert_identical(continued.arrays(), whole.arrays())

    forgetful = new_state(config, World())
    forgetful.load(saved[0])
    forgetful.optimizer.state.clear()
    train(config, forgetful, World(), StopRequest(), SILENT)
    name = next(name for name in whole.arrays() if name.startswith("model/"))
    assert not np.array_equal(forgetful.arrays()[name], whole.arrays()[name])


def test_arrays_are_not_changed_by_loading_them_into_another_precision(tmp_path: Path) -> None:
    config = tiny_config({"train.epochs": 2})
    checkpoint = stored(trained(config), config, tmp_path)
    single = new_state(tiny_config({"train.precision": "float32"}), World())
    single.load(checkpoint)
    for name, value in single.arrays().items():
        np.testing.assert_allclose(value, checkpoint.arrays[name], rtol=1e-6, atol=1e-12)
        assert name.endswith("/step") or value.dtype == np.float32


@pytest.mark.parametrize(
    "changes",
    [{"system.hbar": 0.6}, {"system.trap.omega": 1.1}, {"initial.mean": 0.0}, {"time.end": 1.5}],
    ids=lambda changes: next(iter(changes)),
)
def test_another_physics_is_refused(changes: dict[str, Any], tmp_path: Path) -> None:
    config = tiny_config()
    checkpoint = stored(new_state(config, World()), config, tmp_path)
    with pytest.raises(ConfigError, match=r"another physical problem .* --out") as caught:
        check_same_physics(tiny_config(changes), checkpoint)
    assert caught.value.key == "system"


def test_another_way_to_the_same_answer_is_accepted(tmp_path: Path) -> None:
    config = tiny_config()
    checkpoint = stored(new_state(config, World()), config, tmp_path)
    check_same_physics(config, checkpoint)
    longer = {"train.epochs": 60, "train.learning_rate": 1e-4, "time.steps": 16, "evaluation.samples": 60}
    check_same_physics(tiny_config(longer), checkpoint)


@pytest.mark.parametrize(
    ("saved", "wanted"),
    [({}, {"network.width": 4}), ({}, {"network.blocks": 2}), ({"network.blocks": 2}, {}), ({}, TT)],
    ids=["narrower", "deeper", "shallower", "tt"],
)
def test_another_network_is_refused(saved: dict[str, Any], wanted: dict[str, Any], tmp_path: Path) -> None:
    config = tiny_config(saved | {"train.epochs": 2})
    checkpoint = stored(trained(config), config, tmp_path)
    state = new_state(tiny_config(wanted), World())
    with pytest.raises(StoreError, match=r"ckpt-000002\.h5: .*parameter [uv]\."):
        state.load(checkpoint)


def test_start_depends_on_the_seed_alone() -> None:
    first, again = (new_state(tiny_config(), World()).arrays() for _ in range(2))
    assert_identical(first, again)
    other = new_state(tiny_config({"seed": 2}), World()).arrays()
    assert not any(np.array_equal(first[name], other[name]) for name in first)
