"""Trained networks with other hidden layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from tiny import tiny_config
from torch import Tensor

from dsmsim.config import Config
from dsmsim.errors import ConfigError
from dsmsim.networks import Fields, build_fields
from dsmsim.system import build_initial, build_system
from dsmsim.tensor_shapes import FORMATS
from dsmsim.training.compress import (
    Recipe,
    compressed,
    densified,
    finetuned,
    layer_inputs,
    tensor_layers,
    with_tensor,
)
from dsmsim.training.reorder import attached, reorder

POTENTIAL: dict[str, Any] = {
    "network": {"kind": "potential", "width": 8, "blocks": 2},
    "train.optimizer": "gauss_newton",
    "train.warmup": 0,
    "train.block": 4,
}
KINDS = {
    "mlp": {"network": {"kind": "mlp", "width": 8, "blocks": 2}},
    "equivariant": {"network": {"kind": "equivariant", "width": 8}},
    "potential": POTENTIAL,
}


def problem(changes: Mapping[str, Any]) -> tuple[Config, Fields, Tensor, Tensor]:
    """A tiny input, its fields, and points."""
    config = tiny_config(changes)
    fields = build_fields(config, build_system(config), build_initial(config))
    draw = torch.Generator().manual_seed(0)
    x = 0.2 + 0.5 * torch.randn(300, 2, generator=draw, dtype=torch.float64)
    return config, fields, x, torch.rand(300, 1, generator=draw, dtype=torch.float64)


def distance(one: Fields, two: Fields, x: Tensor, t: Tensor) -> float:
    """Largest relative L2 distance of u and v."""
    pairs = zip(one(x, t), two(x, t), strict=True)
    return max(float(((a - b).norm() / b.norm()).detach()) for a, b in pairs)


@pytest.mark.parametrize("kind", KINDS)
def test_full_rank_changes_nothing_and_dense_is_the_reverse(kind: str) -> None:
    config, fields, x, t = problem(KINDS[kind])
    made = compressed(config, fields, x, t, Recipe("tt", rank=8, swaps=20))
    assert made.config.network.tensor is not None
    assert len(tensor_layers(made.fields)) == len(made.layers) > 0
    assert distance(made.fields, fields, x, t) < 1e-6
    plain, dense = densified(made.config, made.fields)
    assert plain == config
    assert not tensor_layers(dense)
    assert distance(dense, made.fields, x, t) < 1e-12


@pytest.mark.parametrize("kind", KINDS)
def test_fields_do_not_depend_on_the_order_of_their_units(kind: str) -> None:
    config, fields, x, t = problem(KINDS[kind])
    moved = build_fields(config, build_system(config), build_initial(config))
    moved.load_state_dict(fields.state_dict())
    draw = torch.Generator().manual_seed(1)
    units = {each.units for each in attached(fields)}
    reorder(moved, {name: torch.randperm(8, generator=draw) for name in units})
    changed = [not torch.equal(a, b) for a, b in zip(moved.parameters(), fields.parameters(), strict=True)]
    assert sum(changed) >= 6
    assert distance(moved, fields, x, t) < 1e-12


@pytest.mark.parametrize("kind", ["mlp", "potential"])
def test_fitted_to_inputs_is_closer_than_fitted_to_weights(kind: str) -> None:
    config, fields, x, t = problem(KINDS[kind])
    by = {fit: compressed(config, fields, x, t, Recipe("tt", rank=3, fit=fit)) for fit in ("data", "weights")}
    assert distance(by["data"].fields, fields, x, t) < 0.5 * distance(by["weights"].fields, fields, x, t)
    for layer in by["data"].layers:
        assert layer.output_error < layer.weight_error


def test_the_smallest_rank_that_keeps_the_tolerance() -> None:
    config, fields, x, t = problem(KINDS["mlp"])
    made = compressed(config, fields, x, t, Recipe("lowrank", tolerance=0.02))
    tensor = made.config.network.tensor
    assert tensor is not None
    assert isinstance(tensor.rank, int)
    assert max(layer.output_error for layer in made.layers) <= 0.02
    fewer = compressed(config, fields, x, t, Recipe("lowrank", rank=tensor.rank - 1))
    assert max(layer.output_error for layer in fewer.layers) > 0.02


@pytest.mark.parametrize("format", FORMATS)
def test_every_format(format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dsmsim.training.compress.LONG", 30)
    config, fields, x, t = problem({})
    made = compressed(config, fields, x, t, Recipe(format, rank=3))
    assert {layer.format for layer in tensor_layers(made.fields).values()} == {format}
    assert all(
        layer.after == sum(c.numel() for c in tensor_layers(made.fields)[layer.name].cores)
        for layer in made.layers
    )
    assert max(layer.output_error for layer in made.layers) < 0.3


def test_inputs_are_those_of_the_layers() -> None:
    """The means and moments that were overheard are those of the activations themselves."""
    _, fields, x, t = problem(KINDS["mlp"])
    heard = layer_inputs(fields, ["u.blocks.0.first"], x, t)["u.blocks.0.first"]
    seen: list[Tensor] = []
    layer = fields.get_submodule("u.blocks.0.first")
    layer.register_forward_hook(lambda module, args, result: seen.append(args[0].detach()))
    fields(x, t)
    torch.testing.assert_close(heard.mean, seen[0].mean(0))
    torch.testing.assert_close(heard.moment, seen[0].T @ seen[0] / len(seen[0]))


def test_derivatives_count_as_inputs_of_a_potential() -> None:
    _, fields, x, t = problem(POTENTIAL)
    names = ["potential.node_hidden.0", "potential.pair_hidden.1", "potential.message"]
    for name, heard in layer_inputs(fields, names, x, t).items():
        values = torch.outer(heard.mean, heard.mean).trace()
        assert heard.moment.trace() > values, name
        assert torch.linalg.eigvalsh(heard.about(True)).min() > -1e-10


def test_errors_name_the_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    config, fields, x, t = problem({})
    with pytest.raises(ConfigError, match=r"network\.tensor\.modes"):
        compressed(config, fields, x, t, Recipe("tt", rank=2, modes_out=[3, 3], modes_in=[3, 3]))
    with pytest.raises(ConfigError, match="rank"):
        compressed(config, fields, x, t, Recipe("tt", rank=99))
    monkeypatch.setattr("dsmsim.training.compress.LARGEST_RING", 1)
    with pytest.raises(ConfigError, match="raise the tolerance"):
        compressed(config, fields, x, t, Recipe("tr", tolerance=1e-4))


def test_finetuning_is_short_and_careful() -> None:
    config = tiny_config({"train.warmup": 4, "train.epochs": 20})
    short = finetuned(config, 10)
    assert (short.train.epochs, short.train.warmup) == (10, 1)
    assert short.train.learning_rate < config.train.learning_rate
    newton = tiny_config(POTENTIAL)
    assert finetuned(newton, 3).train.learning_rate == newton.train.learning_rate
    assert with_tensor(config, None) == config
