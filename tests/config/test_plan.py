"""The plan of a run: parameter counts against networks, memory and arithmetic by their scaling."""

from __future__ import annotations

import copy
import subprocess
import sys
from typing import Any

import pytest
import torch
from config_examples import changed, every_table, two_bosons

from dsmsim.config import Config, make_plan, parse_config
from dsmsim.config.plan import parameter_count

# what the plan counts with, so that no expectation here depends on a default
SIZES = {
    "time__steps": 64,
    "network": {"kind": "mlp", "width": 64, "blocks": 1},
    "sampler__scheme": "heun",
    "train": {"trajectories": 64, "points": 1024, "block": 16, "precision": "float32"},
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
    assert plan.parameters_u == plan.parameters_v == dense_mlp(n + 1, width, blocks, n)
    assert plan.parameters == 2 * plan.parameters_u
    assert plan.tensor is None


def test_tensor_train_count_by_hand() -> None:
    config = build(network={"kind": "mlp", "width": 64, "blocks": 1, "tensor": {"rank": 8}})
    cores = 1 * 8 * 8 * 8 + 8 * 8 * 8 * 1
    assert parameter_count(config) == (3 * 64 + 64) + 2 * (cores + 64) + (64 * 2 + 2)
    plan = make_plan(config)
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
    assert parameter_count(config) == (3 * 64 + 64) + 2 * (cores + 64) + (64 * 2 + 2)


@pytest.mark.parametrize("kind", ["mlp", "equivariant", "sorted"])
@pytest.mark.parametrize(
    "tensor", [None, {"rank": 3}, {"rank": 5, "modes_out": [2, 3, 4], "modes_in": [4, 3, 2]}]
)
def test_counts_are_those_of_the_networks(kind: str, tensor: dict[str, Any] | None) -> None:
    from dsmsim.networks.fields import KINDS

    network = {"kind": kind, "width": 24, "blocks": 2} | ({} if tensor is None else {"tensor": tensor})
    for particles, dimensions in ((1, 1), (3, 1), (2, 3)):
        if kind == "sorted" and dimensions > 1:
            continue
        config = build(network=network, system__particles=particles, system__dimensions=dimensions)
        net = KINDS[kind](config.network, particles, dimensions)
        assert parameter_count(config) == sum(parameter.numel() for parameter in net.parameters())


def test_arithmetic_follows_points_steps_and_scheme() -> None:
    plan = make_plan(build())
    assert plan.network_evaluations == 2 * 64 * 64 * 2 + 2 * 1024
    euler = make_plan(build(sampler={"scheme": "euler"}))
    assert euler.network_evaluations == 2 * 64 * 64 + 2 * 1024
    per_pass = 5 * 64 + 2 * 64 * 64
    assert plan.multiply_adds == per_pass * (2 * 64 * 64 * 2 + 2 * 1024 * 7 * 4)
    assert make_plan(build(), ranks=4).multiply_adds == plan.multiply_adds


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
    assert make_plan(build(train__points=4096)).memory.residuals == 4 * base.residuals
    chunked = make_plan(build(train__points=40960)).memory.residuals  # chunks of 4096: only the points grow
    assert 4 * base.residuals < chunked < 5 * base.residuals
    assert make_plan(build(train__precision="float64")).memory.residuals == 2 * base.residuals
    assert make_plan(build(), ranks=4).memory.residuals == base.residuals // 4
    assert make_plan(build(evaluation__samples=80000)).memory.evaluation == base.evaluation
    assert make_plan(build(evaluation__samples=1000)).memory.evaluation == base.evaluation // 2
    assert make_plan(build(output__trajectories=1000)).memory.results > base.results
    assert base.total > base.residuals + base.parameters


MEASURE = """
import torch
from dsmsim.config import NetworkTable
from dsmsim.networks.mlp import MLP
from dsmsim.residuals.derivatives import derivatives

torch.set_num_threads(1)
nets = [MLP(NetworkTable(width={width}, blocks=1), 2, 1) for _ in range(2)]

def epoch(points):
    x, t = torch.randn(points, 2), torch.rand(points, 1)
    found = derivatives(lambda x, t: tuple(net(x, t) for net in nets), x, t)
    sum(part.square().sum() for part in found).backward()
    # not ru_maxrss: a child starts with the peak of the process that forked it
    line = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024

print(-epoch(8) + epoch({points}))
"""


def test_memory_of_the_residuals_is_what_torch_takes() -> None:
    """The measured factor of the estimate still holds for the loss as it is written."""
    width, points = 64, 4096
    code = MEASURE.format(width=width, points=points)
    taken = int(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    )
    estimate = make_plan(build(network__width=width, train__points=points)).memory.residuals
    assert 0.5 * estimate < taken < 1.5 * estimate


def test_files_and_warnings() -> None:
    plan = make_plan(parse_config(every_table(), environment=False))
    paths = [file.path for file in plan.files]
    assert paths == ["input.toml", "resolved.toml", "log.jsonl", "checkpoints/ckpt-NNNNNN.h5", "results.h5"]
    assert all(file.meaning for file in plan.files)
    named = make_plan(build(compare={"with": ["closed_form", "split_step"]})).files
    assert "references/split_step/results.h5" in [file.path for file in named]
    assert "figures/" in [file.path for file in make_plan(build()).files]
    assert any("equivariant" in warning for warning in make_plan(build(network__kind="sorted")).warnings)
    full = make_plan(build(network={"width": 16, "tensor": {"rank": 16}}))
    assert any("no fewer parameters" in warning for warning in full.warnings)
