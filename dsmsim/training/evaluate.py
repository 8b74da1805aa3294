"""Samples of the trained process, and everything that is measured on them.

The samples come in fixed blocks, keyed (seed, "evaluate", trial, block) and shared out over the ranks like
the training blocks, so the observables do not depend on the number of ranks beyond the order of summation.

Shapes: B trajectories, n coordinates, T saved times.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dsmsim.config import Config
from dsmsim.config.plan import SAMPLE_BLOCK
from dsmsim.errors import DivergedError
from dsmsim.measure import Check, EnsembleSums, density_edges
from dsmsim.parallel import World, blocks_of_rank, random_stream
from dsmsim.sampler import evaluation_grid, trajectories
from dsmsim.system import center_of_mass, closed_form
from dsmsim.training.batch import training_process
from dsmsim.training.state import TrainState

Array = npt.NDArray[np.float64]

PILOT = 2000  # trajectories from which the histogram's range is found
RAN_AWAY = "trajectories of the trained process run to infinity: raise train.epochs or time.steps"
MARGIN = 0.25  # of the pilot's range, added on both sides


@dataclass(frozen=True)
class Evaluation:
    """What the trained process says.

    Attributes:
        sums: ensemble sums over all ranks.
        checks: identities that need no reference.
        positions: (T, trajectories, n) stored trajectories on rank 0, or None.
    """

    sums: EnsembleSums
    checks: list[Check]
    positions: Array | None


@dataclass(frozen=True)
class _Block:
    """A block of samples: which trial it belongs to, its number within the trial, and its size."""

    trial: int
    number: int
    size: int
    purpose: str = field(default="evaluate")


def _blocks(config: Config) -> list[_Block]:
    per_trial = config.evaluation.samples // config.evaluation.trials
    count = math.ceil(per_trial / SAMPLE_BLOCK)
    sizes = [per_trial // count + (k < per_trial % count) for k in range(count)]
    trials = range(config.evaluation.trials)
    return [_Block(trial, k, size) for trial in trials for k, size in enumerate(sizes)]


@torch.no_grad()
def _advance(config: Config, state: TrainState, block: _Block) -> Iterator[tuple[int, Tensor, float]]:
    """Yield (index of the saved time, positions (B, n), time) of one block."""
    rng = random_stream(config.seed, block.purpose, block.trial, block.number)
    frame, like = state.fields.frame, state.fields.frame.center
    grid, saved = evaluation_grid(
        config.time.save_times, config.time.steps, frame.clock_at, frame.time_at, state.system.breakpoints
    )

    def tensor(values: Array) -> Tensor:
        return torch.as_tensor(values, dtype=like.dtype, device=like.device)

    def increments(step: int) -> Tensor:
        return tensor(rng.standard_normal((block.size, state.system.coordinates)))

    x = tensor(state.initial.sample(rng, block.size))
    index = 0
    if saved[0]:
        yield index, x, 0.0
        index += 1
    process = training_process(config)
    path = trajectories(state.fields, state.system, process, x, tensor(grid[None]), increments)
    for k, (x, _) in enumerate(path, start=1):
        if saved[k]:
            yield index, x, float(grid[k])
            index += 1


def histogram_edges(config: Config, state: TrainState, world: World) -> list[Array]:
    """Cell edges along each axis: the range of a pilot ensemble with a margin, the same on every rank."""
    pilot = _Block(0, 0, min(PILOT, config.evaluation.samples), purpose="pilot")
    low, high = np.full(state.system.dimensions, np.inf), np.full(state.system.dimensions, -np.inf)
    for _, x, _ in _advance(config, state, pilot):
        axes = x.double().reshape(-1, state.system.dimensions).cpu().numpy()
        low, high = np.minimum(low, axes.min(0)), np.maximum(high, axes.max(0))
    low, high = world.broadcast_object((low, high))
    if not np.all(np.isfinite(high - low)):
        raise DivergedError(RAN_AWAY)
    margin = MARGIN * (high - low)
    return [
        density_edges(a, b, config.evaluation.bins) for a, b in zip(low - margin, high + margin, strict=True)
    ]


@torch.no_grad()
def evaluate(
    config: Config, state: TrainState, world: World, progress: Callable[[int, int], None]
) -> Evaluation:
    """Sample the trained process on all ranks and measure it.

    Args:
        progress: called with (samples done, samples in all) of this rank.

    Raises:
        DivergedError: a trajectory left for infinity.
    """
    exact = closed_form(config)
    sums = EnsembleSums(
        state.system,
        np.asarray(config.time.save_times),
        config.evaluation.trials,
        histogram_edges(config, state, world),
        mean=state.initial.mean,
        variance=state.initial.variance,
        exact=exact,
        device=world.device,
    )
    blocks = _blocks(config)
    mine = [blocks[k] for k in blocks_of_rank(len(blocks), world.rank, world.size)]
    total, done = sum(block.size for block in mine), 0
    kept: dict[tuple[int, int], list[Array]] = {}
    wanted = _stored(blocks, config.output.trajectories)
    for block in mine:
        for index, x, t in _advance(config, state, block):
            clock = x.new_full((len(x), 1), t)
            u, v = state.fields(x, clock)
            sums.add(index, block.trial, x, u, v, t, block=block.number)
            if (block.trial, block.number) in wanted:
                kept.setdefault((block.trial, block.number), []).append(x.double().cpu().numpy())
        done += block.size
        progress(done, total)
    for tensor in sums.tensors():
        world.sum_(tensor)
    if not all(bool(torch.isfinite(tensor).all()) for tensor in sums.tensors()):
        raise DivergedError(RAN_AWAY)
    positions = _gather(world, kept, config.output.trajectories)
    return Evaluation(sums, sums.checks(center_of_mass(config)), positions)


def _stored(blocks: list[_Block], count: int) -> set[tuple[int, int]]:
    """The first blocks, as many as hold `count` trajectories."""
    chosen, size = set(), 0
    for block in blocks:
        if size >= count:
            break
        chosen.add((block.trial, block.number))
        size += block.size
    return chosen


def _gather(world: World, kept: dict[tuple[int, int], list[Array]], count: int) -> Array | None:
    """(T, count, n) positions on rank 0, in the order of the blocks; None elsewhere or if none are kept."""
    if count == 0:
        return None
    parts = world.gather({key: np.stack(values) for key, values in kept.items()})
    if parts is None:
        return None
    merged = {key: array for part in parts for key, array in part.items()}
    return np.concatenate([merged[key] for key in sorted(merged)], axis=1)[:, :count]
