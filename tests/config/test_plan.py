"""The plan of a run: parameter counts against networks, memory and arithmetic by their scaling.

What a process takes in truth is measured in `test_memory_costs.py`.
"""

from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest
import torch
from config_examples import changed, every_table, two_bosons

from dsmsim.config import Config, make_plan, parse_config
from dsmsim.config.engine_costs import engine_costs, engine_name
from dsmsim.config.network_costs import network_costs
from dsmsim.parallel import StopRequest, World

# what the plan counts with, so that no expectation here depends on a default
SIZES = {
    "time__steps": 64,
    "network": {"kind": "mlp", "width": 64, "blocks": 1},
    "sampler__scheme": "heun",
    "train": {
        "optimizer": "soap",
        "trajectories": 64,
        "points": 1024,
        "block": 16,
        "precision": "float32",
        "engine": "torch_func",
    },
    "evaluation": {"samples": 40000, "trials": 10, "bins": 80},
    "output": {"trajectories": 0, "figures": True},
}


def build(**changes: Any) -> Config:
    """Two bosons of the sizes above; `train__points` changes one of them, `network` the whole table."""
    data = two_bosons()
    for path, value in copy.deepcopy(SIZES | changes).items():
        changed(data, path.replace("__", "."), value)
    return parse_config(data, environment=False)


def dense_mlp(inputs: int, width: int, blocks: int, outputs: int) -> int:
    layers = [torch.nn.Linear(inputs, width)]
    layers += [torch.nn.Linear(width, width) for _ in range(2 * blocks)]
    layers += [torch.nn.Linear(width, outputs)]
    return sum(parameter.numel() for layer in layers for parameter in layer.parameters())


@pytest.mark.parametrize(
    ("particles", "dimensions", "width", "blocks"), [(1, 1, 7, 1), (2, 3, 64, 1), (5, 1, 20, 4)]
)
@pytest.mark.parametrize("kind", ["mlp", "sorted"])
def test_dense_count(kind: str, particles: int, dimensions: int, width: int, blocks: int) -> None:
    if kind == "sorted" and dimensions > 1:
        dimensions = 1
    config = build(
        system__particles=particles,
        system__dimensions=dimensions,
        network={"kind": kind, "width": width, "blocks": blocks},
    )
    n = particles * dimensions
    plan = make_plan(config)
    assert plan.networks == dict.fromkeys(("u", "v"), dense_mlp(n + 1, width, blocks, n))
    assert plan.parameters == 2 * plan.networks["u"]
    assert plan.tensor is None


def test_tensor_train_count_by_hand() -> None:
    config = build(network={"kind": "mlp", "width": 64, "blocks": 1, "tensor": {"rank": 8}})
    cores = 1 * 8 * 8 * 8 + 8 * 8 * 8 * 1
    plan = make_plan(config)
    assert plan.networks["u"] == (3 * 64 + 64) + 2 * (cores + 64) + (64 * 2 + 2)
    assert plan.tensor is not None
    assert (plan.tensor.modes_out, plan.tensor.modes_in, plan.tensor.ranks) == ((8, 8), (8, 8), (1, 8, 1))
    assert plan.tensor.dense_parameters == 2 * dense_mlp(3, 64, 1, 2)


def test_bonds_are_cut_to_what_they_can_have() -> None:
    modes = {"rank": 10, "modes_out": [2, 4, 8], "modes_in": [2, 8, 4]}
    config = build(network={"kind": "mlp", "width": 64, "blocks": 1, "tensor": modes})
    plan = make_plan(config)
    assert plan.tensor is not None
    assert plan.tensor.ranks == (1, 4, 10, 1)
    cores = 1 * 2 * 2 * 4 + 4 * 4 * 8 * 10 + 10 * 8 * 4 * 1
    assert plan.networks["v"] == (3 * 64 + 64) + 2 * (cores + 64) + (64 * 2 + 2)


@pytest.mark.parametrize("kind", ["mlp", "equivariant", "sorted", "potential", "functional_tt"])
@pytest.mark.parametrize(
    "tensor", [None, {"rank": 3}, {"rank": 5, "modes_out": [2, 3, 4], "modes_in": [4, 3, 2]}]
)
def test_counts_are_those_of_the_networks(kind: str, tensor: dict[str, Any] | None) -> None:
    from dsmsim.networks import build_fields
    from dsmsim.system import build_initial, build_system

    extra = {} if tensor is None else {"tensor": tensor}
    messages = (True, False) if kind == "potential" else (True,)
    sizes = itertools.product((1, 2, 5), (1,) if kind == "sorted" else (1, 2, 3), (1, 3), messages)
    for particles, dimensions, blocks, talking in sizes:
        network = {"kind": kind, "width": 24, "blocks": blocks, "messages": talking} | extra
        config = build(
            network=network,
            system__particles=particles,
            system__dimensions=dimensions,
            train__engine="auto",
        )
        fields = build_fields(config, build_system(config), build_initial(config))
        counts = {
            name: sum(p.numel() for p in network.parameters()) for name, network in fields.networks().items()
        }
        assert make_plan(config).networks == counts


@pytest.mark.parametrize("messages", [True, False])
def test_without_interaction_nothing_is_counted_for_pairs(messages: bool) -> None:
    from dsmsim.networks import build_fields
    from dsmsim.system import build_initial, build_system

    memory = []
    for particles in (2, 40):
        data = two_bosons() | {"network": {"kind": "potential", "width": 12, "messages": messages}}
        data["system"] |= {"particles": particles}
        del data["system"]["interaction"]
        config = parse_config(data, environment=False)
        fields = build_fields(config, build_system(config), build_initial(config))
        counts = {name: sum(p.numel() for p in each.parameters()) for name, each in fields.networks().items()}
        plan = make_plan(config)
        assert plan.networks == counts
        memory.append(plan.memory.training)
    assert memory[1] < 20 * memory[0]  # 780 pairs would take hundreds of times as much as one


def test_the_checkpoint_holds_what_the_optimizer_remembers() -> None:
    from dsmsim.training.loop import Hooks, train
    from dsmsim.training.state import new_state

    plain = {"kind": "mlp", "width": 12, "blocks": 2}
    potential = {"kind": "potential", "width": 8}
    tensor = plain | {"tensor": {"rank": 3}}
    ring = {"kind": "functional_tt", "width": 8}
    cases = (("adam", plain), ("soap", plain), ("soap", tensor), ("soap", potential), ("soap", ring))
    for optimizer, network in (*cases, ("gauss_newton", potential)):
        config = build(
            network=network,
            time__steps=4,
            train=SIZES["train"] | {"optimizer": optimizer, "engine": "auto", "epochs": 1, "warmup": 0},
        )
        state = new_state(config, World())
        hooks = Hooks(lambda entry: None, lambda epochs, loss: None, lambda: None)
        train(config, state, World(), StopRequest(), hooks)
        held = {k: a for k, a in state.arrays().items() if k.startswith(("model/", "optimizer/"))}
        # counters and the like are not worth predicting
        size = sum(array.nbytes for array in held.values() if array.ndim > 0)
        file = next(file for file in make_plan(config).files if file.path.startswith("checkpoints/"))
        assert file.size == size


@pytest.mark.parametrize(
    ("changes", "engine"),
    [
        ({}, "fused"),
        ({"network__kind": "sorted"}, "torch_func"),
        ({"network__kind": "equivariant"}, "torch_func"),
        ({"network__kind": "potential"}, "madelung"),
        ({"network__kind": "functional_tt"}, "madelung"),
        ({"train__divergence": "hutchinson"}, "hutchinson"),
        ({"train__engine": "torch_func"}, "torch_func"),
        ({"train__optimizer": "gauss_newton"}, "torch_func"),
    ],
)
def test_every_engine_has_its_costs(changes: dict[str, Any], engine: str) -> None:
    config = build(**{"train__engine": "auto"} | changes)
    assert engine_name(config) == engine
    plan = make_plan(config)
    assert plan.multiply_adds > plan.points_per_rank * plan.parameters
    assert plan.memory.residuals > 0


def test_arithmetic_follows_points_steps_and_scheme() -> None:
    plan = make_plan(build())
    assert plan.network_evaluations == 2 * 64 * 64 * 2 + 2 * 1024
    euler = make_plan(build(sampler={"scheme": "euler"}))
    assert euler.network_evaluations == 2 * 64 * 64 + 2 * 1024
    per_pass = 5 * 64 + 2 * 64 * 64
    assert plan.multiply_adds == per_pass * (2 * 64 * 64 * 2 + 2 * 1024 * (6 * 2 + 16))
    assert make_plan(build(), ranks=4).multiply_adds == plan.multiply_adds
    fused = make_plan(build(train__engine="auto"))
    assert fused.multiply_adds == per_pass * (2 * 64 * 64 * 2 + 2 * 1024 * (6 * 2 + 6))


@pytest.mark.parametrize("particles", [2, 5])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"network": {"kind": "equivariant", "width": 64}},
        {"train__divergence": "hutchinson", "train__engine": "auto"},
        {"network": {"kind": "potential", "width": 64}, "train__engine": "auto"},
        {"network": {"kind": "functional_tt", "width": 64, "bond_rank": 6}, "train__engine": "auto"},
    ],
    ids=["torch_func", "equivariant", "hutchinson", "madelung", "functional_tt"],
)
def test_arithmetic_is_what_torch_counts(changes: dict[str, Any], particles: int) -> None:
    """Products of matrices in a loss with its gradient; torch does not see those of the fused engine."""
    from torch.utils.flop_counter import FlopCounterMode

    from dsmsim.networks import build_fields
    from dsmsim.system import build_initial, build_system
    from dsmsim.training.batch import training_points
    from dsmsim.training.engines import gradient_function

    config = build(**changes, system__particles=particles, train__points=64)
    system, initial = build_system(config), build_initial(config)
    fields = build_fields(config, system, initial)
    batch = training_points(config, system, initial, fields, 0, range(4))
    gradient, weights = gradient_function(config, fields, system), torch.ones(64)
    with FlopCounterMode(display=False) as counted:
        gradient(batch, weights, weights)
    predicted = engine_costs(config, network_costs(config)).multiply_adds()
    assert counted.get_total_flops() / 2 / 64 == pytest.approx(predicted, rel=0.15)


def test_arithmetic_of_a_potential() -> None:
    """Two bosons, width 64: three particle streams of derivatives, five of the pair; forward and back."""
    changes = {"network": {"kind": "potential", "width": 64}, "train__engine": "auto"}
    plan = make_plan(build(**changes))
    node, pair = (3 + 2 + 64) * 64, (5 + 2 + 2 * 64) * 64
    value, jet = 2 * node + pair, 2 * 5 * node + 5 * pair
    assert plan.multiply_adds == 2 * value * 64 * 64 * 2 + 3 * jet * 1024
    lbfgs = make_plan(build(**changes, train__optimizer="lbfgs"))
    assert lbfgs.multiply_adds > 20 * plan.multiply_adds - 20 * 2 * value * 64 * 64 * 2


def test_ranks_share_the_points() -> None:
    plan = make_plan(build(), ranks=3)
    assert (plan.trajectories_per_rank, plan.points_per_rank) == (32, 512)
    assert any("uneven" in warning for warning in plan.warnings)
    assert any("nothing to do" in warning for warning in make_plan(build(), ranks=5).warnings)
    assert make_plan(build(), ranks=4).warnings == ()
    with pytest.raises(ValueError, match="at least 1"):
        make_plan(build(), ranks=0)


def test_memory_grows_with_what_it_holds() -> None:
    base = make_plan(build()).memory
    many = make_plan(build(train__points=40960)).memory
    assert make_plan(build(train__points=4096)).memory.residuals == many.residuals > base.residuals
    assert many.sampling > 5 * base.sampling
    assert make_plan(build(), ranks=4).memory.residuals < base.residuals
    assert make_plan(build(train__precision="float64")).memory.parameters == 2 * base.parameters
    assert make_plan(build(evaluation__samples=80000)).memory.evaluation == base.evaluation
    assert make_plan(build(evaluation__samples=1000)).memory.evaluation < base.evaluation
    assert base.total > base.program + base.residuals + base.parameters


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"train__engine": "auto", "train__divergence": "hutchinson"},
        {"train__engine": "auto", "network__kind": "potential"},
        {"network__kind": "equivariant", "train__optimizer": "lbfgs"},
    ],
)
def test_memory_is_flat_in_the_points(changes: dict[str, Any]) -> None:
    some, many = (make_plan(build(**changes, train__points=k)).memory.residuals for k in (2**14, 2**20))
    assert many == some


def test_gauss_newton_keeps_a_row_for_every_residual() -> None:
    changes = {"train__engine": "auto", "network": {"kind": "potential", "width": 32}}
    plans = [
        make_plan(build(**changes, train__optimizer="gauss_newton", train__points=k)) for k in (2**14, 2**15)
    ]
    grown = plans[1].memory.residuals - plans[0].memory.residuals
    assert grown >= 4 * 2 * 2**14 * plans[0].parameters


def test_files_and_warnings() -> None:
    plan = make_plan(parse_config(every_table(), environment=False))
    paths = [file.path for file in plan.files]
    before = ["input.toml", "resolved.toml", "log.jsonl", "checkpoints/ckpt-NNNNNN.h5"]
    assert paths == [*before, "results.h5", "results.xdmf"]
    assert all(file.meaning for file in plan.files)
    named = make_plan(build(compare={"with": ["closed_form", "split_step"]})).files
    assert "references/split_step/results.h5" in [file.path for file in named]
    assert {"figures/", "report.html"} <= {file.path for file in make_plan(build()).files}
    assert any("equivariant" in warning for warning in make_plan(build(network__kind="sorted")).warnings)
    full = make_plan(build(network={"kind": "mlp", "width": 16, "tensor": {"rank": 16}}))
    assert any("no fewer parameters" in warning for warning in full.warnings)
