"""Symmetries of a problem, found by trial."""

from __future__ import annotations

import math

import numpy as np
import torch

from dsmsim.system.initial import InitialState
from dsmsim.system.system import System

REFLECTIONS = 256  # configurations at which a mirror symmetry is looked for


def is_mirror_symmetric(end: float, system: System, initial: InitialState) -> bool:
    """Whether the state stays symmetric about the middle of the first cloud, so that its mean cannot move.

    Found by trial at random configurations, up to the time `end`.
    """
    rng = np.random.default_rng(0)
    x = initial.mean + 1.5 * np.sqrt(initial.variance) * rng.standard_normal(
        (REFLECTIONS, initial.coordinates)
    )
    there, mirrored = torch.from_numpy(x), torch.from_numpy(2.0 * initial.mean - x)
    times = [0.0, *system.breakpoints, *np.linspace(0.0, end, 7)[1:].tolist()]
    pairs = [
        (initial.log_density(there), initial.log_density(mirrored)),
        (initial.v(there), -initial.v(mirrored)),
    ]
    for t in times:
        clock = there.new_full((REFLECTIONS, 1), t)
        pairs.append((system.potential(there, clock), system.potential(mirrored, clock)))
    return all(torch.allclose(a, b, rtol=1e-9, atol=1e-12 * math.sqrt(REFLECTIONS)) for a, b in pairs)
