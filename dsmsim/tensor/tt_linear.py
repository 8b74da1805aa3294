"""A linear layer whose weight is a tensor-train (TT) matrix.

    W((o_1..o_d), (i_1..i_d)) = G_1[o_1, i_1] G_2[o_2, i_2] ... G_d[o_d, i_d]

with core k of shape (r_{k-1}, o_k, i_k, r_k) and r_0 = r_d = 1 (Novikov et al., "Tensorizing Neural
Networks", 2015; the same object is called a matrix product operator).

Initialisation: every core is N(0, s^2) with s^(2d) * prod(inner ranks) = Var(W), so that W has the
variance that a dense layer of the same width would start with.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from dsmsim.tensor.layer import Strategy, TensorLinear
from dsmsim.tensor_shapes import core_shapes


def tt_core_std(variance: float, ranks: Sequence[int]) -> float:
    """Standard deviation of the core entries that gives W entries of the wanted variance.

    Args:
        variance: wanted Var(W_ij).
        ranks: r_0 .. r_d; the product of all but the last enters (a ring's closing bond counts once).
    """
    cores = len(ranks) - 1
    return float((variance / math.prod(ranks[:-1])) ** (1.0 / (2 * cores)))


class TTLinear(TensorLinear):
    """y = x W^T + b with W a TT matrix; in the constructor's order a twin of `torch.nn.Linear`.

    Args:
        in_features, out_features: sizes of the dense matrix, products of the modes.
        modes_in, modes_out: factorisations of those sizes, of equal length d >= 2.
        rank: bond rank; bonds that cannot have so many are cut to what they can have.
        bias: whether a bias is added.
        strategy: how W is applied, see `layer`.

    Raises:
        ValueError: if the modes do not multiply to the sizes, or the rank is not positive.
    """

    format: ClassVar[str] = "tt"

    def __init__(
        self,
        in_features: int,
        out_features: int,
        modes_in: Sequence[int],
        modes_out: Sequence[int],
        rank: int,
        bias: bool = True,
        strategy: Strategy = "auto",
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        for name, modes, size in (("in", modes_in, in_features), ("out", modes_out, out_features)):
            if math.prod(modes) != size:
                raise ValueError(f"modes_{name} {list(modes)} multiply to {math.prod(modes)}, not {size}")
        if len(modes_in) != len(modes_out) or len(modes_in) < 2:
            raise ValueError("modes_in and modes_out need the same length, at least 2")
        if rank < 1:
            raise ValueError(f"rank {rank} must be at least 1")
        shapes = core_shapes(self.format, modes_out, modes_in, rank)
        super().__init__(in_features, out_features, shapes, bias, strategy, device, dtype)
        self.modes_in, self.modes_out = tuple(modes_in), tuple(modes_out)
        self.reset_parameters()

    @property
    def ranks(self) -> tuple[int, ...]:
        """r_0 .. r_d."""
        return (self.cores[0].shape[0], *(core.shape[-1] for core in self.cores))

    def reset_cores(self, variance: float) -> None:
        std = tt_core_std(variance, self.ranks)
        for core in self.cores:
            nn.init.normal_(core, std=std)

    def check_cores(self, cores: Sequence[Tensor]) -> None:
        modes = [tuple(core.shape[1:-1]) for core in cores]
        bonds = [core.shape[-1] for core in cores]
        fitting = [bonds[-1], *bonds[:-1]] == [core.shape[0] for core in cores]
        closed = self.format == "tr" or bonds[-1] == 1
        if modes != list(zip(self.modes_out, self.modes_in, strict=True)) or not fitting or not closed:
            raise ValueError(f"cores of shapes {[tuple(core.shape) for core in cores]} do not fit {self}")

    def rebuilt(self) -> Tensor:
        cores = list(self.cores)
        full = cores[0]  # (r_0, o, i, r)
        for core in cores[1:]:
            ring, rows, columns = full.shape[:3]
            full = torch.tensordot(full, core, dims=1).permute(0, 1, 3, 2, 4, 5)
            full = full.reshape(ring, rows * core.shape[1], columns * core.shape[2], core.shape[3])
        weight: Tensor = full.diagonal(dim1=0, dim2=3).sum(-1)
        return weight

    def sequential(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def extra_repr(self) -> str:
        return f"modes_out={self.modes_out}, modes_in={self.modes_in}, ranks={self.ranks}"


class TRLinear(TTLinear):
    """The same with a tensor ring: all bonds have `rank`, and the last closes on the first."""

    format: ClassVar[str] = "tr"
