"""The Gaussian process nearest to the trained one, as a companion whose variances are known exactly.

A pilot ensemble tells how the drift b grows with the position: for every axis and time the best slopes a of
the motion relative to the centre of mass and a_R of the centre of mass itself. The linear process with these
slopes, driven by the same start and noise, follows every trajectory as far as a linear one can; its discrete
steps (stochastic Heun)

    r' = m r + k dW_r ,    m = 1 + h (a + a' (1 + h a)) / 2 ,    k = 1 + h a' / 2

have variances that obey a recursion without any error, whatever the slopes are. It starts at x_0 less its
mean, so its mean is zero; the flow without noise needs no more than the start.

Shapes: B trajectories, N particles, D axes, K steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dsmsim.measure import CompanionLaw
from dsmsim.system import InitialState

Array = npt.NDArray[np.float64]

STEEPEST = 1.0  # largest |a| h: beyond it the companion would be less stable than what it follows


def slopes(x: Tensor, drift: Tensor, particles: int) -> Array:
    """Slopes of the drift (B, n) at x (B, n), relative and of the centre of mass: (2, D)."""
    parts = []
    for values in (x, drift):
        by_particle = values.double().reshape(len(x), particles, -1)
        center = by_particle.mean(1, keepdim=True)
        parts.append((by_particle - center, center - center.mean(0)))
    found = []
    for place, speed in zip(*parts, strict=True):
        square = place.square().sum((0, 1))
        found.append(torch.where(square > 0.0, (place * speed).sum((0, 1)) / square, 0.0))
    return torch.stack(found).cpu().numpy()


@dataclass(frozen=True)
class Companion:
    """Deviations of the companion from its mean, and their exact variances.

    Attributes:
        particles: N.
        factors, kicks: (K, 2, D) m and k of the module's docstring, relative and of the centre of mass.
        laws: variances at every grid point.
    """

    particles: int
    factors: Array
    kicks: Array
    laws: list[CompanionLaw]

    def step(self, number: int, y: Tensor, kick: Tensor) -> Tensor:
        """One step of y (B, n) with the Brownian increment `kick` (B, n), both float64."""
        result = torch.zeros_like(self._split(y)[0])
        for values, table in ((y, self.factors), (kick, self.kicks)):
            relative, center = self._split(values)
            factor = torch.as_tensor(table[number], device=y.device)
            result = result + factor[0] * relative + factor[1] * center
        return result.reshape(y.shape)

    def _split(self, values: Tensor) -> tuple[Tensor, Tensor]:
        by_particle = values.reshape(len(values), self.particles, -1)
        center = by_particle.mean(1, keepdim=True)
        return by_particle - center, center


def build_companion(initial: InitialState, grid: Array, rates: Array, diffusion: float) -> Companion:
    """The companion on a grid (K + 1,) of times.

    Args:
        rates: (K + 1, 2, D) slopes of the drift.
        diffusion: variance of the noise per coordinate and time; 0 for the flow, which is followed by its
            start alone.
    """
    h = np.diff(grid)[:, None, None]
    if diffusion == 0.0:
        rates = np.zeros_like(rates)
    now, after = (np.clip(a, -STEEPEST / h, STEEPEST / h) for a in (rates[:-1], rates[1:]))
    factors, kicks = 1.0 + 0.5 * h * (now + after * (1.0 + h * now)), 1.0 + 0.5 * h * after
    particles, axes = initial.particles, initial.dimensions
    # of one coordinate without the constraint that relative coordinates sum to zero, and of the centre
    share = np.array([1.0, 1.0 / particles])[:, None]
    variances = [share * initial.variance[:axes]]
    for factor, kick, step in zip(factors, kicks, h, strict=True):
        variances.append(factor**2 * variances[-1] + kick**2 * diffusion * step * share)
    laws = [CompanionLaw(c + (1.0 - 1.0 / particles) * r, c) for r, c in variances]
    return Companion(particles, factors, kicks, laws)
