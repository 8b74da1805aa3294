"""Control variates: moments corrected by companions whose exact moments are known.

Every trajectory x has a companion y, driven by the same start and the same noise, which is Gaussian in law or
at least has known second moments: E y_i = 0, E y_i^2 = P and E R_y^2 = C for every particle, R_y the average
over the particles. The deviations from their expectations of

    y_i / sqrt(P),   R_y / sqrt(C),   y_i^2 / P,   y_i R_y / sqrt(P C),   R_y^2 / C,   sum_j y_j^2 / (N P)

are known to average to zero. What they do average to, times regression coefficients, is noise of the sample
that can be taken off the averages of z and z^2, z = x - shift:

    m = E[z] - beta_1 . c ,    s = E[z^2] - beta_2 . c - m^2 + Var(m) ,    beta_k = Cov(c, c)^-1 Cov(c, z^k)

and the standard error is that of what the companions do not explain of the influence of a unit on m and s
(see `moments.py`). The betas come from the same sample, which leaves a bias of a few errors / sqrt(U), hence
`FEWEST`. Companions that say the same, or nothing (the odd ones in a mirrored pair), drop out of the
pseudo-inverse.

Source: Glasserman, "Monte Carlo Methods in Financial Engineering" (2003), section 4.1.

Shapes: B samples, U units, T times, K trials, N particles, D axes; targets are the N particles and, last, the
centre of mass; F = 6 companions of each.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsmsim.measure.units import unit_means, weighted

Array = NDArray[np.float64]

COMPANIONS = 6
FEWEST = 1000  # with fewer units nothing is corrected: the bias would be a good part of the error
SINGULAR = 1e-9  # of the largest eigenvalue of Cov(c, c)


class CompanionLaw(NamedTuple):
    """Exact variances of the companion at one time.

    Attributes:
        particle, center: (D,) P and C of the module's docstring, length^2.
    """

    particle: Array
    center: Array


class Corrected(NamedTuple):
    """A corrected estimate about the shift and its error, (T, N + 1, D), and by trial (K, T, N + 1, D)."""

    value: Array
    stderr: Array
    by_trial: Array


class ControlSums:
    """Sums over units of the companions and their products with the targets.

    Attributes:
        first: (K, T, D, N + 1, F) sums of c.
        raw: (K, T, D, N + 1, 2) sums of q and p, the averages of z and z^2 in a unit.
        gram: (T, D, N + 1, F, F) sums of c c.
        cross: (T, D, N + 1, F, 2) sums of c q and c p.
        squares: (T, D, N + 1, 3) sums of q^2, q p and p^2.
    """

    def __init__(
        self, trials: int, times: int, dimensions: int, particles: int, device: torch.device
    ) -> None:
        def zeros(*shape: int) -> Tensor:
            return torch.zeros(*shape, dtype=torch.float64, device=device)

        shape = (times, dimensions, particles + 1)
        self.first, self.raw = zeros(trials, *shape, COMPANIONS), zeros(trials, *shape, 2)
        self.gram, self.cross = zeros(*shape, COMPANIONS, COMPANIONS), zeros(*shape, COMPANIONS, 2)
        self.squares = zeros(*shape, 3)

    def add(
        self,
        time_index: int,
        trial: int,
        z: Tensor,
        y: Tensor,
        law: CompanionLaw,
        unit: int = 1,
        weights: Tensor | None = None,
    ) -> None:
        """Add positions about the shift z (D, B, N) and their companions y (D, B, N), float64.

        Weights (B,) belong to the positions only: the averages that the companions must have are unweighted.
        """
        center = z.mean(2, keepdim=True)
        z = torch.cat((z, center), dim=2)
        targets = (weighted(a, weights, dim=1) for a in (z, z.square()))
        q, p = (unit_means(a, unit, dim=1).transpose(1, 2) for a in targets)
        c = unit_means(_companions(y, law), unit, dim=1).transpose(1, 2)  # (D, N + 1, U, F)
        self.first[trial, time_index] += c.sum(2)
        self.gram[time_index] += c.transpose(2, 3) @ c
        self.cross[time_index] += c.transpose(2, 3) @ torch.stack((q, p), dim=3)
        self.raw[trial, time_index] += torch.stack((q.sum(2), p.sum(2)), dim=2)
        self.squares[time_index] += torch.stack([a.sum(2) for a in (q * q, q * p, p * p)], dim=2)

    def tensors(self) -> list[Tensor]:
        """The sums, to be added over ranks in place."""
        return [self.first, self.raw, self.gram, self.cross, self.squares]

    def finish(self, count: Array) -> tuple[Corrected, Corrected] | None:
        """Mean and variance, or None with too few units.

        Args:
            count: (K, T) units.
        """
        if count.sum(0).min() < FEWEST:
            return None
        first, raw, gram, cross, squares = (a.cpu().numpy() for a in self.tensors())
        units = count.sum(0)[:, None, None]
        c, z = first.sum(0) / units[..., None], raw.sum(0) / units[..., None]
        covariance = gram / units[..., None, None] - c[..., :, None] * c[..., None, :]
        pair = cross / units[..., None, None] - c[..., :, None] * z[..., None, :]
        beta = np.linalg.pinv(covariance, rcond=SINGULAR, hermitian=True) @ pair  # (T, D, N + 1, F, 2)
        rest = _products(z, squares / units[..., None]) - np.swapaxes(pair, -1, -2) @ beta
        freedom = units - 1.0 - COMPANIONS

        corrected = z - np.einsum("tdif,tdifk->tdik", c, beta)
        trials = (raw - np.einsum("atdif,tdifk->atdik", first, beta)) / count[:, :, None, None, None]
        noise = np.maximum(rest[..., 0, 0], 0.0) / freedom
        noise_by_trial = noise * units / count[:, :, None, None]
        m = corrected[..., 0]
        influence = rest[..., 1, 1] - 4.0 * m * rest[..., 0, 1] + 4.0 * m**2 * rest[..., 0, 0]
        variance = corrected[..., 1] - m**2 + noise
        by_trial = trials[..., 1] - trials[..., 0] ** 2 + noise_by_trial
        found = (
            (m, np.sqrt(noise), trials[..., 0]),
            (
                variance,
                np.sqrt(np.maximum(influence, 0.0) / freedom),
                by_trial,
            ),
        )
        mean, spread = (Corrected(*(np.moveaxis(a, -1, -2) for a in arrays)) for arrays in found)
        return mean, spread


def _products(z: Array, squares: Array) -> Array:
    """Covariances over units of q and p, (..., 2, 2), from their averages and those of their products."""
    qq, qp, pp = np.moveaxis(squares, -1, 0)
    raw = np.stack((np.stack((qq, qp), -1), np.stack((qp, pp), -1)), -1)
    return np.asarray(raw - z[..., :, None] * z[..., None, :])


def _companions(y: Tensor, law: CompanionLaw) -> Tensor:
    """Companions of every particle and of the centre of mass less their expectation: (D, B, N + 1, F)."""
    particle, center = (torch.as_tensor(a, dtype=torch.float64, device=y.device)[:, None, None] for a in law)
    scale = particle.sqrt()
    own = y / scale
    middle = y.mean(2, keepdim=True) / center.sqrt()
    own = torch.cat((own, middle * (center.sqrt() / scale)), dim=2)  # the last row: R_y as if a particle
    ratio = center / particle
    expected = torch.cat((torch.ones_like(own[:, :1, :-1]), ratio), dim=2)
    both = middle.expand_as(own)
    everyone = (own[:, :, :-1].square().mean(2, keepdim=True) - 1.0).expand_as(own)
    columns = own, both, own.square() - expected, own * both - ratio.sqrt(), both.square() - 1.0, everyone
    return torch.stack(columns, dim=3)
