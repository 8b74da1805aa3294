"""Tables of vectors whose matrix is a tensor train or a tensor ring.

    W[(n_1..n_d), (m_1..m_d)] = G_1[n_1, m_1] G_2[n_2, m_2] ... G_d[n_d, m_d]

with row number n = (n_1..n_d) in mixed radix, first digit slowest (Hrinchuk et al., "Tensorized embedding
layers", 2020; the counts of parameters that the tests reproduce are those of a 25000 x 256 table).

A row is the product of the slices of the cores at its digits: the dense table is never made. The first digits
make one half of a row and the last digits the other; at many indices most halves occur often, and each is
contracted once. The number of rows need not be the product of the modes: rows past the last are refused.

Shapes: B indices, N rows, M columns; of neighbouring cores contracted together P rows, C columns, and the
bonds q to the left and s to the right.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from dsmsim.tensor.tt_linear import TRLinear, TTLinear
from dsmsim.tensor_shapes import balanced_modes
from dsmsim.tensor_shapes.cores import Rank


class TTEmbedding(nn.Module):
    """A twin of `torch.nn.Embedding` with its table in TT form.

    Args:
        num_embeddings, embedding_dim: N and M.
        padding_idx: row that is zero whatever the cores are; negative ones count from the end.
        rank: bond rank, as in `TTLinear`: one number, cut to what a bond can have, or all of them.
        modes_rows: digits of a row number; their product is N or more. Without them digits as equal as
            possible, as many as there are `modes_columns`, or three.
        modes_columns: factors of M, as many as digits. Without them balanced ones.

    Raises:
        ValueError: modes that do not make the sizes, or a padding index outside the table.
    """

    linear: ClassVar[type[TTLinear]] = TTLinear

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        *,
        rank: Rank,
        modes_rows: Sequence[int] | None = None,
        modes_columns: Sequence[int] | None = None,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if padding_idx is not None and not -num_embeddings <= padding_idx < num_embeddings:
            raise ValueError(f"padding_idx {padding_idx} is not a row of a table of {num_embeddings}")
        count = len(modes_rows or modes_columns or (1, 1, 1))
        modes_rows = modes_rows or covering_modes(num_embeddings, count)
        modes_columns = modes_columns or balanced_modes(embedding_dim, count)
        most = math.prod(modes_rows)
        if most < num_embeddings:
            raise ValueError(f"modes_rows {list(modes_rows)} make {most} rows, not {num_embeddings}")
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.padding_idx = None if padding_idx is None else padding_idx % num_embeddings
        self.modes_rows, self.modes_columns = tuple(modes_rows), tuple(modes_columns)
        self.table = self.linear(
            embedding_dim,
            most,
            modes_in=modes_columns,
            modes_out=modes_rows,
            rank=rank,
            bias=False,
            device=device,
            dtype=dtype,
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the table with the variance of `nn.Embedding`, 1."""
        self.table.reset_cores(1.0)

    @property
    def weight(self) -> Tensor:
        """The dense table (N, M), for tables that are small enough."""
        rows = self.table.weight[: self.num_embeddings]
        return self._padded(rows, torch.arange(self.num_embeddings, device=rows.device))

    def forward(self, index: Tensor) -> Tensor:
        """Rows of the table at integers of any shape (...): (..., M).

        Raises:
            IndexError: a number outside 0 .. N - 1 (on a GPU: an assertion of the device).
        """
        flat = index.reshape(-1)
        return self._padded(self._rows(flat), flat).reshape(*index.shape, self.embedding_dim)

    def _padded(self, rows: Tensor, index: Tensor) -> Tensor:
        if self.padding_idx is None:
            return rows
        return rows.masked_fill((index == self.padding_idx).unsqueeze(-1), 0.0)

    def _rows(self, index: Tensor) -> Tensor:
        """(B, M) at numbers (B,): the first cores and the last, each contracted at its digits, meet once."""
        cores, modes = list(self.table.cores), self.modes_rows
        sizes = [math.prod(modes[:k]) + math.prod(modes[k:]) for k in range(1, len(modes))]
        middle = 1 + sizes.index(min(sizes))
        below = math.prod(modes[middle:])
        # a number outside the table goes to a row that is not there, so that the look-up refuses it
        inside = (index >= 0) & (index < self.num_embeddings)
        number = torch.where(inside, index // below, math.prod(modes[:middle]))
        left, right = _slices(cores[:middle], number), _slices(cores[middle:], index % below)
        return (left.transpose(1, 2).flatten(2) @ right.movedim(3, 1).flatten(1, 2)).flatten(1)


class TREmbedding(TTEmbedding):
    """The same with a tensor ring: all bonds have the rank, and the last closes on the first."""

    linear: ClassVar[type[TTLinear]] = TRLinear


def covering_modes(size: int, count: int) -> list[int]:
    """`count` factors, as equal as possible, whose product is `size` or a little more."""
    modes: list[int] = []
    for left in range(count, 0, -1):
        rest = -(-size // math.prod(modes))
        root = round(rest ** (1.0 / left))
        modes.append(root if root**left >= rest else root + 1)
    return modes


def _slices(cores: Sequence[Tensor], number: Tensor) -> Tensor:
    """The product of the slices of cores (r, n, m, s) at the digits of each number (B,): (B, q, C, s).

    Cores are contracted for all of their rows as long as those are no more than B; from there on every number
    goes its own way.
    """
    table, rest = cores[0], list(cores[1:])
    while rest and table.shape[1] * rest[0].shape[1] <= number.numel():
        core = rest.pop(0)
        ring, rows, columns, _ = table.shape
        table = torch.tensordot(table, core, dims=1).transpose(2, 3)  # (q, P, n, C, m, s)
        table = table.reshape(ring, rows * core.shape[1], columns * core.shape[2], core.shape[3])
    below = math.prod([core.shape[1] for core in rest])
    state = _looked_up(table, number // below)
    for core in rest:
        below //= core.shape[1]
        own = _looked_up(core, number // below % core.shape[1])  # (B, r, m, s)
        ring, columns = state.shape[1:3]
        state = state.flatten(1, 2) @ own.flatten(2)
        state = state.reshape(len(number), ring, columns * core.shape[2], core.shape[3])
    return state


def _looked_up(table: Tensor, index: Tensor) -> Tensor:
    """Slices of a table (q, P, C, s) at rows (B,): (B, q, C, s)."""
    by_row = table.movedim(1, 0)
    rows = nn.functional.embedding(index, by_row.flatten(1))
    return rows.reshape(*index.shape, *by_row.shape[1:])
