"""A linear layer whose weight is the product of two thin matrices.

    W = A B,  A (O, r),  B (r, I)

(Eckart and Young 1936; the truncated singular value decomposition of a matrix has this form.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from dsmsim.tensor.layer import TensorLinear
from dsmsim.tensor_shapes import core_shapes
from dsmsim.tensor_shapes.strategy import Choice


class LowRankLinear(TensorLinear):
    """y = x (A B)^T + b; cores A and B.

    Args:
        in_features, out_features: sizes of the dense matrix.
        rank: r, cut to what the matrix can have.
        bias, strategy, permute_in, permute_out: see `TensorLinear`.

    Raises:
        ValueError: a rank below 1.
    """

    format: ClassVar[str] = "lowrank"

    def __init__(
        self,
        in_features: int,
        out_features: int,
        rank: int,
        bias: bool = True,
        strategy: Choice = "auto",
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
        permute_in: Sequence[int] | Tensor | None = None,
        permute_out: Sequence[int] | Tensor | None = None,
    ) -> None:
        shapes = core_shapes(self.format, [out_features], [in_features], rank)
        super().__init__(
            in_features, out_features, shapes, bias, strategy, device, dtype, permute_in, permute_out
        )
        self.modes_in, self.modes_out = (in_features,), (out_features,)

    @staticmethod
    def ranks_of(cores: Sequence[Tensor]) -> tuple[int, ...]:
        """(r,)."""
        return (cores[0].shape[1],)

    def check_cores(self, cores: Sequence[Tensor]) -> None:
        shapes = [tuple(core.shape) for core in cores]
        rank = shapes[0][-1]
        if shapes != [(self.out_features, rank), (rank, self.in_features)]:
            raise ValueError(f"cores of shapes {shapes} do not fit {self}")

    @staticmethod
    def grouped(cores: Sequence[Tensor], grouping: Sequence[int]) -> list[Tensor]:
        """A train that first takes all inputs and then gives all outputs: modes (1, O) and (I, 1)."""
        left, right = cores
        return [right.T[None, None], left.T[:, :, None, None]]
