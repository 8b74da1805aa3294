"""The points of one epoch: positions and times along trajectories that the current networks generate.

Trajectories come in fixed blocks, and block b of epoch e draws everything it needs from the stream keyed
(seed, "train", e, b). Ranks own blocks, so the points of an epoch do not depend on how many ranks there are.

Shapes: B trajectories, n coordinates, M residual times, P = B*M points.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from dsmsim.config import Config
from dsmsim.networks import Fields
from dsmsim.parallel import random_stream
from dsmsim.sampler import Process, refine, residual_clocks, trajectories
from dsmsim.system import InitialState, System


def training_process(config: Config) -> Process:
    """The process that `[sampler]` asks for."""
    return Process(config.sampler.scheme, config.sampler.nu)


def block_count(config: Config) -> int:
    """Blocks of trajectories in an epoch, over all ranks."""
    return config.train.trajectories // config.train.block


@torch.no_grad()
def training_points(
    config: Config, system: System, initial: InitialState, fields: Fields, epoch: int, blocks: Sequence[int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Points of this rank's blocks in one epoch.

    Returns:
        (P, n) positions, (P, 1) times, and (B, n) initial positions, in the fields' dtype and device.
    """
    train = config.train
    like = fields.frame.center
    count = train.points // train.trajectories
    substeps = math.ceil(config.time.steps / count)
    starts, clocks, kicks = [], [], []
    for block in blocks:
        rng = random_stream(config.seed, "train", epoch, block)
        starts.append(initial.sample(rng, train.block))
        clocks.append(residual_clocks(rng, train.block, count, train.times))
        kicks.append(rng.standard_normal((train.block, count * substeps, system.coordinates)))
    if not starts:
        return (
            like.new_zeros(0, system.coordinates),
            like.new_zeros(0, 1),
            like.new_zeros(0, system.coordinates),
        )

    def tensor(arrays: list[np.ndarray]) -> Tensor:
        return torch.as_tensor(np.concatenate(arrays), dtype=like.dtype, device=like.device)

    grid = tensor([fields.frame.time_at(refine(np.concatenate(clocks), substeps))])
    x0, noise = tensor(starts), tensor(kicks)
    path = trajectories(fields, system, training_process(config), x0, grid, lambda k: noise[:, k])
    kept = [point for k, point in enumerate(path, start=1) if k % substeps == 0]
    return torch.cat([x for x, _ in kept]), torch.cat([t for _, t in kept]), x0
