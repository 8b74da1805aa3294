"""Linear layers whose weight is a tensor-train (TT) or tensor-ring (TR) matrix.

    W((o_1..o_d), (i_1..i_d)) = tr(G_1[o_1, i_1] G_2[o_2, i_2] ... G_d[o_d, i_d])

with core k of shape (r_{k-1}, o_k, i_k, r_k) and r_0 = r_d, which is 1 for a train (Novikov et al.,
"Tensorizing Neural Networks", 2015; the same object is called a matrix product operator) and any rank for a
ring (Zhao et al., "Tensor Ring Decomposition", 2016).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from dsmsim.tensor.chain import merged
from dsmsim.tensor.modal_linear import ModalLinear


class TTLinear(ModalLinear):
    """y = x W^T + b with W a TT matrix; in the constructor's order a twin of `torch.nn.Linear`.

    Args:
        in_features, out_features: sizes of the dense matrix, products of the modes.
        modes_in, modes_out: factorisations of those sizes, of equal length d >= 2.
        rank: bond rank; bonds that cannot have so many are cut to what they can have. A sequence of all
            ranks r_0 .. r_d, or of the inner ones, is taken as it is.
        bias, strategy, permute_in, permute_out: see `ModalLinear`.

    Raises:
        ValueError: if the modes do not multiply to the sizes, or the ranks do not fit.
    """

    format: ClassVar[str] = "tt"

    @staticmethod
    def ranks_of(cores: Sequence[Tensor]) -> tuple[int, ...]:
        """r_0 .. r_d."""
        return (cores[0].shape[0], *(core.shape[-1] for core in cores))

    def check_cores(self, cores: Sequence[Tensor]) -> None:
        modes = [tuple(core.shape[1:-1]) for core in cores]
        bonds = [core.shape[-1] for core in cores]
        fitting = [bonds[-1], *bonds[:-1]] == [core.shape[0] for core in cores]
        closed = self.format == "tr" or bonds[-1] == 1
        if modes != list(zip(self.modes_out, self.modes_in, strict=True)) or not fitting or not closed:
            raise ValueError(f"cores of shapes {[tuple(core.shape) for core in cores]} do not fit {self}")

    @staticmethod
    def grouped(cores: Sequence[Tensor], grouping: Sequence[int]) -> list[Tensor]:
        ends = [sum(grouping[: k + 1]) for k in range(len(grouping))]
        return [merged(cores[end - size : end]) for end, size in zip(ends, grouping, strict=True)]


class TRLinear(TTLinear):
    """The same with a tensor ring: all bonds have `rank`, and the last closes on the first.

    A sequence of ranks gives r_0 .. r_d with r_0 = r_d.
    """

    format: ClassVar[str] = "tr"
