"""Causal weights: the residuals at a time count once those before it are small.

Wang, Sankaran, Perdikaris, "Respecting causality is all you need for training physics-informed neural
networks" (2022). Slice k of time has the weight

    w_k = exp(-epsilon sum_{j < k} L_j)

with L_j the mean loss of slice j over all ranks, here that of the epoch before.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def causal_weights(losses: Sequence[float], epsilon: float, slices: int, like: Tensor) -> Tensor:
    """Weights (M,) of the slices, in the dtype and on the device of `like`.

    Args:
        losses: M losses of the epoch before; anything else, such as none at the start, gives every slice 1.
        epsilon: how strict the order is; 0 gives every slice 1.
        slices: M.
    """
    if epsilon == 0.0 or len(losses) != slices:
        return like.new_ones(slices)
    before = torch.tensor([0.0, *losses[:-1]], dtype=torch.float64).cumsum(0)
    return torch.exp(-epsilon * before).to(like)
