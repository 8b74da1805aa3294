"""The Fock solver where the centre of mass cannot be split off, against split_step and closed forms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fock_problems import (
    GAUSSIAN,
    HARMONIC,
    MOVING,
    PACKET,
    QUARTIC,
    bosons,
    density_at,
    orbital_problem,
    waves,
)
from scipy.interpolate import CubicSpline

from baselines import split_step
from baselines.fock import evolve, predict
from baselines.fock_space.problem import make_problem
from baselines.fock_space.run import Run
from baselines.solution import GridSolution, Solution
from dsmsim.config import Config
from dsmsim.errors import ConfigError
from dsmsim.system import closed_form

DOUBLE_WELL = {"kind": "double_well", "barrier": 0.4, "half_distance": 1.1}
BARRIER = {"kind": "gaussian", "amplitude": 0.1, "width": 0.4}
RAMP = {"amplitude": {"to": 0.8, "start": 0.23, "duration": 0.31}}
JUMP = HARMONIC | {"quench": {"center": {"to": 0.8, "start": 0.37}}}
PRODUCT = {
    "kind": "product",
    "amplitude": "exp(-x**2)*(1 + 0.3*x + 0.5*x**2)",
    "phase": "0.7*x**2 - 0.4*x",
    "range": [-5, 5],
}

CASES: dict[str, Callable[[], Config]] = {
    "double well": lambda: bosons(2, DOUBLE_WELL, {"kind": "gaussian", "variance": 0.2}, end=0.7),
    "quartic trap": lambda: bosons(2, QUARTIC, PACKET, end=0.7),
    "displaced and moving": lambda: bosons(2, QUARTIC, MOVING),
    "product state": lambda: bosons(2, QUARTIC, PRODUCT),
    "barrier raised": lambda: bosons(2, HARMONIC, MOVING, terms={"b": BARRIER | {"quench": RAMP}}, end=0.7),
    "trap moved at once": lambda: bosons(2, JUMP, PACKET, terms={"b": BARRIER}),
    "lattice": lambda: bosons(
        2,
        HARMONIC,
        MOVING,
        terms={"l": {"kind": "lattice", "depth": 0.3, "wavenumber": 2.0, "phase": 0.3}},
        end=0.4,
    ),
    "three bosons": lambda: bosons(3, QUARTIC, PACKET, end=0.4, save=2),
}


@pytest.fixture(scope="module")
def solved() -> Callable[[str], tuple[Solution, GridSolution]]:
    """Both solutions of a case, each made once."""
    made: dict[str, tuple[Solution, GridSolution]] = {}

    def pair(name: str) -> tuple[Solution, GridSolution]:
        if name not in made:
            config = CASES[name]()
            few = config.system.particles > 2
            made[name] = (
                evolve(config),
                split_step.evolve(config, tolerance=1e-4 if few else 3e-5, keep_psi=not few),
            )
        return made[name]

    return pair


Solved = Callable[[str], tuple[Solution, GridSolution]]


@pytest.mark.parametrize("name", CASES)
def test_densities_and_moments_are_those_of_split_step(name: str, solved: Solved) -> None:
    solution, grid = solved(name)
    x, density = (solution.groups["density"][key] for key in ("x", "density"))
    error = np.abs(density - density_at(grid, x)).sum(axis=1).max() * (x[1] - x[0])
    assert solution.converged, solution.warning
    assert error <= 2e-4
    # the estimate is an honest one
    assert error <= 2.0 * (solution.error_estimate + grid.error_estimate)
    found, expected = solution.groups["observables"], grid.groups["observables"]
    for key in (
        *("mean", "variance", "covariance", "center_of_mass_mean", "center_of_mass_variance"),
        *("energy", "energy_kinetic", "energy_trap", "energy_potential", "energy_interaction"),
    ):
        assert found[key].shape == expected[key].shape
        np.testing.assert_allclose(found[key], expected[key], atol=1e-4, err_msg=key)
    np.testing.assert_allclose(found["norm"], 1.0, atol=1e-6)


@pytest.mark.parametrize("name", ["displaced and moving", "three bosons"])
def test_correlations_and_momenta_are_those_of_split_step(name: str, solved: Solved) -> None:
    solution, grid = (one.groups for one in solved(name))
    ours, theirs = solution["correlations"], grid["correlations"]
    np.testing.assert_allclose(ours["occupation"][:, :4], theirs["occupation"][:, :4], atol=1e-5)
    x, dx = ours["x"], ours["x"][1] - ours["x"][0]
    pair = ours["pair_density"]
    np.testing.assert_allclose(pair.sum(axis=(1, 2)) * dx**2, 1.0, atol=1e-6)
    np.testing.assert_allclose(pair, pair.transpose(0, 2, 1), atol=1e-10)
    # its marginal is the density, and its second moment the covariance
    diagonal = np.einsum("txx->tx", ours["density_matrix_re"])
    np.testing.assert_allclose(pair.sum(axis=2) * dx, diagonal, atol=1e-5)
    together = np.einsum("txy,x,y->t", pair, x, x) * dx**2
    observables = solution["observables"]
    mean = observables["mean"][:, 0, 0]
    np.testing.assert_allclose(together - mean**2, observables["covariance"][:, 0, 1, 0], atol=1e-6)
    p, momentum = solution["momentum"]["p"], solution["momentum"]["momentum_density"]
    for mine, other in zip(momentum, grid["momentum"]["momentum_density"], strict=True):
        expected = CubicSpline(grid["momentum"]["p"], other)(p)
        inside = np.abs(p) <= grid["momentum"]["p"][-1]
        assert np.abs(mine - expected)[inside].sum() * (p[1] - p[0]) <= 1e-3


@pytest.mark.parametrize("name", ["displaced and moving", "product state", "trap moved at once"])
def test_velocity_fields_are_those_of_the_wave_function(name: str, solved: Solved) -> None:
    solution, grid = solved(name)
    fields = solution.groups["velocity_fields"]
    assert grid.psi is not None
    for k, psi in enumerate(grid.psi):
        position = fields["position"][k, :, :, 0]
        (a, a_slope), (b, b_slope) = (waves(column, grid) for column in position.T)
        transformed = np.fft.fft2(psi)

        def at(left: np.ndarray, right: np.ndarray, values: np.ndarray = transformed) -> np.ndarray:
            return np.einsum("km,mn,kn->k", left, values, right, optimize=True)

        value = at(a, b)
        seen = np.abs(value) > 1e-2 * np.abs(value).max()
        slopes = np.stack([at(a_slope, b), at(a, b_slope)], axis=1) / value[:, None]
        unit = 0.5 / 1.2
        assert seen.sum() > 100
        np.testing.assert_allclose(
            fields["osmotic_velocity"][k, seen, :, 0], unit * slopes.real[seen], atol=2e-2
        )
        np.testing.assert_allclose(
            fields["current_velocity"][k, seen, :, 0], unit * slopes.imag[seen], atol=2e-2
        )


def test_configurations_are_drawn_from_the_density(solved: Solved) -> None:
    solution, _ = solved("displaced and moving")
    position = solution.groups["velocity_fields"]["position"][-1, :, :, 0]
    observables = solution.groups["observables"]
    mean, variance = observables["mean"][-1, 0, 0], observables["variance"][-1, 0, 0]
    count = position.size
    assert abs(position.mean() - mean) <= 5.0 * np.sqrt(variance / count)
    assert abs(position.var() - variance) <= 5.0 * variance * np.sqrt(3.0 / count)


@pytest.mark.parametrize("basis", ["lab", "breathing"])
def test_a_single_boson_in_a_trap_has_a_closed_form(basis: str) -> None:
    config = bosons(1, HARMONIC | {"omega": 1.4}, MOVING, interaction=None, end=1.3)
    form = closed_form(config)
    assert form is not None
    solution = evolve(config, basis=basis)
    assert solution.converged
    assert basis in solution.how["method"]
    found, times = solution.groups["observables"], solution.times
    np.testing.assert_allclose(found["mean"], form.mean(times), atol=1e-5)
    np.testing.assert_allclose(found["variance"], form.variance(times), rtol=1e-4)
    np.testing.assert_allclose(found["energy"], form.energy(), rtol=1e-4)
    np.testing.assert_array_equal(found["energy_interaction"], 0.0)
    correlations = solution.groups["correlations"]
    assert "pair_density" not in correlations
    np.testing.assert_allclose(correlations["occupation"][:, 0], 1.0, atol=1e-6)
    fields = solution.groups["velocity_fields"]
    x = fields["position"][:, :, 0, 0]
    mean, variance = form.mean(times)[:, 0], form.variance(times)[:, 0]
    near = np.abs(x - mean) < 2.5 * np.sqrt(variance)
    osmotic = -0.5 * (0.5 / 1.2) * (x - mean) / variance
    np.testing.assert_allclose(fields["osmotic_velocity"][..., 0, 0][near], osmotic[near], atol=2e-3)


@pytest.fixture(scope="module")
def both_models() -> tuple[dict[str, Any], dict[str, Any]]:
    """Two bosons in a harmonic trap: orbitals of all of the motion, and of the relative motion."""
    config = bosons(2, HARMONIC, MOVING)
    runs = (
        Run(orbital_problem(config, "breathing"), 36, 0.05, everything=True),
        Run(make_problem(config, "breathing", 1e-4), 36, 0.05, everything=True),
    )
    # a common grid
    x = runs[1].problem.family.x
    densities = [
        [run.model.density(k, float(t), run.states[k], x) for k, t in enumerate(run.problem.times)]
        for run in runs
    ]
    pairs = [
        [run.model.pair_density(k, float(t), run.states[k], x[::8]) for k, t in enumerate(run.problem.times)]
        for run in runs
    ]
    results = [
        run.groups() | {"at x": {"density": np.array(densities[k]), "pair": np.array(pairs[k])}}
        for k, run in enumerate(runs)
    ]
    results[0]["at x"]["dx"] = np.array(x[1] - x[0])
    return results[0], results[1]


def test_both_models_agree_where_both_apply(both_models: tuple[dict[str, Any], dict[str, Any]]) -> None:
    ours, theirs = both_models
    for name, expected in theirs["observables"].items():
        np.testing.assert_allclose(ours["observables"][name], expected, atol=2e-5, err_msg=name)
    dx = float(ours["at x"]["dx"])
    distance = np.abs(ours["at x"]["density"] - theirs["at x"]["density"]).sum(axis=1) * dx
    assert distance.max() <= 2e-5
    pairs = np.abs(ours["at x"]["pair"] - theirs["at x"]["pair"]).sum(axis=(1, 2)) * (8.0 * dx) ** 2
    assert pairs.max() <= 1e-4
    np.testing.assert_allclose(
        ours["correlations"]["occupation"], theirs["correlations"]["occupation"], atol=1e-6
    )


def test_the_relative_model_is_taken_where_it_applies() -> None:
    assert type(make_problem(bosons(2, HARMONIC, PACKET), None, 1e-4).family).__name__ == "RelativeFamily"
    assert type(make_problem(bosons(2, QUARTIC, PACKET), None, 1e-4).family).__name__ == "OrbitalFamily"
    assert type(make_problem(bosons(1, HARMONIC, PACKET), None, 1e-4).family).__name__ == "OrbitalFamily"


@pytest.mark.parametrize(
    ("config", "even"),
    [
        (lambda: bosons(2, QUARTIC, PACKET), True),
        (lambda: bosons(2, HARMONIC | {"center": 0.3}, PACKET | {"mean": 0.3}), True),
        (lambda: bosons(2, QUARTIC, PACKET | {"mean": 0.1}), False),
        (lambda: bosons(2, QUARTIC, PACKET | {"phase": 0.1}), False),
        (lambda: bosons(2, QUARTIC | {"expression": "0.5*x**2 + 0.01*x**3 + 0.1*x**4"}, PACKET), False),
        # even until the trap begins to move
        (lambda: bosons(2, JUMP, PACKET), False),
    ],
    ids=["even", "even elsewhere", "displaced", "moving", "odd part", "trap moved"],
)
def test_parity_is_seen(config: Callable[[], Config], even: bool) -> None:
    for basis in ("lab", "breathing"):
        assert orbital_problem(config(), basis).family.even_only == even


def test_without_parity_the_result_is_the_same() -> None:
    config = bosons(2, QUARTIC, PACKET)
    problem = orbital_problem(config)
    some = Run(problem, 20, 0.1, everything=False)
    problem.family.even_only = False
    everything = Run(problem, 20, 0.1, everything=False)
    assert everything.model.states.size > some.model.states.size
    np.testing.assert_allclose(everything.snapshots.density, some.snapshots.density, atol=1e-6)
    np.testing.assert_allclose(everything.snapshots.variance, some.snapshots.variance, atol=1e-6)


@pytest.mark.parametrize("basis", ["lab", "breathing"])
@pytest.mark.parametrize("name", ["displaced and moving", "product state", "trap moved at once"])
def test_frames_change_nothing_but_the_cost(name: str, basis: str, solved: Solved) -> None:
    _, grid = solved(name)
    run = Run(orbital_problem(CASES[name](), basis), 38, 0.05, everything=True)
    family = run.problem.family
    assert family.basis == basis
    expected = density_at(grid, family.x)
    assert np.abs(run.snapshots.density - expected).sum(axis=1).max() * family.dx <= 1e-4
    found = run.groups()
    for key in ("mean", "variance", "energy_kinetic", "energy_trap", "energy_interaction"):
        theirs = grid.groups["observables"][key]
        np.testing.assert_allclose(found["observables"][key], theirs, atol=5e-5, err_msg=key)
    # the phases of the density matrix: mean momenta
    p, momentum = found["momentum"]["p"], found["momentum"]["momentum_density"]
    np.testing.assert_allclose(momentum @ p * (p[1] - p[0]), mean_momentum(grid), atol=1e-4)


def mean_momentum(grid: GridSolution) -> np.ndarray:
    p, momentum = (grid.groups["momentum"][key] for key in ("p", "momentum_density"))
    return np.asarray(momentum @ p * (p[1] - p[0]))


def test_lab_orbitals_rest_and_breathing_ones_move() -> None:
    config = CASES["displaced and moving"]()
    resting, moving = (orbital_problem(config, basis).family.frame for basis in ("lab", "breathing"))
    assert resting(0.0) == resting(0.7)
    assert moving(0.0).center != moving(0.7).center
    # at the start the moving one fits it
    assert moving(0.0).length == pytest.approx(np.sqrt(2.0 * 0.25), rel=1e-6)
    assert moving(0.0).velocity == pytest.approx(0.5 * 0.5 / 1.2, rel=1e-6)


def test_frames_fit_the_start() -> None:
    """In the frame the start is the vacuum, where it can be: its length and its shear."""
    chirped = {
        "kind": "product",
        "amplitude": "exp(-1.3*(x - 0.2)**2)",
        "phase": "0.9*x**2",
        "range": [-5, 5],
    }
    problem = orbital_problem(bosons(2, QUARTIC, chirped), "breathing")
    frame = problem.family.frame(0.0)
    assert frame.length == pytest.approx(np.sqrt(0.5 / 1.3), rel=1e-4)
    assert frame.shear == pytest.approx(2.0 * 0.9 * 0.5 / 1.2, rel=1e-4)
    assert frame.velocity == pytest.approx(2.0 * 0.9 * 0.2 * 0.5 / 1.2, rel=1e-2)
    assert np.abs(problem.family.model(8).start()[0]) ** 2 > 0.999


def test_the_velocity_of_the_frame_does_not_jump() -> None:
    frame = orbital_problem(bosons(2, JUMP, PACKET), "breathing").family.frame
    before, after = frame(0.37 - 1e-9), frame(0.37)
    assert before.velocity == pytest.approx(after.velocity, abs=1e-8)
    assert before.center == pytest.approx(after.center, abs=1e-8)
    assert abs(before.acceleration - after.acceleration) > 0.1


def test_energy_is_conserved(solved: Solved) -> None:
    for name in ("quartic trap", "displaced and moving", "product state"):
        energy = solved(name)[0].groups["observables"]["energy"]
        np.testing.assert_allclose(energy, energy[0], rtol=1e-4)


def test_a_boson_tunnels_to_where_no_classical_one_goes() -> None:
    """Deep wells: the cloud stays on the left, the orbitals reach the other side all the same."""
    well = {"kind": "double_well", "barrier": 2.0, "half_distance": 1.0}
    config = bosons(1, well, {"kind": "gaussian", "mean": -1.0, "variance": 0.075}, interaction=None, end=6.0)
    problem = orbital_problem(config)
    assert problem.family.basis == "lab"
    assert problem.family.x[-1] > 1.0
    run = Run(problem, 68, 0.5, everything=False)
    grid = split_step.evolve(config)
    expected = density_at(grid, problem.family.x)
    assert expected[-1, problem.family.x > 0.0].sum() * problem.family.dx > 1e-3
    assert np.abs(run.snapshots.density - expected).sum(axis=1).max() * problem.family.dx <= 2e-3


def test_a_space_that_lacks_a_part_of_the_start_says_so() -> None:
    solution = evolve(bosons(2, QUARTIC, PRODUCT), cutoff=4)
    assert solution.how["start_norm_missing"] > 1e-4
    assert not solution.converged
    assert "of the start: raise baselines.fock.cutoff" in solution.warning


@pytest.mark.parametrize("cutoff", [1, 2, 3])
def test_a_tiny_space_is_not_taken_for_an_exact_one(cutoff: int) -> None:
    solution = evolve(bosons(2, QUARTIC, PACKET), cutoff=cutoff)
    assert solution.how["cutoff"] == cutoff
    assert not solution.converged
    assert "raise baselines.fock.cutoff" in solution.warning


def test_what_cannot_be_treated_is_refused() -> None:
    flat = bosons(2, HARMONIC, PACKET, interaction=GAUSSIAN, dimensions=2)
    with pytest.raises(ConfigError, match=r"dimensions = 2.*split_step, crank_nicolson or relative_grid"):
        predict(flat)
    flying = bosons(1, HARMONIC | {"omega": 0.01}, PACKET | {"phase": 24.0}, interaction=None, end=3.0)
    with pytest.raises(ConfigError, match=r"time\.end = 3: the motion needs more than 200 quanta.*shorten"):
        evolve(flying, basis="lab")
    with pytest.raises(ConfigError, match=r"baselines\.fock\.cutoff = 300: must be at most 200"):
        evolve(bosons(2, QUARTIC, PACKET), cutoff=300)
    singular = bosons(1, {"kind": "expression", "expression": "1/abs(x)"}, PACKET, interaction=None)
    with pytest.raises(ConfigError, match="not finite"):
        evolve(singular)


def test_prediction() -> None:
    prediction = predict(bosons(4, QUARTIC, PACKET))
    assert prediction.method == "fock"
    assert "states of 4 bosons" in prediction.points
    assert 1e5 < prediction.memory < 1e9
    assert "states of 1 boson," in predict(bosons(1, QUARTIC, PACKET, interaction=None)).points
