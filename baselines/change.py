"""What a refinement changed: the currency of all error estimates."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Change:
    """What one refinement changed, or several together: the worst over times.

    Attributes:
        mean: in standard deviations.
        variance: relative.
        density: L1.
    """

    mean: float = 0.0
    variance: float = 0.0
    density: float = 0.0

    @property
    def worst(self) -> float:
        """Of the three."""
        return max(self.mean, self.variance, self.density)

    def __add__(self, other: Change) -> Change:
        return Change(self.mean + other.mean, self.variance + other.variance, self.density + other.density)

    def __mul__(self, factor: float) -> Change:
        return Change(self.mean * factor, self.variance * factor, self.density * factor)

    def attributes(self, tolerance: float, warning: str) -> dict[str, Any]:
        """What `Solution.how` says of an error and of the trust in a result; an empty warning is trust."""
        return {
            "error_estimate": self.worst,
            "error_mean": self.mean,
            "error_variance": self.variance,
            "error_density": self.density,
            "tolerance": tolerance,
            "converged": not warning,
            "warning": warning,
        }


UNKNOWN = Change(math.nan, math.nan, math.nan)
MISSED = Change(math.inf, math.inf, math.inf)
