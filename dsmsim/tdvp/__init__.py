"""The time-dependent variational principle: equations of motion of parameters, and their integration in time.

It knows averages over samples and arrays, and nothing of wave functions, networks or ranks.
"""

from __future__ import annotations

from dsmsim.tdvp.equations import Averages, Equations, Regularisation, Solution, averages
from dsmsim.tdvp.integrators import (
    DORMAND_PRINCE,
    EULER,
    HEUN,
    RK4,
    Rates,
    RateState,
    State,
    Step,
    StepSize,
    Tableau,
    cubic,
    take_step,
)

__all__ = [
    "DORMAND_PRINCE",
    "EULER",
    "HEUN",
    "RK4",
    "Averages",
    "Equations",
    "RateState",
    "Rates",
    "Regularisation",
    "Solution",
    "State",
    "Step",
    "StepSize",
    "Tableau",
    "averages",
    "cubic",
    "take_step",
]
