"""Ranks that training finds: the same on any number of processes, after a resume, and from files."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
import torch
from cases import (
    GAUSS_NEWTON,
    LBFGS,
    POTENTIAL,
    SILENT,
    assert_identical,
    config_of,
    flat,
    objective,
    stored,
    trained_on,
)
from tiny import tiny_input

from dsmsim.config import Config, parse_config
from dsmsim.networks import standing_still
from dsmsim.parallel import StopRequest, World
from dsmsim.store import Checkpoint, read_results, write_results
from dsmsim.tensor import TensorLinear
from dsmsim.tensor_shapes import FORMATS
from dsmsim.training.batch import training_points
from dsmsim.training.evaluate import evaluate
from dsmsim.training.loop import Hooks, train
from dsmsim.training.optimizers import FirstOrder
from dsmsim.training.ranks import adopt_cores, bonds_of, ranks_found
from dsmsim.training.state import TrainState, new_state
from dsmsim.training.step import Objective
from dsmsim.training.trained import model_groups, trained_fields

# rounds ranks away after three epochs, and more later
TENSOR = {"rank": "auto", "rank_start": 4, "adapt_every": 3, "tolerance": 0.35}
AUTO = {"network.tensor": TENSOR, "train.epochs": 12}
RING = AUTO | {"network.tensor": TENSOR | {"format": "tr", "rank_start": 3}}
ADAM = {"train.optimizer": "adam"}
REUSE = {"train.reuse": 6, "train.staleness": 10.0}
GROWTH = {"network.tensor": TENSOR | {"adapter": "growth", "rank_start": 1}}
SHRINKAGE = {"network.tensor": TENSOR | {"adapter": "shrinkage"}}
CASES = {
    "adam": ADAM | AUTO,
    "soap": AUTO | {"train.precision": "float32"},
    "ring": RING,
    "reuse": AUTO | REUSE,
    "growth": ADAM | AUTO | GROWTH,
    "shrinkage": ADAM | AUTO | SHRINKAGE,
    "lbfgs": LBFGS | AUTO,
    "gauss_newton potential": GAUSS_NEWTON | POTENTIAL | AUTO,
}
EVERY = pytest.mark.parametrize("changes", CASES.values(), ids=CASES.keys())


@EVERY
@pytest.mark.parametrize("stop", [4, 6], ids=["between", "after an adaptation"])
def test_a_resumed_run_is_the_same_to_the_last_bit(
    changes: dict[str, Any], stop: int, tmp_path: Path
) -> None:
    config = config_of(changes)
    whole = new_state(config, World())
    saved: list[Checkpoint] = []
    ranks: set[tuple[int, ...]] = set()

    def save(epoch: int, loss: float) -> None:
        ranks.add(tuple(bonds_of(whole.fields).ranks))
        if epoch == stop:
            saved.append(stored(whole, config, tmp_path))

    train(config, whole, World(), StopRequest(), Hooks(lambda entry: None, save, lambda: None))
    assert len(ranks) > 1  # or nothing was tested
    continued = new_state(config, World())
    continued.load(saved[0])
    train(config, continued, World(), StopRequest(), SILENT)
    assert_identical(continued.arrays(), whole.arrays())


@pytest.mark.parametrize("name", ["adam", "shrinkage", "gauss_newton potential"])
def test_any_number_of_ranks_finds_the_same(name: str) -> None:
    config = config_of(CASES[name])
    alone = trained_on(1, config)[0]
    for size in (2, 3):
        states = trained_on(size, config)
        for state in states:
            assert bonds_of(state.fields).ranks == bonds_of(alone.fields).ranks
            assert torch.equal(flat(state), flat(states[0]))
            assert state.ranks is not None
            assert states[0].ranks is not None
            assert_identical(state.ranks.arrays(), states[0].ranks.arrays())
        torch.testing.assert_close(flat(states[0]), flat(alone), rtol=1e-6, atol=1e-8)


def test_moments_of_what_did_not_change_stay() -> None:
    config = config_of(ADAM | AUTO | {"train.epochs": 5})
    state = new_state(config, World())
    train(config, state, World(), StopRequest(), SILENT)
    assert isinstance(state.optimizer, FirstOrder)
    before = {name: p for name, p in state.fields.named_parameters()}
    moments = {name: state.optimizer.torch.state[p]["exp_avg"].clone() for name, p in before.items()}
    assert state.ranks is not None
    state.epoch, state.ranks.epochs = 6, 12
    state.adapt_ranks(World())
    changed = {name for name, p in state.fields.named_parameters() if p is not before[name]}
    assert changed
    assert all(".cores." in name for name in changed)
    for name, parameter in state.fields.named_parameters():
        held = state.optimizer.torch.state.get(parameter)
        layer = name.rpartition(".cores.")[0]
        if any(layer and other.startswith(f"{layer}.cores.") for other in changed):
            assert not held
        else:
            assert held is not None
            assert torch.equal(held["exp_avg"], moments[name])
    groups = [p for group in state.optimizer.torch.param_groups for p in group["params"]]
    assert {id(p) for p in groups} == {id(p) for p in state.fields.parameters()}


def test_gauss_newton_forgets_old_batches_when_ranks_change() -> None:
    config = config_of(GAUSS_NEWTON | POTENTIAL | AUTO)
    state = new_state(config, World())
    state.optimizer.epoch(objective(config, state, World()), 1.0)
    before = sum(p.numel() for p in state.fields.parameters())
    state.epoch = 3
    state.adapt_ranks(World())
    after = sum(p.numel() for p in state.fields.parameters())
    assert after < before
    arrays = state.optimizer.arrays()
    assert arrays["normal"].shape == (after, after)
    assert not arrays["normal"].any()
    assert not arrays["pull"].any()


def watched(config: Config, state: TrainState, look: Callable[[torch.nn.Parameter], None]) -> Objective:
    """The loss of an epoch, with `look` at every parameter as its observer."""

    def observe() -> None:
        for parameter in state.fields.parameters():
            look(parameter)

    return dataclasses.replace(objective(config, state, World()), observer=observe)


def gradient_of(state: TrainState) -> torch.Tensor:
    return torch.cat([p.grad.reshape(-1) for p in state.fields.parameters() if p.grad is not None])


@pytest.mark.parametrize("changes", [ADAM, LBFGS, GAUSS_NEWTON | POTENTIAL], ids=["adam", "lbfgs", "gn"])
def test_the_observer_sees_the_whole_gradient_once_an_epoch(changes: dict[str, Any]) -> None:
    config = config_of(changes)
    state = new_state(config, World())
    seen: list[torch.Tensor] = []

    def look(parameter: torch.nn.Parameter) -> None:
        assert parameter.grad is not None
        seen.append(parameter.grad.reshape(-1).clone())

    report = state.optimizer.epoch(watched(config, state, look), 0.0)
    assert len(seen) == len(list(state.fields.parameters()))
    assert float(torch.cat(seen).norm()) == pytest.approx(report.gradient_norm, rel=1e-6)


@pytest.mark.parametrize("prior", [0.0, 1e6])
def test_a_prior_is_part_of_the_step(prior: float) -> None:
    """What the observer adds to the gradient moves the parameters; clipping sees it too."""
    config = config_of(ADAM | {"train.clip": 1e-3})
    state = new_state(config, World())
    start = flat(state)

    def look(parameter: torch.nn.Parameter) -> None:
        assert parameter.grad is not None
        parameter.grad += prior

    state.optimizer.epoch(watched(config, state, look), 0.01)
    assert float(gradient_of(state).norm()) == pytest.approx(1e-3, rel=1e-5)
    assert bool((flat(state) < start).all()) == (prior > 0.0)


def test_log_and_last_words() -> None:
    config = config_of(AUTO)
    state = new_state(config, World())
    entries: list[dict[str, Any]] = []
    words: list[str] = []
    hooks = Hooks(entries.append, lambda epoch, loss: None, lambda: None, words.append)
    train(config, state, World(), StopRequest(), hooks)
    bonds = bonds_of(state.fields)
    names = [f"{net}.blocks.0.{layer}:1" for net in "uv" for layer in ("first", "second")]
    assert bonds.names == names
    assert entries[0]["rank"] == [4, 4, 4, 4]
    assert entries[-1]["rank"] == bonds.ranks
    assert entries[-1]["bond_entropy"] == bonds.entropies
    for entry in entries:
        for rank, entropy in zip(entry["rank"], entry["bond_entropy"], strict=True):
            assert 0.0 <= entropy <= np.log(rank) + 1e-12
    count = sum(p.numel() for p in state.fields.parameters())
    assert words == [ranks_found(state.fields)]
    assert f"u.blocks.0.first 1-{bonds.ranks[0]}-1" in words[0]
    assert f"{count:,} parameters" in words[0]
    # fixed ranks are logged too, other formats have no bonds
    for tensor, logged in (({"rank": 2}, True), ({"rank": 2, "format": "cp"}, False)):
        fixed = config_of({"network.tensor": tensor, "train.epochs": 2})
        entries.clear()
        train(fixed, new_state(fixed, World()), World(), StopRequest(), hooks)
        assert ("rank" in entries[0]) == logged
    assert len(words) == 1


@pytest.mark.parametrize("changes", [{}, POTENTIAL], ids=["velocities", "potential"])
def test_standing_still_changes_no_bit(changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Points and observables with weights rebuilt once, and with weights rebuilt at every use."""
    config = config_of(changes | {"network.tensor": {"rank": 2}, "evaluation.samples": 60})
    state = new_state(config, World())

    def found() -> list[torch.Tensor]:
        batch = training_points(config, state.system, state.initial, state.fields, 0, [0, 1])
        measured = evaluate(config, state, World(), lambda done, total: None).sums
        return [batch.x, *measured.tensors()]

    once = found()
    assert all(parameter.requires_grad for parameter in state.fields.parameters())
    for module in ("batch", "evaluate"):
        monkeypatch.setattr(f"dsmsim.training.{module}.standing_still", contextlib.nullcontext)
    for first, second in zip(once, found(), strict=True):
        assert torch.equal(first, second)


def test_weights_are_rebuilt_once_in_a_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of(POTENTIAL | {"network.tensor": {"rank": 2}})
    state = new_state(config, World())
    layers = [module for module in state.fields.modules() if isinstance(module, TensorLinear)]
    rebuilt, real = [], TensorLinear.rebuilt
    monkeypatch.setattr(TensorLinear, "rebuilt", lambda layer: (rebuilt.append(layer), real(layer))[1])
    training_points(config, state.system, state.initial, state.fields, 0, [0, 1])
    assert len(rebuilt) == len(layers)
    with pytest.raises(ZeroDivisionError), standing_still(state.fields):
        _ = 1 / 0
    assert all(parameter.requires_grad for parameter in state.fields.parameters())


@pytest.mark.parametrize("format", FORMATS)
def test_results_hold_what_makes_the_weights(format: str, tmp_path: Path) -> None:
    """Written with other ranks than the input says, read back by our own loader."""
    adaptive = format in ("tt", "tr")
    tensor = {"format": format, "rank": "auto" if adaptive else 3} | ({"rank_start": 2} if adaptive else {})
    config = parse_config(tiny_input({"network.kind": "potential", "network.tensor": tensor}))
    state = new_state(config, World())
    layers = {name: m for name, m in state.fields.named_modules() if isinstance(m, TensorLinear)}
    if adaptive:
        other = new_state(config_of(POTENTIAL | {"network.tensor": {"format": format, "rank": 3}}), World())
        for name, layer in layers.items():
            found = other.fields.get_submodule(name)
            assert isinstance(found, TensorLinear)
            layer.set_cores(list(found.cores))
    shuffled = next(iter(layers.values()))
    shuffled.permute_in = torch.randperm(shuffled.in_features)
    results, attributes = model_groups(state.fields)
    attributes["provenance"] = {"resolved_input": tomli_w.dumps(config.to_dict())}
    write_results(tmp_path / "results.h5", results, attributes)
    file = read_results(tmp_path / "results.h5")
    for name, layer in layers.items():
        about = file.attributes[name.replace("potential.", "model/potential/", 1).replace(".", "/")]
        assert about["format"] == format
        assert about["ranks"] == list(layer.ranks)
        assert (about["modes_out"], about["modes_in"]) == (list(layer.modes_out), list(layer.modes_in))
        assert about.get("ring") == ({"tt": 0, "tr": 1}.get(format))
        first = file.results["model/potential"][f"{name.split('.', 1)[1].replace('.', '/')}/cores/0"]
        assert first.shape == layer.cores[0].shape
        if format == "tr":
            assert first.shape == (3, layer.modes_out[0], layer.modes_in[0], 3)
    _, fields = trained_fields(file)
    for name, layer in layers.items():
        found = fields.get_submodule(name)
        assert isinstance(found, TensorLinear)
        assert torch.equal(found.weight, layer.weight)


def test_cores_that_do_not_fit_are_left_alone() -> None:
    state = new_state(config_of({"network.tensor": {"rank": 2}}), World())
    arrays = {f"u.blocks.0.first.cores.{k}": np.zeros((1, 2, 3, 1)) for k in range(2)}
    before = flat(state)
    assert adopt_cores(state.fields, arrays) == []
    assert torch.equal(flat(state), before)
