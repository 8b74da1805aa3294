"""[network.tensor]: what its keys ask of each other, exact counts of every format, and the plan."""

from __future__ import annotations

from typing import Any

import pytest
from config_examples import two_bosons

from dsmsim.config import Config, TensorTable, make_plan, parse_config
from dsmsim.config.engine_costs import rebuilt_values
from dsmsim.config.tensor_checks import STILL
from dsmsim.config.tensor_table import ADAPTERS, DEFAULT_ADAPTER, DEFAULT_TOLERANCE, START_RANKS
from dsmsim.errors import ConfigError
from dsmsim.tensor_shapes import FORMATS, parameters

AUTO = {"rank": "auto"}
MLP = {"kind": "mlp", "width": 64}
ADAM = {"optimizer": "adam"}


def build(network: dict[str, Any], train: dict[str, Any] | None = None, **tensor: Any) -> Config:
    """Two bosons with decomposed layers."""
    tables = {"network": network | {"tensor": {"rank": 4} | tensor}, "train": train or {}}
    return parse_config(two_bosons() | tables, environment=False)


# (network, train, tensor, key and value, words of the rule, words of the fix)
Case = tuple[dict[str, Any], dict[str, Any], dict[str, Any], str, str, str]
CASES: list[Case] = [
    (MLP, {}, {"format": "mps"}, 'format = "mps"', "must be one of", 'format = "tt"'),
    (MLP, {}, {"rank": "Auto"}, 'rank = "Auto"', 'or "auto"', "e.g. 8"),
    (MLP, {}, {"rank": True}, "rank = true", "must be an integer", "e.g. 8"),
    (MLP, {}, {"blocks": 3}, "blocks = 3", 'format = "blockterm"', "remove it"),
    (MLP, {}, {"format": "blockterm", "blocks": 0}, "blocks = 0", "must be >= 1", "blocks = 2"),
    (MLP, {}, {"format": "lowrank", "modes_in": [8, 8]}, "modes_in", "has no modes", 'format = "tt"'),
    (MLP, {}, {"format": "lowrank", "rank": 65}, "rank = 65", "at most 64", "rank = 64"),
    (MLP, {}, {"format": "tucker", "rank": 65}, "rank = 65", "at most 64", "rank = 64"),
    (MLP, {}, {"tolerance": 0.3}, "tolerance = 0.3", 'needs network.tensor.rank = "auto"', "remove it"),
    (MLP, {}, {"rank_start": 4}, "rank_start = 4", 'needs network.tensor.rank = "auto"', "remove it"),
    (MLP, {}, {"rank_most": 4}, "rank_most = 4", 'needs network.tensor.rank = "auto"', "remove it"),
    (MLP, {}, {"adapt_every": 4}, "adapt_every = 4", 'needs network.tensor.rank = "auto"', "remove it"),
    (MLP, {}, {"adapter": "growth"}, 'adapter = "growth"', 'rank = "auto"', "remove it"),
    (MLP, {}, AUTO | {"format": "cp"}, 'rank = "auto"', "ranks stand still", '"tt" or "tr"'),
    (MLP, {}, AUTO | {"tolerance": 1.0}, "tolerance = 1.0", "less than 1", "tolerance = 0.1"),
    (MLP, {}, AUTO | {"tolerance": 0.0}, "tolerance = 0.0", "must be > 0", "tolerance = "),
    (MLP, {}, AUTO | {"rank_start": 65}, "rank_start = 65", "rank_most = 64", "64 or less"),
    (
        {"kind": "mlp", "width": 16},
        {},
        AUTO | {"rank_start": 17},
        "rank_start = 17",
        "at most 16",
        "rank_start = 16 or less",
    ),
    (MLP, {"epochs": 10, "warmup": 0}, AUTO | {"adapt_every": 9}, "adapt_every = 9", "at most 8", "= 1"),
    (MLP, {}, AUTO | {"adapter": "growth", "format": "tr"}, 'adapter = "growth"', "orthogonal", "rounding"),
    (
        MLP,
        {"optimizer": "lbfgs"},
        AUTO | {"adapter": "shrinkage"},
        "adapter",
        'optimizer = "lbfgs"',
        "adapter = ",
    ),
    (MLP, ADAM, {"core_rate": 0.0}, "core_rate = 0.0", "> 0", "3.0"),
    (MLP, ADAM, {"core_rate": "fast"}, 'core_rate = "fast"', 'or "auto"', "3.0"),
    ({}, {}, {"core_rate": 2.0}, "core_rate = 2.0", "no learning rate", "remove it"),
    ({}, {}, {"strategy": "rebuild"}, 'strategy = "rebuild"', "always rebuilt", "auto"),
    (MLP, {}, {"strategy": "sequential"}, 'strategy = "sequential"', "fused engine", "torch_func"),
    (MLP, {}, {"strategy": "fast"}, 'strategy = "fast"', "must be one of", "strategy = "),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[2]} {case[1] or ''}")
def test_message_names_key_rule_and_fix(case: Case) -> None:
    network, train, tensor, key, rule, fix = case
    with pytest.raises(ConfigError) as caught:
        build(network, train, **tensor)
    lines = [line for line in str(caught.value).splitlines() if key in line and rule in line and fix in line]
    assert len(lines) == 1, str(caught.value)


def test_everything_that_may_be_written() -> None:
    keys = {"tolerance": 0.1, "rank_start": 8, "rank_most": 16, "adapt_every": 5, "adapter": "rounding"}
    config = build(MLP, ADAM | {"engine": "torch_func"}, **AUTO, **keys, core_rate=2, strategy="sequential")
    tensor = config.network.tensor
    assert tensor is not None
    assert tensor.core_rate == 2.0
    assert parse_config(config.to_dict(), environment=False) == config
    for format in FORMATS:
        build({"kind": "mlp", "width": 61 if format == "lowrank" else 60}, format=format)


def test_auto_is_resolved() -> None:
    tensor = TensorTable(rank="auto")
    assert tensor.adaptive
    assert tensor.adapter_name == DEFAULT_ADAPTER
    assert tensor.first_rank == START_RANKS[DEFAULT_ADAPTER]
    assert [tensor.epochs_between(epochs) for epochs in (1000, 100, 7)] == [50, 5, 1]
    given = TensorTable(rank="auto", rank_start=6, rank_most=5, adapt_every=3, adapter="rounding")
    assert (given.first_rank, given.epochs_between(100)) == (5, 3)
    assert not TensorTable(rank=3).adaptive
    assert TensorTable(rank=3).first_rank == 3


def test_the_table_knows_what_adaptation_offers() -> None:
    from dsmsim.tensor import adaptation

    assert set(ADAPTERS) == set(adaptation.ADAPTERS) == set(START_RANKS)
    assert {name for name, rank in START_RANKS.items() if rank == 1} == {
        name for name, adapter in adaptation.ADAPTERS.items() if adapter.start == "least"
    }
    assert adaptation.DEFAULT_ADAPTER == DEFAULT_ADAPTER
    assert adaptation.DEFAULT_TOLERANCE == DEFAULT_TOLERANCE
    rule = adaptation.RankRule(0.1, 1)
    assert rule.until == STILL
    assert rule.due(80, 100)
    assert not rule.due(81, 100)


@pytest.mark.parametrize("kind", ["mlp", "potential"])
@pytest.mark.parametrize("format", FORMATS)
def test_counts_of_every_format_are_those_of_the_networks(format: str, kind: str) -> None:
    from dsmsim.networks import build_fields
    from dsmsim.system import build_initial, build_system

    modes = {} if format == "lowrank" else {"modes_out": [2, 3, 4], "modes_in": [4, 2, 3]}
    for extra in ({}, {"rank": "auto", "rank_start": 5} if format in ("tt", "tr") else {"rank": 5}):
        config = build({"kind": kind, "width": 24}, format=format, **modes, **extra)
        fields = build_fields(config, build_system(config), build_initial(config))
        plan = make_plan(config)
        counts = {name: sum(p.numel() for p in net.parameters()) for name, net in fields.networks().items()}
        assert plan.networks == counts
        layer = next(module for module in fields.modules() if hasattr(module, "cores"))
        assert plan.tensor is not None
        assert plan.tensor.ranks == layer.ranks
        assert plan.tensor.parameters == sum(core.numel() for core in layer.cores)
        assert plan.tensor.format == layer.format == format


def test_the_planned_ranks_of_auto_are_those_it_begins_with() -> None:
    plan = make_plan(build({"width": 20}, **AUTO, rank_start=6)).tensor
    assert plan is not None
    assert plan.adaptive
    assert plan.ranks == (1, 6, 1)
    assert plan.parameters == parameters("tt", [4, 5], [4, 5], 6)


@pytest.mark.parametrize(
    ("network", "train", "tensor", "training", "sampling"),
    [
        ({"width": 20}, {}, {}, "a potential", "a potential"),
        (MLP, {}, {}, "the fused engine", "of dense layers"),
        (MLP, {"engine": "torch_func"}, {}, "for 1,024 rows", "for 32 rows"),
        ({"kind": "equivariant", "width": 64}, {}, {}, "for 2,048 rows", "for 64 rows"),
        (MLP, {"optimizer": "gauss_newton"}, {}, "for 1 row", "for 64 rows"),
        (MLP, {"engine": "torch_func"}, {"strategy": "sequential"}, 'strategy = "sequential"', "strategy"),
        (MLP, {"engine": "torch_func"}, {"format": "lowrank", "rank": 2}, "one by one", "one by one"),
    ],
)
def test_the_plan_says_how_layers_are_applied_and_why(
    network: dict[str, Any], train: dict[str, Any], tensor: dict[str, Any], training: str, sampling: str
) -> None:
    plan = make_plan(build(network, train, **tensor)).tensor
    assert plan is not None
    said = {application.purpose: application for application in plan.applications}
    for purpose, words in (("training", training), ("sampling", sampling)):
        assert words in said[purpose].reason
        assert purpose in str(said[purpose])
    if tensor.get("strategy") == "sequential":
        assert not said["training"].rebuilt
        assert not said["sampling"].rebuilt
    if network.get("kind", "potential") == "potential":
        assert said["training"].rebuilt


def test_what_is_planned_is_what_the_layers_decide() -> None:
    """At these sizes: rank 2 one by one, rank 16 rebuilt."""
    from dsmsim.tensor.build import tensor_linear

    for rank, width in ((2, 512), (16, 512)):
        network, train = {"kind": "mlp", "width": width}, {"engine": "torch_func"}
        plan = make_plan(build(network, train, rank=rank)).tensor
        layer = tensor_linear("tt", width, width, rank=rank)
        assert plan is not None
        assert plan.applications[0].rebuilt == (layer.plan(1024, backward=True).kind == "rebuild")
    assert plan.applications[0].rebuilt


def test_memory_of_rebuilding() -> None:
    dense = parse_config(two_bosons(), environment=False).network
    assert rebuilt_values(dense) == 0
    tt = build({"kind": "mlp", "width": 64}).network
    assert rebuilt_values(tt) == 4 * 64**2 + 2 * (64 * 4 + 4 * 64)
    ring = build({"kind": "mlp", "width": 64}, format="tr", rank=16).network
    assert rebuilt_values(ring) == 4 * 64**2 + 2 * 2 * 64 * 16**2
    tucker = build({"kind": "mlp", "width": 64}, format="tucker", rank=16).network
    assert rebuilt_values(tucker) == 4 * 64**2 + 4 * 2 * 64 * 16
    wide = make_plan(build({"kind": "mlp", "width": 512}, format="tr", rank=32)).memory
    narrow = make_plan(build({"kind": "mlp", "width": 512}, format="tr", rank=2)).memory
    halves = (16**2 + 32**2) * (32**2 - 2**2)  # modes 16, 32
    layers, float32, copies = 4, 4, 2
    assert wide.residuals - narrow.residuals == layers * float32 * copies * halves
