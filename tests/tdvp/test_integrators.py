"""Runge-Kutta steps: orders by slope, error estimates, arrays that stand still, and the choice of a step."""

from __future__ import annotations

import numpy as np
import pytest
from order_problems import slope

from dsmsim.tdvp import DORMAND_PRINCE, EULER, HEUN, RK4, RateState, State, StepSize, Tableau, take_step

TABLEAUS = {"euler": EULER, "heun": HEUN, "rk4": RK4, "dormand_prince": DORMAND_PRINCE}


def rates(t: float, state: State) -> RateState:
    """Two coupled arrays, driven: y' = i y cos t + z/4, z' = -y z/2 + sin t."""
    y, z = state
    return 1j * y * np.cos(t) + 0.25 * z, -0.5 * y * z + np.sin(t)


START: State = (np.array([1.0 + 0.2j, 0.3j]), np.array([0.5 + 0j, -0.4]))


def integrate(tableau: Tableau, steps: int, end: float = 1.0) -> State:
    state, h = START, end / steps
    for k in range(steps):
        state = take_step(tableau, rates, k * h, state, h).state
    return state


def distance(a: State, b: State) -> float:
    return max(float(np.abs(x - y).max()) for x, y in zip(a, b, strict=True))


@pytest.mark.convergence
@pytest.mark.parametrize("name", list(TABLEAUS))
def test_order(name: str) -> None:
    tableau, exact = TABLEAUS[name], integrate(DORMAND_PRINCE, 400)
    sizes = [10, 20, 40] if tableau.order < 5 else [4, 8, 16]
    errors = [distance(integrate(tableau, steps), exact) for steps in sizes]
    assert slope(sizes, errors) == pytest.approx(tableau.order, abs=0.25)


@pytest.mark.convergence
def test_the_error_estimate_falls_with_its_order() -> None:
    sizes = [4, 8, 16]
    found = []
    for steps in sizes:
        step = take_step(DORMAND_PRINCE, rates, 0.0, START, 1.0 / steps)
        found.append(max(float(np.abs(e).max()) for e in step.error if e is not None))
    assert slope(sizes, found) == pytest.approx(5.0, abs=0.4)


@pytest.mark.parametrize("tableau", TABLEAUS.values(), ids=TABLEAUS)
def test_tableaus_are_consistent(tableau: Tableau) -> None:
    assert sum(tableau.b) == pytest.approx(1.0, abs=1e-14)
    assert sum(tableau.e) == pytest.approx(0.0, abs=1e-14)
    for row, node in zip(tableau.a, tableau.c, strict=True):
        assert sum(row) == pytest.approx(node, abs=1e-14)


def test_the_last_stage_is_the_first_of_the_next_step() -> None:
    step = take_step(DORMAND_PRINCE, rates, 0.3, START, 0.1)
    assert step.last is not None
    for kept, fresh in zip(step.last, rates(0.4, step.state), strict=True):
        np.testing.assert_allclose(kept, fresh, rtol=1e-14)
    again = take_step(DORMAND_PRINCE, rates, 0.4, step.state, 0.1, step.last)
    assert distance(again.state, take_step(DORMAND_PRINCE, rates, 0.4, step.state, 0.1).state) < 1e-14
    assert take_step(RK4, rates, 0.3, START, 0.1).last is None


def test_an_array_without_a_rate_stays_the_same_object() -> None:
    def some(t: float, state: State) -> RateState:
        return -state[0], None

    step = take_step(RK4, some, 0.0, START, 0.1)
    assert step.state[1] is START[1]
    assert distance((step.state[0],), (START[0] * np.exp(-0.1),)) < 1e-6


def test_steps_follow_the_tolerance() -> None:
    size = StepSize(tolerance=1e-4, order=4, largest=0.5, h=0.1)
    assert size.accepts(0.1, 1e-4 / 2**5)
    assert size.h == pytest.approx(0.18)  # 0.9 times what the order promises
    assert not size.accepts(0.18, 1e-2)
    assert size.h == pytest.approx(0.9 * 0.18 * 0.01**0.2)
    assert size.accepts(0.4, 0.0)
    assert size.h == 0.5
    assert not size.accepts(0.5, float("nan"))
    assert size.h == pytest.approx(0.1)
    # an error just above the tolerance must not be tried again with the same step
    assert not size.accepts(0.1, 1.0001e-4)
    assert size.h < 0.1
