"""The Crank-Nicolson solver against stored exact solutions and closed forms, and the choice of its grid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from scipy.interpolate import CubicSpline

from baselines.crank_nicolson import GridSolution, evolve, predict, solve
from dsmsim.config import Config, parse_config
from dsmsim.errors import ConfigError
from dsmsim.store import read_results
from dsmsim.system import center_of_mass, closed_form

DATA = Path(__file__).parents[1] / "data"


def make_config(
    system: dict[str, Any],
    initial: dict[str, Any] | None = None,
    baselines: dict[str, Any] | None = None,
    **time: Any,
) -> Config:
    tables = {"system": system, "initial": initial or {"kind": "trap_ground_state"}}
    return parse_config({**tables, "time": {"end": 1.0, **time}, "baselines": baselines or {}})


def interacting_bosons(particles: int, baselines: dict[str, Any] | None = None, **time: Any) -> Config:
    system = {
        "particles": particles,
        "hbar": 0.1,
        "trap": {"kind": "harmonic", "omega": 1.0},
        "interaction": {"kind": "gaussian", "g": 1.0, "s2": 0.1},
    }
    return make_config(system, baselines=baselines, **time)


def true_errors(solution: GridSolution, name: str) -> tuple[float, float]:
    """Largest distance (L1) of the density and relative error of the variance, over the saved times."""
    with h5py.File(DATA / name) as truth:
        x, times = truth["x"][:], truth["t"][:]
        rows = [int(np.argmin(np.abs(times - t))) for t in solution.times]
        density, variance = truth["density"][rows], truth["var_x"][rows]
    np.testing.assert_allclose(times[rows], solution.times, atol=1e-12)
    fine = np.linspace(x[0], x[-1], 4 * x.size)
    h = solution.x[1] - solution.x[0]
    padded = np.concatenate([[solution.x[0] - h], solution.x, [solution.x[-1] + h]])
    found = CubicSpline(padded, np.pad(solution.density, ((0, 0), (1, 1))), axis=1)(fine)
    found[:, (fine < padded[0]) | (fine > padded[-1])] = 0.0
    distance = np.abs(found - CubicSpline(x, density, axis=1)(fine)).sum(axis=1) * (fine[1] - fine[0])
    own = solution.groups["observables"]["variance"][:, 0, 0]
    return float(distance.max()), float(np.abs(own / variance - 1.0).max())


@pytest.mark.parametrize(
    ("particles", "name", "tolerance"),
    [(2, "two_bosons_g1.h5", 1e-3), (2, "two_bosons_g1.h5", 1e-4), (3, "three_bosons_g1.h5", 1e-3)],
)
def test_the_automatic_grid_meets_its_tolerance(particles: int, name: str, tolerance: float) -> None:
    lines: list[str] = []
    solution = evolve(interacting_bosons(particles, save=6), tolerance=tolerance, progress=lines.append)
    assert solution.converged
    assert solution.warning == ""
    assert any("change" in line for line in lines)
    density, variance = true_errors(solution, name)
    assert density <= tolerance
    assert variance <= tolerance
    # the estimate is one: not far below the error that was really made, and not far above
    assert 0.2 * solution.error_estimate <= max(density, variance) <= 2.0 * solution.error_estimate
    assert solution.how["edge_probability"] <= tolerance**2
    found = solution.groups["observables"]
    np.testing.assert_allclose(found["norm"], 1.0, atol=1e-12)
    np.testing.assert_allclose(found["energy"], found["energy"][0], rtol=2.0 * tolerance)
    np.testing.assert_allclose(found["mean"], 0.0, atol=1e-9)
    center = center_of_mass(interacting_bosons(particles))
    assert center is not None
    exact = center.variance(solution.times)
    np.testing.assert_allclose(found["center_of_mass_variance"], exact, rtol=2.0 * tolerance)


def test_a_50_cubed_grid_of_second_order_is_seen_to_be_bad() -> None:
    config = interacting_bosons(3, save=3)
    options: dict[str, Any] = {"space_order": 2, "time_order": 2, "points": 50, "extent": 4.0}
    solution = evolve(config, dt=0.01, **options)
    density, variance = true_errors(solution, "three_bosons_g1.h5")
    assert density > 0.3
    assert solution.points == 50
    assert max(density, variance) <= 2.0 * solution.error_estimate
    assert not solution.converged
    assert "error estimate" in solution.warning
    # the compact form of fourth order on the same points
    better = evolve(config, dt=0.01, points=50, extent=4.0)
    assert true_errors(better, "three_bosons_g1.h5")[0] < 0.3 * density


@pytest.mark.parametrize(("particles", "g"), [(2, 0.8), (2, -0.4), (3, 0.5)])
def test_coupled_oscillators(particles: int, g: float) -> None:
    system = {
        "particles": particles,
        "trap": {"kind": "harmonic", "omega": 1.0},
        "interaction": {"kind": "harmonic", "g": g},
    }
    initial = {"kind": "gaussian", "mean": 0.3, "variance": 0.4, "phase": 0.5}
    config = make_config(system, initial, save=3)
    form, solution = closed_form(config), evolve(config)
    assert form is not None
    assert solution.converged
    found, times = solution.groups["observables"], solution.times
    np.testing.assert_allclose(found["mean"], form.mean(times), atol=1e-3)
    np.testing.assert_allclose(found["variance"], form.variance(times), rtol=1e-3)


def test_packets_in_two_three_and_four_coordinates() -> None:
    initial = {"mean": [0.5, 0.0, 0.0], "variance": [0.5, 0.4, 0.3], "phase": [0.0, 1.0, 0.0]}
    for particles, dimensions in ((1, 2), (1, 3), (2, 2)):
        cut = {key: value[:dimensions] for key, value in initial.items()}
        trap = {"kind": "harmonic", "omega": [1.0, 1.5, 2.0][:dimensions]}
        system = {"particles": particles, "dimensions": dimensions, "trap": trap}
        tolerance = 1e-3 if particles == 1 else 1e-2
        config = make_config(system, {"kind": "gaussian", **cut}, end=0.5, save=2)
        form, solution = closed_form(config), evolve(config, tolerance=tolerance)
        assert form is not None
        assert solution.converged
        found = solution.groups["observables"]
        np.testing.assert_allclose(found["mean"], form.mean(solution.times), atol=tolerance)
        np.testing.assert_allclose(found["variance"], form.variance(solution.times), rtol=tolerance)
        density = solution.groups["density"]
        assert {"density", "density_y"} <= set(density)
        for axis, name in enumerate("xyz"[:dimensions]):
            cell = density[name][1] - density[name][0]
            sums = density["density" if axis == 0 else f"density_{name}"].sum(axis=1) * cell
            np.testing.assert_allclose(sums, 1.0, atol=1e-9)


def test_results_file(tmp_path: Path) -> None:
    path = solve(interacting_bosons(2, save=3), tmp_path / "new")
    stored = read_results(path)
    assert {"observables", "density", "correlations", "momentum", "velocity_fields"} <= set(stored.results)
    how = stored.attributes["observables"]
    assert {"method", "error_estimate", "edge_probability", "points", "dt", "warning", "converged"} <= set(
        how
    )
    assert "Crank-Nicolson" in how["method"]
    assert stored.results["density"]["density"].shape == (3, stored.results["density"]["x"].size)


def test_options_of_the_input_are_used(tmp_path: Path) -> None:
    table = {"grid": 40, "extent": 3.0, "dt": 0.05, "space_order": 2, "time_order": 2, "tolerance": 0.5}
    path = solve(interacting_bosons(2, {"crank_nicolson": table}, save=2), tmp_path)
    how = read_results(path).attributes["density"]
    assert (how["points"], how["dt"], how["tolerance"]) == (40, pytest.approx(0.05), 0.5)
    np.testing.assert_allclose([how["box_low"], how["box_high"]], [[-3.0], [3.0]])
    assert how["method"] == "Crank-Nicolson, order 2 in time and 2 in space"


def test_stored_waves_have_the_stored_density_and_the_stored_moments() -> None:
    solution = evolve(interacting_bosons(2, save=3), keep_psi=True)
    assert solution.psi is not None
    cell = solution.x[1] - solution.x[0]
    np.testing.assert_allclose((np.abs(solution.psi) ** 2).sum(axis=2) * cell, solution.density, atol=1e-12)
    # moments come from fewer points, which still tell all wavenumbers of the state apart
    moments = (solution.density * solution.x**2).sum(axis=1) * cell
    np.testing.assert_allclose(
        solution.groups["observables"]["variance"][:, 0, 0], moments, rtol=1e-5, atol=1e-9
    )


def test_the_box_grows_until_the_state_fits() -> None:
    """A trap that is switched off: the cloud spreads far."""
    trap = {"kind": "harmonic", "omega": 2.0, "quench": {"omega": {"to": 0.0, "start": 0.2}}}
    config = make_config({"particles": 1, "trap": trap}, end=6.0, save=4)
    solution = evolve(config)
    assert solution.converged
    # ground state until 0.2, then free: s = s0 + (hbar/2m)^2 t^2/s0
    expected = 0.25 + 5.8**2
    assert solution.groups["observables"]["variance"][-1, 0, 0] == pytest.approx(expected, rel=1e-3)


def test_a_box_that_was_given_is_kept_and_its_edge_reported() -> None:
    config = make_config({"particles": 1}, {"kind": "gaussian", "variance": 0.1}, end=2.0, save=3)
    small = evolve(config, extent=2.0)
    np.testing.assert_allclose([small.how["box_low"], small.how["box_high"]], [[-2.0], [2.0]])
    assert small.how["edge_probability"] > 1e-3
    assert not small.converged
    assert "edge" in small.warning
    assert "baselines.crank_nicolson.extent" in small.warning


def test_times_that_do_not_start_at_zero() -> None:
    solution = evolve(interacting_bosons(2, save=[0.25, 1.0]))
    np.testing.assert_allclose(solution.times, [0.25, 1.0])
    assert solution.groups["observables"]["variance"][1, 0, 0] == pytest.approx(0.227425015, rel=1e-3)


def test_what_does_not_fit_is_refused_before_it_is_allocated() -> None:
    table = {"memory": "100 MB"}
    with pytest.raises(ConfigError, match=r"baselines\.crank_nicolson\.grid.*200\^3.*100 MB"):
        evolve(interacting_bosons(3, table), points=200)


def test_an_automatic_grid_stops_at_the_memory_and_says_so() -> None:
    solution = evolve(interacting_bosons(3, {"memory": "30 MB"}, save=2), tolerance=3e-4)
    assert not solution.converged
    assert "memory" in solution.warning
    density, variance = true_errors(solution, "three_bosons_g1.h5")
    assert max(density, variance) <= 2.0 * solution.error_estimate


@pytest.mark.parametrize("call", [evolve, predict])
def test_five_coordinates_are_refused(call: Any) -> None:
    with pytest.raises(ConfigError, match=r"system\.particles.*at most 4 coordinates.*relative_grid"):
        call(interacting_bosons(5))


def test_prediction() -> None:
    small, large = predict(interacting_bosons(2)), predict(interacting_bosons(4))
    assert small.seconds is not None
    assert large.seconds is not None
    assert small.memory < 1e8 < large.memory
    assert small.seconds < large.seconds
    solution = evolve(interacting_bosons(2))
    guessed = int(small.points.split("^")[0])
    assert 0.5 * solution.points <= guessed <= 2.0 * solution.points


def test_potentials_that_no_grid_can_hold_are_refused() -> None:
    packet = {"kind": "gaussian", "mean": 1.0, "variance": 0.1}
    on_a_point = {"kind": "expression", "expression": "1/abs(x)"}
    with pytest.raises(ConfigError, match=r"not finite"):
        evolve(make_config({"particles": 1, "trap": on_a_point}, packet), points=63, extent=4.0, dt=0.1)
