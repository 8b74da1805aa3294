"""Random cores of any format, shared by the tests of tensor layers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dsmsim.tensor.initial import draw_cores
from dsmsim.tensor_shapes import core_shapes


def drawn(
    format: str,
    modes_out: Sequence[int],
    modes_in: Sequence[int],
    rank: int,
    seed: int = 0,
    blocks: int = 1,
    variance: float = 1.0,
    dtype: torch.dtype = torch.float64,
) -> list[Tensor]:
    """Cores as a layer of this format draws them."""
    shapes = core_shapes(format, modes_out, modes_in, rank, blocks)
    cores = [torch.empty(shape, dtype=dtype) for shape in shapes]
    draw_cores(format, cores, variance, torch.Generator().manual_seed(seed))
    return cores
