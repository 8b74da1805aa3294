"""Sample moments and their standard errors from sums over independent units, about a fixed shift.

With z = x - shift, and for a unit q_i its average of z_i and p_ij its average of z_i z_j,

    mean        m_i = E[q_i]                 stderr^2 = Var(q_i) / U
    covariance  C_ij = E[p_ij] - m_i m_j     stderr^2 = Var(p_ij - m_i q_j - m_j q_i) / U

E and Var over U units. The second line is the delta method; i = j gives the variance with its fourth central
moment, so no Gaussian is assumed. A shift near the mean keeps the differences of powers accurate: what is
lost is (|m| / sigma)^4 times the rounding of float64.

Shapes: T times, N coordinates that are correlated with each other, leading axes `...` that are not, B
samples, U units.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsmsim.measure.units import grouped, unit_means, weighted

Array = NDArray[np.float64]

CHUNK = 1_000_000  # products of two coordinates held at once


class Moments(NamedTuple):
    """Estimates and standard errors: mean (..., N), covariance (..., N, N)."""

    mean: Array
    mean_stderr: Array
    covariance: Array
    covariance_stderr: Array


class MomentSums:
    """Sums over units of q_i, p_ij and the products that the covariance and its error need.

    Attributes:
        first: (T, groups, N) sum of q_i.
        qq, p, pq, pp: (T, groups, N, N) sums of q_i q_j, p_ij, p_ij q_j and p_ij^2.
    """

    def __init__(self, times: int, groups: int, coordinates: int, device: torch.device) -> None:
        shape = (times, groups, coordinates)
        self.first = torch.zeros(*shape, dtype=torch.float64, device=device)
        self.qq = torch.zeros(*shape, coordinates, dtype=torch.float64, device=device)
        self.p, self.pq, self.pp = (torch.zeros_like(self.qq) for _ in range(3))

    def add(self, time_index: int, z: Tensor, unit: int = 1, weights: Tensor | None = None) -> None:
        """Add samples z (groups, B, N), float64, in units of `unit` consecutive ones, with weights (B,)."""
        heavy = weighted(z, weights, dim=1)
        q = unit_means(heavy, unit, dim=1)
        self.first[time_index] += q.sum(1)
        qq = q.transpose(1, 2) @ q
        self.qq[time_index] += qq
        if unit == 1 and weights is None:  # p_ij = z_i z_j: matrix products do it
            square = z.square()
            self.p[time_index] += qq
            self.pq[time_index] += z.transpose(1, 2) @ square
            self.pp[time_index] += square.transpose(1, 2) @ square
            return
        rows = max(1, CHUNK // (z.shape[0] * z.shape[2] ** 2))
        parts, heavy_parts = (grouped(a, unit, dim=1) for a in (z, heavy))
        for k in range(0, q.shape[1], rows):
            p = parts[:, k : k + rows].transpose(2, 3) @ heavy_parts[:, k : k + rows] / unit
            self.p[time_index] += p.sum(1)
            self.pq[time_index] += (p * q[:, k : k + rows, None, :]).sum(1)
            self.pp[time_index] += p.square().sum(1)

    def tensors(self) -> list[Tensor]:
        """The sums, to be added over ranks in place."""
        return [self.first, self.qq, self.p, self.pq, self.pp]

    def finish(self, units: Array) -> Moments:
        """Unbiased mean and covariance about the shift, from (T,) numbers of units."""
        m = units[:, None, None]
        mean = self.first.cpu().numpy() / m
        qq, p, pq, pp = (c.cpu().numpy() / m[..., None] for c in (self.qq, self.p, self.pq, self.pp))
        column, row = mean[..., :, None], mean[..., None, :]
        square = np.diagonal(qq, axis1=-2, axis2=-1)
        # E[(p_ij - m_i q_j - m_j q_i)^2], and the average of what is squared
        second = (
            pp
            - 2.0 * column * pq
            - 2.0 * row * np.swapaxes(pq, -1, -2)
            + column**2 * square[..., None, :]
            + row**2 * square[..., :, None]
            + 2.0 * column * row * qq
        )
        influence = p - 2.0 * column * row
        with np.errstate(divide="ignore", invalid="ignore"):
            between = (qq - column * row) / (m[..., None] - 1.0)  # covariance of the estimated means
            covariance = p - column * row + between
            covariance_stderr = np.sqrt(np.maximum(second - influence**2, 0.0) / (m[..., None] - 1.0))
            mean_stderr = np.sqrt(np.maximum(np.diagonal(between, axis1=-2, axis2=-1), 0.0))
        return Moments(mean, mean_stderr, covariance, covariance_stderr)


def mean_and_variance(moments: Moments, shift: Array, mean: str, variance: str) -> dict[str, NDArray[Any]]:
    """Means and variances as (T, N, D) from groups by axis (T, D, N)."""
    diagonals = (np.diagonal(c, axis1=-2, axis2=-1) for c in (moments.covariance, moments.covariance_stderr))
    means, mean_stderr, variances, variance_stderr = (
        np.moveaxis(a, 1, -1).copy() for a in (moments.mean, moments.mean_stderr, *diagonals)
    )
    return {
        mean: means + shift,
        f"{mean}_stderr": mean_stderr,
        variance: variances,
        f"{variance}_stderr": variance_stderr,
    }
