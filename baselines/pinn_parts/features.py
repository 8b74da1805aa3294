"""Functions of a configuration that do not change when particles are exchanged, with their derivatives.

With y = (x - c) / L, all of them sums over particles or over pairs, and smooth:

    one body    sum_i y_ia,  sum_i y_ia^2,  and where asked for  sum_i exp(-|y_i|^2 / 2 w^2) {1, y_ia}
    together    (sum_i y_ia)^2 / N
    pairs       sum_{i<j} exp(-|y_i - y_j|^2 / 2 w^2)

Every one is scaled to mean 0 and spread 1 over a given cloud. A jet is one tensor with an axis of streams:
the value, the n derivatives along y, and the Laplacian.

Shapes: B points, N particles, D axes, n = N D, F features, W widths, K = n + 2 streams.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from baselines.wave.wave_function import Array


class SymmetricFeatures:
    """The features of N particles, as jets.

    Args:
        particles, dimensions: N and D.
        center: (n,) c.
        length: L.
        widths: of the Gaussians, in units of L.
        interacting: whether there are pair functions.
        one_body: whether there are Gaussians of single positions.
    """

    def __init__(
        self,
        particles: int,
        dimensions: int,
        center: Array,
        length: float,
        widths: Sequence[float],
        *,
        interacting: bool,
        one_body: bool,
    ) -> None:
        self.particles, self.dimensions = particles, dimensions
        self.length = length
        self.widths = tuple(widths)
        self.pairs, self.one_body = interacting and particles > 1, one_body
        self._center = torch.from_numpy(np.asarray(center, dtype=np.float64))
        first, second = np.triu_indices(particles, 1)
        incidence = np.zeros((particles, first.size))
        incidence[first, np.arange(first.size)] = 1.0
        incidence[second, np.arange(first.size)] = -1.0
        self._first, self._second = torch.from_numpy(first), torch.from_numpy(second)
        self._incidence = torch.from_numpy(incidence)
        self._mean = torch.zeros(self.count, dtype=torch.float64)
        self._scale = torch.ones(self.count, dtype=torch.float64)

    @property
    def count(self) -> int:
        """F."""
        axes, gaussians = self.dimensions, len(self.widths)
        count = 2 * axes
        if self.particles > 1:
            count += axes
        if self.pairs:
            count += gaussians
        return count + (1 + axes) * gaussians * self.one_body

    def fit(self, x: Tensor) -> None:
        """Scale by the cloud x (B, n)."""
        values = self._raw(x.double())[:, 0]
        self._mean = values.mean(0)
        # a feature that does not vary stays as it is
        spread = values.std(0)
        self._scale = torch.where(spread > 1e-12, spread, torch.ones_like(spread))

    def jets(self, x: Tensor) -> Tensor:
        """Features at x (B, n): (B, n + 2, F), derivatives with respect to y."""
        streams = self._raw(x)
        streams[:, 0] -= self._mean.to(x)
        return streams / self._scale.to(x)

    def _raw(self, x: Tensor) -> Tensor:
        count, axes = self.particles, self.dimensions
        y = ((x - self._center.to(x)) / self.length).reshape(-1, count, axes)
        parts = [_moments(y)]
        if count > 1:
            parts.append(_total_squared(y))
        if self.pairs:
            parts.append(self._pair_gaussians(y))
        if self.one_body:
            parts.append(self._one_body_gaussians(y))
        return torch.cat(parts, dim=2)

    def _pair_gaussians(self, y: Tensor) -> Tensor:
        rate = 1.0 / torch.tensor(self.widths, dtype=y.dtype) ** 2
        r = y[:, self._first] - y[:, self._second]
        q = r.square().sum(-1, keepdim=True)
        gaussian = torch.exp(-0.5 * q * rate)  # (B, pairs, W)
        slope = -(gaussian * rate).unsqueeze(2) * r.unsqueeze(3)  # (B, pairs, D, W)
        gradient = self._incidence.to(y) @ slope.flatten(2)
        # both particles of a pair feel it
        laplacian = 2.0 * (gaussian * rate * (q * rate - self.dimensions)).sum(1)
        return _stack(gaussian.sum(1), gradient.reshape(len(y), -1, len(rate)), laplacian)

    def _one_body_gaussians(self, y: Tensor) -> Tensor:
        rate = 1.0 / torch.tensor(self.widths, dtype=y.dtype) ** 2
        axes = self.dimensions
        q = y.square().sum(-1, keepdim=True)
        gaussian = torch.exp(-0.5 * q * rate)  # (B, N, W)
        slope = -(gaussian * rate).unsqueeze(2) * y.unsqueeze(3)  # (B, N, D, W)
        laplacian = gaussian * rate * (q * rate - axes)
        parts = [_stack(gaussian.sum(1), slope.flatten(1, 2), laplacian.sum(1))]
        for axis in range(axes):
            along = y[..., axis].unsqueeze(2)
            product = along.unsqueeze(2) * slope
            product[:, :, axis] += gaussian
            second = along * laplacian + 2.0 * slope[:, :, axis]
            parts.append(_stack((along * gaussian).sum(1), product.flatten(1, 2), second.sum(1)))
        return torch.cat(parts, dim=2)


def _stack(value: Tensor, gradient: Tensor, laplacian: Tensor) -> Tensor:
    """(B, F), (B, n, F), (B, F) as one jet (B, n + 2, F)."""
    return torch.cat([value.unsqueeze(1), gradient, laplacian.unsqueeze(1)], dim=1)


def _moments(y: Tensor) -> Tensor:
    """sum_i y_ia and sum_i y_ia^2 for every axis."""
    batch, count, axes = y.shape
    unit = torch.eye(axes, dtype=y.dtype).repeat(count, 1).expand(batch, -1, -1)
    value = torch.cat([y.sum(1), y.square().sum(1)], dim=1)
    gradient = torch.cat([unit, 2.0 * y.reshape(batch, -1, 1) * unit], dim=2)
    laplacian = torch.cat([y.new_zeros(axes), y.new_full((axes,), 2.0 * count)]).expand(batch, -1)
    return _stack(value, gradient, laplacian)


def _total_squared(y: Tensor) -> Tensor:
    """(sum_i y_ia)^2 / N for every axis."""
    batch, count, axes = y.shape
    total = y.sum(1)
    unit = torch.eye(axes, dtype=y.dtype).repeat(count, 1)
    gradient = (2.0 / count) * total.unsqueeze(1) * unit
    return _stack(total.square() / count, gradient, y.new_full((batch, axes), 2.0))
