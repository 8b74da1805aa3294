"""The configurations over which the equations of motion are averaged.

They follow Nelson's process with diffusion nu, split into its two halves, at a temperature T:

    flow         dX/dt = v,   d log rho/dt = -div v                      inside the steps of the parameters
    relaxation   dX = nu u/T dt + sqrt(nu hbar/m) dW at fixed fields     after each step

The flow carries along the logarithm of the density rho that a walker was drawn from, so that weights
|psi|^2/rho make every average one over |psi|^2, whatever the flow was. u is the score of |psi|^2, so the
relaxation leaves |psi|^(2/T) as it is and lets walkers find places where it has grown and no flow leads; with
a Metropolis correction (MALA) it does so exactly, and the weights stay right. Where weights become uneven the
walkers are drawn anew among themselves, block by block.

T > 1 makes the walkers a wider cloud than |psi|^2. What decides the least-squares problem are the few walkers
far out and near nodes, where functions differ most: drawn from |psi|^2 itself a handful of thousands carry
half of what is left of the equations. A wider cloud has many such walkers with small weights each (as in
optimal weighted least squares: Cohen, Migliorati, SMAI J. Comput. Math. 3, 181 (2017)).

Close to a node of psi the flow is so fast that a step of the integrator may lose a walker's density. One such
walker could outweigh all others, so weights count at most MOST times the median of their block (truncated
importance sampling: Ionides, J. Comput. Graph. Stat. 17, 295 (2008)).

Velocity networks know no density: their walkers all have the same weight, and nothing corrects their steps.

Walkers come in blocks with random streams of their own, shared out over the ranks, so that the same walkers
move on any number of ranks.

Sources: Nelson, Phys. Rev. 150, 1079 (1966); Roberts, Tweedie, Bernoulli 2, 341 (1996) for MALA.

Shapes: W walkers of this rank, n coordinates.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsmsim.config import Config
from dsmsim.config.run_tables import POTENTIAL_KINDS
from dsmsim.config.system import ProductState
from dsmsim.parallel import World, blocks_of_rank, random_stream
from dsmsim.system import InitialState

Array = NDArray[np.float64]
Scored = tuple[Tensor, Tensor | None]
Score = Callable[[Tensor], Scored]

SHARE = 0.7  # effective fraction of the walkers that an automatic temperature leaves
MOST = 8.0  # weight of a walker at most, in medians of its block
MOVES_AFTER_DRAWING = 4  # relaxations that move walkers apart which were drawn twice


@dataclass
class Ensemble:
    """Walkers of this rank.

    Attributes:
        x: (W, n), float64, on the rank's device.
        log_rho: (W,) log of the density that x was drawn from, up to a constant that all ranks share.
        blocks: numbers of this rank's blocks.
        size: walkers in a block.
        temperature: T.
        seed: of the run.
        mirrored: whether the second half of a block is the mirror image of the first, and so is its noise.
        acceptance: of the last relaxation, over all ranks; not a number before.
    """

    x: Tensor
    log_rho: Tensor
    blocks: range
    size: int
    temperature: float
    seed: int
    mirrored: bool
    acceptance: float = field(default=math.nan, init=False)

    def log_weights(self, log_density: Tensor | None, log_rho: Tensor) -> Tensor:
        """Logarithms (W,) of the weights, up to a constant that all ranks share.

        Args:
            log_density: (W,) log |psi|^2; None where the fields know none: all weights are equal.
            log_rho: (W,) of the walkers.
        """
        if log_density is None:
            return torch.zeros_like(log_rho)
        cool = log_density / self.temperature
        return log_density - cool + self._capped(cool - log_rho)

    def tempered_log_weights(self, log_density: Tensor) -> Tensor:
        """Logarithms (W,) of |psi|^(2/T)/rho: equal, up to a constant, for walkers as they should be."""
        return self._capped(log_density / self.temperature - self.log_rho)

    def _capped(self, log_weights: Tensor) -> Tensor:
        by_block = log_weights.reshape(-1, self.size)
        most = by_block.median(1, keepdim=True).values + math.log(MOST)
        return torch.minimum(by_block, most).flatten()

    def relax(
        self, score: Score, here: Scored, tau: float, diffusion: float, corrected: bool, *index: int
    ) -> tuple[Scored, float]:
        """One Langevin step of all walkers at fixed fields.

        Args:
            score: x to (u, log |psi|^2).
            here: that of the walkers as they are.
            tau: nu times the time that the step stands for.
            diffusion: hbar/m.
            corrected: accept or reject each move so that |psi|^(2/T) stays exactly as it is.
            index: names the random numbers.

        Returns:
            The score of the walkers as they are then, and how many of this rank's have moved.
        """
        variance = tau * diffusion
        noise, uniform = self._random(*index)
        cold = 1.0 / self.temperature
        u, before = here
        moved = self.x + tau * cold * u + math.sqrt(variance) * noise
        back, after = score(moved)
        accepted = torch.ones_like(self.log_rho)
        if corrected and before is not None and after is not None:
            there = (moved - self.x - tau * cold * u).square().sum(1)
            home = (self.x - moved - tau * cold * back).square().sum(1)
            gain = cold * (after - before) + (there - home) / (2.0 * variance)
            accepted = (uniform.log() < gain).to(accepted)
        keep = accepted > 0.0
        self.x = torch.where(keep.unsqueeze(1), moved, self.x)
        if before is not None and after is not None:
            # the weight |psi|^(2/T)/rho does not change
            self.log_rho = self.log_rho + torch.where(keep, cold * (after - before), torch.zeros_like(after))
            after = torch.where(keep, after, before)
        return (torch.where(keep.unsqueeze(1), back, u), after), float(accepted.sum())

    def draw_anew(self, log_density: Tensor, *index: int) -> None:
        """Draw walkers in proportion to their weights within each block, which keeps its sum of weights.

        Args:
            log_density: (W,) log |psi|^2 of the walkers.
            index: names the random numbers.
        """
        log_weights = self.tempered_log_weights(log_density).cpu().numpy()
        chosen, shares = np.empty(len(log_weights), dtype=np.int64), np.empty(len(log_weights))
        for here, block in zip(self._slices(), self.blocks, strict=True):
            top = float(log_weights[here].max())
            running = np.cumsum(np.exp(log_weights[here] - top))
            start = random_stream(self.seed, "march drawing", block, *index).random()
            places = (np.arange(self.size) + start) / self.size * running[-1]
            chosen[here] = here.start + np.minimum(np.searchsorted(running, places), self.size - 1)
            shares[here] = top + math.log(running[-1] / self.size)
        pick = torch.as_tensor(chosen, device=self.x.device)
        self.x = self.x[pick]
        cool = log_density[pick] / self.temperature
        self.log_rho = cool - torch.as_tensor(shares, device=self.x.device)

    def _random(self, *index: int) -> tuple[Tensor, Tensor]:
        """Standard normal (W, n) and uniform (W,) numbers."""
        n = self.x.shape[1]
        normal, uniform = np.empty((len(self.x), n)), np.empty(len(self.x))
        for here, block in zip(self._slices(), self.blocks, strict=True):
            stream = random_stream(self.seed, "march relaxation", block, *index)
            if self.mirrored:
                half = stream.standard_normal((self.size // 2, n))
                normal[here] = np.concatenate((half, -half))
                uniform[here] = np.tile(stream.random(self.size // 2), 2)
            else:
                normal[here], uniform[here] = stream.standard_normal((self.size, n)), stream.random(self.size)
        device = self.x.device
        # random() may give 0, whose logarithm is -inf: accepted, as it should be
        return torch.as_tensor(normal, device=device), torch.as_tensor(uniform, device=device)

    def _slices(self) -> Iterator[slice]:
        for k in range(len(self.blocks)):
            yield slice(k * self.size, (k + 1) * self.size)


def start_ensemble(config: Config, initial: InitialState, world: World) -> Ensemble:
    """This rank's share of [march] `walkers`: drawn from |psi_0|^2, and spread by the root of T."""
    table = config.march
    blocks = blocks_of_rank(table.walkers // table.block, world.rank, world.size)
    here = slice(blocks.start * table.block, blocks.stop * table.block)
    if table.draws == "sobol":
        x = initial.low_discrepancy(random_stream(config.seed, "march start"), table.walkers)[here]
    else:
        parts = [_drawn(config, initial, block) for block in blocks]
        x = np.concatenate(parts) if parts else np.empty((0, initial.coordinates))
    drawn = torch.as_tensor(np.ascontiguousarray(x), device=world.device)
    temperature = temperature_of(config)
    mean = torch.as_tensor(initial.mean, device=world.device)
    return Ensemble(
        mean + math.sqrt(temperature) * (drawn - mean),
        # the spread takes the same constant off everywhere
        initial.log_density(drawn),
        blocks,
        table.block,
        temperature,
        config.seed,
        mirrored=table.draws == "antithetic",
    )


def temperature_of(config: Config) -> float:
    """T: as the input says, or so high that SHARE of the walkers count.

    Weights of a Gaussian cloud of n coordinates at the temperature 1/b have the effective fraction
    (b (2 - b))^(n/2). Clouds of another form are not as they should be if they are spread, and velocity
    networks, without a density, have no weights: 1 for both.
    """
    asked = config.march.temperature
    if not isinstance(asked, str):
        return asked
    velocities = config.march.ansatz == "network" and config.network.kind not in POTENTIAL_KINDS
    if velocities or isinstance(config.initial, ProductState):
        return 1.0
    n = config.system.particles * config.system.dimensions
    return 1.0 / (1.0 - math.sqrt(1.0 - SHARE ** (2.0 / n)))


def _drawn(config: Config, initial: InitialState, block: int) -> Array:
    """The walkers of one block (size, n)."""
    stream, size = random_stream(config.seed, "march start", block), config.march.block
    if config.march.draws == "independent":
        return initial.sample(stream, size)
    uniform = stream.random((size // 2, initial.coordinates))
    return np.concatenate((initial.quantiles(uniform), initial.quantiles(1.0 - uniform)))
