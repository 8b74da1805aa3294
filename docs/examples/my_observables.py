"""How often all bosons are on the same side of x = 0: an observable of one's own."""

from __future__ import annotations

from torch import Tensor

from dsmsim.measure.averages import Average
from dsmsim.measure.context import Context
from dsmsim.measure.observable import Sampled


def build(context: Context) -> Average:
    """What the input or an entry point names: the observable, for one problem and its saved times."""
    dimensions = context.system.dimensions

    def same_side(sampled: Sampled) -> Tensor:
        """1 for samples whose particles are all on one side, else 0: (B,)."""
        right = sampled.x[:, ::dimensions] > 0.0  # the x of every particle, (B, N)
        return (right.all(1) | ~right.any(1)).double()

    meaning = "probability that all are on one side of x = 0"
    return Average(context, "same_side", same_side, units="1", long_name=meaning)
