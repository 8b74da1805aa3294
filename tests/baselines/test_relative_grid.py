"""The grid of relative coordinates against stored exact solutions, closed forms and the full grid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from relative_problems import MOVING, REPULSION, bosons

from baselines import split_step
from baselines.relative_grid import RelativeSolution, evolve, predict, solve
from dsmsim.config import parse_config
from dsmsim.errors import ConfigError
from dsmsim.store import read_results
from dsmsim.system import center_of_mass, closed_form

DATA = Path(__file__).parents[1] / "data"
NAMES = {2: "two", 3: "three", 4: "four", 5: "five"}


def errors(solution: RelativeSolution, particles: int) -> tuple[float, float]:
    """Largest L1 distance of densities and largest error of Var x_1, over the saved times."""
    with h5py.File(DATA / f"{NAMES[particles]}_bosons_g1.h5") as truth:
        at = np.searchsorted(truth["t"][:], solution.times - 1e-9)
        np.testing.assert_allclose(truth["t"][:][at], solution.times, atol=1e-12)
        x, own = truth["x"][:], solution.x
        # the density is band-limited: sinc functions of its grid say it all
        shown = solution.density @ np.sinc((x[:, None] - own) / (own[1] - own[0])).T
        distance = np.abs(shown - truth["density"][:][at]).sum(axis=1) * (x[1] - x[0])
        variance = solution.groups["observables"]["variance"][:, 0, 0] - truth["var_x"][:][at]
        return float(distance.max()), float(np.abs(variance).max())


@pytest.mark.parametrize("particles", [2, 3, 4])
def test_density_and_variance_are_exact(particles: int) -> None:
    solution = evolve(bosons(particles), correlations=False)
    assert solution.converged
    density, variance = errors(solution, particles)
    assert density <= 1e-4
    assert variance <= 1e-4
    # the estimate is one: not below the error that was really made
    assert max(density, variance) <= 1.1 * solution.error_estimate + 1e-6
    energy = solution.groups["observables"]["energy"]
    expected = 0.05 * particles + 0.5 * 0.892062 * 0.5 * particles * (particles - 1)
    np.testing.assert_allclose(energy, expected, rtol=1e-4)


def test_five_bosons_on_a_given_grid() -> None:
    """One evolution of 470,000 points: grid and step as the automatic choice finds them."""
    config = bosons(5, save=[0.0, 0.5, 1.0])
    solution = evolve(config, spacing=0.143, dt=0.05, order=4, correlations=False)
    density, variance = errors(solution, 5)
    assert density <= 1e-4
    assert variance <= 5e-5
    assert not solution.converged
    assert "no error was measured" in solution.warning


def test_the_grid_breathes_where_it_pays() -> None:
    """Four bosons: far fewer points than a grid at rest with the same edges would need."""
    config = bosons(4, save=3)
    moving = evolve(config, spacing=0.15, dt=0.05, order=4, correlations=False)
    assert moving.how["breathing"]
    assert errors(moving, 4)[0] <= 1e-4
    rest = evolve(config, spacing=0.15, dt=0.05, order=4, breathe=False, correlations=False)
    assert not rest.how["breathing"]
    # the lab momenta need a spacing of about 0.1
    assert errors(rest, 4)[0] > 1e-2
    assert rest.how["momentum_edge_probability"] > 1e-3 > moving.how["momentum_edge_probability"]


@pytest.mark.parametrize(("particles", "tolerance"), [(2, 1e-6), (3, 1e-6), (4, 1e-4), (5, 2e-3)])
def test_coupled_oscillators(particles: int, tolerance: float) -> None:
    config = bosons(particles, interaction={"kind": "harmonic", "g": -0.3}, initial=MOVING, save=3)
    solution = evolve(config, tolerance=tolerance, correlations=False)
    form = closed_form(config)
    assert form is not None
    assert solution.converged
    found = solution.groups["observables"]
    times = solution.times
    np.testing.assert_allclose(found["mean"], form.mean(times), atol=1e-12)
    np.testing.assert_allclose(found["variance"], form.variance(times), rtol=tolerance)
    np.testing.assert_allclose(found["covariance"], form.covariance(times), atol=tolerance)
    np.testing.assert_allclose(found["energy"], form.energy(), rtol=10.0 * tolerance)
    width = np.sqrt(form.variance(times)[:, 0, 0])[:, None]
    z = (solution.x - form.mean(times)[:, 0, 0][:, None]) / width
    exact = np.exp(-0.5 * z**2) / (np.sqrt(2.0 * np.pi) * width)
    assert np.abs(solution.density - exact).sum(axis=1).max() * np.diff(solution.x)[0] <= tolerance


def test_kohns_theorem_and_parts_of_the_energy() -> None:
    config = bosons(3, initial=MOVING, save=5)
    solution = evolve(config, correlations=False)
    found, center = solution.groups["observables"], center_of_mass(config)
    assert center is not None
    np.testing.assert_allclose(found["center_of_mass_mean"], center.mean(solution.times), atol=1e-10)
    np.testing.assert_allclose(found["center_of_mass_variance"], center.variance(solution.times), rtol=1e-10)
    mean = np.diff(solution.x)[0] * solution.density @ solution.x
    np.testing.assert_allclose(mean, center.mean(solution.times)[:, 0], atol=1e-5)
    np.testing.assert_allclose(
        found["energy_kinetic_osmotic"] + found["energy_kinetic_current"], found["energy_kinetic"], rtol=1e-12
    )
    np.testing.assert_allclose(
        found["energy_trap"] + found["energy_interaction"], found["energy_potential"], rtol=1e-12
    )
    np.testing.assert_allclose(found["energy"], found["energy"][0], rtol=1e-4)


QUENCHES: dict[str, dict[str, Any]] = {
    "trap": {"trap": {"kind": "harmonic", "omega": 1.0, "quench": {"omega": {"to": 2.0, "start": 0.3}}}},
    "centre": {
        "trap": {
            "kind": "harmonic",
            "omega": 1.0,
            "quench": {"center": {"to": 0.5, "start": 0.1, "duration": 0.5}},
        }
    },
    "interaction": {
        "interaction": {
            "kind": "gaussian",
            "g": 0.0,
            "s2": 0.1,
            "quench": {"g": {"to": 1.5, "start": 0.2, "duration": 0.4, "shape": "smooth"}},
        }
    },
    "release": {"trap": {"kind": "harmonic", "omega": 1.0, "quench": {"omega": {"to": 0.0}}}},
}


@pytest.mark.parametrize("changes", QUENCHES.values(), ids=QUENCHES)
def test_quenches_agree_with_the_full_grid(changes: dict[str, Any]) -> None:
    config = bosons(2, end=1.2, save=4, **changes)
    solution, full = evolve(config, correlations=False), split_step.evolve(config, tolerance=1e-3)
    assert solution.converged
    for name in ("mean", "variance", "covariance", "energy", "energy_trap", "energy_interaction"):
        np.testing.assert_allclose(
            solution.groups["observables"][name], full.groups["observables"][name], atol=2e-4, err_msg=name
        )


def test_two_bosons_in_two_dimensions_agree_with_the_full_grid() -> None:
    config = bosons(
        2,
        dimensions=2,
        trap={"kind": "harmonic", "omega": [1.0, 1.3]},
        initial={"kind": "gaussian", "mean": [0.2, 0.0], "variance": [0.07, 0.05], "phase": [0.0, 0.5]},
        save=[0.0, 0.6],
    )
    solution = evolve(config, correlations=False)
    assert solution.converged
    full = split_step.evolve(config, points=32, extent=1.9, dt=0.05, order=4)
    for name in ("mean", "variance", "covariance", "energy", "energy_kinetic_osmotic"):
        np.testing.assert_allclose(
            solution.groups["observables"][name], full.groups["observables"][name], atol=2e-3, err_msg=name
        )
    for axis, name in (("x", "density"), ("y", "density_y")):
        x, density = full.groups["density"][axis], full.groups["density"][name]
        own = solution.groups["density"][axis]
        shown = solution.groups["density"][name] @ np.sinc((x[:, None] - own) / (own[1] - own[0])).T
        assert np.abs(shown - density).sum(axis=1).max() * (x[1] - x[0]) < 5e-3


def test_an_interaction_without_mirror_symmetry() -> None:
    """Even in r, not in each of its components: two sectors in place of one."""
    shape = {"kind": "expression", "g": 1.0, "expression": "exp(-(x*x + y*y + x*y)/0.4)"}
    config = bosons(2, dimensions=2, interaction=shape, save=[0.0, 0.5])
    solution = evolve(config, tolerance=1e-3, correlations=False)
    assert solution.converged
    full = split_step.evolve(config, points=24, extent=1.6, dt=0.05, order=4)
    for name in ("variance", "energy", "energy_interaction"):
        np.testing.assert_allclose(
            solution.groups["observables"][name], full.groups["observables"][name], atol=2e-3, err_msg=name
        )


@pytest.mark.parametrize(("particles", "dimensions"), [(2, 3), (3, 2)])
def test_more_dimensions_conserve_energy(particles: int, dimensions: int) -> None:
    solution = evolve(bosons(particles, dimensions=dimensions, save=3), tolerance=1e-2, correlations=False)
    assert solution.converged
    found = solution.groups["observables"]
    np.testing.assert_allclose(found["energy"], found["energy"][0], rtol=5e-3)
    np.testing.assert_allclose(found["variance"][..., 0], found["variance"][..., 1], rtol=1e-2)


def test_results_file(tmp_path: Path) -> None:
    lines: list[str] = []
    config = bosons(2, save=3, relative_grid={"tolerance": 1e-3})
    path = solve(config, tmp_path / "new", progress=lines.append)
    assert path == tmp_path / "new" / "results.h5"
    assert any("change" in line for line in lines)
    stored = read_results(path)
    assert set(stored.results) >= {"observables", "density", "correlations", "momentum", "velocity_fields"}
    how = stored.attributes["observables"]
    assert {"method", "error_of_step", "error_of_grid", "points", "dt", "edge_probability"} <= set(how)
    assert how["tolerance"] == 1e-3
    assert how["converged"]
    assert stored.attributes["provenance"]["physics_hash"] == config.physics_hash()


def test_given_numbers_are_kept_and_their_error_measured() -> None:
    solution = evolve(bosons(2, save=3), spacing=0.1, correlations=False)
    assert solution.shape.spacing <= 0.1
    assert solution.converged
    coarse = evolve(bosons(3, save=3), spacing=0.3, correlations=False)
    assert not coarse.converged
    assert "lower baselines.relative_grid.spacing" in coarse.warning
    slow = evolve(bosons(2, save=3), dt=0.25, order=2, correlations=False)
    assert slow.dt == pytest.approx(0.25)
    assert not slow.converged
    assert slow.how["error_of_step"] > 1e-3


def test_an_interaction_that_is_not_smooth_is_not_trusted() -> None:
    """A kink spoils the order that error estimates of a step rely on: the energy tells."""
    kink = {"kind": "expression", "g": 1.0, "expression": "exp(-abs(x)/0.2)"}
    solution = evolve(bosons(3, interaction=kink, save=3), correlations=False)
    assert not solution.converged
    assert "energy drifts" in solution.warning
    smooth = evolve(bosons(3, save=3), correlations=False)
    assert smooth.converged
    assert smooth.how["energy_drift"] < 1e-4


def test_what_it_would_cost() -> None:
    small, large = predict(bosons(2)), predict(bosons(5))
    assert small.method == "relative_grid"
    assert large.memory > small.memory
    assert small.seconds is not None
    assert large.seconds is not None
    assert large.seconds > 10.0 * small.seconds
    assert "raise baselines.relative_grid.tolerance" in " ".join(predict(bosons(7)).notes)
    with pytest.raises(ConfigError, match=r"baselines\.relative_grid\.spacing.*grid points"):
        evolve(bosons(5, memory="50 MB"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"system": {"trap": {"kind": "expression", "expression": "x**4"}}}, "not harmonic"),
        ({"initial": {"kind": "product", "amplitude": "exp(-x**2)", "range": [-6.0, 6.0]}}, "not a Gaussian"),
        ({"system": {"particles": 8}}, r"system\.particles = 8"),
        ({"system": {"particles": 1}}, r"system\.particles = 1"),
        ({"system": {"terms": {"ramp": {"kind": "expression", "expression": "x"}}}}, r"system\.terms"),
    ],
)
def test_what_it_cannot_treat_is_refused(changes: dict[str, Any], words: str) -> None:
    system = {"particles": 2, "trap": {"kind": "harmonic", "omega": 1.0}, "interaction": REPULSION}
    data: dict[str, Any] = {
        "system": system | changes.get("system", {}),
        "initial": changes.get("initial", {"kind": "gaussian", "variance": 0.5}),
        "time": {"end": 1.0},
    }
    for entry in (evolve, predict):
        with pytest.raises(ConfigError, match=words) as caught:
            entry(parse_config(data))
        assert "split_step" in str(caught.value)
