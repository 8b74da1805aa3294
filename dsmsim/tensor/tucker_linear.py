"""Linear layers whose weight is one Tucker term, or a sum of them.

    W((o_1..o_d), (i_1..i_d)) = sum_b sum_{q_1..q_d} C_b[q_1..q_d] F_b1[o_1, i_1, q_1] ... F_bd[o_d, i_d, q_d]

(Tucker 1966 for one term; De Lathauwer, "Decompositions of a Higher-Order Tensor in Block Terms", 2008, for
more of them; both as layers in Ye et al., "Learning Compact Recurrent Neural Networks with Block-Term Tensor
Decomposition", 2018.)

Shapes: b blocks; the core C (b, r_1 .. r_d) comes first, then factors (b, o_k, i_k, r_k). A Tucker layer has
no axis b.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce
from typing import ClassVar

import torch
from torch import Tensor

from dsmsim.tensor.modal_linear import ModalLinear


class BlockTermLinear(ModalLinear):
    """y = x W^T + b with W a sum of Tucker terms.

    Args:
        in_features, out_features: sizes of the dense matrix, products of the modes.
        modes_in, modes_out: factorisations of those sizes, of equal length d >= 2.
        rank: r_k of all axes of the cores C, cut to o_k i_k; a sequence r_1 .. r_d is taken as it is.
        blocks: number of terms.
        bias, strategy, permute_in, permute_out: see `ModalLinear`.

    Raises:
        ValueError: if the modes do not multiply to the sizes, or ranks or blocks are not positive.
    """

    format: ClassVar[str] = "blockterm"

    @staticmethod
    def ranks_of(cores: Sequence[Tensor]) -> tuple[int, ...]:
        """(b, r_1 .. r_d)."""
        return tuple(cores[0].shape)

    def check_cores(self, cores: Sequence[Tensor]) -> None:
        shapes = [tuple(core.shape) for core in cores]
        blocks, inner = shapes[0][: -len(self.modes_in)], shapes[0][-len(self.modes_in) :]
        factors = zip(self.modes_out, self.modes_in, inner, strict=False)
        axes = len(self.cores[0].shape)
        if len(shapes[0]) != axes or shapes[1:] != [(*blocks, *factor) for factor in factors]:
            raise ValueError(f"cores of shapes {shapes} do not fit {self}")

    @staticmethod
    def grouped(cores: Sequence[Tensor], grouping: Sequence[int]) -> list[Tensor]:
        """Two super-cores (1, o, i, b r) and (b r, o, i, 1), r the ranks of the smaller side of C."""
        core, *factors = cores
        cut = grouping[0]
        left, right = factors[:cut], factors[cut:]
        inner = core.shape[1:]
        if math.prod(inner[:cut]) <= math.prod(inner[cut:]):
            ends = reduce(_kronecker, left), _absorbed(core.flatten(1, cut), right)
        else:
            turned = core.flatten(1 + cut).movedim(-1, 1)
            ends = _absorbed(turned, left), reduce(_kronecker, right)
        first, second = ends  # (b, o, i, r) both
        rows, columns = first.shape[1:3], second.shape[1:3]
        return [
            first.permute(1, 2, 0, 3).reshape(1, *rows, -1),
            second.permute(0, 3, 1, 2).reshape(-1, *columns, 1),
        ]


class TuckerLinear(BlockTermLinear):
    """y = x W^T + b with W one Tucker term; arguments as there, without `blocks`."""

    format: ClassVar[str] = "tucker"

    @staticmethod
    def grouped(cores: Sequence[Tensor], grouping: Sequence[int]) -> list[Tensor]:
        return BlockTermLinear.grouped([core.unsqueeze(0) for core in cores], grouping)


def _kronecker(left: Tensor, right: Tensor) -> Tensor:
    """Outer products in each block: (b, o, i, q) and (b, m, n, p) to (b, o m, i n, q p)."""
    full = torch.einsum("boiq,bmnp->bominqp", left, right)
    blocks, *first = left.shape
    return full.reshape(blocks, *(a * b for a, b in zip(first, right.shape[1:], strict=True)))


def _absorbed(core: Tensor, factors: Sequence[Tensor]) -> Tensor:
    """A core (b, Q, q_1 .. q_m) times factors (b, o_k, i_k, q_k): (b, o_1 .. o_m, i_1 .. i_m, Q)."""
    blocks, bond = core.shape[:2]
    out, into = 1, 1
    for factor in factors:
        _, rows, columns, own = factor.shape
        rest = core.numel() // (blocks * bond * out * into * own)
        state = core.reshape(blocks, bond, out, into, own, rest)
        core = torch.einsum("bxoiqy,bmnq->bxominy", state, factor)
        out, into = out * rows, into * columns
    return core.reshape(blocks, bond, out, into).movedim(1, -1)
