"""The residual tanh network on the flat configuration (x_1, ..., x_n, t).

Orlova et al., "Deep Stochastic Mechanics" (ICML 2024): one input layer, residual tanh blocks, one linear
output layer; no symmetry is built in.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dsmsim.config import NetworkTable
from dsmsim.networks.layers import ResidualBlock


class MLP(nn.Module):
    """Dimensionless (x, t) -> dimensionless velocity, shapes (B, n), (B, 1) -> (B, n)."""

    def __init__(self, table: NetworkTable, particles: int, dimensions: int) -> None:
        super().__init__()
        coordinates = particles * dimensions
        self.input = nn.Linear(coordinates + 1, table.width)
        self.blocks = nn.Sequential(*(ResidualBlock(table) for _ in range(table.blocks)))
        self.output = nn.Linear(table.width, coordinates)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Evaluate at x (B, n), t (B, 1)."""
        h = torch.tanh(self.input(torch.cat([x, t], dim=-1)))
        result: Tensor = self.output(self.blocks(h))
        return result
