"""Weak order of the sampling schemes, by slope and without statistical noise.

The velocities of a Gaussian packet in a trap are affine in x, so a scheme maps (x_0, xi_1 .. xi_K) to X_k by
an affine map. One trajectory for the constant part, one for x_0 and one for every kick give that map exactly,
and with it the mean and variance of X_k under the scheme, to be compared with the closed form. For a drift
that is not linear, one step is averaged over the kick by quadrature and compared with the generator.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import sympy
import torch
from torch import Tensor

from dsmsim.config import parse_config
from dsmsim.sampler import KICKS, STEPS, Process, Scheme, trajectories
from dsmsim.system import build_system, closed_form

pytestmark = pytest.mark.convergence

END = 1.5
STEP_COUNTS = np.array([16, 32, 64, 128])
ORDERS: dict[str, int] = {"euler": 1, "heun": 2, "rk4": 2}  # weak orders with noise
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
    x = torch.zeros(KICKS[process.scheme] * count + 2, 1, dtype=torch.float64)
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


def expected_orders(scheme: Scheme, nu: float) -> tuple[int, int]:
    """Of the mean and of the variance of a process with linear drift."""
    if scheme != "rk4":
        return ORDERS[scheme], ORDERS[scheme]
    return 4, 4 if nu == 0.0 else ORDERS[scheme]  # the noise averages to zero in a linear drift


@pytest.mark.parametrize("stretch", [1.0, 1.5], ids=["even", "stretched"])
@pytest.mark.parametrize("nu", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("scheme", list(STEPS))
def test_weak_order_of_mean_and_variance(scheme: Scheme, nu: float, stretch: float) -> None:
    both = errors("moving", Process(scheme, nu), stretch)
    for found, expected in zip(both, expected_orders(scheme, nu), strict=True):
        assert order(found) == pytest.approx(expected, abs=0.3 if expected == 4 else 0.2)
        assert found[-1] < 0.05


@pytest.mark.parametrize("nu", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("scheme", list(STEPS))
def test_weak_order_in_the_ground_state(scheme: Scheme, nu: float) -> None:
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
@pytest.mark.parametrize("scheme", list(STEPS))
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
    parts = KICKS[scheme]
    tensor = np.stack(np.meshgrid(*[nodes] * parts, indexing="ij")).reshape(parts, -1, 1)
    products = np.stack(np.meshgrid(*[weights / math.sqrt(2.0 * math.pi)] * parts, indexing="ij"))
    xi, weights = torch.from_numpy(tensor), products.reshape(parts, -1).prod(0)

    steps, defects = np.array([0.08, 0.04, 0.02, 0.01]), []
    for h in steps:
        position, time, step = (torch.full_like(xi[0], value) for value in (start, now, h))
        kicks = math.sqrt(diffusion * h / parts) * xi
        after = STEPS[scheme](lambda y, s: -(y**3) / 2.0 + y * s + 0.3, position, time, step, *kicks)
        average = float(weights @ after.squeeze(1).numpy() ** power)
        expansion = sum(value * h**k / math.factorial(k) for k, value in enumerate(at_start))
        defects.append(abs(average - expansion))
    slope = np.polyfit(np.log(steps), np.log(defects), 1)[0]
    if scheme == "rk4":  # its term of order 3 is small, and the next one is still seen
        assert ORDERS[scheme] + 1 - 0.3 < slope < ORDERS[scheme] + 2.5
    else:
        assert slope == pytest.approx(ORDERS[scheme] + 1, abs=0.3)


@pytest.mark.parametrize("power", [1, 2])
def test_rk4_errs_less_than_heun_for_the_same_number_of_evaluations(power: int) -> None:
    """One step of rk4 against two half steps of heun: by more than a factor of 5 in E[X'^power]."""
    x, t, diffusion, h = *sympy.symbols("x t"), 0.5, 0.1
    drift = -(x**3) / 2 + x * t + sympy.Rational(3, 10)

    def generator(f: Any) -> Any:
        return sympy.diff(f, t) + drift * sympy.diff(f, x) + diffusion / 2 * sympy.diff(f, x, 2)

    term, exact = x**power, 0.0
    for k in range(6):
        exact += float(term.subs({x: 0.7, t: 0.4})) * h**k / math.factorial(k)
        term = sympy.expand(generator(term))
    nodes, weights = np.polynomial.hermite_e.hermegauss(24)
    grids = [torch.from_numpy(g.reshape(-1, 1)) for g in np.meshgrid(nodes, nodes, indexing="ij")]
    chance = np.outer(weights, weights).ravel() / (2.0 * math.pi)
    first, second = (math.sqrt(0.5 * diffusion * h) * xi for xi in grids)

    def b(y: Tensor, s: Tensor) -> Tensor:
        return -(y**3) / 2.0 + y * s + 0.3

    start, now, step = (torch.full_like(first, value) for value in (0.7, 0.4, h))
    once = STEPS["rk4"](b, start, now, step, first, second)
    half = STEPS["heun"](b, start, now, 0.5 * step, first)
    twice = STEPS["heun"](b, half, now + 0.5 * step, 0.5 * step, second)
    rk4, heun = (abs(float(chance @ y.squeeze(1).numpy() ** power) - exact) for y in (once, twice))
    assert rk4 < heun / 5.0
