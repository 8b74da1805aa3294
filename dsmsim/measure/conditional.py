"""Wave functions of one particle given all the others: what coherence and momenta are averages of.

    chi(y) = psi(y, X) / (int |psi(y', X)|^2 dy')^(1/2) ,      X = everything but one coordinate

For samples of |psi|^2 the one-body density matrix along the first axis is the average of what these pure
states say, and so is every one-body quantity:

    rho_1(x, x') = E[ chi(x) chi*(x') ] ,      n(p) = E[ |int chi(y) e^{-i p y/hbar} dy|^2 ] / (2 pi hbar) .

It is the usual estimator E[ delta(x - x_1) psi*(x', X) / psi*(x_1, X) ] (McMillan, Phys. Rev. 138, A442
(1965)), averaged over x_1 given X: the same values of psi, but a matrix of trace 1 without negative
eigenvalues from every sample, and no error at all where the particles are independent. (chi: Dürr, Goldstein,
Zanghì, J. Stat. Phys. 67, 843 (1992).) All bosons are in the same state: the first particle speaks for all.
In more dimensions X holds its other coordinates, and rho_1 is traced over them.

psi is evaluated at equidistant points wherever a pilot ensemble has found the particle, with a margin, and so
close that they tell all its momenta apart; sums over such points are integrals of spectral accuracy. The
samples are a few of those at each time, so that the cost is bounded: SAMPLES times at most MOST_POINTS values
of psi per time. Where more points would be needed (a cloud of very many wavelengths) there is no answer.

The averages are those of |psi|^2 only as far as the samples are distributed so: they follow learnt
velocities, and the checks of the score say how well the two agree.

Shapes: B samples, n coordinates, U units (see `units.py`) of s samples, M points, S stored points.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsmsim.measure.observable import Sampled

Array = NDArray[np.float64]
Wave = NDArray[np.complex128]

SAMPLES = 1024  # per time, over all ranks
MARGIN = 0.2  # of the pilot's range, which has one already, added on both sides: a Gaussian is 1e-6 there
REACH = 7.0  # largest momentum about the mean one, in units of the spread of the momentum
FEWEST_POINTS, MOST_POINTS = 16, 192
VALUES_AT_ONCE = 1 << 18  # pairs of particles in the configurations handed to psi together


@dataclass(frozen=True)
class WaveGrid:
    """The points of one time and the band of momenta that they tell apart, of width 2 pi hbar/dx.

    Attributes:
        x: (M,) equidistant positions.
        momentum: the middle of the band.
        hbar: of the input.
    """

    x: Array
    momentum: float
    hbar: float

    @classmethod
    def of(cls, low: float, high: float, momentum: float, spread: float, hbar: float) -> WaveGrid | None:
        """For a particle between two positions, with this mean and spread of its momentum.

        None where more than MOST_POINTS would be needed.
        """
        margin = MARGIN * (high - low)
        low, high = low - margin, high + margin
        points = math.ceil((high - low) * REACH * spread / (math.pi * hbar)) + 1
        if points > MOST_POINTS:
            return None
        return cls(np.linspace(low, high, max(FEWEST_POINTS, points)), momentum, hbar)

    @property
    def dx(self) -> float:
        """Distance of two points."""
        return float(self.x[1] - self.x[0])

    @property
    def band(self) -> tuple[float, float]:
        """Smallest and largest momentum."""
        half = math.pi * self.hbar / self.dx
        return self.momentum - half, self.momentum + half

    def onto(self, y: Array) -> Wave:
        """The band-limited interpolation (S, M) onto points y (S,), zero beyond the ends."""
        distance = y[:, None] - self.x
        weights = np.sinc(distance / self.dx) * np.exp(1j * self.momentum * distance / self.hbar)
        inside = (y >= self.x[0]) & (y <= self.x[-1])
        return np.asarray(np.where(inside[:, None], weights, 0.0))


class Conditional(NamedTuple):
    """What is known of a batch.

    Attributes:
        chi: (U, s, M) of norm 1: sum |chi|^2 dx.
        weights: (U, s) of mean 1 in every unit.
        first: the place of the first among those of all batches, which are `ConditionalWaves.places`.
    """

    chi: Tensor
    weights: Tensor
    first: int


class ConditionalWaves:
    """Evaluates chi for a few samples of every batch, once, however many observables ask for it.

    Args:
        grids: by the index of the saved time.
        blocks: (trial, block) of every batch that will come, with its size.
        particles: N.

    Attributes:
        places: how many chi there are at one time, at most.
    """

    def __init__(
        self, grids: Mapping[int, WaveGrid], blocks: Mapping[tuple[int, int], int], particles: int
    ) -> None:
        self.grids = grids
        fraction = min(1.0, SAMPLES / max(1, sum(blocks.values())))
        self._counts = {key: math.ceil(fraction * size) for key, size in blocks.items()}
        self.places = sum(self._counts.values())
        self._first = dict(zip(blocks, itertools.accumulate(self._counts.values(), initial=0), strict=False))
        self._particles = particles
        self._last: tuple[Sampled, Conditional] | None = None

    def of(self, sampled: Sampled) -> Conditional | None:
        """Those of a batch; None where its time is not kept, or has no grid.

        Raises:
            ValueError: psi is not known.
        """
        grid = self.grids.get(sampled.index)
        if grid is None:
            return None
        if self._last is None or self._last[0] is not sampled:
            self._last = (sampled, self._evaluated(sampled, grid))
        return self._last[1]

    @torch.no_grad()
    def _evaluated(self, sampled: Sampled, grid: WaveGrid) -> Conditional:
        if sampled.log_psi is None:
            raise ValueError("these fields know no log psi, and without it there is no coherence")
        key = sampled.trial, sampled.block
        unit, units = sampled.unit, len(sampled.x) // sampled.unit
        each = min(unit, self._counts[key])
        kept = min(units, self._counts[key] // each)
        x = sampled.x[: kept * unit].reshape(kept, unit, -1)[:, :each].flatten(0, 1)
        points = torch.as_tensor(grid.x, device=x.device)
        found = []
        for part in torch.split(x, max(1, VALUES_AT_ONCE // (self._particles**2 * len(points)))):
            moved = part[:, None].repeat(1, len(points), 1)
            moved[..., 0] = points
            r, s = sampled.log_psi(moved.flatten(0, 1)).reshape(len(part), -1, 2).unbind(-1)
            size = (r - r.amax(1, keepdim=True)).exp()
            size = size / (size.square().sum(1, keepdim=True) * grid.dx).sqrt()
            found.append(torch.polar(size, s))
        weights = torch.ones(kept, each, dtype=torch.float64, device=x.device)
        if sampled.weights is not None:
            weights = sampled.weights[: kept * unit].reshape(kept, unit)[:, :each]
            weights = weights / weights.mean(1, keepdim=True)  # those of a part of a unit have any mean
        return Conditional(torch.cat(found).reshape(kept, each, -1), weights, self._first[key])
