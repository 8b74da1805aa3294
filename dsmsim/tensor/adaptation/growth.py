"""Ranks by growth: start small, offer every bond directions it does not have, keep those the training uses.

Bond k of a train W = .. G_k G_{k+1} .. gets q more indices as

    G_k -> [G_k, 0],   G_{k+1} -> [G_{k+1}; Y],   rows of Y orthonormal to each other and to those of G_{k+1}

which leaves W as it is. The gradient of the new columns is then (dL/dW) seen through Y: the part of it that
is normal to the trains of the present ranks, which the gradients of the present cores do not contain. So any
optimiser follows it, and together with Y it turns to its leading singular vectors (the enrichment of
alternating minimal energy, Dolgov and Savostyanov, SIAM J. Sci. Comput. 36, A2248, 2014; Riemannian rank
adaptation, Gao and Absil 2022), and no gradient with respect to the dense W is needed.

What was offered is not taken back at once: a bond is rounded to HYSTERESIS * tolerance, and is offered more
only when rounding to the full tolerance would need all that it has.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from dsmsim.tensor.adaptation.rounding import RoundingAdapter
from dsmsim.tensor.adaptation.rule import Start
from dsmsim.tensor.canonical import balanced, bond_singular_values, rounded
from dsmsim.tensor.tt_linear import TTLinear
from dsmsim.tensor_shapes import bond_limits

HYSTERESIS = 0.5
NEED = 0.0
GROWING = 0.5
SHARE = 0.25  # of its rank that a bond is offered on top


class GrowthAdapter(RoundingAdapter):
    """Offers new bond indices and rounds away those of no use. Begin with rank 1."""

    start: ClassVar[Start] = "least"

    @torch.no_grad()
    def adapt(self, step: int, steps: int) -> bool:
        if not self.rule.due(step, steps):
            return False
        growing = step <= GROWING * self.rule.until * steps
        changed = False
        for name, layer in self.layers.items():
            tolerance = self.rule.tolerance * (HYSTERESIS if growing else 1.0)
            cores = rounded(list(layer.cores), tolerance, self.rule.most)
            if growing:
                seed = zlib.crc32(f"{name} {step}".encode())
                cores = widened(balanced(cores), self._offers(layer, cores), seed)
            if any(new.shape != old.shape for new, old in zip(cores, layer.cores, strict=True)):
                layer.set_cores(balanced(cores))
                changed = True
        return changed

    def _offers(self, layer: TTLinear, cores: Sequence[Tensor]) -> list[int]:
        """How many more indices each inner bond is offered."""
        limits = bond_limits(layer.modes_out, layer.modes_in)
        spectra = bond_singular_values(cores)
        share = self.rule.tolerance / math.sqrt(len(spectra))
        offers = []
        for limit, values in zip(limits, spectra, strict=True):
            rank = len(values)
            most = limit if self.rule.most is None else min(limit, self.rule.most)
            needed = float(values[-1]) > NEED * share * float(torch.linalg.vector_norm(values))
            offers.append(min(max(1, math.ceil(SHARE * rank)), most - rank) if needed else 0)
        return offers


def widened(cores: Sequence[Tensor], offers: Sequence[int], seed: int) -> list[Tensor]:
    """The same matrix with `offers[k]` more indices at inner bond k: zero columns before, random rows after."""
    generator = torch.Generator().manual_seed(seed)
    found = [core.clone() for core in cores]
    for k, offer in enumerate(offers):
        left, right = found[k], found[k + 1]
        rows = right.flatten(1)
        offer = min(offer, rows.shape[1] - rows.shape[0])
        if offer < 1:
            continue
        drawn = torch.randn(rows.shape[1], offer, generator=generator, dtype=torch.float64)
        basis = torch.cat([rows.T, drawn.to(rows)], dim=1)
        fresh = torch.linalg.qr(basis).Q[:, rows.shape[0] :].T * rows.square().sum(1).mean().sqrt()
        found[k] = torch.cat([left, left.new_zeros(*left.shape[:-1], offer)], dim=-1)
        found[k + 1] = torch.cat([right, fresh.reshape(offer, *right.shape[1:])])
    return found
