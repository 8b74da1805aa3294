"""Hidden layers, dense or tensor-train, and the residual tanh block they form."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dsmsim.config import NetworkTable
from dsmsim.tensor import TTLinear
from dsmsim.tensor_shapes import balanced_modes


def hidden_linear(table: NetworkTable) -> nn.Module:
    """A width-to-width layer: `nn.Linear`, or `TTLinear` when `[network.tensor]` is given."""
    width, tensor = table.width, table.tensor
    if tensor is None:
        return nn.Linear(width, width)
    modes_out = tensor.modes_out or balanced_modes(width)
    modes_in = tensor.modes_in or balanced_modes(width)
    return TTLinear(width, width, modes_in, modes_out, tensor.rank)


class ResidualBlock(nn.Module):
    """h -> tanh(h + tanh(W_b tanh(W_a h + b_a) + b_b)), the block of the published DSM networks."""

    def __init__(self, table: NetworkTable) -> None:
        super().__init__()
        self.first = hidden_linear(table)
        self.second = hidden_linear(table)

    def forward(self, h: Tensor) -> Tensor:
        """h of shape (..., width) to the same shape."""
        inner = torch.tanh(self.second(torch.tanh(self.first(h))))
        return torch.tanh(h + inner)
