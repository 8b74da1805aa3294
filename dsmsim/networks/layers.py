"""Hidden layers, dense or decomposed, and the residual tanh block they form."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dsmsim.config import NetworkTable
from dsmsim.tensor.build import tensor_linear


def hidden_linear(table: NetworkTable, bias: bool = True) -> nn.Module:
    """A width-to-width layer: `nn.Linear`, or of the format of `[network.tensor]` where that is given."""
    width, tensor = table.width, table.tensor
    if tensor is None:
        return nn.Linear(width, width, bias)
    modes_out, modes_in = (None, None) if tensor.format == "lowrank" else tensor.modes(width)
    return tensor_linear(
        tensor.format,
        width,
        width,
        modes_in,
        modes_out,
        rank=tensor.first_rank,
        blocks=tensor.blocks if tensor.format == "blockterm" else 1,
        bias=bias,
        strategy=tensor.strategy,
    )


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
