"""Trajectories: the family of processes with one density, the grids, and independence of the batch."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dsmsim.config import Config, parse_config
from dsmsim.sampler import (
    EVALUATIONS,
    KICKS,
    STEPS,
    Process,
    Remembering,
    Scheme,
    between,
    euler_step,
    evaluation_grid,
    heun_step,
    refine,
    residual_clocks,
    rk4_step,
    trajectories,
)
from dsmsim.system import build_initial, build_system, closed_form

SIGMAS = 5.0


def bosons(particles: int = 3, dimensions: int = 1, **tables: Any) -> Config:
    """Displaced, moving and breathing bosons with a harmonic interaction."""
    system = {
        "particles": particles,
        "dimensions": dimensions,
        "hbar": 0.4,
        "mass": 0.8,
        "trap": {"kind": "harmonic", "omega": 1.2},
        "interaction": {"kind": "harmonic", "g": 0.9},
    }
    initial = {"kind": "gaussian", "mean": 0.4, "variance": 0.3, "phase": -2.0}
    time = {"end": 1.5, "steps": 48, "save": 4}
    return parse_config({"system": system, "initial": initial, "time": time, **tables})


def path_of(
    config: Config, process: Process, x: Tensor, grid: Tensor, increments: Callable[[int], Tensor]
) -> list[tuple[Tensor, Tensor]]:
    """The trajectory that the exact velocities generate."""
    form = closed_form(config)
    assert form is not None
    return list(
        trajectories(
            lambda y, t: (form.u(y, t), form.v(y, t)), build_system(config), process, x, grid, increments
        )
    )


@pytest.mark.parametrize(("particles", "dimensions"), [(3, 1), (2, 2)])
@pytest.mark.parametrize("scheme", ["heun", "rk4"])
@pytest.mark.parametrize("nu", [0.0, 0.5, 1.0, 2.0])
def test_every_process_of_the_family_has_the_same_moments(
    nu: float, scheme: Scheme, particles: int, dimensions: int
) -> None:
    """Means, variances and covariances at several times, to 5 standard errors."""
    config, count, steps = bosons(particles, dimensions), 4000, 48
    form, rng = closed_form(config), np.random.default_rng(11)
    assert form is not None
    x = torch.from_numpy(build_initial(config).sample(rng, count))
    grid = torch.linspace(0.0, 1.5, steps + 1, dtype=torch.float64)[None]
    path = path_of(
        config, Process(scheme, nu), x, grid, lambda k: torch.from_numpy(rng.standard_normal(x.shape))
    )
    assert len(path) == steps
    for k in (steps // 3, 2 * steps // 3, steps):
        position, clock = path[k - 1]
        time = clock[0, 0].item()
        assert time == pytest.approx(1.5 * k / steps)
        r = position.numpy().reshape(count, particles, dimensions)
        mean, covariance = form.mean([time])[0], form.covariance([time])[0]
        variance = np.einsum("iia->ia", covariance)
        assert np.all(np.abs(r.mean(0) - mean) <= SIGMAS * np.sqrt(variance / count))
        z = r - r.mean(0)
        found = np.einsum("bia,bja->ija", z, z) / (count - 1)
        stderr = np.sqrt((variance[:, None] * variance[None] + covariance**2) / (count - 1))
        assert np.all(np.abs(found - covariance) <= SIGMAS * stderr)


def test_the_moments_would_betray_a_wrong_noise() -> None:
    """The test above sees a diffusion constant that is wrong by 10 %."""
    config, count = bosons(1), 4000
    form, rng = closed_form(config), np.random.default_rng(11)
    assert form is not None
    x = torch.from_numpy(build_initial(config).sample(rng, count))
    grid = torch.linspace(0.0, 1.5, 49, dtype=torch.float64)[None]
    wrong = math.sqrt(1.1)
    path = path_of(
        config,
        Process("heun", 2.0),
        x,
        grid,
        lambda k: torch.from_numpy(wrong * rng.standard_normal(x.shape)),
    )
    exact = form.variance([1.5]).item()
    found = path[-1][0].var().item()
    assert found - exact > 1.5 * exact * math.sqrt(2.0 / count)


def test_steps_by_hand() -> None:
    """b = x t with x = 2, t = 0.5, h = 0.1 and a kick of 0.3."""
    x, t, h, kick = (torch.tensor([[value]], dtype=torch.float64) for value in (2.0, 0.5, 0.1, 0.3))

    def drift(y: Tensor, s: Tensor) -> Tensor:
        return y * s

    assert euler_step(drift, x, t, h, kick).item() == pytest.approx(2.0 + 0.1 * 1.0 + 0.3, rel=1e-15)
    expected = 2.0 + 0.05 * (1.0 + (2.0 + 0.1 + 0.3) * 0.6) + 0.3
    assert heun_step(drift, x, t, h, kick).item() == pytest.approx(expected, rel=1e-15)
    k1 = 2.0 * 0.5
    k2 = (2.0 + 0.05 * k1 + 0.3) * 0.55
    k3 = (2.0 + 0.05 * k2 + 0.3) * 0.55
    k4 = (2.0 + 0.1 * k3 + 0.3 - 0.1) * 0.6
    expected = 2.0 + 0.1 / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4) + 0.3 - 0.1
    second = torch.full_like(kick, -0.1)
    assert rk4_step(drift, x, t, h, kick, second).item() == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize("scheme", list(STEPS))
@pytest.mark.parametrize("nu", [0.0, 1.0])
def test_how_often_drift_and_noise_are_asked_for(scheme: Scheme, nu: float) -> None:
    config, asked, numbers = bosons(2), [], []
    form = closed_form(config)
    assert form is not None

    def fields(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        asked.append(len(x))
        return form.u(x, t), form.v(x, t)

    def increments(number: int) -> Tensor:
        numbers.append(number)
        return torch.zeros(3, 2, dtype=torch.float64)

    grid = torch.linspace(0.0, 1.5, 6, dtype=torch.float64)[None]
    x = torch.zeros(3, 2, dtype=torch.float64)
    assert (
        len(list(trajectories(fields, build_system(config), Process(scheme, nu), x, grid, increments))) == 5
    )
    assert asked == [3] * 5 * EVALUATIONS[scheme]
    assert numbers == (list(range(5 * KICKS[scheme])) if nu > 0.0 else [])


def test_fields_are_not_evaluated_twice_in_a_row_at_the_same_place() -> None:
    fields = Remembering(lambda x, t: (x + t, x - t))
    x, t = torch.ones(4, 2), torch.zeros(4, 1)
    first = fields(x, t)
    assert fields(x, t.clone())[0] is first[0]
    assert fields.evaluations == 4
    assert fields(x, t + 1.0)[0].tolist() == [[2.0, 2.0]] * 4
    assert fields(x + 1.0, t + 1.0)[1].tolist() == [[1.0, 1.0]] * 4
    assert fields(x, t)[0].tolist() == [[1.0, 1.0]] * 4
    assert fields.evaluations == 16


def test_the_cubic_between_two_points_is_exact_for_cubics() -> None:
    length, start = 0.3, 1.1
    time = np.array([start, start + length])
    x, v = (torch.from_numpy(a)[:, None] for a in (time**3 - 2.0 * time, 3.0 * time**2 - 2.0))
    for fraction in (0.0, 0.25, 0.8, 1.0):
        inside = start + fraction * length
        found = between((x[0], v[0]), (x[1], v[1]), length, fraction)
        assert found.item() == pytest.approx(inside**3 - 2.0 * inside, rel=1e-13)


def test_the_cubic_between_two_points_is_of_order_four() -> None:
    defects = []
    for length in (0.1, 0.05, 0.025):
        time = np.array([0.3, 0.3 + length])
        x, v = (torch.from_numpy(a)[:, None] for a in (np.sin(time), np.cos(time)))
        inside = 0.3 + 0.5 * length
        defects.append(abs(between((x[0], v[0]), (x[1], v[1]), length, 0.5).item() - math.sin(inside)))
    assert np.diff(np.log2(defects)) == pytest.approx([-4.0, -4.0], abs=0.2)


@pytest.mark.parametrize("scheme", list(STEPS))
@pytest.mark.parametrize("nu", [0.0, 0.5, 1.0, 2.0])
def test_noise_and_drift_of_the_process(scheme: Scheme, nu: float) -> None:
    """With constant velocities X(t) = X(0) + (v + nu u) t + sqrt(nu hbar/mass) W(t), for any grid."""
    config = bosons(2)
    rng = np.random.default_rng(3)
    x = torch.from_numpy(rng.standard_normal((5, 2)))
    grid = torch.from_numpy(np.cumsum(rng.random((5, 7)), axis=1))  # every trajectory has its own
    kicks = KICKS[scheme]
    xi = torch.from_numpy(rng.standard_normal((6 * kicks, 5, 2)))
    u, v = torch.tensor([0.3, -0.1]).double(), torch.tensor([-0.7, 0.2]).double()
    path = list(
        trajectories(
            lambda y, t: (u.expand_as(y), v.expand_as(y)),
            build_system(config),
            Process(scheme, nu),
            x,
            grid,
            lambda k: xi[k],
        )
    )
    assert len(path) == 6
    brownian = torch.zeros_like(x)
    for k, (position, time) in enumerate(path):
        torch.testing.assert_close(time, grid[:, k + 1 : k + 2], rtol=0.0, atol=0.0)
        elapsed = time - grid[:, :1]
        root = ((grid[:, k + 1] - grid[:, k]) / kicks).sqrt()[:, None]
        brownian = brownian + root * xi[kicks * k : kicks * (k + 1)].sum(0)
        expected = x + (v + nu * u) * elapsed + math.sqrt(nu * 0.4 / 0.8) * brownian
        torch.testing.assert_close(position, expected, rtol=1e-12, atol=1e-12)


def test_the_flow_without_noise_asks_for_none() -> None:
    def increments(k: int) -> Tensor:
        raise AssertionError("no noise is needed")

    config = bosons(2)
    x = torch.zeros(3, 2, dtype=torch.float64)
    grid = torch.linspace(0.0, 1.5, 9, dtype=torch.float64)[None]
    path = path_of(config, Process("heun", 0.0), x, grid, increments)
    assert len(path) == 8
    assert (path[-1][0] != 0.0).all()


def test_an_unknown_scheme_is_an_error() -> None:
    x = torch.zeros(1, 2, dtype=torch.float64)
    with pytest.raises(KeyError, match="milstein"):
        path_of(bosons(2), Process("milstein", 0.0), x, torch.tensor([[0.0, 1.0]]).double(), lambda k: x)  # type: ignore[arg-type]


@pytest.mark.parametrize("scheme", list(STEPS))
def test_a_trajectory_is_the_same_in_any_batch(scheme: Scheme) -> None:
    config = bosons(3)
    rng = np.random.default_rng(5)
    x = torch.from_numpy(build_initial(config).sample(rng, 8))
    clocks = residual_clocks(rng, 8, 6, "stratified")
    grid, xi = torch.from_numpy(1.5 * refine(clocks, 2)), torch.from_numpy(rng.standard_normal((24, 8, 3)))
    process = Process(scheme, 1.0)
    together = path_of(config, process, x, grid, lambda k: xi[k])
    for rows in ([0], [7], [2, 5], [5, 2]):
        alone = path_of(config, process, x[rows], grid[rows], lambda k, rows=rows: xi[k, rows])
        for (a, s), (b, t) in zip(together, alone, strict=True):
            assert torch.equal(a[rows], b)
            assert torch.equal(s[rows], t)


def test_stratified_clocks_have_one_in_each_slice() -> None:
    clocks = residual_clocks(np.random.default_rng(1), 500, 12, "stratified")
    assert clocks.shape == (500, 12)
    assert np.array_equal(np.floor(clocks * 12), np.tile(np.arange(12.0), (500, 1)))
    within = clocks * 12 - np.arange(12)  # uniform in its slice, and independent of its neighbours
    assert abs(within.mean() - 0.5) < SIGMAS / math.sqrt(12 * within.size)
    assert np.all(np.abs(np.corrcoef(within, rowvar=False) - np.eye(12)) < SIGMAS / math.sqrt(500))


def test_uniform_clocks_are_independent_and_increasing() -> None:
    clocks = residual_clocks(np.random.default_rng(1), 500, 12, "uniform")
    assert clocks.shape == (500, 12)
    assert np.all(np.diff(clocks, axis=1) >= 0.0)
    assert clocks.min() >= 0.0
    assert clocks.max() < 1.0
    per_slice = np.stack([np.histogram(row, bins=12, range=(0.0, 1.0))[0] for row in clocks])
    # numbers in a slice are binomial: mean 1, variance 11/12
    assert np.all(np.abs(per_slice.mean(0) - 1.0) < SIGMAS * math.sqrt(11.0 / 12.0 / 500))
    assert per_slice.var() == pytest.approx(11.0 / 12.0, rel=0.1)


@pytest.mark.parametrize(("mode", "power"), [("stratified", 3), ("uniform", 1)])
def test_averages_over_time_are_unbiased_and_as_noisy_as_they_should(mode: str, power: int) -> None:
    """Var of the average of t over M times is 1/(12 M^3) when stratified, 1/(12 M) when uniform."""
    count = 8
    averages = residual_clocks(np.random.default_rng(2), 4000, count, mode).mean(1)
    variance = 1.0 / (12.0 * count**power)
    assert abs(averages.mean() - 0.5) < SIGMAS * math.sqrt(variance / 4000)
    assert averages.var() == pytest.approx(variance, rel=SIGMAS * math.sqrt(2.0 / 4000))


@pytest.mark.parametrize("substeps", [1, 2, 5])
def test_refined_grids_go_through_every_clock_in_equal_steps(substeps: int) -> None:
    clocks = residual_clocks(np.random.default_rng(1), 6, 4, "uniform")
    grid = refine(clocks, substeps)
    assert grid.shape == (6, 4 * substeps + 1)
    assert np.all(grid[:, 0] == 0.0)
    np.testing.assert_allclose(grid[:, substeps::substeps], clocks, rtol=1e-15)
    lengths = np.diff(grid, axis=1).reshape(6, 4, substeps)
    wanted = np.diff(clocks, axis=1, prepend=0.0)[:, :, None] / substeps
    np.testing.assert_allclose(lengths, np.broadcast_to(wanted, lengths.shape), rtol=1e-9, atol=1e-16)


def clocks_of(tau: float | None, end: float) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The natural clock of the lab (tau = None) or of a packet that spreads in tau, and its inverse."""
    if tau is None:
        return (lambda t: t / end), (lambda c: c * end)
    whole = np.arcsinh(end / tau)
    return (lambda t: np.arcsinh(t / tau) / whole), (lambda c: tau * np.sinh(c * whole))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    saved=st.lists(st.integers(0, 1000), min_size=1, max_size=12, unique=True),
    breaks=st.lists(st.integers(1, 999), max_size=4),
    steps=st.integers(1, 40),
    tau=st.sampled_from([None, 0.003, 0.5]),
    end=st.sampled_from([1.0, 0.7, 30.0]),
)
def test_evaluation_grid(
    saved: list[int], breaks: list[int], steps: int, tau: float | None, end: float
) -> None:
    times = [end * k / 1000 for k in sorted(saved)]
    breakpoints = [end * k / 1000 for k in breaks]
    clock, inverse = clocks_of(tau, end)
    grid, kept = evaluation_grid(times, steps, clock, inverse, breakpoints)
    assert grid.shape == kept.shape
    assert grid[0] == 0.0
    assert np.all(np.diff(grid) > 0.0)
    assert grid[kept].tolist() == times  # to the last bit, each once
    assert set(breakpoints) <= set(grid.tolist())
    lengths = np.diff(clock(grid))
    assert lengths.size == 0 or lengths.max() <= (1.0 + 1e-6) / steps
    stops = len({0.0, *times, *breakpoints})
    last = max([*times, *breakpoints])
    assert grid[-1] == last
    assert len(grid) - 1 <= steps * clock(last) + stops  # and none is cut finer than it must be


def test_evaluation_grid_by_hand() -> None:
    clock, inverse = clocks_of(None, 2.0)
    grid, kept = evaluation_grid([0.0, 1.0, 2.0], 4, clock, inverse, [0.6])
    np.testing.assert_allclose(grid, [0.0, 0.3, 0.6, 1.0, 1.5, 2.0], rtol=1e-15)
    assert kept.tolist() == [True, False, False, True, False, True]
    grid, kept = evaluation_grid([2.0], 4, clock, inverse)
    np.testing.assert_allclose(grid, [0.0, 0.5, 1.0, 1.5, 2.0], rtol=1e-15)
    assert kept.tolist() == [False] * 4 + [True]


@pytest.mark.parametrize("steps", [1, 3, 7, 49, 100])
def test_a_grid_that_fits_the_saved_times_has_exactly_the_steps_asked_for(steps: int) -> None:
    """Rounding must not add a step to an interval that divides evenly."""
    for count in (1, steps):
        times = [0.7 * (k / count) for k in range(count + 1)]
        grid, kept = evaluation_grid(times, steps, *clocks_of(None, 0.7))
        assert len(grid) == steps + 1
        assert kept.sum() == count + 1
