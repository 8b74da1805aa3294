"""Sample moments and their standard errors from sums of powers about a fixed shift.

    mean        m_i = E[z_i]                        stderr^2 = C_ii / M
    covariance  C_ij = E[(z_i - m_i)(z_j - m_j)]    stderr^2 = (E[(z_i - m_i)^2 (z_j - m_j)^2] - C_ij^2) / M

with z = x - shift. The second line is the delta method; i = j gives the variance with its fourth central
moment, so no Gaussian is assumed. A shift near the mean keeps the differences of powers accurate: what is
lost is (|m| / sigma)^4 times the rounding of float64.

Shapes: T times, N coordinates that are correlated with each other, leading axes `...` that are not.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]


class Moments(NamedTuple):
    """Estimates and standard errors: mean (..., N), covariance (..., N, N)."""

    mean: Array
    mean_stderr: Array
    covariance: Array
    covariance_stderr: Array


class MomentSums:
    """Sums of powers of z (groups, B, N) up to the fourth that the covariance and its error need.

    Attributes:
        first: (T, groups, N) sum of z_i.
        c11, c21, c22: (T, groups, N, N) sums of z_i z_j, z_i^2 z_j and z_i^2 z_j^2.
    """

    def __init__(self, times: int, groups: int, coordinates: int, device: torch.device) -> None:
        shape = (times, groups, coordinates)
        self.first = torch.zeros(*shape, dtype=torch.float64, device=device)
        self.c11 = torch.zeros(*shape, coordinates, dtype=torch.float64, device=device)
        self.c21 = torch.zeros_like(self.c11)
        self.c22 = torch.zeros_like(self.c11)

    def add(self, time_index: int, z: Tensor) -> None:
        """Add samples z (groups, B, N), float64."""
        square, transposed = z.square(), z.transpose(1, 2)
        self.first[time_index] += z.sum(1)
        self.c11[time_index] += transposed @ z
        self.c21[time_index] += square.transpose(1, 2) @ z
        self.c22[time_index] += square.transpose(1, 2) @ square

    def tensors(self) -> list[Tensor]:
        """The sums, to be added over ranks in place."""
        return [self.first, self.c11, self.c21, self.c22]

    def finish(self, count: Array) -> Moments:
        """Unbiased mean and covariance about the shift, from count (T,) samples."""
        m = count[:, None, None]
        mean = self.first.cpu().numpy() / m
        e11, e21, e22 = (c.cpu().numpy() / m[..., None] for c in (self.c11, self.c21, self.c22))
        column, row = mean[..., :, None], mean[..., None, :]
        square = np.diagonal(e11, axis1=-2, axis2=-1)
        biased = e11 - column * row
        fourth = (
            e22
            - 2.0 * row * e21
            - 2.0 * column * np.swapaxes(e21, -1, -2)
            + row**2 * square[..., :, None]
            + column**2 * square[..., None, :]
            + 4.0 * column * row * e11
            - 3.0 * column**2 * row**2
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            bessel = (m / (m - 1.0))[..., None]
            covariance = biased * bessel
            covariance_stderr = np.sqrt(np.maximum(fourth - biased**2, 0.0) / (m[..., None] - 1.0))
            variance = np.diagonal(covariance, axis1=-2, axis2=-1)
            mean_stderr = np.sqrt(np.maximum(variance, 0.0) / m)
        return Moments(mean, mean_stderr, covariance, covariance_stderr)


def mean_and_stderr(count: Array, first: Array, second: Array) -> tuple[Array, Array]:
    """Mean of count (T,) samples and its standard error, from sums (T, ...) of values and squares."""
    m = count.reshape(-1, *([1] * (first.ndim - 1)))
    mean = first / m
    with np.errstate(divide="ignore", invalid="ignore"):
        return mean, np.sqrt(np.maximum(second / m - mean**2, 0.0) / (m - 1.0))
