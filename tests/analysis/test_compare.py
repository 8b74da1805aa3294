"""Metrics on data with a known answer, and sampling floors against repeated perfect sampling."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
from synthetic import EDGES, TIMES, exact_results, moving_gaussian, sampled_results

from dsmsim.analysis import closed_form_results, compare
from dsmsim.analysis.compare import cell_averages
from dsmsim.config import parse_config
from dsmsim.errors import ConfigError


def test_a_perfect_run_has_no_error() -> None:
    exact = exact_results(moving_gaussian(2, 2))
    errors = compare(exact, exact)
    for name in ("E_m", "E_v", "variance_error_mean", "density_l1_max", "density_l1_mean"):
        assert errors[name].shape == ()
        assert errors[name] < 1e-14
    assert not [name for name in errors if "floor" in name or "std" in name]


def test_relative_errors_of_scaled_moments() -> None:
    truth = exact_results(moving_gaussian(2))
    run = copy.deepcopy(truth)
    run["observables"]["mean"] *= 1.02
    run["observables"]["variance"] *= np.linspace(1.0, 0.9, len(TIMES))[:, None, None]
    errors = compare(run, truth)
    assert errors["E_m"] == pytest.approx(0.02, rel=1e-9)
    np.testing.assert_allclose(errors["variance_error"], np.linspace(0.0, 0.1, len(TIMES)), atol=1e-12)
    assert errors["variance_error_mean"] == pytest.approx(0.05)
    variance = truth["observables"]["variance"][:, 0, 0]
    expected = np.linalg.norm(variance * np.linspace(0.0, 0.1, len(TIMES))) / np.linalg.norm(variance)
    assert errors["E_v"] == pytest.approx(expected, rel=1e-9)


def test_trials_give_a_mean_and_a_standard_deviation() -> None:
    truth = exact_results(moving_gaussian())
    run = copy.deepcopy(truth)
    factors = np.array([1.01, 1.02, 1.06])[:, None, None, None]
    for name in ("mean", "variance"):
        run["observables"][f"{name}_by_trial"] = truth["observables"][name] * factors
    errors = compare(run, truth)
    for name in ("E_m", "E_v"):
        assert errors[name] == pytest.approx(0.03)
        assert errors[f"{name}_std"] == pytest.approx(np.std([0.01, 0.02, 0.06], ddof=1))
        assert errors[f"{name}_all"] < 1e-14  # the run's own mean and variance are exact here


def test_a_mean_of_zero_has_an_absolute_error_only() -> None:
    truth = exact_results(moving_gaussian(1, 2, mean=[0.3, 0.0], phase=[-2.0, 0.0]))
    run = copy.deepcopy(truth)
    run["observables"]["mean"][..., 0] *= 1.05
    run["observables"]["mean"][..., 1] += 0.01 * (-1.0) ** np.arange(len(TIMES))[:, None]
    errors = compare(run, truth)
    assert errors["E_m"] == pytest.approx(0.05)
    assert errors["E_m_abs"] == pytest.approx(0.01)
    still = exact_results(moving_gaussian(mean=0.0, phase=0.0))
    errors = compare(still, still)
    assert "E_m" not in errors
    assert errors["E_m_abs"] == 0.0


def test_density_l1_counts_every_misplaced_particle_twice() -> None:
    truth = exact_results(moving_gaussian())
    width = EDGES[1] - EDGES[0]
    run = copy.deepcopy(truth)
    run["density"]["density"][3, 10] += 0.2 / width
    run["density"]["density"][3, 20] -= 0.2 / width
    run["density"]["density"][4, 20] -= 0.1 / width  # lost beyond the cells
    errors = compare(run, truth)
    np.testing.assert_allclose(errors["density_l1"][[3, 4]], [0.4, 0.2], rtol=1e-9)
    assert errors["density_l1_max"] == pytest.approx(0.4)
    assert errors["density_l1_mean"] == pytest.approx(0.6 / len(TIMES))


def test_point_values_of_a_reference_are_integrated_over_the_cells() -> None:
    config = moving_gaussian()
    run = exact_results(config)
    sigma = np.sqrt(run["observables"]["variance"][:, 0, :])
    mean = run["observables"]["mean"][:, 0, :]

    def gaussian(x: np.ndarray) -> np.ndarray:
        return np.exp(-((x - mean) ** 2) / (2 * sigma**2)) / (np.sqrt(2 * math.pi) * sigma)

    x = np.linspace(-2.0, 2.0, 101)
    reference = {
        "observables": run["observables"],
        "density": {"time": TIMES, "x": x, "density": gaussian(x)},
    }
    errors = compare(run, reference)
    centers = 0.5 * (EDGES[1:] + EDGES[:-1])
    sampled = np.abs(gaussian(centers) - run["density"]["density"]).sum(1).mean() * (EDGES[1] - EDGES[0])
    assert errors["density_l1_mean"] < 2e-5
    assert sampled > 1e-3  # what reading the reference at the cell centres would cost


def test_averages_over_other_cells_are_redistributed() -> None:
    config = moving_gaussian()
    fine = exact_results(config, edges=np.linspace(-2.0, 2.0, 151))
    coarse = exact_results(config)["density"]
    redistributed = cell_averages(fine["density"], coarse["x"])
    np.testing.assert_allclose(redistributed, coarse["density"], atol=2e-3)
    np.testing.assert_array_equal(cell_averages(coarse, coarse["x"]), coarse["density"])


def test_interpolation_in_time_is_of_fourth_order() -> None:
    config = moving_gaussian()
    run = exact_results(config, np.linspace(0.0, 1.0, 37))
    counts = np.array([6, 11, 21])
    found = [float(compare(run, exact_results(config, np.linspace(0.0, 1.0, n)))["E_m"]) for n in counts]
    slope = np.polyfit(np.log(1.0 / (counts - 1)), np.log(found), 1)[0]
    assert 3.5 < slope < 4.6


def test_times_beyond_the_reference_are_left_out() -> None:
    config = moving_gaussian()
    errors = compare(exact_results(config), exact_results(config, TIMES[:7]))
    np.testing.assert_array_equal(errors["time"], TIMES[:7])
    assert errors["density_l1"].shape == (7,)
    assert errors["E_m"] < 1e-14


def test_floors_are_what_perfect_samplers_get() -> None:
    config, rng = moving_gaussian(2), np.random.default_rng(1)
    truth, repetitions = exact_results(config), 60
    found = [compare(sampled_results(config, 600, 3, rng), truth) for _ in range(repetitions)]
    for name, floor in (
        ("E_m", "E_m_floor"),
        ("E_v", "E_v_floor"),
        ("E_m_all", "E_m_all_floor"),
        ("E_v_all", "E_v_all_floor"),
        ("variance_error_mean", "variance_error_floor"),
        ("density_l1_mean", "density_l1_floor"),
    ):
        values, floors = (np.array([float(errors[key]) for errors in found]) for key in (name, floor))
        # E_m and E_v: the floor is the rms of a norm over 11 independent times, 2 % above its mean
        slack = 0.03 if name.startswith("E_") else 0.01
        stderr = values.std(ddof=1) / np.sqrt(repetitions)
        assert abs(values.mean() - floors.mean()) < 5.0 * stderr + slack * floors.mean(), name
    assert all(0.0 < errors["E_v_std"] < errors["E_v"] for errors in found)


def test_floor_of_an_absolute_error() -> None:
    config = moving_gaussian(mean=0.0, phase=0.0)
    errors = compare(sampled_results(config, 1000, 2, np.random.default_rng(2)), exact_results(config))
    variance = exact_results(config)["observables"]["variance"]
    assert errors["E_m_abs_floor"] == pytest.approx(np.sqrt(variance.mean() / 500), rel=0.05)
    assert "E_m_floor" not in errors


def test_correlated_particles_raise_the_floor_of_the_density() -> None:
    config = moving_gaussian(2)
    truth, free = exact_results(config), sampled_results(config, 2000, 1, np.random.default_rng(3))
    together = copy.deepcopy(free)
    together["density"]["density_stderr"] *= np.sqrt(2.0)  # as if both particles sat at one place
    floors = [float(compare(run, truth)["density_l1_floor"]) for run in (free, together)]
    assert floors[1] / floors[0] == pytest.approx(np.sqrt(2.0), rel=1e-6)


def test_a_sampled_reference_of_mean_zero_is_recognised() -> None:
    config = moving_gaussian(mean=0.0, phase=0.0)
    reference = sampled_results(config, 500, 1, np.random.default_rng(4))
    errors = compare(exact_results(config), reference)
    assert "E_m" not in errors
    assert errors["E_m_abs"] > 0.0


def test_what_cannot_be_compared_is_explained() -> None:
    one, two = exact_results(moving_gaussian(1)), exact_results(moving_gaussian(2))
    with pytest.raises(ConfigError, match="same system"):
        compare(one, two)
    with pytest.raises(ConfigError, match="the reference has no observables/time"):
        compare(one, {"density": one["density"]})
    later = copy.deepcopy(one)
    later["observables"]["time"] = TIMES + 5.0
    with pytest.raises(ConfigError, match="do not overlap"):
        compare(one, later)


def test_energy_drift_is_the_largest_change_and_has_an_error_bar() -> None:
    exact = exact_results(moving_gaussian())
    run = copy.deepcopy(exact)
    energy = run["observables"]["energy"]
    run["observables"]["energy"] = energy * (1.0 + np.array([0, 1, 3, -5, 2, 0, 0, 0, 0, 0, 1]) / 100.0)
    errors = compare(run, exact)
    assert errors["energy_drift"] == pytest.approx(0.05)
    assert "energy_drift_stderr" not in errors
    assert compare(exact, exact)["energy_drift"] == 0.0
    run["observables"]["energy_stderr"] = energy * np.array([0.03, 1, 1, 0.04, *[1] * 7])
    assert compare(run, exact)["energy_drift_stderr"] == pytest.approx(0.05)
    assert "energy_drift" not in compare(run, exact, conserved=False)
    run["observables"]["energy"] = 0.0 * energy
    assert "energy_drift" not in compare(run, exact)


def test_no_density_no_density_error() -> None:
    exact = exact_results(moving_gaussian())
    errors = compare({"observables": exact["observables"]}, exact)
    assert "density_l1" not in errors
    assert "E_v" in errors


def test_closed_form_results_are_complete_or_none() -> None:
    results = exact_results(moving_gaussian(3, 3))
    assert results["observables"]["covariance"].shape == (11, 3, 3, 3)
    assert results["observables"]["energy"].shape == (11,)
    for axis, suffix in zip("xyz", ("", "_y", "_z"), strict=True):
        inside = results["density"][f"density{suffix}"].sum(1) * (EDGES[1] - EDGES[0])
        np.testing.assert_allclose(inside + results["density"][f"outside{suffix}"], 1.0, rtol=1e-12)
        assert len(results["density"][axis]) == len(EDGES) - 1
    system = {
        "particles": 2,
        "trap": {"kind": "harmonic", "omega": 1.0},
        "interaction": {"kind": "gaussian", "g": 1.0, "s2": 0.1},
    }
    assert closed_form_results(parse_config({"system": system, "time": {"end": 1.0}}), TIMES, [EDGES]) is None
