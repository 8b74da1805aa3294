"""The Fock solver against stored exact solutions, closed forms and conservation laws."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from exact_bosons import density_distance, errors_of, interacting_bosons

from baselines.fock import evolve, predict, solve
from baselines.solution import Solution
from dsmsim.config import parse_config
from dsmsim.errors import ConfigError
from dsmsim.store import read_results
from dsmsim.system import center_of_mass, closed_form


@pytest.fixture(scope="module")
def three() -> Solution:
    return evolve(interacting_bosons(3))


@pytest.mark.parametrize("particles", [2, 4])
def test_densities_and_moments_are_exact(particles: int) -> None:
    solution = evolve(interacting_bosons(particles))
    assert solution.converged
    assert solution.error_estimate <= 1e-4
    found = errors_of(solution.groups, particles)
    assert found.density <= 1e-4
    assert found.variance <= 5e-5
    assert found.covariance <= 2e-5
    assert found.energy <= 1e-4
    # the estimate is one: not far below the error that was really made
    assert max(found.density, found.variance) <= 2.0 * solution.error_estimate


def test_three_bosons(three: Solution) -> None:
    found = errors_of(three.groups, 3)
    assert found.density <= min(1e-4, 2.0 * three.error_estimate)
    assert found.variance <= 1e-5


def test_five_bosons_at_a_given_cutoff() -> None:
    solution = evolve(interacting_bosons(5, time={"save": 5}), cutoff=44)
    found = errors_of(solution.groups, 5)
    assert found.density <= 3e-4
    assert found.density <= 2.0 * solution.error_estimate
    assert not solution.converged
    assert "baselines.fock.cutoff" in solution.warning


def test_a_tighter_tolerance_is_met() -> None:
    solution = evolve(interacting_bosons(2, time={"save": 3}), tolerance=1e-7)
    assert solution.converged
    assert solution.groups["observables"]["variance"][-1, 0, 0] == pytest.approx(0.227425015, abs=3e-8)


def test_orbitals_at_rest_need_more_quanta(three: Solution) -> None:
    resting = evolve(interacting_bosons(3, time={"save": 5}), basis="lab", cutoff=three.how["cutoff"])
    assert resting.error_estimate > 5.0 * three.error_estimate
    found = errors_of(resting.groups, 3)
    assert found.density <= 2.0 * resting.error_estimate


def test_conservation_laws(three: Solution) -> None:
    observables = three.groups["observables"]
    center = center_of_mass(interacting_bosons(3))
    assert center is not None
    expected = center.variance(three.times)
    np.testing.assert_allclose(observables["center_of_mass_variance"], expected, rtol=1e-9)
    np.testing.assert_allclose(observables["norm"], 1.0, atol=1e-10)
    np.testing.assert_allclose(observables["energy"], observables["energy"][0], rtol=2e-5)
    parts = ("energy_kinetic", "energy_trap", "energy_interaction")
    np.testing.assert_allclose(sum(observables[name] for name in parts), observables["energy"], rtol=1e-12)
    density = three.groups["density"]
    dx = density["x"][1] - density["x"][0]
    np.testing.assert_allclose(density["density"].sum(axis=1) * dx, 1.0, atol=1e-9)
    second = (density["density"] * density["x"] ** 2).sum(axis=1) * dx
    np.testing.assert_allclose(second, observables["variance"][:, 0, 0], rtol=1e-7)


def test_correlations_belong_together(three: Solution) -> None:
    group, density = three.groups["correlations"], three.groups["density"]
    x = group["x"]
    dx = x[1] - x[0]
    for k, t in enumerate(group["time"]):
        row = int(np.argmin(np.abs(three.times - t)))
        one = np.interp(x, density["x"], density["density"][row])
        pair = group["pair_density"][k]
        np.testing.assert_allclose(pair, pair.T, atol=1e-12)
        np.testing.assert_allclose(pair.sum(axis=1) * dx, one, atol=2e-3 * one.max())
        np.testing.assert_allclose(np.diagonal(group["density_matrix_re"][k]), one, atol=2e-3 * one.max())
        assert group["occupation"][k].sum() == pytest.approx(1.0, abs=1e-3)
    # repulsion fragments the condensate
    assert group["occupation"][0, 0] == pytest.approx(1.0, abs=1e-6)
    assert group["occupation"][-1, 0] < 0.6
    momentum = three.groups["momentum"]
    dp = momentum["p"][1] - momentum["p"][0]
    kinetic = (momentum["momentum_density"] * momentum["p"] ** 2).sum(axis=1) * dp * 1.5
    rows = [int(np.argmin(np.abs(three.times - t))) for t in momentum["time"]]
    np.testing.assert_allclose(kinetic, three.groups["observables"]["energy_kinetic"][rows], rtol=1e-5)


@pytest.mark.parametrize("particles", [2, 3, 4, 5])
def test_coupled_oscillators(particles: int) -> None:
    config = parse_config(
        {
            "system": {
                "particles": particles,
                "hbar": 0.1,
                "trap": {"kind": "harmonic", "omega": 1.0, "center": 0.2},
                "interaction": {"kind": "harmonic", "g": 1.0},
            },
            "initial": {"kind": "gaussian", "mean": 0.4, "variance": 0.06, "phase": 1.0},
            "time": {"end": 1.0, "save": 5},
        }
    )
    form = closed_form(config)
    assert form is not None
    solution = evolve(config, tolerance=1e-6)
    observables, times = solution.groups["observables"], solution.times
    for name in ("mean", "variance", "covariance"):
        np.testing.assert_allclose(observables[name], getattr(form, name)(times), atol=1e-7)
    np.testing.assert_allclose(observables["energy"], form.energy(), rtol=1e-5)
    fields = solution.groups["velocity_fields"]
    for k, t in enumerate(fields["time"]):
        x = torch.from_numpy(fields["position"][k, :, :, 0])
        at = x.new_full((len(x), 1), float(t))
        unit = float(np.sqrt(0.1))
        np.testing.assert_allclose(fields["osmotic_velocity"][k, :, :, 0], form.u(x, at), atol=2e-4 * unit)
        np.testing.assert_allclose(fields["current_velocity"][k, :, :, 0], form.v(x, at), atol=2e-4 * unit)
        # drawn from |psi|^2: the spread agrees within five standard errors
        spread, count = float(x.var()), x.numel() / particles
        expected = form.variance(times)[list(times).index(t), 0, 0]
        assert abs(spread / expected - 1.0) < 5.0 * np.sqrt(2.0 / count)


def test_quenches_of_trap_and_interaction() -> None:
    """Two bosons whose trap is switched at 0.3 and whose interaction is ramped: against the full grid."""
    from baselines import split_step

    trap = {"kind": "harmonic", "omega": 1.0, "quench": {"omega": {"to": 2.0, "start": 0.3}}}
    ramp = {"g": {"to": 2.0, "start": 0.2, "duration": 0.4}}
    interaction = {"kind": "gaussian", "g": 0.5, "s2": 0.1, "quench": ramp}
    system = {"particles": 2, "hbar": 0.1, "trap": trap, "interaction": interaction}
    config = parse_config({"system": system, "time": {"end": 1.0, "save": 5}})
    found, truth = evolve(config), split_step.evolve(config, tolerance=1e-6)
    assert found.converged
    for name in ("variance", "covariance", "center_of_mass_variance"):
        np.testing.assert_allclose(
            found.groups["observables"][name], truth.groups["observables"][name], atol=5e-6
        )
    exact = truth.groups["density"]
    distance = density_distance(found.groups["density"], exact["x"], exact["density"])
    assert distance.max() < 1e-4


def test_free_expansion_without_a_trap() -> None:
    system = {"particles": 3, "hbar": 0.1, "interaction": {"kind": "harmonic", "g": -0.2}}
    initial = {"kind": "gaussian", "variance": 0.05}
    config = parse_config({"system": system, "initial": initial, "time": {"end": 2.0, "save": 3}})
    form = closed_form(config)
    assert form is not None
    solution = evolve(config)
    expected = form.variance(solution.times)
    np.testing.assert_allclose(solution.groups["observables"]["variance"], expected, rtol=1e-4)


def test_results_file_and_prediction(tmp_path: Path) -> None:
    lines: list[str] = []
    config = interacting_bosons(2, time={"save": 3})
    path = solve(config, tmp_path / "new", progress=lines.append)
    assert path == tmp_path / "new" / "results.h5"
    assert any("cutoff" in line for line in lines)
    stored = read_results(path)
    assert {"observables", "density", "correlations", "momentum", "velocity_fields"} <= set(stored.results)
    assert stored.attributes["density"]["converged"]
    assert stored.attributes["provenance"]["physics_hash"] == config.physics_hash()
    prediction = predict(config)
    assert prediction.memory > 0
    assert prediction.seconds is not None
    assert "2 bosons" in prediction.points


def test_memory_is_refused_before_it_is_taken() -> None:
    config = interacting_bosons(8, baselines={"memory": "1 MB"})
    with pytest.raises(ConfigError, match=r"baselines\.fock\.cutoff.*MB"):
        evolve(config)


@pytest.mark.parametrize(
    ("system", "message"),
    [
        ({"particles": 2, "dimensions": 2}, r"system\.dimensions = 2.*relative_grid"),
        ({"particles": 23}, r"system\.particles = 23"),
    ],
)
def test_what_it_cannot_treat(system: dict[str, Any], message: str) -> None:
    trap = {"kind": "harmonic", "omega": 1.0}
    config = parse_config({"system": {"trap": trap, **system}, "time": {"end": 1.0}})
    with pytest.raises(ConfigError, match=message):
        evolve(config)
