"""Ranks by rounding: what the training does not need of a large rank is cut off as it goes.

Every `every` steps each layer's W is replaced by a train W' of the smallest ranks with

    |W - W'|_F <= tolerance |W|_F

by a sweep of QR and one of truncated SVD, tolerance / sqrt(d - 1) per bond (Oseledets, SIAM J. Sci. Comput.
33, 2295, 2011, algorithm 2), and its cores are scaled to equal root mean squares, so that one learning rate
fits all of them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dsmsim.tensor.adaptation.rule import RankAdapter
from dsmsim.tensor.canonical import balanced, rounded
from dsmsim.tensor.tt_linear import TTLinear


class RoundingAdapter(RankAdapter):
    """Rounds every layer to the tolerance. Ranks only fall, so begin with as many as can be paid for."""

    @torch.no_grad()
    def adapt(self, step: int, steps: int) -> bool:
        if not self.rule.due(step, steps):
            return False
        changed = [self._round(layer) for layer in self.layers.values()]
        return any(changed)

    def _round(self, layer: TTLinear) -> bool:
        cores = self.truncated(layer)
        if all(new.shape == old.shape for new, old in zip(cores, layer.cores, strict=True)):
            return False  # nothing gained: the optimiser keeps its moments
        layer.set_cores(balanced(cores))
        return True

    def truncated(self, layer: TTLinear) -> list[Tensor]:
        """Cores of the smallest ranks within the tolerance."""
        return rounded(list(layer.cores), self.rule.tolerance, self.rule.most)
