"""The time-dependent variational principle: equations of motion of parameters, and their integration in time.

It knows averages over samples and arrays, and nothing of wave functions, networks or ranks.
"""

from __future__ import annotations

from dsmsim.tdvp.equations import Averages, Equations, averages
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
from dsmsim.tdvp.least_squares import (
    NormalEquations,
    Regularisation,
    Solution,
    damped_inverse,
    relative_rms,
    signal_to_noise,
    unit_scale,
)
from dsmsim.tdvp.stepping import Stepper

__all__ = [
    "DORMAND_PRINCE",
    "EULER",
    "HEUN",
    "RK4",
    "Averages",
    "Equations",
    "NormalEquations",
    "RateState",
    "Rates",
    "Regularisation",
    "Solution",
    "State",
    "Step",
    "StepSize",
    "Stepper",
    "Tableau",
    "averages",
    "cubic",
    "damped_inverse",
    "relative_rms",
    "signal_to_noise",
    "take_step",
    "unit_scale",
]
