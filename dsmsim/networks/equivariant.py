"""A smooth permutation-equivariant velocity field for identical bosons.

    m_i = (1/N) sum_j tanh(A x_i + B (x_i - x_j) + a t + b)        messages, functions of x_i - x_j
    s   = (1/N) sum_j tanh(C x_j + c t + e)                        symmetric sums
    f_i = output(blocks(tanh(P x_i + p t + Q m_i + R s + q)))

Exchanging two particles exchanges their velocities, and every term is a smooth function of the
configuration, also where two particles meet (unlike sorting, see `sorted_mlp.py`).

Shapes: B batch, N particles, D dimensions per particle, H width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dsmsim.config import NetworkTable
from dsmsim.networks.layers import ResidualBlock


class Equivariant(nn.Module):
    """Dimensionless (x, t) -> dimensionless velocity, shapes (B, N*D), (B, 1) -> (B, N*D)."""

    def __init__(self, table: NetworkTable, particles: int, dimensions: int) -> None:
        super().__init__()
        width = table.width
        self.particles, self.dimensions = particles, dimensions
        self.message_self = nn.Linear(dimensions + 1, width)
        self.message_pair = nn.Linear(dimensions, width, bias=False)
        self.symmetric = nn.Linear(dimensions + 1, width)
        self.input = nn.Linear(dimensions + 1 + 2 * width, width)
        self.blocks = nn.Sequential(*(ResidualBlock(table) for _ in range(table.blocks)))
        self.output = nn.Linear(width, dimensions)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Evaluate at x (B, N*D), t (B, 1)."""
        r = x.reshape(*x.shape[:-1], self.particles, self.dimensions)  # B N D
        time = t.unsqueeze(-2).expand(*r.shape[:-1], 1)
        own = torch.cat([r, time], dim=-1)
        pair = self.message_pair(r)  # linear in x, so B (x_i - x_j) needs no N x N product
        difference = pair.unsqueeze(-2) - pair.unsqueeze(-3)  # B N N H
        message = torch.tanh(self.message_self(own).unsqueeze(-2) + difference).mean(dim=-2)
        common = torch.tanh(self.symmetric(own)).mean(dim=-2, keepdim=True).expand_as(message)
        h = torch.tanh(self.input(torch.cat([own, message, common], dim=-1)))
        result: Tensor = self.output(self.blocks(h))
        return result.reshape(x.shape)
