"""Bytes that ranks sum in one step of training, for hidden layers in every format.

Two bosons, network.kind = potential with one block: three hidden layers of width x width (particles, pairs,
messages). One real step is taken, and every all-reduce in it counted; the flat vector holds the gradient and
a few numbers of the loss. `tools/bench/gradient_bytes.py` has the time that such sums take between ranks.

Shapes: R rows, one for every width and format.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dsmsim.config import Config, parse_config
from dsmsim.parallel import World, blocks_of_rank
from dsmsim.training.batch import block_count, training_points
from dsmsim.training.engines import gradient_function
from dsmsim.training.state import new_state
from dsmsim.training.step import Objective
from tools.reproduce.measuring import Columns

DENSE: Mapping[str, Any] = {}


@dataclass
class CountingWorld(World):
    """A world that adds up the bytes of its sums."""

    summed: int = 0

    def sum_(self, tensor: torch.Tensor) -> torch.Tensor:
        self.summed += tensor.numel() * tensor.element_size()
        return super().sum_(tensor)


@dataclass(frozen=True)
class StepBytes:
    """One network: its parameters, and bytes of all sums of a step."""

    parameters: int
    summed: int


def bytes_table(directory: Path, *, widths: Sequence[int], formats: Sequence[str], rank: int = 16) -> Columns:
    """Count for every width and format.

    Args:
        directory: of the measurement; nothing but what is returned is kept.
        widths: of the hidden layers.
        formats: of `dsmsim.tensor`, each at `rank`, and "dense". Rings have the square root of the rank,
            which makes them as large as a train of it.
        rank: of all but rings.

    Returns:
        width, format, rank (0: dense), parameters and bytes, each (R,).
    """
    rows: list[tuple[int, str, int, int, int]] = []
    for width in widths:
        for format in formats:
            own = 0 if format == "dense" else round(rank**0.5) if format == "tr" else rank
            tensor = {"format": format, "rank": own} if own else DENSE
            step = step_bytes(config_of(width, tensor), World())
            rows.append((width, format, own, step.parameters, step.summed))
    names = ("width", "format", "rank", "parameters", "bytes")
    return Columns({name: [row[k] for row in rows] for k, name in enumerate(names)}, {"bytes": "bytes"})


def config_of(width: int, tensor: Mapping[str, Any]) -> Config:
    """The input.

    Args:
        width: of the hidden layers.
        tensor: the table [network.tensor]; nothing in it: dense layers.
    """
    network: dict[str, Any] = {"kind": "potential", "width": width, "blocks": 1}
    system = {
        "particles": 2,
        "hbar": 0.1,
        "trap": {"kind": "harmonic", "omega": 1.0},
        "interaction": {"kind": "gaussian", "g": 1.0, "s2": 0.1},
    }
    tables = {
        "system": system,
        "time": {"end": 1.0, "steps": 2},
        "network": network | ({"tensor": dict(tensor)} if tensor else {}),
        "train": {"optimizer": "adam", "trajectories": 16, "points": 32, "block": 8},
    }
    return parse_config(tables, environment=False)


def step_bytes(config: Config, world: World) -> StepBytes:
    """Loss and gradient of one step, with what was summed."""
    counting = CountingWorld(
        **{field.name: getattr(world, field.name) for field in dataclasses.fields(world)}
    )
    state = new_state(config, counting)
    mine = blocks_of_rank(block_count(config), world.rank, world.size)
    batch = training_points(config, state.system, state.initial, state.fields, 0, mine)
    gradient = gradient_function(config, state.fields, state.system)
    weights = torch.ones(config.train.points // config.train.trajectories)
    counting.summed = 0
    Objective(config.train, state.fields, gradient, batch, counting, weights).loss_and_gradient()
    return StepBytes(sum(p.numel() for p in state.fields.parameters()), counting.summed)
