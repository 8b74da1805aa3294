"""A small network of symmetric features and time with two outputs, and its derivatives in one pass.

    F(x, t) = M tanh(W_k ... tanh(W_1 (phi, tau) + b_1) ... + b_k) + sum_a c_a(tau) phi_a(x)

phi are the features, tau runs from -1 to 1, and the c_a(tau) are a network of time alone: what is linear in
the features (the ansatz of Jastrow, and every Gaussian) needs no hidden layer.

The network maps jets to jets: value, n derivatives along x, derivative in time, Laplacian. A linear layer
acts on all streams alike; through s = tanh(a) the Laplacian becomes s' lap(a) + s'' |grad a|^2. Weights may
have an axis of points in front, each point with its own copy: their gradients are then those of every point.

Shapes: B points, F features, H width, K = n + 3 streams, 2 outputs (log-amplitude and phase).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

OUTPUTS = 2
CLOCK_WIDTH = 8  # of the network of time alone
START = 0.1  # size of the last layers at first, of the usual one

Weights = Mapping[str, Tensor]


class SymmetricNetwork:
    """F and its weights.

    Args:
        features, width, depth: F, H and the number of hidden layers.
        rng: draws the first weights.
        dtype: of the weights.
    """

    def __init__(
        self, features: int, width: int, depth: int, rng: np.random.Generator, dtype: torch.dtype
    ) -> None:
        self.features, self.depth = features, depth

        def matrix(rows: int, columns: int, size: float = 1.0) -> Tensor:
            values = size / math.sqrt(columns) * rng.standard_normal((rows, columns))
            return torch.tensor(values, dtype=dtype)

        def spread(count: int, size: float) -> Tensor:
            return torch.tensor(rng.uniform(-size, size, count), dtype=dtype)

        self.weights: dict[str, Tensor] = {}
        for layer in range(depth):
            self.weights[f"hidden_{layer}"] = matrix(width, width if layer else features + 1)
            self.weights[f"bias_{layer}"] = spread(width, 0.5)
        self.weights["output"] = matrix(OUTPUTS, width, START)
        self.weights["clock_hidden"] = matrix(CLOCK_WIDTH, 1, 2.0)
        self.weights["clock_bias"] = spread(CLOCK_WIDTH, 2.0)
        self.weights["clock_output"] = matrix(OUTPUTS * features, CLOCK_WIDTH, START)
        self.weights["linear"] = torch.zeros(OUTPUTS * features, dtype=dtype)

    @property
    def parameters(self) -> int:
        """How many numbers there are."""
        return parameter_count(self.weights)

    def jets(self, features: Tensor, clock: Tensor, weights: Weights | None = None) -> Tensor:
        """F at jets of features (B, n + 2, F) and times (B, 1) from 0 to 1: (B, n + 3, 2)."""
        weights = self.weights if weights is None else weights
        batch, streams, count = features.shape
        tau = 2.0 * clock - 1.0
        z = features.new_zeros(batch, streams + 1, count + 1)
        z[:, : streams - 1, :count] = features[:, :-1]
        z[:, -1, :count] = features[:, -1]
        z[:, 0, count] = tau[:, 0]
        z[:, -2, count] = 2.0
        for layer in range(self.depth):
            z = tanh_layer(z @ weights[f"hidden_{layer}"].mT, weights[f"bias_{layer}"])
        return z @ weights["output"].mT + self._linear(features, tau, weights)

    def _linear(self, features: Tensor, tau: Tensor, weights: Weights) -> Tensor:
        hidden = weights["clock_hidden"]
        h = torch.tanh((tau.unsqueeze(1) @ hidden.mT).squeeze(1) + weights["clock_bias"])
        rate = (1.0 - h.square()) * (2.0 * hidden.squeeze(-1))
        last = weights["clock_output"].mT
        shape = -1, self.features, OUTPUTS
        c = ((h.unsqueeze(1) @ last).squeeze(1) + weights["linear"]).reshape(shape)
        dc = (rate.unsqueeze(1) @ last).reshape(shape)
        space = features @ c
        return torch.cat([space[:, :-1], features[:, :1] @ dc, space[:, -1:]], dim=1)


def tanh_layer(a: Tensor, bias: Tensor) -> Tensor:
    """tanh of a jet (B, K, H), with a bias (H,) or (B, H)."""
    s = torch.tanh(a[:, 0] + bias)
    slope = 1.0 - s.square()
    laplacian = slope * a[:, -1] - 2.0 * s * slope * a[:, 1:-2].square().sum(1)
    return torch.cat([s.unsqueeze(1), slope.unsqueeze(1) * a[:, 1:-1], laplacian.unsqueeze(1)], dim=1)


def parameter_count(weights: Weights) -> int:
    """How many numbers there are."""
    return sum(tensor.numel() for tensor in weights.values())
