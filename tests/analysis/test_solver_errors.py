"""Distances of what solvers know beyond moments and densities, and of learnt fields."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
from synthetic import TIMES, exact_results, moving_gaussian, pairs

from dsmsim.analysis import compare
from dsmsim.analysis.correlations_error import common_times, correlation_errors
from dsmsim.analysis.fields_error import field_errors

X, P = np.linspace(-4.0, 4.0, 81), np.linspace(-8.0, 8.0, 201)
AT = TIMES[::5]


def test_equal_correlations_have_no_distance() -> None:
    groups = pairs(X, P, AT)
    found = correlation_errors(groups, groups)
    assert set(found) == {
        *("pair_density_l1_max", "pair_density_l1_mean"),
        *("momentum_l1_max", "momentum_l1_mean"),
        "occupation_error",
    }
    assert set(found.values()) == {0.0}
    assert correlation_errors(groups, {}) == correlation_errors({}, groups) == {}


def test_distances_of_moved_probability() -> None:
    run, truth = pairs(X, P, AT), pairs(X, P, AT)
    cell, step = (X[1] - X[0]) ** 2, P[1] - P[0]
    run["correlations"]["pair_density"][1, 40, 40] += 0.3 / cell
    run["momentum"]["momentum_density"][2, 100] += 0.2 / step
    run["correlations"]["occupation"][0, :2] += [0.05, -0.02]
    found = correlation_errors(run, truth)
    assert found["pair_density_l1_max"] == pytest.approx(0.3)
    assert found["pair_density_l1_mean"] == pytest.approx(0.1)
    assert found["momentum_l1_max"] == pytest.approx(0.2)
    assert found["momentum_l1_mean"] == pytest.approx(0.2 / 3.0)
    assert found["occupation_error"] == pytest.approx(0.05)


def test_samples_are_averages_over_cells_and_have_a_floor() -> None:
    truth, coarse = pairs(X, P, AT), np.linspace(X[0] + 0.5, X[-1] - 0.5, 15)
    width, run = coarse[1] - coarse[0], pairs(coarse, P, AT)
    points = correlation_errors(run, truth)["pair_density_l1_max"]
    fine = coarse[:, None] + width * ((np.arange(200) + 0.5) / 200 - 0.5)
    inside = pairs(fine.ravel(), P, AT)["correlations"]["pair_density"]
    cells = inside.reshape(len(AT), 15, 200, 15, 200).mean((2, 4))
    run["correlations"] |= {"pair_density": cells, "pair_density_stderr": np.full_like(cells, 0.01)}
    run["momentum"]["momentum_density_stderr"] = np.full_like(run["momentum"]["momentum_density"], 0.02)
    run["momentum"]["momentum_density"][1] = np.nan  # a time without an answer
    found = correlation_errors(run, truth)
    assert found["pair_density_l1_max"] < 0.01 * points
    size = np.sqrt(2.0 / np.pi)
    assert found["pair_density_l1_floor"] == pytest.approx(size * 0.01 * (15 * width) ** 2)
    assert found["momentum_l1_floor"] == pytest.approx(size * 0.02 * len(P) * (P[1] - P[0]))
    assert found["momentum_l1_max"] == 0.0


def test_other_points_and_other_times() -> None:
    """Another box, another spacing, fewer orbitals, and only some times in common."""
    run = pairs(X, P, AT)
    other = pairs(
        np.linspace(-3.6, 5.0, 70), np.linspace(-9.0, 9.0, 150), np.array([0.0, 0.2, 1.0]), orbitals=2
    )
    for found in (correlation_errors(run, other), correlation_errors(other, run)):
        assert found["pair_density_l1_max"] < 2e-4
        assert found["momentum_l1_max"] < 1e-4
        assert found["occupation_error"] == pytest.approx(0.7 * 0.3**2)
    assert common_times(AT, np.array([0.0, 0.2, 1.0])) == [(0, 0), (2, 2)]
    assert correlation_errors(run, pairs(X, P, np.array([0.13]))) == {}


def test_a_single_particle_has_no_pairs() -> None:
    run = pairs(X, P, AT)
    del run["correlations"]["pair_density"]
    assert set(correlation_errors(run, run)) == {"momentum_l1_max", "momentum_l1_mean", "occupation_error"}


def test_compare_keeps_what_the_reference_says_of_itself() -> None:
    exact = exact_results(moving_gaussian(2)) | pairs(X, P, AT)
    how = {"error_estimate": 3e-3, "error_variance": 1e-3, "error_density": 3e-3, "tolerance": 1e-3}
    errors = compare(exact, exact, how | {"converged": False, "method": "a grid"})
    assert errors["reference_error"] == 3e-3
    assert errors["reference_error_variance"] == 1e-3
    assert errors["reference_converged"] == 0
    assert errors["reference_converged"].dtype.kind == "i"
    assert errors["pair_density_l1_max"].shape == ()
    assert compare(exact, exact, how | {"converged": True})["reference_converged"] == 1
    assert not [name for name in compare(exact, exact, {"samples": 1000}) if name.startswith("reference")]


def test_two_solvers_on_different_points() -> None:
    """Both hold point values: neither is taken for averages over cells."""
    config = moving_gaussian()
    exact = exact_results(config)["observables"]
    sigma, mean = np.sqrt(exact["variance"][:, 0, :]), exact["mean"][:, 0, :]

    def result(x: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
        density = np.exp(-((x - mean) ** 2) / (2 * sigma**2)) / (np.sqrt(2 * math.pi) * sigma)
        return {"observables": exact, "density": {"time": TIMES, "x": x, "density": density}}

    coarse, fine = result(np.linspace(-2.0, 2.0, 65)), result(np.linspace(-2.2, 2.2, 141))
    for run, truth in ((coarse, fine), (fine, coarse)):
        assert compare(run, truth)["density_l1_max"] < 2e-5


def fields(rng: np.random.Generator, configurations: int = 400) -> dict[str, np.ndarray]:
    """u = -x and v = t x of two particles in two dimensions: v vanishes at the first time."""
    position = rng.standard_normal((len(AT), configurations, 2, 2))
    clock = AT[:, None, None, None]
    return {
        "time": AT,
        "position": position,
        "osmotic_velocity": -position,
        "current_velocity": clock * position,
    }


def test_errors_of_fields_are_relative_and_pooled_over_time() -> None:
    group = fields(np.random.default_rng(1))
    found = field_errors(group, lambda x, t: (-1.03 * x, t * x + 0.02 * x))
    assert found["E_u"] == pytest.approx(0.03)
    assert found["E_u_stderr"] == pytest.approx(0.0, abs=1e-12)  # the same everywhere
    square = (group["position"] ** 2).sum((-2, -1))
    expected = 0.02 * np.sqrt(square.sum() / (AT[:, None] ** 2 * square).sum())
    assert found["E_v_field"] == pytest.approx(expected)
    assert all(value.shape == () for value in found.values())
    exact = field_errors(group, lambda x, t: (-x, t * x))
    assert exact["E_u"] == exact["E_u_stderr"] == exact["E_v_field"] == 0.0


def test_a_velocity_of_zero_has_no_relative_error() -> None:
    group = fields(np.random.default_rng(2))
    group["current_velocity"] = 1e-9 * group["current_velocity"]
    assert set(field_errors(group, lambda x, t: (-x, 0.1 * x))) == {"E_u", "E_u_stderr"}


def test_the_standard_error_is_the_spread_over_other_draws() -> None:
    rng = np.random.default_rng(3)

    def wrong(x: np.ndarray, t: float) -> tuple[np.ndarray, np.ndarray]:
        return -x + 0.1 * x**2, t * x + 0.1 * np.sin(3.0 * x)

    draws = [field_errors(fields(rng, 300), wrong) for _ in range(200)]
    for name in ("E_u", "E_v_field"):
        values = np.array([float(errors[name]) for errors in draws])
        stated = np.mean([float(errors[f"{name}_stderr"]) for errors in draws])
        # the spread of 200 values is known to 5 %
        assert stated == pytest.approx(values.std(ddof=1), rel=0.25)


def test_results_are_not_changed() -> None:
    run, truth = pairs(X, P, AT), pairs(X[::2], P, AT)
    before = copy.deepcopy((run, truth))
    correlation_errors(run, truth)
    for groups, kept in zip((run, truth), before, strict=True):
        for group in groups:
            for name in groups[group]:
                np.testing.assert_array_equal(groups[group][name], kept[group][name])
