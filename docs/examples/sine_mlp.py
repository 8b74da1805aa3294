"""A velocity network with one hidden layer of sines: f(x, t) = W_2 sin(W_1 (x, t) + b_1) + b_2."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dsmsim.config import NetworkTable


class SineMLP(nn.Module):
    """Dimensionless (x, t) -> dimensionless velocity, shapes (B, n), (B, 1) -> (B, n)."""

    def __init__(self, table: NetworkTable, particles: int, dimensions: int) -> None:
        super().__init__()
        coordinates = particles * dimensions
        self.input = nn.Linear(coordinates + 1, table.width)
        self.output = nn.Linear(table.width, coordinates)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Evaluate at x (B, n), t (B, 1)."""
        result: Tensor = self.output(torch.sin(self.input(torch.cat([x, t], dim=-1))))
        return result
