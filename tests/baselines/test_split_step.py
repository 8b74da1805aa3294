"""The split-step solver against the stored exact solution of two bosons, and the choice of its grid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from gaussian_states import coupled

from baselines.split_step import GridSolution, evolve, predict, solve
from dsmsim.config import Config, parse_config
from dsmsim.errors import ConfigError
from dsmsim.store import read_results
from dsmsim.system import center_of_mass, closed_form

TRUTH = Path(__file__).parents[1] / "data" / "two_bosons_g1.h5"


def make_config(system: dict[str, Any], initial: dict[str, Any] | None = None, **time: Any) -> Config:
    return parse_config(
        {"system": system, "initial": initial or {"kind": "trap_ground_state"}, "time": {"end": 1.0, **time}}
    )


def two_bosons(**time: Any) -> Config:
    return make_config(
        {
            "particles": 2,
            "hbar": 0.1,
            "trap": {"kind": "harmonic", "omega": 1.0},
            "interaction": {"kind": "gaussian", "g": 1.0, "s2": 0.1},
        },
        **time,
    )


@pytest.fixture(scope="module")
def solution() -> GridSolution:
    return evolve(two_bosons(save=21))


def at(solution: GridSolution, x: np.ndarray) -> np.ndarray:
    """The density at any x, by the Fourier series of its grid; zero outside the box."""
    low, high = solution.box[0]
    waves = np.fft.fft(solution.density, axis=1) / solution.points
    k = 2.0 * np.pi * np.fft.fftfreq(solution.points, (high - low) / solution.points)
    values = (waves @ np.exp(1j * np.outer(k, x - low))).real
    return np.where((x >= low) & (x <= high), values, 0.0)


def test_density_and_moments_of_two_bosons_are_exact(solution: GridSolution) -> None:
    with h5py.File(TRUTH) as truth:
        x, times = truth["x"][:], truth["t"][:]
        np.testing.assert_allclose(solution.times, times, atol=1e-12)
        distance = np.abs(at(solution, x) - truth["density"][:]).sum(axis=1) * (x[1] - x[0])
        assert distance.max() <= 1e-4
        found = solution.groups["observables"]
        np.testing.assert_allclose(found["variance"][:, 0, 0], truth["var_x"][:], atol=1e-5)
        np.testing.assert_allclose(found["covariance"][:, 0, 1, 0], truth["cov_x12"][:], atol=1e-5)
        np.testing.assert_allclose(found["energy"], truth["energy"][:], rtol=1e-4)
        np.testing.assert_allclose(found["mean"], 0.0, atol=1e-10)
        # the estimate is one: not far below the error that was really made
        error = max(distance.max(), np.abs(found["variance"][:, 0, 0] - truth["var_x"][:]).max())
        assert error <= 2.0 * solution.error_estimate


def test_the_solution_says_how_good_it_is(solution: GridSolution) -> None:
    assert solution.converged
    assert 0.0 < solution.error_estimate <= 1e-4
    assert solution.how["edge_probability"] <= 1e-8
    assert solution.how["momentum_edge_probability"] <= 1e-8
    cell = (solution.box[0][1] - solution.box[0][0]) / solution.points
    np.testing.assert_allclose(solution.density.sum(axis=1) * cell, 1.0, atol=1e-12)


def test_kohns_theorem(solution: GridSolution) -> None:
    center = center_of_mass(two_bosons())
    assert center is not None
    found = solution.groups["observables"]["center_of_mass_variance"]
    np.testing.assert_allclose(found, center.variance(solution.times), rtol=1e-4)


def test_tighter_tolerances_are_met() -> None:
    fine = evolve(two_bosons(save=3), tolerance=1e-7)
    assert fine.converged
    assert fine.error_estimate <= 1e-7
    assert fine.groups["observables"]["variance"][-1, 0, 0] == pytest.approx(0.227425015, abs=1e-8)


def test_results_file(tmp_path: Path) -> None:
    lines: list[str] = []
    path = solve(two_bosons(save=3), tmp_path / "new", progress=lines.append)
    assert path == tmp_path / "new" / "results.h5"
    assert any("change" in line for line in lines)
    stored = read_results(path)
    observables, density = stored.results["observables"], stored.results["density"]
    assert observables["mean"].shape == observables["variance"].shape == (3, 2, 1)
    assert observables["covariance"].shape == (3, 2, 2, 1)
    assert observables["center_of_mass_mean"].shape == observables["center_of_mass_variance"].shape == (3, 1)
    assert observables["energy"].shape == observables["norm"].shape == (3,)
    assert density["density"].shape == (3, density["x"].size)
    how = stored.attributes["observables"]
    assert {"error_estimate", "edge_probability", "points", "dt", "method"} <= set(how)
    assert stored.attributes["density"] == how
    assert stored.attributes["provenance"]["physics_hash"] == two_bosons(save=3).physics_hash()


def test_every_group_opens_labelled(tmp_path: Path) -> None:
    xarray = pytest.importorskip("xarray")
    path = solve(two_bosons(save=13), tmp_path)
    scales = {
        "observables": {"time": 13, "particle": 2, "axis": 1},
        "density": {"time": 13},
        "correlations": {"time": 11, "x": 81, "x_prime": 81, "orbital": 10},
        "momentum": {"time": 11},
        "velocity_fields": {"time": 11, "configuration": 1000, "particle": 2, "axis": 1},
    }
    for group, sizes in scales.items():
        with xarray.open_dataset(path, group=group, engine="h5netcdf") as dataset:
            assert sizes.items() <= dict(dataset.sizes).items()
            assert set(sizes) <= set(dataset.coords)
            assert dataset.attrs["converged"] == 1
            if group == "correlations":
                step = float(dataset["x"][1] - dataset["x"][0])
                pairs = dataset["pair_density"].sum(("x", "x_prime")) * step**2
                np.testing.assert_allclose(pairs, 1.0, atol=1e-6)
                assert float(dataset["g2"].isel(time=0).mean()) == pytest.approx(1.0, abs=1e-4)
                assert float(dataset["occupation"].sum("orbital").min()) > 0.999


def test_two_and_three_dimensions() -> None:
    trap = {"kind": "harmonic", "omega": [1.0, 1.5, 2.0]}
    initial = {
        "kind": "gaussian",
        "mean": [0.5, 0.0, 0.0],
        "variance": [0.5, 0.4, 0.3],
        "phase": [0.0, 1.0, 0.0],
    }
    for dimensions in (2, 3):
        cut = {
            key: value[:dimensions] if isinstance(value, list) else value for key, value in initial.items()
        }
        system = {
            "particles": 1,
            "dimensions": dimensions,
            "trap": trap | {"omega": trap["omega"][:dimensions]},
        }
        config = make_config(system, cut, end=0.5, save=3)
        form, solution = closed_form(config), evolve(config, tolerance=1e-3)
        assert form is not None
        np.testing.assert_allclose(
            solution.groups["observables"]["mean"], form.mean(solution.times), atol=1e-3
        )
        np.testing.assert_allclose(
            solution.groups["observables"]["variance"], form.variance(solution.times), rtol=1e-3
        )
        results = solution.groups["density"]
        assert {"density", "density_y"} <= set(results)
        assert ("density_z" in results) == (dimensions == 3)
        for axis, density in enumerate(solution.densities):
            low, high = solution.box[axis]
            edges = low + (high - low) * (np.arange(solution.points + 1) - 0.5) / solution.points
            expected = form.density(edges, solution.times, axis)
            assert np.abs(density - expected).sum(axis=1).max() * (edges[1] - edges[0]) < 2e-2


def test_the_box_grows_until_the_state_fits() -> None:
    """A trap that is switched off: nothing closed is known, and the cloud spreads far."""
    trap = {"kind": "harmonic", "omega": 2.0, "quench": {"omega": {"to": 0.0, "start": 0.2}}}
    config = make_config({"particles": 1, "trap": trap}, end=6.0, save=4)
    lines: list[str] = []
    solution = evolve(config, progress=lines.append)
    assert any("does not fit" in line for line in lines)
    assert solution.how["edge_probability"] <= 1e-8
    assert solution.converged
    # ground state until 0.2, then free: s = s0 + (hbar/2m)^2 t^2/s0
    free = 5.8
    assert solution.groups["observables"]["variance"][-1, 0, 0] == pytest.approx(0.25 + free**2, rel=1e-4)


def test_a_box_that_was_given_is_kept_and_its_edge_reported() -> None:
    config = make_config({"particles": 1}, {"kind": "gaussian", "variance": 0.1}, end=2.0, save=3)
    small = evolve(config, points=64, extent=2.0, dt=0.1, order=2)
    assert small.box == ((-2.0, 2.0),)
    assert small.how["edge_probability"] > 1e-3
    assert np.isnan(small.error_estimate)
    assert not small.converged
    assert "edge of the box: raise baselines.split_step.extent" in small.warning
    assert "no error was measured" in small.warning


def test_a_grid_that_is_too_coarse_is_refined_not_widened() -> None:
    """A packet at rest, whose distance from the centre becomes a wavenumber of 40."""
    config = make_config(
        {"particles": 1, "hbar": 0.05, "trap": {"kind": "harmonic", "omega": 1.0}},
        {"kind": "gaussian", "mean": 2.0, "variance": 0.1},
        end=1.6,
        save=3,
    )
    solution = evolve(config)
    assert solution.converged
    assert solution.how["momentum_edge_probability"] <= 1e-8
    low, high = solution.box[0]
    assert np.pi * solution.points / (high - low) > 40.0
    assert high - low < 10.0


def test_stored_waves_have_the_stored_density() -> None:
    solution = evolve(two_bosons(save=3), keep_psi=True)
    assert solution.psi is not None
    cell = (solution.box[0][1] - solution.box[0][0]) / solution.points
    np.testing.assert_allclose((np.abs(solution.psi) ** 2).sum(axis=2) * cell, solution.density, atol=1e-12)


def test_times_that_do_not_start_at_zero() -> None:
    config = two_bosons(save=[0.25, 1.0])
    solution = evolve(config)
    np.testing.assert_allclose(solution.times, [0.25, 1.0])
    assert solution.groups["observables"]["variance"][1, 0, 0] == pytest.approx(0.227425015, abs=1e-5)


@pytest.mark.parametrize(("particles", "dimensions"), [(4, 1), (2, 2)])
def test_four_coordinates(particles: int, dimensions: int) -> None:
    config = coupled(particles, dimensions, save=[0.0, 0.4])
    form = closed_form(config)
    assert form is not None
    solution = evolve(config, points=24, extent=3.6, dt=0.1, order=4)
    found = solution.groups["observables"]
    np.testing.assert_allclose(found["variance"], form.variance(solution.times), rtol=1e-4)
    np.testing.assert_allclose(found["energy"], form.energy(), rtol=1e-4)
    np.testing.assert_allclose(found["norm"], 1.0, atol=1e-12)
    assert solution.groups["correlations"]["pair_density"].shape == (2, 81, 81)


def test_what_was_given_stays_and_its_error_is_measured() -> None:
    coarse = evolve(two_bosons(save=3), dt=0.25, order=2)
    assert coarse.dt == pytest.approx(0.25)
    assert coarse.error_estimate > 1e-3
    assert not coarse.converged
    assert "above the tolerance" in coarse.warning
    few = evolve(two_bosons(save=3), points=24, extent=2.5)
    assert few.points == 24
    assert not few.converged
    assert "raise baselines.split_step.grid" in few.warning
    enough = evolve(two_bosons(save=3), points=72, extent=3.2)
    assert enough.converged
    assert enough.warning == ""
    assert enough.groups["observables"]["variance"][-1, 0, 0] == pytest.approx(0.227425015, abs=1e-5)


def test_the_parts_of_the_error(solution: GridSolution) -> None:
    how = solution.how
    parts = [how["error_mean"], how["error_variance"], how["error_density"]]
    assert max(parts) == how["error_estimate"] <= how["tolerance"] == 1e-4
    assert how["warning"] == ""


def test_options_of_the_input(tmp_path: Path) -> None:
    table = {"split_step": {"grid": 40, "extent": 2.5, "dt": 0.05, "order": 4, "tolerance": 1e-3}}
    config = parse_config(two_bosons(save=3).to_dict() | {"baselines": table})
    how = read_results(solve(config, tmp_path)).attributes["velocity_fields"]
    assert (how["points"], how["dt"], how["tolerance"]) == (40, pytest.approx(0.05), 1e-3)
    assert how["method"] == "Fourier split step, Blanes-Moan, order 4"
    assert not how["converged"]


def test_a_grid_beyond_the_memory_is_refused() -> None:
    table = {"memory": "1 MB", "split_step": {"grid": 256}}
    config = parse_config(two_bosons(save=3).to_dict() | {"baselines": table})
    with pytest.raises(ConfigError, match=r"baselines\.split_step\.grid.*256\^2 = 65,536.*11.8 MB.*1 MB"):
        evolve(config, points=256)
    # where the grid is chosen, the refinement stops and says so
    config = parse_config(two_bosons(save=3).to_dict() | {"baselines": {"memory": "1 MB"}})
    small = evolve(config, tolerance=1e-9, extent=2.6)
    assert small.points**2 * 180 <= 1_000_000
    assert not small.converged
    assert "above the tolerance" in small.warning


def test_prediction() -> None:
    prediction = predict(two_bosons())
    assert prediction.method == "split_step"
    assert prediction.points.endswith("grid points")
    assert prediction.seconds is not None
    assert 1e5 < prediction.memory < 1e7
    trap = {"kind": "harmonic", "omega": 1.0}
    many = make_config({"particles": 6, "dimensions": 3, "hbar": 0.1, "trap": trap})
    assert any("another method" in note for note in predict(many).notes)
    with pytest.raises(ConfigError, match=r"baselines\.split_step\.grid.*another method"):
        evolve(many)


def test_potentials_that_no_grid_can_hold_are_refused() -> None:
    packet = {"kind": "gaussian", "mean": 1.0, "variance": 0.1}
    singular = {"kind": "expression", "expression": "1/x**2"}
    with pytest.raises(ConfigError, match=r"singular potential"):
        evolve(make_config({"particles": 1, "trap": singular}, packet))
    on_a_point = {"kind": "expression", "expression": "1/abs(x)"}
    with pytest.raises(ConfigError, match=r"not finite"):
        evolve(make_config({"particles": 1, "trap": on_a_point}, packet), points=64, extent=4.0, dt=0.1)
