"""A linear layer whose weight is a tensor-train (TT) matrix.

    W((o_1..o_d), (i_1..i_d)) = G_1[o_1, i_1] G_2[o_2, i_2] ... G_d[o_d, i_d]

with core k of shape (r_{k-1}, o_k, i_k, r_k) and r_0 = r_d = 1 (Novikov et al., "Tensorizing Neural
Networks", 2015; the same object is called a matrix product operator). The weight is rebuilt from its
cores and applied as one dense product: at the widths used here that costs 1.0-1.1 times a dense layer,
whereas applying the cores one after the other pays only at ranks of one or two.

Initialisation: every core is N(0, s^2) with s^(2d) * prod(inner ranks) = Var(W), so that W has the
variance that a dense layer of the same width would start with.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


def tt_core_std(variance: float, ranks: Sequence[int]) -> float:
    """Standard deviation of the core entries that gives W entries of the wanted variance.

    Args:
        variance: wanted Var(W_ij).
        ranks: r_0 .. r_d; the product of the inner ones enters.
    """
    cores = len(ranks) - 1
    return float((variance / math.prod(ranks[1:-1])) ** (1.0 / (2 * cores)))


def uniform_ranks(modes_out: Sequence[int], modes_in: Sequence[int], rank: int) -> list[int]:
    """Ranks r_0..r_d, each `rank` or the largest that bond can have, whichever is smaller."""
    sizes = [o * i for o, i in zip(modes_out, modes_in, strict=True)]
    inner = [min(rank, math.prod(sizes[:k]), math.prod(sizes[k:])) for k in range(1, len(sizes))]
    return [1, *inner, 1]


class TTLinear(nn.Module):
    """y = x W^T + b with W a TT matrix; in the constructor's order a twin of `torch.nn.Linear`.

    Args:
        in_features, out_features: sizes of the dense matrix, products of the modes.
        modes_in, modes_out: factorisations of those sizes, of equal length d >= 2.
        rank: bond rank; bonds that cannot have so many are cut to what they can have.
        bias: whether a bias is added.

    Raises:
        ValueError: if the modes do not multiply to the sizes, or the rank is not positive.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        modes_in: Sequence[int],
        modes_out: Sequence[int],
        rank: int,
        bias: bool = True,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        for name, modes, size in (("in", modes_in, in_features), ("out", modes_out, out_features)):
            if math.prod(modes) != size:
                raise ValueError(f"modes_{name} {list(modes)} multiply to {math.prod(modes)}, not {size}")
        if len(modes_in) != len(modes_out) or len(modes_in) < 2:
            raise ValueError("modes_in and modes_out need the same length, at least 2")
        if rank < 1:
            raise ValueError(f"rank {rank} must be at least 1")
        self.in_features, self.out_features = in_features, out_features
        self.modes_in, self.modes_out = tuple(modes_in), tuple(modes_out)
        self.ranks = tuple(uniform_ranks(modes_out, modes_in, rank))
        shapes = zip(self.ranks[:-1], self.modes_out, self.modes_in, self.ranks[1:], strict=True)
        self.cores = nn.ParameterList(torch.empty(s, device=device, dtype=dtype) for s in shapes)
        self.bias = nn.Parameter(torch.empty(out_features, device=device, dtype=dtype)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw W with the variance of `nn.Linear` (1 / (3 in_features)) and the bias likewise."""
        bound = 1.0 / math.sqrt(self.in_features)
        std = tt_core_std(bound**2 / 3.0, self.ranks)
        for core in self.cores:
            nn.init.normal_(core, std=std)
        if self.bias is not None:
            nn.init.uniform_(self.bias, -bound, bound)

    @property
    def weight(self) -> Tensor:
        """The dense W, shape (out_features, in_features), rebuilt from the cores."""
        cores = list(self.cores)
        full = cores[0].squeeze(0)  # (o, i, r)
        for core in cores[1:]:
            rows, columns = full.shape[0], full.shape[1]
            full = torch.tensordot(full, core, dims=1).permute(0, 2, 1, 3, 4)
            full = full.reshape(rows * core.shape[1], columns * core.shape[2], core.shape[3])
        weight: Tensor = full.squeeze(-1)
        return weight

    def forward(self, x: Tensor) -> Tensor:
        """Apply to x of shape (..., in_features)."""
        return nn.functional.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"modes_out={self.modes_out}, modes_in={self.modes_in}, ranks={self.ranks}"
