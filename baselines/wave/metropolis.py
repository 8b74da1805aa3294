"""Metropolis: a Markov chain whose stationary density is |psi|^2.

    propose x' = x + width L xi,   xi uniform with mean 0 and variance 1 in every coordinate,
    accept with probability min(1, |psi(x')|^2 / |psi(x)|^2)

A sweep proposes one move of all coordinates of every walker at once, which suits a density of few
coordinates and needs a single call for the whole ensemble. L L^T is the covariance of the ensemble, so that
one width suits all directions, however narrow the centre of mass beside the relative coordinates; before a
covariance is given, L is the unit matrix. How many sweeps make new samples is measured: the
integrated autocorrelation time of a function f, over walkers and moves,

    tau = 1 + 2 sum_{k=1}^{M} rho(k) ,    M the smallest with M >= 5 tau(M)

Random numbers belong to blocks of walkers, so the walk does not depend on the ranks that share the blocks.

Sources: Metropolis et al., J. Chem. Phys. 21, 1087 (1953); Sokal, "Monte Carlo methods in statistical
mechanics" (1997), section 3, for the window; Roberts, Gelman, Gilks, Ann. Appl. Probab. 7, 110 (1997), for
the rate of acceptance.

Shapes: W walkers x (W, n) of n coordinates, S sweeps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from baselines.compiling import compiled
from baselines.wave.wave_function import Array
from dsmsim.parallel import random_stream

TARGET = 0.45  # rate of acceptance: 0.44 is best for one coordinate, 0.23 for many, and all are flat there
SENSITIVITY = 0.4  # -d rate / d log width, near the target: 0.31 for one coordinate, 0.45 for many
LARGEST_CHANGE = 2.0  # of the width, in one go
WINDOW = 5.0  # M / tau
UNIFORM = 2.0 * math.sqrt(3.0)  # length of the interval with variance 1
TINY = 1e-6  # of the trace of a covariance

LogDensity = Callable[[Array], Array]  # (W, n) -> (W,), any constant added


class Block(NamedTuple):
    """Consecutive walkers that share a random stream: its number among all blocks of all ranks, its size."""

    number: int
    size: int


@dataclass
class Metropolis:
    """The moves of an ensemble.

    Attributes:
        seed, purpose: of the random streams.
        width: of the proposals, one number or (n,), in units of L; of length as long as there is none.
        shape: L (n, n), or None.
    """

    seed: int
    purpose: str
    width: float | Array
    shape: Array | None = None

    def fit(self, covariance: Array) -> None:
        """Shape the proposals like an ensemble with this covariance (n, n), that of all ranks."""
        if self.shape is None:
            self.width = float(np.mean(self.width)) / math.sqrt(float(np.trace(covariance)) / len(covariance))
        # a little more than nothing in every direction, even where the walkers sit on a line
        lifted = covariance + TINY * np.trace(covariance) * np.eye(len(covariance))
        self.shape = np.linalg.cholesky(lifted)

    def move(
        self,
        log_density: LogDensity,
        x: Array,
        log_now: Array,
        blocks: Sequence[Block],
        sweeps: int,
        index: int,
        observe: Callable[[Array], None] | None = None,
    ) -> tuple[Array, Array, int]:
        """The ensemble after some sweeps.

        A place where the density is 0 or not finite is never entered; walkers that stand on one leave it with
        the first proposal that they can.

        Args:
            log_density: log |psi|^2, finite where psi lives; a fast kernel pays.
            x, log_now: walkers (W, n), block after block, and `log_density(x)` (W,); both stay as they are.
            blocks: this rank's.
            sweeps: moves of every walker.
            index: number of the call, such as that of the time step: every index has its own random numbers.
            observe: called with the walkers after every sweep, the array that the next sweep changes.

        Returns:
            The walkers (W, n), their log density (W,), and how many of W * sweeps proposals were accepted.
        """
        streams = [random_stream(self.seed, self.purpose, index, block.number) for block in blocks]
        x, log_now, accepted = x.copy(), log_now.copy(), 0
        for _ in range(sweeps):
            # the threshold and the change of every walker, block by block; a rank may have none
            drawn, first = np.empty((len(x), x.shape[1] + 1)), 0
            for rng, block in zip(streams, blocks, strict=True):
                rng.random(out=drawn[first : first + block.size])
                first += block.size
            proposal = x + self._change(drawn[:, 1:])
            accepted += accept(x, log_now, proposal, log_density(proposal), drawn)
            if observe is not None:
                observe(x)
        return x, log_now, accepted

    def _change(self, uniform: Array) -> Array:
        """Changes (W, n) of all walkers from uniform numbers (W, n)."""
        change = (uniform - 0.5) * (UNIFORM * self.width)
        return np.asarray(change if self.shape is None else change @ self.shape.T)

    def tune(self, rate: float) -> None:
        """Change the width so that the next moves are accepted at about the target rate.

        Args:
            rate: accepted over proposed, of the whole ensemble on all ranks.
        """
        change = np.exp((rate - TARGET) / SENSITIVITY)
        self.width = self.width * float(np.clip(change, 1.0 / LARGEST_CHANGE, LARGEST_CHANGE))


def _accept(x: Array, log_now: Array, proposal: Array, log_then: Array, drawn: Array) -> int:
    """Move the walkers that accept, in place; how many. The thresholds are the first numbers of `drawn`."""
    count = 0
    for i in range(len(x)):
        there, here = log_then[i], log_now[i]
        if not math.isfinite(there):
            continue
        if there >= here or not math.isfinite(here) or there - here > math.log(drawn[i, 0]):
            x[i], log_now[i] = proposal[i], there
            count += 1
    return count


accept = compiled(_accept)


def autocovariances(series: Array, mean: float | Array) -> Array:
    """Average over walkers and moves of (f_s - mean) (f_{s+k} - mean), for lags k = 0 to S - 1: (S, ...).

    Args:
        series: (S, W, ...) values after each sweep.
        mean: of f, over the ensemble on all ranks.
    """
    z = series - mean
    count = len(z)
    return np.stack([(z[: count - k] * z[k:]).mean(axis=(0, 1)) for k in range(count)])


def integrated_time(covariances: Array) -> tuple[float, bool]:
    """tau in sweeps, and whether the window fits into the lags (S,); a lower bound where it does not."""
    if covariances[0] <= 0.0:
        return 1.0, True
    running = 2.0 * np.cumsum(covariances / covariances[0]) - 1.0
    fits = np.arange(len(running)) >= WINDOW * running
    last = int(np.argmax(fits)) if fits.any() else len(running) - 1
    return max(1.0, float(running[last])), bool(fits.any())
