"""Where a classical cloud goes, as points of x and as a largest momentum."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from baselines.frame import Cloud

Array = NDArray[np.float64]

# points of x per standard deviation, and how many at least and at most
POINTS_PER_WIDTH = 9.0
FEWEST_POINTS, MOST_POINTS = 257, 8193
# standard deviations of the momentum that count
FASTEST = 6.0


def fastest(cloud: Cloud) -> float:
    """A momentum that no boson exceeds, but for a part that can be neglected."""
    spread = math.sqrt(float(cloud.momentum_variance.max()))
    return FASTEST * spread + float(np.abs(cloud.momentum).max())


def points_between(low: float, high: float, width: float) -> Array:
    """Equidistant x, fine enough for a density as narrow as `width` (its standard deviation)."""
    count = math.ceil((high - low) / width * POINTS_PER_WIDTH)
    return np.linspace(low, high, min(max(count, FEWEST_POINTS), MOST_POINTS))
