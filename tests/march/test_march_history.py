"""Parameters between the steps."""

from __future__ import annotations

import numpy as np
import pytest

from dsmsim.march.history import History

TIMES = np.array([0.0, 0.3, 0.4, 1.1])
COEFFICIENTS = np.array([[1.0, -0.5j], [2.0 + 1j, 0.3], [-1.0j, 2.0], [0.7, -1.5 + 0.5j]])


def value(t: np.ndarray | float) -> np.ndarray:
    """A cubic of two complex parameters: (..., 2)."""
    return np.asarray(np.asarray(t)[..., None] ** np.arange(4) @ COEFFICIENTS)


def slope(t: np.ndarray | float) -> np.ndarray:
    """Its derivative."""
    powers = np.asarray(t)[..., None] ** np.array([0, 0, 1, 2]) * np.arange(4)
    return np.asarray(powers @ COEFFICIENTS)


def test_cubics_are_exact() -> None:
    history = History(TIMES, value(TIMES), slope(TIMES), slope(TIMES))
    for t in np.linspace(0.0, 1.1, 45):
        found = history.at(float(t))
        assert found.dtype == np.complex128
        np.testing.assert_allclose(found, value(t), rtol=1e-13, atol=1e-13)


def test_ends_of_steps_and_beyond() -> None:
    # rates that fit nothing: only the ends can be right
    rates = np.full((4, 2), 1e3 + 0j)
    history = History(TIMES, value(TIMES), rates, -rates)
    for k, t in enumerate(TIMES):
        np.testing.assert_array_equal(history.at(float(t)), value(TIMES)[k])
    np.testing.assert_array_equal(history.at(-5.0), value(TIMES)[0])
    np.testing.assert_array_equal(history.at(9.0), value(TIMES)[-1])


def test_a_kink_where_the_potential_jumps() -> None:
    def kinked(t: np.ndarray) -> np.ndarray:
        return np.where(t < 0.4, t**2, 0.16 + 3.0 * (t - 0.4) - t * (t - 0.4) ** 2)[:, None]

    before = np.array([0.0, 0.6, 0.8, 3.0 - 0.7 * (0.7 + 2.2)])[:, None]
    after = np.array([0.0, 0.6, 3.0, 0.0])[:, None]
    history = History(TIMES, kinked(TIMES), before, after)
    t = np.linspace(0.0, 1.1, 23)
    found = np.array([history.at(float(time)) for time in t])
    np.testing.assert_allclose(found, kinked(t), rtol=1e-13, atol=1e-14)
    assert found.dtype == np.float64


@pytest.mark.parametrize("t", [0.0, 0.5])
def test_before_the_first_step(t: float) -> None:
    start = np.array([[1.0, 2.0]])
    np.testing.assert_array_equal(History(np.zeros(1), start, start, start).at(t), start[0])


def test_error_falls_with_the_fourth_power() -> None:
    errors = []
    for steps in (8, 16, 32):
        times = np.linspace(0.0, 2.0, steps + 1)
        rates = 3.0 * np.cos(3.0 * times)[:, None]
        history = History(times, np.sin(3.0 * times)[:, None], rates, rates)
        t = np.linspace(0.0, 2.0, 333)
        errors.append(max(abs(history.at(float(time))[0] - np.sin(3.0 * time)) for time in t))
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert (np.abs(orders - 4.0) < 0.2).all()
