"""Shapes of tensor-decomposed matrices: modes, ranks, parameters and work, in plain integers.

No torch is needed here, so that an input can be checked and a run planned in a blink; `dsmsim.tensor` makes
layers of these shapes.
"""

from __future__ import annotations

from dsmsim.tensor_shapes.cores import (
    FORMATS,
    bond_limits,
    core_shapes,
    parameters,
    ring_ranks,
    tt_ranks,
)
from dsmsim.tensor_shapes.modes import balanced_modes, is_composite, smallest_factor

__all__ = [
    "FORMATS",
    "balanced_modes",
    "bond_limits",
    "core_shapes",
    "is_composite",
    "parameters",
    "ring_ranks",
    "smallest_factor",
    "tt_ranks",
]
