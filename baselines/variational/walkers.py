"""The configurations over which t-VMC averages.

They start as one scrambled Sobol set drawn from |psi_0|^2 and move with the current velocity; each carries
the logarithm of the density that it was drawn from,

    dX/dt = v = (hbar/m) Im grad log psi
    d log rho/dt = - div v = -(hbar/m) Im Laplacian log psi

so that weights |psi|^2/rho make every average one over |psi|^2, whatever the flow was: no chain has to forget
anything. The weights stay near 1 as long as the ansatz follows the equation. A few Metropolis sweeps after
each step, which leave the weights right, let walkers find places where |psi|^2 has grown and no flow leads:
without them the equations would never hear of such a place. Where weights become uneven the walkers are
drawn anew among themselves, block by block.

`sampling = "metropolis"` gives all walkers the same weight after the sweeps, as t-VMC is usually done: right
only if the sweeps suffice. How many make a new sample is measured at the start.

Walkers come in blocks with random streams of their own, shared out over the ranks, so the same walkers move
on any number of ranks.

Shapes: W walkers of this rank, n coordinates.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from baselines.variational.initial_part import initial_log_density
from baselines.wave.metropolis import Block, Metropolis, autocovariances, integrated_time
from baselines.wave.wave_function import Array
from dsmsim.parallel import World, blocks_of_rank, random_stream
from dsmsim.system import InitialState
from dsmsim.tdvp import Averages

BLOCK = 512  # walkers in a block, about
SWEEPS_AFTER_DRAWING = 12  # that move walkers drawn twice apart
TUNING, MEASURING = 10, 60  # sweeps before the first step

LogDensity = Callable[[Array], Array]


@dataclass
class Walkers:
    """Walkers of this rank, and what moves them.

    Attributes:
        x: (W, n).
        log_rho: (W,) log of the density that x was drawn from, up to a constant that all ranks share.
        blocks: of this rank.
        metropolis: the moves.
        over: the ranks.
        acceptance: rate of the last sweeps; not a number before.
        autocorrelation: integrated time of |x|^2, in sweeps; not a number where it was not measured.
    """

    x: Array
    log_rho: Array
    blocks: list[Block]
    metropolis: Metropolis
    over: Averages
    acceptance: float = field(default=math.nan, init=False)
    autocorrelation: float = field(default=math.nan, init=False)

    def sweep(self, log_density: LogDensity, sweeps: int, index: int, *, level: bool) -> None:
        """Move all walkers by `sweeps` sweeps.

        Args:
            level: give all walkers the same weight afterwards. Otherwise they keep theirs: the moves leave
                |psi|^2 as it is, so weights that were right stay right.
        """
        before = log_density(self.x)
        self.metropolis.fit(self._covariance())
        after = self._moved(log_density, before, sweeps, index)
        self.log_rho = after if level else self.log_rho + (after - before)

    def _covariance(self) -> Array:
        """Covariance (n, n) of the walkers of all ranks."""
        count, n = len(self.x), self.x.shape[1]
        sums = np.concatenate(([float(count)], self.x.sum(axis=0), (self.x.T @ self.x).ravel()))
        sums = self.over.add(sums)
        mean = sums[1 : 1 + n] / sums[0]
        return np.asarray(sums[1 + n :].reshape(n, n) / sums[0] - np.outer(mean, mean))

    def draw_anew(self, log_density: LogDensity, index: int) -> None:
        """Draw walkers in proportion to their weights, within each block, then sweep.

        A block keeps the sum of its weights, so averages stay what they are.
        """
        now = log_density(self.x)
        log_weights = now - self.log_rho
        chosen, shares = np.empty(len(self.x), dtype=np.int64), np.empty(len(self.x))
        first = 0
        for block in self.blocks:
            here = slice(first, first + block.size)
            top = float(log_weights[here].max())
            running = np.cumsum(np.exp(log_weights[here] - top))
            stream = random_stream(self.metropolis.seed, "tvmc resampling", index, block.number)
            places = (np.arange(block.size) + stream.random()) / block.size * running[-1]
            chosen[here] = first + np.minimum(np.searchsorted(running, places), block.size - 1)
            shares[here] = top + math.log(running[-1] / block.size)
            first += block.size
        self.x = self.x[chosen]
        self.log_rho = self._moved(log_density, now[chosen], SWEEPS_AFTER_DRAWING, index) - shares

    def tune(self, log_density: LogDensity) -> None:
        """Find the width of a move and the autocorrelation time, with walkers that are then put back."""
        x, log_rho = self.x, self.log_rho
        self.metropolis.fit(self._covariance())
        for index in range(TUNING):
            self.log_rho = self._moved(log_density, log_density(self.x), 1, -1 - index)
        series: list[Array] = []
        self._moved(
            log_density,
            log_density(self.x),
            MEASURING,
            -1 - TUNING,
            lambda y: series.append((y**2).sum(axis=1)),
        )
        values = np.array(series)
        count, total = self.over.add(np.array([float(values.size), float(values.sum())]))
        share = values.size / count
        # a rank without walkers adds nothing
        found = autocovariances(values, total / count) * share if values.size else np.zeros(MEASURING)
        self.autocorrelation = integrated_time(self.over.add(found))[0]
        self.x, self.log_rho = x, log_rho

    def _moved(
        self,
        log_density: LogDensity,
        now: Array,
        sweeps: int,
        index: int,
        observe: Callable[[Array], None] | None = None,
    ) -> Array:
        """Sweep, tune the width for the next time, and give the walkers' log densities."""
        self.x, now, accepted = self.metropolis.move(
            log_density, self.x, now, self.blocks, sweeps, index, observe
        )
        proposed, accepted_of_all = self.over.add(np.array([float(len(self.x) * sweeps), float(accepted)]))
        if proposed > 0.0:
            self.acceptance = float(accepted_of_all / proposed)
            self.metropolis.tune(self.acceptance)
        return now


def start_walkers(initial: InitialState, count: int, seed: int, world: World, over: Averages) -> Walkers:
    """`count` walkers over all ranks, drawn from |psi_0|^2."""
    total = max(1, count // BLOCK)
    edges = [round(count * k / total) for k in range(total + 1)]
    mine = blocks_of_rank(total, world.rank, world.size)
    first, last = (edges[mine.start], edges[mine.stop]) if len(mine) else (0, 0)
    x = initial.low_discrepancy(random_stream(seed, "tvmc"), count)[first:last].copy()
    blocks = [Block(k, edges[k + 1] - edges[k]) for k in mine]
    metropolis = Metropolis(seed, "tvmc", 0.5 * np.sqrt(initial.variance))
    return Walkers(x, initial_log_density(initial, x), blocks, metropolis, over)
