"""The state as plain arrays: what comes back is what was saved, to the last bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cases import GAUSS_NEWTON, LBFGS, POTENTIAL, SILENT, TT, assert_identical, config_of, stored

from dsmsim.config import Config
from dsmsim.errors import ConfigError, StoreError
from dsmsim.parallel import StopRequest, World
from dsmsim.store import Checkpoint
from dsmsim.training.build import build_optimizer
from dsmsim.training.loop import Hooks, train
from dsmsim.training.reuse import BatchSource
from dsmsim.training.state import TrainState, check_same_problem, new_state

ADAM = {"train.optimizer": "adam"}
SINGLE = {"train.precision": "float32"}
MOMENTS = pytest.mark.parametrize(
    "changes",
    [{}, SINGLE, TT, ADAM, ADAM | TT],
    ids=["soap", "soap 32", "soap tt", "adam", "adam tt"],
)
# what is remembered beside the parameters, one by one and together
REUSE = {"train.reuse": 5, "train.staleness": 0.05}
CAUSAL = {"train.causal": 2.0}
MEMORIES = [
    *((name, changes, 24) for name, changes in {"soap": {}, "soap 32": SINGLE, "soap tt": TT}.items()),
    *((name, changes, 24) for name, changes in {"adam": ADAM, "adam tt": ADAM | TT}.items()),
    *((name, changes, 24) for name, changes in {"causal": CAUSAL, "reuse": REUSE | SINGLE}.items()),
    ("causal reuse", CAUSAL | REUSE, 24),
    ("lbfgs", LBFGS, 2),
    ("lbfgs 32, causal reuse", LBFGS | SINGLE | CAUSAL | REUSE, 3),
    ("gauss_newton", GAUSS_NEWTON, 6),
    ("gauss_newton 32, causal reuse", GAUSS_NEWTON | SINGLE | CAUSAL | REUSE, 6),
    ("gauss_newton potential", GAUSS_NEWTON | POTENTIAL, 6),
]


def trained(config: Config) -> TrainState:
    state = new_state(config, World())
    train(config, state, World(), StopRequest(), SILENT)
    return state


@MOMENTS
def test_round_trip_through_a_file(changes: dict[str, Any], tmp_path: Path) -> None:
    config = config_of(changes | {"train.epochs": 3})
    state = trained(config)
    arrays = state.arrays()
    parameters = dict(state.fields.named_parameters())
    assert {name for name in arrays if name.startswith("model/")} == {f"model/{name}" for name in parameters}
    for name, parameter in parameters.items():
        assert arrays[f"optimizer/{name}/step"] == 3
        for key in ("exp_avg", "exp_avg_sq"):
            assert arrays[f"optimizer/{name}/{key}"].size == parameter.numel()
    if config.train.optimizer == "soap":
        assert arrays["optimizer/u.input.weight/right_basis"].shape == (3, 3)

    other = new_state(config_of(changes | {"seed": 99}), World())
    name = "model/u.input.weight"
    assert not np.array_equal(other.arrays()[name], arrays[name])
    other.load(stored(state, config, tmp_path))
    assert other.epoch == 3
    assert_identical(other.arrays(), arrays)


@pytest.mark.parametrize(
    ("changes", "epochs"), [case[1:] for case in MEMORIES], ids=[case[0] for case in MEMORIES]
)
def test_training_goes_on_as_if_it_had_not_been_interrupted(
    changes: dict[str, Any], epochs: int, tmp_path: Path
) -> None:
    """Half of the epochs, a file, the other half."""
    config = config_of(changes | {"train.epochs": epochs})
    whole = new_state(config, World())
    saved: list[Checkpoint] = []

    def save(epoch: int, loss: float) -> None:
        if epoch == epochs // 2:
            saved.append(stored(whole, config, tmp_path))

    train(config, whole, World(), StopRequest(), Hooks(lambda entry: None, save, lambda: None))
    before = {name: value.copy() for name, value in saved[0].arrays.items()}
    continued = new_state(config, World())
    continued.load(saved[0])
    train(config, continued, World(), StopRequest(), SILENT)
    assert_identical(continued.arrays(), whole.arrays())
    assert_identical(saved[0].arrays, before)  # optimisers work in place, but not on the checkpoint


FORGOTTEN = [
    *((case, "optimizer/", 24) for case in ({}, ADAM)),
    *((case, "optimizer/", 3) for case in (LBFGS, GAUSS_NEWTON)),
    (CAUSAL, "training/slice_losses", 24),
    (REUSE, "batches/", 24),
]


@pytest.mark.parametrize(("changes", "memory", "epochs"), FORGOTTEN)
def test_what_is_saved_is_needed(changes: dict[str, Any], memory: str, epochs: int, tmp_path: Path) -> None:
    """Without what the checkpoint holds beside the parameters, the run would end elsewhere."""
    config = config_of(changes | {"train.epochs": epochs})
    whole = new_state(config, World())
    saved: list[Checkpoint] = []

    def save(epoch: int, loss: float) -> None:
        if epoch == epochs // 2 + 1:
            saved.append(stored(whole, config, tmp_path))

    train(config, whole, World(), StopRequest(), Hooks(lambda entry: None, save, lambda: None))
    assert any(name.startswith(memory) for name in saved[0].arrays)
    forgetful = new_state(config, World())
    forgetful.load(saved[0])
    if memory == "optimizer/":
        forgetful.optimizer = build_optimizer(config, forgetful.fields, forgetful.system)
    elif memory == "batches/":
        forgetful.batches = BatchSource()
    else:
        forgetful.slice_losses = ()
    train(config, forgetful, World(), StopRequest(), SILENT)
    name = "model/u.input.weight"
    assert not np.array_equal(forgetful.arrays()[name], whole.arrays()[name])


def test_arrays_are_not_changed_by_loading_them_into_another_precision(tmp_path: Path) -> None:
    config = config_of({"train.epochs": 2})
    checkpoint = stored(trained(config), config, tmp_path)
    single = new_state(config_of({"train.precision": "float32"}), World())
    single.load(checkpoint)
    for name, value in single.arrays().items():
        np.testing.assert_allclose(value, checkpoint.arrays[name], rtol=1e-6, atol=1e-12)
        kept = name.endswith("/step") or name.startswith(("training/", "best/"))
        assert kept or value.dtype == np.float32


@pytest.mark.parametrize(
    "changes",
    [{"system.hbar": 0.6}, {"system.trap.omega": 1.1}, {"initial.mean": 0.0}, {"time.end": 1.5}],
    ids=lambda changes: next(iter(changes)),
)
def test_another_physics_is_refused(changes: dict[str, Any], tmp_path: Path) -> None:
    config = config_of({})
    checkpoint = stored(new_state(config, World()), config, tmp_path)
    with pytest.raises(ConfigError, match=r"another physical problem (.|\n)* --out") as caught:
        check_same_problem(config_of(changes), checkpoint)
    (key,) = changes
    assert caught.value.key == key
    assert f"\n  {key}: " in str(caught.value)
    assert f" -> {changes[key]}\n" in str(caught.value)


def test_another_optimiser_is_refused(tmp_path: Path) -> None:
    config = config_of({"train.optimizer": "soap"})
    checkpoint = stored(new_state(config, World()), config, tmp_path)
    with pytest.raises(ConfigError, match=r'train.optimizer: "soap" -> "adam"\n') as caught:
        check_same_problem(config_of({"train.optimizer": "adam"}), checkpoint)
    assert caught.value.key == "train.optimizer"


def test_another_way_to_the_same_answer_is_accepted(tmp_path: Path) -> None:
    config = config_of({})
    checkpoint = stored(new_state(config, World()), config, tmp_path)
    assert check_same_problem(config, checkpoint) == []
    longer = {"train.epochs": 60, "train.learning_rate": 1e-4, "time.steps": 16, "evaluation.samples": 60}
    changes = check_same_problem(config_of(longer | {"run.time_limit": "2 h"}), checkpoint)
    assert [str(change) for change in changes] == [
        "time.steps: 8 -> 16",
        "train.epochs: 6 -> 60",
        "train.learning_rate: 0.01 -> 0.0001",
        "evaluation.samples: 240 -> 60",
        'run.time_limit: absent -> "2 h"',
    ]
    weights = [change.weight for change in changes]
    assert weights == ["training", "training", "training", "results", "other"]


def test_a_checkpoint_without_its_input_is_refused(tmp_path: Path) -> None:
    config = config_of({})
    checkpoint = stored(new_state(config, World()), config, tmp_path)
    del checkpoint.attributes["input"]
    with pytest.raises(StoreError, match="written by another version"):
        check_same_problem(config, checkpoint)


def test_the_best_state_is_the_one_of_the_smallest_smoothed_loss(tmp_path: Path) -> None:
    """A learning rate that grows in the end spoils what was reached."""
    config = config_of({"train.epochs": 12})
    state = new_state(config, World())
    seen: list[tuple[float, dict[str, np.ndarray]]] = []

    def see(epoch: int, loss: float) -> None:
        model = {name: p.detach().numpy().copy() for name, p in state.fields.named_parameters()}
        seen.append((state.smoothed_loss, model))
        if epoch == 8:
            with torch.no_grad():
                for parameter in state.fields.parameters():
                    parameter.mul_(3.0)

    train(config, state, World(), StopRequest(), Hooks(lambda entry: None, see, lambda: None))
    losses = [loss for loss, _ in seen]
    best = int(np.argmin(losses))
    assert best < 8
    again = new_state(config, World())
    again.load(stored(state, config, tmp_path))
    for each in (state, again):
        assert each.best is not None
        assert (each.best.epoch, each.best.loss) == (best + 1, losses[best])
        each.take_best()
        found = {name: p.detach().numpy() for name, p in each.fields.named_parameters()}
        assert_identical(found, seen[best][1])


@pytest.mark.parametrize(
    ("saved", "wanted"),
    [({}, {"network.width": 4}), ({}, {"network.blocks": 2}), ({"network.blocks": 2}, {}), ({}, TT)],
    ids=["narrower", "deeper", "shallower", "tt"],
)
def test_another_network_is_refused(saved: dict[str, Any], wanted: dict[str, Any], tmp_path: Path) -> None:
    config = config_of(saved | {"train.epochs": 2})
    checkpoint = stored(trained(config), config, tmp_path)
    state = new_state(config_of(wanted), World())
    with pytest.raises(StoreError, match=r"ckpt-000002\.h5: .*parameter [uv]\."):
        state.load(checkpoint)


def test_start_depends_on_the_seed_alone() -> None:
    first, again = (new_state(config_of({}), World()).arrays() for _ in range(2))
    assert_identical(first, again)
    other = new_state(config_of({"seed": 2}), World()).arrays()
    names = [name for name in first if name.startswith("model/")]
    assert len(names) == 16
    assert not any(np.array_equal(first[name], other[name]) for name in names)
