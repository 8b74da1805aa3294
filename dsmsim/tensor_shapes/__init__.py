"""Shapes of tensor-decomposed matrices: modes, ranks, parameters and work, in plain integers.

No torch is needed here, so that an input can be checked and a run planned in a blink; `dsmsim.tensor` makes
layers of these shapes.
"""

from __future__ import annotations

from dsmsim.tensor_shapes.cores import (
    FORMATS,
    Rank,
    bond_limits,
    bond_ranks,
    core_shapes,
    parameters,
    ring_ranks,
    tt_ranks,
)
from dsmsim.tensor_shapes.modes import (
    balanced_modes,
    check_modes,
    is_composite,
    layer_modes,
    smallest_factor,
)
from dsmsim.tensor_shapes.strategy import Choice, Strategy, plan

__all__ = [
    "FORMATS",
    "Choice",
    "Rank",
    "Strategy",
    "balanced_modes",
    "bond_limits",
    "bond_ranks",
    "check_modes",
    "core_shapes",
    "is_composite",
    "layer_modes",
    "parameters",
    "plan",
    "ring_ranks",
    "smallest_factor",
    "tt_ranks",
]
