"""The points of one epoch: positions and times along trajectories that the current networks generate.

Trajectories come in fixed blocks, and block b of epoch e draws everything it needs from the stream keyed
(seed, "train", e, b). Ranks own blocks, so the points of an epoch do not depend on how many ranks there are.

With `train.points_from = "gaussian"` nothing is integrated: every position comes from one normal
distribution, the same at all times, with the mean of psi_0 and `train.gaussian_width` times its standard
deviations. Times, blocks and order are the same; a "trajectory" is then a row of M independent positions.

Points are ordered by block, then time, then trajectory. Potential networks (`fields.grouped`) know their
residuals only up to a function of time; their trajectories share the residual times inside a block, so that
a block's points at one time are consecutive and can be compared.

Shapes: B trajectories, n coordinates, M residual times, P = B*M points.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dsmsim.config import Config
from dsmsim.networks import Fields, standing_still
from dsmsim.parallel import random_stream
from dsmsim.residuals.hutchinson import PROBES
from dsmsim.sampler import Process, refine, residual_clocks, trajectories
from dsmsim.system import InitialState, System

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Batch:
    """Residual points of this rank, and where its trajectories started.

    Attributes:
        x: (P, n) positions.
        t: (P, 1) times.
        slices: (P,) int64, which residual time of its trajectory a point is: 0 .. M-1.
        x0: (B, n) initial positions.
        group: number of consecutive points that share a time, and whose residuals count as a variance;
            1 where every residual counts by itself.
        probes: (2, P, n) random signs for estimated divergences, None where they are exact.
    """

    x: Tensor
    t: Tensor
    slices: Tensor
    x0: Tensor
    group: int
    probes: Tensor | None = None


def training_process(config: Config) -> Process:
    """The process that `[sampler]` asks for."""
    return Process(config.sampler.scheme, config.sampler.nu)


def block_count(config: Config) -> int:
    """Blocks of trajectories in an epoch, over all ranks."""
    return config.train.trajectories // config.train.block


def slice_count(config: Config) -> int:
    """M, the number of residual times of a trajectory."""
    return config.train.points // config.train.trajectories


def group_size(config: Config, fields: Fields) -> int:
    """Number of consecutive points of a batch that share a time."""
    return config.train.block if fields.grouped else 1


def gaussian_of_points(config: Config, initial: InitialState) -> tuple[Array, Array]:
    """Mean and standard deviation (n,) of the positions where `train.points_from = "gaussian"`."""
    return initial.mean, config.train.gaussian_width * np.sqrt(initial.variance)


@torch.no_grad()
def training_points(
    config: Config, system: System, initial: InitialState, fields: Fields, epoch: int, blocks: Sequence[int]
) -> Batch:
    """Points of this rank's blocks in one epoch, in the fields' dtype and device."""
    train, n = config.train, system.coordinates
    like = fields.frame.center
    count, group = slice_count(config), group_size(config, fields)
    substeps = math.ceil(config.time.steps / count)
    clocks_per_block = 1 if group > 1 else train.block
    estimated, fixed = train.divergence == "hutchinson", train.points_from == "gaussian"
    starts, clocks, kicks, signs = [], [], [], []
    for block in blocks:
        rng = random_stream(config.seed, "train", epoch, block)
        starts.append(initial.sample(rng, train.block))
        drawn = residual_clocks(rng, clocks_per_block, count, train.times)
        clocks.append(np.repeat(drawn, train.block // clocks_per_block, axis=0))
        kicks.append(rng.standard_normal((train.block, count if fixed else count * substeps, n)))
        if estimated:
            signs.append(rng.choice((-1.0, 1.0), (PROBES, count * train.block, n)))
    if not starts:
        nobody = torch.zeros(0, dtype=torch.int64, device=like.device)
        probes = like.new_zeros(PROBES, 0, n) if estimated else None
        return Batch(like.new_zeros(0, n), like.new_zeros(0, 1), nobody, like.new_zeros(0, n), group, probes)

    def tensor(arrays: list[np.ndarray]) -> Tensor:
        return torch.as_tensor(np.concatenate(arrays), dtype=like.dtype, device=like.device)

    def by_block(values: list[Tensor]) -> Tensor:
        """One (B, k) tensor for every time: (P, k) in the order of the batch."""
        together = torch.stack(values).reshape(count, len(starts), train.block, -1)
        return together.transpose(0, 1).reshape(count * len(x0), -1)

    grid = tensor([fields.frame.time_at(refine(np.concatenate(clocks), 1 if fixed else substeps))])
    x0, noise = tensor(starts), tensor(kicks)
    if fixed:
        center, width = (tensor([values]) for values in gaussian_of_points(config, initial))
        kept = [(center + width * noise[:, k], grid[:, k + 1 : k + 2]) for k in range(count)]
    else:
        path = trajectories(fields, system, training_process(config), x0, grid, lambda k: noise[:, k])
        with standing_still(fields):
            kept = [point for k, point in enumerate(path, start=1) if k % substeps == 0]
    slices = torch.arange(count, device=like.device).repeat_interleave(train.block).repeat(len(starts))
    points = by_block([x for x, _ in kept]), by_block([t for _, t in kept])
    probes = torch.as_tensor(np.concatenate(signs, axis=1)).to(x0) if estimated else None
    return Batch(*points, slices, x0, group, probes)
