"""A linear layer whose weight is a sum of Kronecker products of small matrices.

    W((o_1..o_d), (i_1..i_d)) = sum_q F_1[o_1, i_1, q] F_2[o_2, i_2, q] ... F_d[o_d, i_d, q]

with factor k of shape (o_k, i_k, r): the canonical polyadic decomposition (Hitchcock 1927; Lebedev et al.,
"Speeding-up Convolutional Neural Networks Using Fine-tuned CP-Decomposition", 2015).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import ClassVar

import torch
from torch import Tensor

from dsmsim.tensor.modal_linear import ModalLinear


class CPLinear(ModalLinear):
    """y = x W^T + b with W in canonical polyadic form; cores F_1 .. F_d.

    Args:
        in_features, out_features: sizes of the dense matrix, products of the modes.
        modes_in, modes_out: factorisations of those sizes, of equal length d >= 2.
        rank: r, the number of terms.
        bias, strategy, permute_in, permute_out: see `ModalLinear`.

    Raises:
        ValueError: if the modes do not multiply to the sizes, or the rank is not positive.
    """

    format: ClassVar[str] = "cp"

    @staticmethod
    def ranks_of(cores: Sequence[Tensor]) -> tuple[int, ...]:
        """(r,)."""
        return (cores[0].shape[-1],)

    def check_cores(self, cores: Sequence[Tensor]) -> None:
        shapes = [tuple(core.shape) for core in cores]
        rank = shapes[0][-1]
        if shapes != [(out, into, rank) for out, into in zip(self.modes_out, self.modes_in, strict=True)]:
            raise ValueError(f"cores of shapes {shapes} do not fit {self}")

    @staticmethod
    def grouped(cores: Sequence[Tensor], grouping: Sequence[int]) -> list[Tensor]:
        """Two super-cores (1, o, i, r) and (r, o, i, 1)."""
        cut = grouping[0]
        left, right = reduce(_termwise, cores[:cut]), reduce(_termwise, cores[cut:])
        return [left[None], right.movedim(-1, 0)[..., None]]


def _termwise(left: Tensor, right: Tensor) -> Tensor:
    """Kronecker products term by term: (o_1, i_1, r) and (o_2, i_2, r) to (o_1 o_2, i_1 i_2, r)."""
    full = torch.einsum("oiq,mnq->ominq", left, right)
    return full.reshape(left.shape[0] * right.shape[0], left.shape[1] * right.shape[1], -1)
