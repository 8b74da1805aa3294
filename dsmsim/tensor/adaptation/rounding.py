"""Ranks by rounding: what the training does not need of a large rank is cut off as it goes.

Every `every` steps each layer's W is replaced by a W' of the smallest ranks that are found with

    |W - W'|_F <= tolerance |W|_F

(`canonical.rounded`; of a train by a QR sweep and one of truncated SVD, tolerance / sqrt(d - 1) per bond:
Oseledets, SIAM J. Sci. Comput. 33, 2295, 2011), and the cores are scaled to equal root mean squares, so that
one learning rate fits all of them. What is cut once cannot come back, but the training goes on after each cut
and the next one cuts again: the ranks settle where each index alone is worth the tolerance, that is where
the smallest singular value is above tolerance |W|_F / sqrt(d - 1).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dsmsim.tensor.adaptation.rule import RankAdapter
from dsmsim.tensor.canonical import balanced, rounded
from dsmsim.tensor.tt_linear import TTLinear


class RoundingAdapter(RankAdapter):
    """Rounds trains and rings to the tolerance. Ranks only fall: begin with the most that can be paid for."""

    @torch.no_grad()
    def adapt(self, step: int, steps: int) -> bool:
        if not self.rule.due(step, steps):
            return False
        changed = [
            replaced(layer, rounded(list(layer.cores), self.rule.tolerance, self.rule.most))
            for layer in self.layers.values()
        ]
        return any(changed)


def replaced(layer: TTLinear, cores: Sequence[Tensor]) -> bool:
    """Give a layer cores of other ranks, balanced; whether there was anything to change.

    Cores of the ranks it has are left alone, so that the optimiser's moments go on to fit them.
    """
    if all(new.shape == old.shape for new, old in zip(cores, layer.cores, strict=True)):
        return False
    layer.set_cores(balanced(cores))
    return True
