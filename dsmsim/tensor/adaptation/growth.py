"""Ranks by growth: start small, offer every bond directions that it lacks, and round what came of them.

Bond k of a train W = .. G_k G_{k+1} .. gets q more indices as

    G_k -> [G_k, 0],   G_{k+1} -> [G_{k+1}; Y],   rows of Y orthogonal to each other and to those of G_{k+1}

which leaves W as it is. The gradient of the new columns is dL/dW seen through Y: a part that is normal to the
trains of the present ranks, which the gradients of the present cores do not contain. So any optimiser follows
it, Y turns with it to its leading singular vectors, and neither dL/dW nor a length of step is needed. (The
enrichment of Dolgov and Savostyanov, SIAM J. Sci. Comput. 36, A2248, 2014, left to the training itself.)

A direction grows more slowly than one rounding follows the other, so the tolerance is not applied to it at
once: in the first half of the time, bonds are only rid of indices that nothing came of, by rounding to
SIEVE * tolerance, and offered more. In the second half they are rounded to the tolerance as in `rounding`.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from dsmsim.tensor.adaptation.rounding import replaced
from dsmsim.tensor.adaptation.rule import RankAdapter, RankRule, Start
from dsmsim.tensor.canonical import balanced, rounded
from dsmsim.tensor.tt_linear import TTLinear
from dsmsim.tensor_shapes import bond_limits

SIEVE = 0.1  # of the tolerance: what has not reached it after one period has found nothing
OFFER = 0.5  # of its rank that a bond is offered on top
GROWING = 0.5  # share of the time for adaptation in which ranks may grow


class GrowthAdapter(RankAdapter):
    """Grows trains from small ranks, then rounds them to the tolerance.

    Raises:
        ValueError: a tensor ring among the layers.
    """

    start: ClassVar[Start] = "least"

    def __init__(self, module: nn.Module, rule: RankRule) -> None:
        super().__init__(module, rule)
        rings = [name for name, layer in self.layers.items() if layer.format == "tr"]
        if rings:
            raise ValueError(
                f"growth adapts trains, and {', '.join(rings)} are tensor rings, whose bonds have no "
                'orthogonal complement: take the adapter "rounding" or "shrinkage", or the format "tt"'
            )

    @torch.no_grad()
    def adapt(self, step: int, steps: int) -> bool:
        if not self.rule.due(step, steps):
            return False
        growing = step <= GROWING * self.rule.until * steps
        tolerance = self.rule.tolerance * (SIEVE if growing else 1.0)
        changed = []
        for name, layer in self.layers.items():
            cores = rounded(list(layer.cores), tolerance, self.rule.most)
            if growing:
                seed = zlib.crc32(f"{name} {step}".encode())
                cores = widened(balanced(cores), self._offers(layer, cores), seed)
            changed.append(replaced(layer, cores))
        return any(changed)

    def _offers(self, layer: TTLinear, cores: Sequence[Tensor]) -> list[int]:
        """How many more indices each inner bond is offered."""
        ranks = [core.shape[-1] for core in cores[:-1]]
        limits = bond_limits(layer.modes_out, layer.modes_in)
        most = [limit if self.rule.most is None else min(limit, self.rule.most) for limit in limits]
        return [min(math.ceil(OFFER * rank), limit - rank) for rank, limit in zip(ranks, most, strict=True)]


def widened(cores: Sequence[Tensor], offers: Sequence[int], seed: int) -> list[Tensor]:
    """The same train with more indices at its inner bonds: columns of zeros before a bond, rows behind it.

    Args:
        cores: of a train.
        offers: how many more indices bonds 1 .. d - 1 get, or less where core k + 1 has no rows to spare.
        seed: draws the rows, which are orthogonal to the core's own and of their mean size.
    """
    generator = torch.Generator().manual_seed(seed)
    found = list(cores)
    for k, offer in enumerate(offers):
        left, right = found[k], found[k + 1]
        rows = right.flatten(1)
        own, size = rows.shape
        offer = min(offer, size - own)
        if offer < 1:
            continue
        drawn = torch.randn(size, offer, generator=generator, dtype=torch.float64).to(rows)
        fresh = torch.linalg.qr(torch.cat([rows.T, drawn], dim=1)).Q[:, own:].T
        fresh = fresh * rows.square().sum(dim=1).mean().sqrt()
        found[k] = torch.cat([left, left.new_zeros(*left.shape[:-1], offer)], dim=-1)
        found[k + 1] = torch.cat([right, fresh.reshape(offer, *right.shape[1:])])
    return found
