"""Memory of a run on its most loaded rank, predicted.

What grows with the number of residual points are the trajectories and the points themselves, a few hundred
bytes each, and with Gauss-Newton its Jacobian; graphs, stacks and samples pass in chunks of a fixed size.

Symbols: `n` coordinates, N particles, D dimensions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dsmsim.config.optimizer_costs import OptimizerCosts
from dsmsim.config.output_costs import observable_numbers

if TYPE_CHECKING:
    from dsmsim.config.march_costs import MarchPlan
    from dsmsim.config.model import Config

SAMPLE_BLOCK = 2000  # evaluation trajectories that are advanced together
PAIRS_AT_ONCE = 40_000  # components of pairs whose test functions are computed together
SMALL_BLOCKS = 2 * 10**6  # what the C library keeps of blocks that come and go
PROGRAM_BYTES = 410 * 10**6  # Python with torch for CPUs and what else is loaded, measured


@dataclass(frozen=True)
class Share:
    """What the most loaded rank has to do.

    Attributes:
        ranks: processes of the run.
        blocks: of trajectories, over all ranks.
        trajectories, points: of this rank, in an epoch.
    """

    ranks: int
    blocks: int
    trajectories: int
    points: int


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes on the most loaded rank, by what they hold.

    Attributes:
        program: the interpreter and its libraries.
        parameters: of networks and optimiser, with gradients.
        residuals: the loss and its gradient.
        sampling: trajectories and residual points.
        evaluation: samples of the trained process, and what is measured on them.
        results: what results.h5 will hold.
        march: walkers, equations and solver of a march in time.
    """

    program: int
    parameters: int
    residuals: int
    sampling: int
    evaluation: int
    results: int
    march: int = 0

    @property
    def training(self) -> int:
        """All that training holds, without the program."""
        return self.parameters + self.residuals + self.sampling

    @property
    def evaluating(self) -> int:
        """All that the evaluation holds, without the program."""
        return self.parameters + self.evaluation + self.results

    @property
    def total(self) -> int:
        """All of them; march, training and evaluation do not overlap, so the largest one counts."""
        return self.program + max(self.march, self.training, self.evaluating)


def share_of_work(config: Config, ranks: int) -> Share:
    """The share of the most loaded one of so many ranks."""
    train = config.train
    blocks = train.trajectories // train.block
    trajectories = math.ceil(blocks / ranks) * train.block
    return Share(ranks, blocks, trajectories, trajectories * (train.points // train.trajectories))


def sampling_steps(config: Config) -> int:
    """Steps of a training trajectory: as many as asked, and a whole number between any two residual times.

    Points of a fixed Gaussian take none.
    """
    if config.train.points_from == "gaussian":
        return 0
    slices = config.train.points // config.train.trajectories
    return slices * math.ceil(config.time.steps / slices)


def memory_estimate(
    config: Config, optimizer: OptimizerCosts, share: Share, march: MarchPlan | None = None
) -> MemoryEstimate:
    """What a run holds; without `train.polish`, what marches trains nothing."""
    size = optimizer.engine.size
    kept = optimizer.parameters * (2 if config.train.reuse > 1 else 1)
    trains = march is None or config.train.polish
    return MemoryEstimate(
        program=PROGRAM_BYTES,
        parameters=size * (kept + optimizer.remembered() + optimizer.passing()) if trains else 0,
        residuals=optimizer.memory(share.points, share.ranks) if trains else 0,
        sampling=_sampling(config, size, share) if trains else 0,
        evaluation=_evaluation(config, optimizer, share),
        results=_results(config) + (0 if march is None else march.kept),
        march=0 if march is None else march.memory,
    )


def _sampling(config: Config, size: int, share: Share) -> int:
    """Grids and noise of the trajectories in double precision and as used, and the points in the making."""
    n = config.system.coordinates
    slices = config.train.points // config.train.trajectories
    knots = sampling_steps(config) or slices  # at which there are numbers drawn at random
    paths = share.trajectories * knots * (n * (16 + size) + 40 + size)
    return paths + share.points * (size * (3 * n + 10) + 24)


def _evaluation(config: Config, optimizer: OptimizerCosts, share: Share) -> int:
    """One block of samples: velocities, forces, and test functions of pairs some at a time."""
    evaluation, system, engine = config.evaluation, config.system, optimizer.engine
    per_trial = math.ceil(evaluation.samples / evaluation.trials)
    samples = min(max(per_trial, min(evaluation.samples, SAMPLE_BLOCK)), SAMPLE_BLOCK)
    n, pairs = system.coordinates, math.comb(system.particles, 2) * system.dimensions
    forces = 8 * (280 + 13 * n + 9 * pairs)
    probes = 8 * 20 * min(samples * pairs, PAIRS_AT_ONCE)
    drift = 400 + engine.size * engine.network.drift_values()
    # sums of all turns and of one, and twice those of one in a row, to be added over ranks
    sums = 4 * 8 * observable_numbers(config).summed
    return SMALL_BLOCKS + samples * (forces + drift) + probes + sums


def _results(config: Config) -> int:
    """Observables and densities with standard errors."""
    system, evaluation = config.system, config.evaluation
    times = config.time.save if isinstance(config.time.save, int) else len(config.time.save)
    moments = system.coordinates * (4 + 2 * system.particles + 2 * evaluation.trials)
    density = 2 * system.dimensions * evaluation.bins
    size = 8 if config.output.precision == "float64" else 4
    return size * (times * (moments + density + 30) + observable_numbers(config).stored)
