"""The parameters as a function of time.

Shapes: K steps, P parameters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dsmsim.march.model import Theta
from dsmsim.tdvp import cubic


@dataclass(frozen=True)
class History:
    """Cubic between the ends of steps, where the rates are known: as exact as steps of order four.

    Attributes:
        times: (K + 1,) ends of the steps, increasing.
        theta: (K + 1, P).
        before, after: (K + 1, P) d theta/dt before and after each of these times; they differ where V jumps.
    """

    times: NDArray[np.float64]
    theta: Theta
    before: Theta
    after: Theta

    def at(self, t: float) -> Theta:
        """theta (P,) at t; that of the nearest end outside the times."""
        k = int(np.clip(np.searchsorted(self.times, t, side="right") - 1, 0, max(0, len(self.times) - 2)))
        if k + 1 >= len(self.times):
            return np.asarray(self.theta[k])
        h = float(self.times[k + 1] - self.times[k])
        s = min(1.0, max(0.0, (t - float(self.times[k])) / h))
        return cubic(self.theta[k], self.after[k], self.theta[k + 1], self.before[k + 1], h, s)
