"""Bytes that ranks exchange in a training step, dense against tensor trains, and the time this takes.

    OMP_NUM_THREADS=1 mpirun -n 2 python tools/bench/gradient_bytes.py [--widths 512 1024] [--rank 16]
    OMP_NUM_THREADS=1 torchrun --standalone --nproc-per-node 2 tools/bench/gradient_bytes.py

Two bosons, network.kind = potential with one block: three hidden layers of width x width (particles, pairs,
messages). One real step is taken, and every all-reduce in it counted; the flat vector holds the gradient and
a few numbers of the loss. Then vectors of these lengths are summed in turns; times are medians. With one rank
there is nothing to sum, and the time is that of a call that does nothing.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import time
from dataclasses import dataclass

import torch

from dsmsim.config import Config, parse_config
from dsmsim.parallel import World, blocks_of_rank, start
from dsmsim.training.batch import block_count, training_points
from dsmsim.training.engines import gradient_function
from dsmsim.training.state import new_state
from dsmsim.training.step import Objective

TURNS = 40


@dataclass
class CountingWorld(World):
    """A world that adds up the bytes of its sums."""

    summed: int = 0

    def sum_(self, tensor: torch.Tensor) -> torch.Tensor:
        self.summed += tensor.numel() * tensor.element_size()
        return super().sum_(tensor)


@dataclass(frozen=True)
class Row:
    """One network: its name, parameters, and bytes of all sums of a step."""

    name: str
    parameters: int
    summed: int


def config_of(width: int, rank: int | None) -> Config:
    """The input; no rank: dense layers."""
    network = {"kind": "potential", "width": width, "blocks": 1}
    system = {
        "particles": 2,
        "hbar": 0.1,
        "trap": {"kind": "harmonic", "omega": 1.0},
        "interaction": {"kind": "gaussian", "g": 1.0, "s2": 0.1},
    }
    tables = {
        "system": system,
        "time": {"end": 1.0, "steps": 2},
        "network": network if rank is None else network | {"tensor": {"rank": rank}},
        "train": {"optimizer": "adam", "trajectories": 16, "points": 32, "block": 8},
    }
    return parse_config(tables, environment=False)


def step_of(config: Config, name: str, world: World) -> Row:
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
    return Row(name, sum(p.numel() for p in state.fields.parameters()), counting.summed)


def seconds_of_sums(rows: list[Row], world: World) -> list[float]:
    """Median time (s) of one sum of each row's vector, measured in turns."""
    vectors = [torch.zeros(row.summed // 4) for row in rows]
    times: list[list[float]] = [[] for _ in rows]
    for _ in range(TURNS):
        for vector, own in zip(vectors, times, strict=True):
            world.barrier()
            begin = time.perf_counter()
            world.sum_(vector)
            own.append(time.perf_counter() - begin)
    return [statistics.median(own) for own in times]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--widths", type=int, nargs="+", default=[512, 1024])
    parser.add_argument("--rank", type=int, default=16)
    arguments = parser.parse_args()
    with start("cpu", timeout=120.0) as world:
        rows = [
            step_of(
                config_of(width, rank), f"{width}, {'dense' if rank is None else f'TT rank {rank}'}", world
            )
            for width in arguments.widths
            for rank in (None, arguments.rank)
        ]
        times = seconds_of_sums(rows, world)
        if world.rank == 0:
            print(f"{world.size} rank{'s' if world.size > 1 else ''}, float32\n")
            print("| width, layers | parameters | all-reduced per step (MB) | all-reduce (ms) |")
            print("|---|---:|---:|---:|")
            for row, seconds in zip(rows, times, strict=True):
                print(f"| {row.name} | {row.parameters:,} | {row.summed / 1e6:.3f} | {1e3 * seconds:.2f} |")


if __name__ == "__main__":
    main()
