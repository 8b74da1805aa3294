"""Linear layers whose inputs and outputs are factorised into modes: all formats but low rank.

    O = prod o_k,   I = prod i_k,   k = 1 .. d

Shapes: B rows of input, O outputs, I inputs.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dsmsim.tensor.layer import TensorLinear
from dsmsim.tensor_shapes import Rank, check_modes, core_shapes
from dsmsim.tensor_shapes.strategy import Choice


class ModalLinear(TensorLinear):
    """y = x W^T + b with cores of the shapes that `dsmsim.tensor_shapes.core_shapes` gives.

    Args:
        in_features, out_features: sizes of the dense matrix, products of the modes.
        modes_in, modes_out: factorisations of those sizes, of equal length d >= 2.
        rank: what the format takes it for; where a bond or axis cannot have so much, it is cut to what can be
            had. A sequence of ranks is taken as it is.
        bias, strategy, permute_in, permute_out: see `TensorLinear`.
        blocks: number of terms, for block terms only.

    Raises:
        ValueError: if the modes do not multiply to the sizes, or ranks or blocks do not fit.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        modes_in: Sequence[int],
        modes_out: Sequence[int],
        rank: Rank,
        bias: bool = True,
        strategy: Choice = "auto",
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
        permute_in: Sequence[int] | Tensor | None = None,
        permute_out: Sequence[int] | Tensor | None = None,
        *,
        blocks: int = 1,
    ) -> None:
        if blocks != 1 and self.format != "blockterm":
            raise ValueError(f"blocks = {blocks}: only blockterm has blocks, not {self.format!r}")
        check_modes(out_features, in_features, modes_out, modes_in)
        shapes = core_shapes(self.format, modes_out, modes_in, rank, blocks)
        super().__init__(
            in_features, out_features, shapes, bias, strategy, device, dtype, permute_in, permute_out
        )
        self.modes_in, self.modes_out = tuple(modes_in), tuple(modes_out)
