"""Identities hold for exact states, and flag velocities that are wrong by 10 % or at contact only."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ensembles import fill, gaussian_config, new_sums
from scipy.integrate import trapezoid
from scipy.special import pbdv

from dsmsim.config import parse_config
from dsmsim.measure import Check, EnsembleSums, checks_group
from dsmsim.measure.identities import worst_check
from dsmsim.system import build_initial, build_system, center_of_mass

TIMES = np.linspace(0.0, 1.0, 21)


def by_name(checks: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks}


@pytest.mark.parametrize(
    ("particles", "dimensions", "g"), [(1, 1, 0.0), (2, 1, 0.8), (3, 2, -0.3), (2, 3, 0.5)]
)
def test_exact_states_fulfil_every_identity(particles: int, dimensions: int, g: float) -> None:
    config = gaussian_config(particles, dimensions, g)
    sums = fill(new_sums(config, TIMES), config, 3000, np.random.default_rng(1))
    checks = sums.checks(center_of_mass(config))
    assert len(checks) == 10 + dimensions + (6 if particles > 1 else 0)
    for check in checks:
        assert check.stderr > 0.0
        assert abs(check.value - check.expected) <= 5.0 * check.stderr, check
        assert check.passed
    assert [c.name for c in sums.score_identities()] == [c.name for c in checks[: 7 if particles > 1 else 4]]


def test_a_stationary_state_is_not_measured_by_its_rounding() -> None:
    """v = 0 but for rounding, of one sign: relative to itself it would be wrong by all of it."""
    trap = {"kind": "harmonic", "omega": 1.1}
    config = parse_config({"system": {"particles": 2, "hbar": 0.1, "trap": trap}, "time": {"end": 1.0}})
    system, initial = build_system(config), build_initial(config)
    x = torch.from_numpy(initial.sample(np.random.default_rng(4), 500))
    sums = EnsembleSums(
        system, TIMES, 2, [np.linspace(-3.0, 3.0, 9)], mean=initial.mean, variance=initial.variance
    )
    for trial in range(2):
        for index, t in enumerate(TIMES):
            sums.add(index, trial, x, initial.u(x), 1e-17 * x, float(t))
    checks = by_name(sums.checks())
    for name in ("continuity: x^2", "continuity: pair contact", "newton: virial"):
        assert checks[name].passed, checks[name]
        assert checks[name].deviation < 1e-6


@pytest.mark.parametrize("particles", [1, 3])
def test_wrong_osmotic_velocity_is_flagged(particles: int) -> None:
    config = gaussian_config(particles, 1, 0.4 if particles > 1 else 0.0)
    sums = fill(new_sums(config, TIMES), config, 4000, np.random.default_rng(2), scale_u=1.1)
    checks = by_name(sums.checks())
    for name in ("score: x", "score: tanh", "newton: virial"):
        assert not checks[name].passed, checks[name]
    # E[div f] + 1.1 (2m/hbar) E[u.f] = -0.1 E[div f], on the scale 2.1 E[div f]
    assert checks["score: x"].deviation == pytest.approx(0.1 / 2.1, rel=0.1)
    assert checks["continuity: x^2"].passed  # u does not enter


@pytest.mark.parametrize("particles", [1, 3])
def test_wrong_current_velocity_is_flagged(particles: int) -> None:
    config = gaussian_config(particles, 1, 0.4 if particles > 1 else 0.0, phase=-10.0)
    sums = fill(new_sums(config, TIMES), config, 4000, np.random.default_rng(3), scale_v=1.1)
    checks = by_name(sums.checks())
    for name in ("continuity: x^2", "continuity: log cosh", "newton: momentum x"):
        assert not checks[name].passed, checks[name]
    assert all(check.passed for name, check in checks.items() if name.startswith("score"))


def contact_state(count: int, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Positions and osmotic velocities of two bosons that repel at contact only (hbar = m = omega = 1).

    The relative wave function is the parabolic cylinder function D_nu(|x_1 - x_2|) with nu = 1/2: it solves
    the equations of the non-interacting trap everywhere but at x_1 = x_2, where its slope jumps.
    """
    grid = np.linspace(0.0, 8.0, 8001)
    wave, slope = pbdv(0.5, grid)
    cumulative = np.concatenate(([0.0], np.cumsum(0.5 * (wave[1:] ** 2 + wave[:-1] ** 2))))
    distance = np.interp(rng.random(count), cumulative / cumulative[-1], grid)
    r = distance * rng.choice([-1.0, 1.0], count)
    center = rng.normal(scale=0.5, size=count)  # Var R = 1 / (2 m omega N) * hbar = 1/4
    u_r = np.sign(r) * np.interp(distance, grid, slope / wave)
    x = np.stack((center + 0.5 * r, center - 0.5 * r), axis=1)
    u_center = -center  # u_i = -(hbar/2m) R / s_c with s_c = N Var R = 1/2
    return torch.from_numpy(x), torch.from_numpy(np.stack((u_center + u_r, u_center - u_r), axis=1))


def test_a_jump_at_contact_is_flagged_though_the_equations_hold_elsewhere() -> None:
    system = {"particles": 2, "trap": {"kind": "harmonic", "omega": 1.0}}
    config = parse_config({"system": system, "time": {"end": 1.0}})
    sums, rng = new_sums(config, np.linspace(0.0, 1.0, 5)), np.random.default_rng(4)
    for k, time in enumerate(sums.times):
        x, u = contact_state(20000, rng)
        sums.add(k, 0, x, u, torch.zeros_like(u), float(time))
    checks = by_name(sums.checks(center_of_mass(config)))
    assert {name for name, check in checks.items() if not check.passed} == {
        "newton: virial",
        "newton: pair contact",
    }
    # E = 2 hbar omega (1/2) + nu: the wave function itself is a good one, of another system
    assert checks["energy drift"].passed


def test_lost_energy_is_flagged_and_driven_systems_are_left_out() -> None:
    config = gaussian_config(2, 1)
    x = torch.from_numpy(np.random.default_rng(5).normal(size=(500, 2)))
    sums = new_sums(config, TIMES)
    for k, time in enumerate(TIMES):
        sums.add(k, 0, x, x * (1.0 - 0.2 * time), x, float(time))
    drift = by_name(sums.checks())["energy drift"]
    assert not drift.passed
    assert drift.value < 0.0
    omega = {"omega": {"to": 2.0, "start": 0.2, "duration": 0.5}}
    driven = gaussian_config(2, 1, trap={"kind": "harmonic", "omega": 1.1, "quench": omega})
    sums = new_sums(driven, TIMES)
    for k, time in enumerate(TIMES):
        sums.add(k, 0, x, x, x, float(time))
    assert "energy drift" not in by_name(sums.checks())


def test_a_quench_within_the_run_does_not_raise_a_false_alarm() -> None:
    # v = -omega^2 t: a force that jumps between two saved times; the trapezoid rule errs, and says so
    kick = {"amplitude": {"to": 3.0, "start": 0.37}}
    term = {"kind": "expression", "expression": "amplitude * x", "parameters": {"amplitude": 1.0}}
    system = {"particles": 1, "dimensions": 1, "terms": {"force": term | {"quench": kick}}}
    initial = {"kind": "gaussian", "variance": 0.1}
    config = parse_config({"system": system, "initial": initial, "time": {"end": 1.0}})
    sums, rng = new_sums(config, TIMES), np.random.default_rng(6)
    x = torch.from_numpy(rng.normal(scale=0.3, size=(200, 1)))
    for k, time in enumerate(TIMES):
        v = torch.full_like(x, -time - 2.0 * max(time - 0.37, 0.0))
        sums.add(k, 0, x, x, v, float(time))
    momentum = by_name(sums.checks())["newton: momentum x"]
    assert momentum.passed
    assert momentum.stderr < 0.05


@pytest.mark.parametrize("times", [np.array([0.0]), np.linspace(0.0, 1.0, 4)])
def test_too_few_saved_times_have_no_identities_in_time(times: np.ndarray) -> None:
    config = gaussian_config(1, 1)
    sums = fill(new_sums(config, times), config, 50, np.random.default_rng(7))
    assert [c.name for c in sums.checks() if c.name.split(":")[0] in ("continuity", "newton")] == []
    assert all(check.stderr > 0.0 for check in sums.score_identities())


def test_score_identities_are_averaged_over_time_by_the_trapezoid_rule() -> None:
    config, times = gaussian_config(1, 1), np.array([0.0, 0.1, 0.5, 1.0])
    sums, rng = new_sums(config, times), np.random.default_rng(8)
    u = [torch.from_numpy(rng.normal(size=(6, 1))) for _ in times]
    for k, time in enumerate(times):
        sums.add(k, 0, torch.zeros_like(u[k]), u[k], torch.zeros_like(u[k]), float(time))
    # f = l: the identity is the average of (2m/hbar) l u
    average = trapezoid(torch.stack(u)[..., 0].numpy(), times, axis=0) * 2.0 * 1.3 / 0.1 * np.sqrt(0.07)
    check = by_name(sums.checks())["score: 1"]
    assert check.value == pytest.approx(average.mean(), rel=1e-12)
    assert check.stderr == pytest.approx(average.std(ddof=1) / np.sqrt(6), rel=1e-12)


def test_the_worst_failure_is_shown_not_the_worst_noise() -> None:
    value = np.array([0.5, 0.1, 0.01])
    stderr = np.array([0.2, 0.001, 0.001])
    check = worst_check("name", value, 0.0, stderr, 1.0, tolerance=0.05)
    assert (check.value, check.passed) == (0.1, False)
    check = worst_check("name", value, 0.0, stderr, 1.0, tolerance=0.2)
    assert (check.value, check.passed) == (0.5, True)
    assert not worst_check("name", np.array([np.nan]), 0.0, stderr[:1], 1.0, tolerance=0.1).passed


def test_checks_become_a_results_group() -> None:
    group = checks_group([Check("score: x", 0.1, 0.0, 0.02, 0.05, 0.01, False)])
    assert group["check"].tolist() == ["score: x"]
    assert group["passed"].tolist() == [0]
    assert {name: float(group[name][0]) for name in ("value", "stderr", "deviation", "tolerance")} == {
        "value": 0.1,
        "stderr": 0.02,
        "deviation": 0.05,
        "tolerance": 0.01,
    }
