"""Weak order of the sampling schemes, by slope and without statistical noise.

The velocities of a Gaussian packet in a trap are affine in x, so a scheme maps (x_0, xi_1 .. xi_K) to X_k by
an affine map. One trajectory for the constant part, one for x_0 and one for every kick give that map exactly,
and with it the mean and variance of X_k under the scheme, to be compared with the closed form. For a drift
that is not linear, one step is averaged over the kick by quadrature and compared with the generator.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import pytest
import sympy
import torch
from torch import Tensor

from dsmsim.config import parse_config
from dsmsim.sampler import STEPS, Process, trajectories
from dsmsim.system import build_system, closed_form

pytestmark = pytest.mark.convergence

END = 1.5
STEP_COUNTS = np.array([16, 32, 64, 128])
ORDERS: dict[str, int] = {"euler": 1, "heun": 2}
STARTS: dict[str, dict[str, Any]] = {
    "ground": {"kind": "trap_ground_state"},  # nu = 1: the stationary Ornstein-Uhlenbeck process
    "moving": {"kind": "gaussian", "mean": 0.4, "variance": 0.3, "phase": -2.0},
}


def packet(start: str) -> Any:
    """System and closed form of one particle in a trap."""
    system = {"particles": 1, "hbar": 0.4, "mass": 0.8, "trap": {"kind": "harmonic", "omega": 1.2}}
    config = parse_config({"system": system, "initial": STARTS[start], "time": {"end": END}})
    return build_system(config), closed_form(config)


def moments(start: str, process: Process, grid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of X_1 .. X_K under the scheme, exactly, each (K,)."""
    system, form = packet(start)
    count = len(grid) - 1
    x = torch.zeros(count + 2, 1, dtype=torch.float64)
    x[1] = 1.0

    def increments(k: int) -> Tensor:
        xi = torch.zeros_like(x)
        xi[k + 2] = 1.0
        return xi

    path = trajectories(
        lambda y, t: (form.u(y, t), form.v(y, t)),
        system,
        process,
        x,
        torch.from_numpy(grid)[None],
        increments,
    )
    rows = torch.stack([position.squeeze(1) for position, _ in path])
    constant, slope, kicks = rows[:, 0], rows[:, 1] - rows[:, 0], rows[:, 2:] - rows[:, :1]
    mean, variance = form.mean(0.0).item(), form.variance(0.0).item()
    return (constant + slope * mean).numpy(), (slope**2 * variance + kicks.square().sum(1)).numpy()


def errors(start: str, process: Process, stretch: float) -> np.ndarray:
    """(2, number of step counts) largest errors of mean and variance over 16 common times."""
    _, form = packet(start)
    found = []
    for steps in STEP_COUNTS:
        grid = END * (np.arange(steps + 1) / steps) ** stretch
        every = slice(steps // 16 - 1, None, steps // 16)
        truth = form.mean(grid[1:]).ravel(), form.variance(grid[1:]).ravel()
        pairs = zip(moments(start, process, grid), truth, strict=True)
        found.append([np.abs(a - b)[every].max() for a, b in pairs])
    return np.array(found).T


def order(errors: np.ndarray) -> float:
    return float(-np.polyfit(np.log(STEP_COUNTS), np.log(errors), 1)[0])


@pytest.mark.parametrize("stretch", [1.0, 1.5], ids=["even", "stretched"])
@pytest.mark.parametrize("nu", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("scheme", ["euler", "heun"])
def test_weak_order_of_mean_and_variance(scheme: Literal["heun", "euler"], nu: float, stretch: float) -> None:
    for found in errors("moving", Process(scheme, nu), stretch):
        assert order(found) == pytest.approx(ORDERS[scheme], abs=0.2)
        assert found[-1] < 0.05


@pytest.mark.parametrize("nu", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("scheme", ["euler", "heun"])
def test_weak_order_in_the_ground_state(scheme: Literal["heun", "euler"], nu: float) -> None:
    mean, variance = errors("ground", Process(scheme, nu), 1.0)
    assert mean.max() < 1e-15
    assert order(variance) == pytest.approx(ORDERS[scheme], abs=0.2)


def test_one_step_of_the_ornstein_uhlenbeck_process() -> None:
    """With a = omega h and D = hbar/m: s' = (1 - a)^2 s + D h, or (1 - a + a^2/2)^2 s + (1 - a/2)^2 D h."""
    h, omega, diffusion, s = 0.1, 1.2, 0.5, 0.5 / 2.4
    grid = np.array([0.0, h])
    _, euler = moments("ground", Process("euler", 1.0), grid)
    _, heun = moments("ground", Process("heun", 1.0), grid)
    a = omega * h
    assert euler[0] == pytest.approx((1 - a) ** 2 * s + diffusion * h, rel=1e-13)
    expected = (1 - a + a**2 / 2) ** 2 * s + (1 - a / 2) ** 2 * diffusion * h
    assert heun[0] == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("power", [1, 2, 3])
@pytest.mark.parametrize("scheme", ["euler", "heun"])
def test_one_step_order_for_a_drift_that_is_not_linear(scheme: str, power: int) -> None:
    """E[f(X')] = f + h L f + h^2/2 L^2 f + O(h^3) with L = d_t + b d_x + (s^2/2) d_xx and f = x^power.

    A weak order p needs a one-step error of order p + 1; Gauss-Hermite quadrature is exact here.
    """
    x, t, diffusion = *sympy.symbols("x t"), 0.5
    drift = -(x**3) / 2 + x * t + sympy.Rational(3, 10)
    start, now = 0.7, 0.4

    def generator(f: Any) -> Any:
        return sympy.diff(f, t) + drift * sympy.diff(f, x) + diffusion / 2 * sympy.diff(f, x, 2)

    terms = [x**power, generator(x**power), generator(generator(x**power))]
    at_start = [float(term.subs({x: start, t: now})) for term in terms]
    nodes, weights = np.polynomial.hermite_e.hermegauss(24)
    xi, weights = torch.from_numpy(nodes)[:, None], weights / math.sqrt(2.0 * math.pi)

    steps, defects = np.array([0.08, 0.04, 0.02, 0.01]), []
    for h in steps:
        position, time, step = (torch.full_like(xi, value) for value in (start, now, h))
        kick = math.sqrt(diffusion * h) * xi
        after = STEPS[scheme](lambda y, s: -(y**3) / 2.0 + y * s + 0.3, position, time, step, kick)
        average = float(weights @ after.squeeze(1).numpy() ** power)
        expansion = sum(value * h**k / math.factorial(k) for k, value in enumerate(at_start))
        defects.append(abs(average - expansion))
    slope = np.polyfit(np.log(steps), np.log(defects), 1)[0]
    assert slope == pytest.approx(ORDERS[scheme] + 1, abs=0.3)
