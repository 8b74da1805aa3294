"""Steps through an interval: of equal length, or as long as an error estimate allows.

Source: Hairer, Norsett, Wanner, Solving Ordinary Differential Equations I, section II.4.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from dsmsim.tdvp.integrators import Rates, RateState, State, Step, StepSize, Tableau, take_step

ALMOST = 1.01  # a step that would leave less than a hundredth of itself ends the interval


@dataclass
class Stepper:
    """Takes accepted steps.

    Attributes:
        tableau: of the method; without an error estimate all steps of an interval are equal.
        size: the step to try next, or the longest of equal ones.
        shortest: a step that must be shorter than that is given up.
        evaluations: calls of the right-hand side so far.
    """

    tableau: Tableau
    size: StepSize
    shortest: float
    evaluations: int = 0

    def step(
        self,
        rates: Rates,
        t: float,
        stop: float,
        state: State,
        first: RateState,
        error: Callable[[RateState], float],
    ) -> tuple[float, Step] | None:
        """One accepted step from t towards `stop`, which it does not pass.

        Args:
            first: the rates at t.
            error: size of an error estimate, in the unit of the tolerance.

        Returns:
            Its length, and the step; None where it would have to be shorter than the shortest.
        """
        while True:
            left = stop - t
            equal = left / math.ceil(left / self.size.largest - 1e-6)
            h = min(self.size.h, left) if self.tableau.e else equal
            h = left if left < ALMOST * h else h
            step = take_step(self.tableau, rates, t, state, h, first)
            self.evaluations += len(self.tableau.b) - 1
            if not step.error or self.size.accepts(h, error(step.error)):
                return h, step
            if self.size.h < self.shortest:
                return None
