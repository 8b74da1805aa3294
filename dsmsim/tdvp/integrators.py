"""Explicit Runge-Kutta steps for several arrays that move together, and a step size from an error estimate.

    k_i = f(t + c_i h, y + h sum_{j<i} a_ij k_j)
    y(t + h) = y + h sum_i b_i k_i ,    error = h sum_i e_i k_i

A rate of None says that an array does not move inside a step: it is handed to the next stage as it is.

| name           | order | stages | error estimate                                          |
|----------------|-------|--------|---------------------------------------------------------|
| EULER          | 1     | 1      | none                                                    |
| HEUN           | 2     | 2      | none                                                    |
| RK4            | 4     | 4      | none                                                    |
| DORMAND_PRINCE | 5     | 7      | order 4; the last stage is the first of the next step   |

Source: Hairer, Norsett, Wanner, Solving Ordinary Differential Equations I, sections II.1, II.4 and II.5.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# numpy arrays or tensors: whatever can be added and multiplied by numbers
State = tuple[Any, ...]
RateState = tuple[Any | None, ...]
Rates = Callable[[float, State], RateState]

SAFETY, SHRINK_AT_MOST, GROW_AT_MOST = 0.9, 0.2, 4.0


@dataclass(frozen=True)
class Tableau:
    """A Butcher tableau: lower triangle a, weights b, nodes c; weights e of the error, or ().

    `reuses` says that the last stage is taken at the new state (first same as last).
    """

    order: int
    a: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]
    c: tuple[float, ...]
    e: tuple[float, ...] = ()
    reuses: bool = False


EULER = Tableau(1, ((),), (1.0,), (0.0,))
HEUN = Tableau(2, ((), (1.0,)), (0.5, 0.5), (0.0, 1.0))
RK4 = Tableau(
    4, ((), (0.5,), (0.0, 0.5), (0.0, 0.0, 1.0)), (1 / 6, 1 / 3, 1 / 3, 1 / 6), (0.0, 0.5, 0.5, 1.0)
)
_B5 = (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84, 0.0)
_B4 = (5179 / 57600, 0.0, 7571 / 16695, 393 / 640, -92097 / 339200, 187 / 2100, 1 / 40)
DORMAND_PRINCE = Tableau(
    5,
    (
        (),
        (1 / 5,),
        (3 / 40, 9 / 40),
        (44 / 45, -56 / 15, 32 / 9),
        (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
        (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
        _B5[:-1],
    ),
    _B5,
    (0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0),
    tuple(five - four for five, four in zip(_B5, _B4, strict=True)),
    reuses=True,
)


@dataclass(frozen=True)
class Step:
    """One step: the new state, its error estimate (empty if the tableau has none), and the rates at its end.

    `last` is None where the tableau does not know them.
    """

    state: State
    error: RateState
    last: RateState | None


def take_step(
    tableau: Tableau, rates: Rates, t: float, state: State, h: float, first: RateState | None = None
) -> Step:
    """One step from t to t + h.

    Args:
        rates: f(t, y).
        first: f(t, state), where it is known already.
    """
    stages: list[RateState] = []
    for i, (row, node) in enumerate(zip(tableau.a, tableau.c, strict=True)):
        if i == 0:
            stages.append(rates(t, state) if first is None else first)
        else:
            stages.append(rates(t + node * h, _moved(state, stages, row, h)))
    new = _moved(state, stages, tableau.b, h)
    error: RateState = ()
    if tableau.e:
        error = tuple(_combined(column, tableau.e, h) for column in zip(*stages, strict=True))
    return Step(new, error, stages[-1] if tableau.reuses else None)


def _moved(state: State, stages: Sequence[RateState], weights: Sequence[float], h: float) -> State:
    columns = zip(*stages, strict=True)
    changes = (_combined(column, weights, h) for column in columns)
    return tuple(y if change is None else y + change for y, change in zip(state, changes, strict=True))


def _combined(column: Sequence[Any | None], weights: Sequence[float], h: float) -> Any | None:
    """h times the weighted sum of one array's rates."""
    total: Any | None = None
    for rate, weight in zip(column, weights, strict=False):  # the weights of a stage end before its own
        if rate is not None and weight != 0.0:
            part = (h * weight) * rate
            total = part if total is None else total + part
    return total


def cubic(
    y0: NDArray[Any], rate0: NDArray[Any], y1: NDArray[Any], rate1: NDArray[Any], h: float, s: float
) -> NDArray[Any]:
    """The cubic with these values and rates at the ends of a step of length h, at the fraction s of it."""
    values = (1.0 + 2.0 * s) * (1.0 - s) ** 2 * y0 + s**2 * (3.0 - 2.0 * s) * y1
    return np.asarray(values + h * (s * (1.0 - s) ** 2 * rate0 + s**2 * (s - 1.0) * rate1))


@dataclass
class StepSize:
    """The step that keeps an error estimate below a tolerance.

    Attributes:
        tolerance: largest error of a step.
        order: of the error estimate: it falls as h^(order + 1).
        largest: longest step.
        h: the step to try next.
    """

    tolerance: float
    order: int
    largest: float
    h: float

    def accepts(self, tried: float, error: float) -> bool:
        """Whether a step of length `tried` with this error is good enough; chooses the next one."""
        good = bool(np.isfinite(error)) and error <= self.tolerance
        if not np.isfinite(error):
            factor = SHRINK_AT_MOST
        elif error == 0.0:
            factor = GROW_AT_MOST
        else:
            factor = SAFETY * (self.tolerance / error) ** (1.0 / (self.order + 1))
            factor = min(GROW_AT_MOST, max(SHRINK_AT_MOST, factor))
        self.h = min(self.largest, tried * (min(factor, 1.0) if not good else factor))
        return good
