"""What an evaluation draws at random: blocks of starts and noise, in units that are independent.

    independent  every sample for itself
    antithetic   pairs: a start at a quantile q and one at 1 - q of every coordinate, the noise negated. Odd
                 functions cancel. Where the system is symmetric about its centre the two halves of a pair say
                 the same about even functions, variances and energies: they count as one sample
    sobol        the starts of a block are a scrambled Sobol sequence; another scramble for every block

Blocks are keyed (seed, "evaluate", trial, block), so they do not depend on the number of ranks.

Source: Owen, "Scrambling Sobol' and Niederreiter-Xing points", J. Complexity 14, 466 (1998).

Shapes: B trajectories, n coordinates.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dsmsim.config import Config
from dsmsim.config.plan import SAMPLE_BLOCK
from dsmsim.parallel import random_stream
from dsmsim.sampler import Process
from dsmsim.system import InitialState

Array = npt.NDArray[np.float64]

SOBOL_BLOCKS = 20  # at least, over all trials: their spread gives the standard errors


@dataclass(frozen=True)
class SampleBlock:
    """Trajectories that are advanced together.

    Attributes:
        trial, number: which trial it belongs to, and its number within the trial.
        size: trajectories.
        unit: consecutive trajectories that are independent of all others only together; divides `size`.
        draws: "independent", "antithetic" or "sobol".
        purpose: name of its random stream.
    """

    trial: int
    number: int
    size: int
    unit: int
    draws: str
    purpose: str = "evaluate"

    def start(
        self, seed: int, initial: InitialState
    ) -> tuple[Array, Callable[[int], npt.NDArray[np.float64]]]:
        """Starts (B, n), and a function of a counter that gives standard normal numbers (B, n)."""
        rng = random_stream(seed, self.purpose, self.trial, self.number)
        shape = self.size, initial.coordinates
        if self.draws == "antithetic":
            half = self.size // 2, initial.coordinates
            uniform = rng.random(half)
            x = _pairs(initial.quantiles(uniform), initial.quantiles(1.0 - uniform))

            def mirrored(number: int) -> Array:
                noise = rng.standard_normal(half)
                return _pairs(noise, -noise)

            return x, mirrored
        if self.draws == "sobol":
            x = initial.low_discrepancy(rng, self.size)
        else:
            x = initial.sample(rng, self.size)
        return x, lambda number: rng.standard_normal(shape)


def _pairs(first: Array, second: Array) -> Array:
    """Rows of both in turn."""
    return np.stack((first, second), axis=1).reshape(2 * len(first), -1)


def sample_blocks(config: Config) -> list[SampleBlock]:
    """All blocks of an evaluation, trial by trial, as even in size as whole units allow."""
    evaluation = config.evaluation
    draws, trials = evaluation.draws, evaluation.trials
    per_trial = evaluation.samples // trials
    smallest = 2 if draws == "antithetic" else 1
    whole = per_trial // smallest
    count = math.ceil(per_trial / SAMPLE_BLOCK)
    if draws == "sobol":
        count = max(count, math.ceil(SOBOL_BLOCKS / trials))
    count = min(count, whole)
    sizes = [smallest * (whole // count + (k < whole % count)) for k in range(count)]
    return [
        SampleBlock(trial, k, size, size if draws == "sobol" else smallest, draws)
        for trial in range(trials)
        for k, size in enumerate(sizes)
    ]


def evaluation_process(config: Config) -> Process:
    """The process that `[evaluation]` asks for, or else `[sampler]`; the flow without noise by rk4."""
    evaluation, sampler = config.evaluation, config.sampler
    nu = sampler.nu if evaluation.nu is None else evaluation.nu
    return Process(evaluation.scheme or ("rk4" if nu == 0.0 else sampler.scheme), nu)


def uses_control_variates(config: Config) -> bool:
    """Whether moments are corrected: as the input says, and otherwise wherever samples are random."""
    asked = config.evaluation.control_variates
    return config.evaluation.draws != "sobol" if asked is None else asked
