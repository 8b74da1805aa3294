"""What is read off a wave function, against closed forms of coupled harmonic oscillators.

The state is put on the grid exactly, so that only the reading is tested.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gaussian_states import HBAR, MASS, OMEGA, G, coupled, exact_state

from baselines.grids.product import Grid
from baselines.observables.grid_groups import GridRecorder
from baselines.observables.one_body import coherence, density_matrix, natural_orbitals
from baselines.observables.two_body import correlation_times, pair_correlation
from baselines.observables.velocity_fields import draw_points
from dsmsim.system import build_system, closed_form

TIMES = np.linspace(0.0, 1.0, 5)
POINTS = {1: 256, 2: 108, 3: 72}
Groups = dict[str, dict[str, np.ndarray[Any, Any]]]


def recorded(particles: int) -> tuple[GridRecorder, Groups]:
    config = coupled(particles, save=5)
    system, grid = build_system(config), Grid(((-5.5, 5.5),), POINTS[particles], particles)
    recorder = GridRecorder(config, system, grid, TIMES)
    for t in TIMES:
        assert recorder.is_next(t)
        recorder.record(t, exact_state(particles, t).wave(grid), grid.potential(system, t))
    return recorder, recorder.groups()


@pytest.fixture(scope="module", params=[2, 3])
def bosons(request: pytest.FixtureRequest) -> tuple[int, Groups]:
    return request.param, recorded(request.param)[1]


def test_moments_and_energies(bosons: tuple[int, Groups]) -> None:
    particles, groups = bosons
    form, found = closed_form(coupled(particles)), groups["observables"]
    assert form is not None
    np.testing.assert_allclose(found["variance"], form.variance(TIMES), rtol=1e-10)
    np.testing.assert_allclose(found["covariance"], form.covariance(TIMES), atol=1e-12)
    np.testing.assert_allclose(found["energy"], form.energy(), rtol=1e-10)
    for k, t in enumerate(TIMES):
        state = exact_state(particles, t)
        x, p = state.position_covariance, state.momentum_covariance
        pair = x[0, 0] - x[0, 1]
        kinetic = particles * p[0, 0] / (2.0 * MASS)
        osmotic = particles * HBAR**2 / (4.0 * MASS) * state.a.real[0, 0]
        expected = {
            "energy_kinetic": kinetic,
            "energy_kinetic_osmotic": osmotic,
            "energy_kinetic_current": kinetic - osmotic,
            "energy_trap": 0.5 * MASS * OMEGA**2 * particles * x[0, 0],
            "energy_interaction": 0.5 * G * particles * (particles - 1) * pair,
        }
        for name, value in expected.items():
            assert found[name][k] == pytest.approx(value, rel=1e-9, abs=1e-11), name
        parts = found["energy_trap"][k] + found["energy_interaction"][k]
        assert found["energy_potential"][k] == pytest.approx(parts, rel=1e-12)


def test_density_matrix_orbitals_and_coherence(bosons: tuple[int, Groups]) -> None:
    particles, groups = bosons
    found = groups["correlations"]
    np.testing.assert_array_equal(found["time"], TIMES)
    x, dx = found["x"], found["x"][1] - found["x"][0]
    assert len(x) == 81
    matrix = found["density_matrix_re"] + 1j * found["density_matrix_im"]
    g1 = found["g1_re"] + 1j * found["g1_im"]
    for k, t in enumerate(TIMES):
        state = exact_state(particles, t)
        np.testing.assert_allclose(matrix[k], state.density_matrix(x), atol=1e-9)
        np.testing.assert_allclose(matrix[k], matrix[k].conj().T, atol=1e-13)
        assert np.trace(matrix[k]).real * dx == pytest.approx(1.0, abs=1e-9)
        occupation = found["occupation"][k]
        np.testing.assert_allclose(occupation, state.occupations(10), atol=1e-9)
        assert (np.diff(occupation) <= 1e-15).all()
        orbitals = found["natural_orbital_re"][k] + 1j * found["natural_orbital_im"][k]
        rebuilt = np.einsum("k,kx,ky->xy", occupation, orbitals, orbitals.conj())
        # the eleventh occupation and those below it are missing
        np.testing.assert_allclose(rebuilt, matrix[k], atol=20.0 * occupation[-1] + 1e-9)
        seen = ~np.isnan(g1[k].real)
        assert (np.abs(g1[k][seen]) <= 1.0 + 1e-6).all()
        np.testing.assert_allclose(np.diagonal(g1[k])[np.diagonal(seen)], 1.0, rtol=1e-12)


def test_a_product_state_is_a_condensate(bosons: tuple[int, Groups]) -> None:
    """At t = 0 all bosons are in one orbital: coherence and pair correlation are 1."""
    found = bosons[1]["correlations"]
    np.testing.assert_allclose(found["occupation"][0], np.eye(10)[0], atol=1e-12)
    seen = ~np.isnan(found["g2"][0])
    assert 20 < seen.any(axis=0).sum() < len(found["x"])
    np.testing.assert_allclose(found["g2"][0][seen], 1.0, atol=1e-4)
    np.testing.assert_allclose(np.hypot(found["g1_re"][0], found["g1_im"][0])[seen], 1.0, atol=1e-4)


def test_pair_density(bosons: tuple[int, Groups]) -> None:
    particles, groups = bosons
    found = groups["correlations"]
    x, dx = found["x"], found["x"][1] - found["x"][0]
    for k, t in enumerate(TIMES):
        covariance = exact_state(particles, t).position_covariance[:2, :2]
        mesh = np.stack(np.meshgrid(x, x, indexing="ij"))
        exponent = np.einsum("i...,ij,j...->...", mesh, np.linalg.inv(covariance), mesh)
        expected = np.exp(-0.5 * exponent) / (2.0 * np.pi * np.sqrt(np.linalg.det(covariance)))
        pair = found["pair_density"][k]
        np.testing.assert_allclose(pair, expected, atol=1e-9)
        np.testing.assert_allclose(pair, pair.T, atol=1e-13)
        assert pair.sum() * dx**2 == pytest.approx(1.0, abs=1e-9)
        one = np.exp(-(x**2) / (2 * covariance[0, 0])) / np.sqrt(2 * np.pi * covariance[0, 0])
        middle = one > 0.01 * one.max()
        g2 = (expected / np.outer(one, one))[np.ix_(middle, middle)]
        np.testing.assert_allclose(found["g2"][k][np.ix_(middle, middle)], g2, rtol=1e-6)


def test_momentum_density(bosons: tuple[int, Groups]) -> None:
    particles, groups = bosons
    found = groups["momentum"]
    p, step = found["p"], found["p"][1] - found["p"][0]
    for k, t in enumerate(TIMES):
        variance = exact_state(particles, t).momentum_covariance[0, 0]
        expected = np.exp(-(p**2) / (2.0 * variance)) / np.sqrt(2.0 * np.pi * variance)
        np.testing.assert_allclose(found["momentum_density"][k], expected, atol=1e-8)
        assert found["momentum_density"][k].sum() * step == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("particles", [1, 2, 3])
def test_velocity_fields_are_exact_at_every_configuration(particles: int) -> None:
    groups = recorded(particles)[1]
    form, found = closed_form(coupled(particles)), groups["velocity_fields"]
    assert form is not None
    assert found["position"].shape == (5, 1000, particles, 1)
    for k, t in enumerate(TIMES):
        x = torch.from_numpy(found["position"][k].reshape(1000, particles))
        clock = torch.full((1000, 1), t, dtype=torch.float64)
        for name, exact in (("osmotic_velocity", form.u), ("current_velocity", form.v)):
            values = found[name][k].reshape(1000, particles)
            np.testing.assert_allclose(values, exact(x, clock).numpy(), atol=1e-6, err_msg=name)
        # five standard errors of a mean square of Gaussian numbers, all particles together at worst
        variance = form.variance(np.array([t]))[0, 0, 0]
        assert (x**2).mean().item() == pytest.approx(variance, rel=5.0 * np.sqrt(2.0 / 1000))


def test_one_particle_is_pure_on_a_grid_of_any_length() -> None:
    """Its groups come without a matrix of the whole grid."""
    recorder, groups = recorded(1)
    correlations, momentum = groups["correlations"], groups["momentum"]
    assert "g2" not in correlations
    np.testing.assert_array_equal(correlations["occupation"], np.ones((5, 1)))
    assert correlations["x"].shape == (81,)
    for k, t in enumerate(TIMES):
        state = exact_state(1, t)
        variance = state.momentum_covariance[0, 0]
        p = momentum["p"]
        expected = np.exp(-(p**2) / (2.0 * variance)) / np.sqrt(2.0 * np.pi * variance)
        np.testing.assert_allclose(momentum["momentum_density"][k], expected, atol=1e-8)
        x = correlations["x"]
        psi = exact_state(1, t).wave(Grid(((x[0], x[-1] + x[1] - x[0]),), 81, 1))
        matrix = correlations["density_matrix_re"][k] + 1j * correlations["density_matrix_im"][k]
        np.testing.assert_allclose(matrix, np.outer(psi, psi.conj()), atol=1e-8)
    assert not recorder.is_next(1.0)


def test_two_dimensions_trace_out_the_other_axis() -> None:
    config = coupled(1, 2, save=[0.0])
    system, grid = build_system(config), Grid(((-8.0, 8.0), (-9.0, 9.0)), 108, 1)
    x, y = np.meshgrid(grid.positions(0), grid.positions(1), indexing="ij")
    # correlated axes: the density matrix along x is mixed
    psi = np.exp(-0.5 * (x**2 + y**2) - 0.4 * x * y + 0.3j * x * y + 0j)
    psi /= np.sqrt(grid.norm(psi))
    recorder = GridRecorder(config, system, grid, np.array([0.0]))
    recorder.record(0.0, psi, grid.potential(system, 0.0))
    groups = recorder.groups()
    assert groups["density"]["density_y"].shape == (1, 108)
    occupation = groups["correlations"]["occupation"][0]
    assert occupation[0] < 0.95
    assert occupation.sum() == pytest.approx(1.0, abs=1e-5)
    # geometric for any Gaussian
    np.testing.assert_allclose(occupation[1:4] / occupation[:3], occupation[1] / occupation[0], rtol=1e-6)
    fields = groups["velocity_fields"]
    px, py = fields["position"][0, :, 0].T
    unit = HBAR / MASS
    u = unit * np.stack([-px - 0.4 * py, -py - 0.4 * px], axis=-1)
    v = unit * np.stack([0.3 * py, 0.3 * px], axis=-1)
    np.testing.assert_allclose(fields["osmotic_velocity"][0, :, 0], u, atol=1e-6)
    np.testing.assert_allclose(fields["current_velocity"][0, :, 0], v, atol=1e-6)


def test_draws_do_not_depend_on_anything_but_the_seed() -> None:
    first, second = (recorded(2)[1]["velocity_fields"] for _ in range(2))
    np.testing.assert_array_equal(first["position"], second["position"])


def test_points_are_drawn_with_their_probability() -> None:
    weight = np.array([[0.1, 0.0, 0.3], [0.2, 0.4, 1e-20]])
    points = draw_points(weight, np.random.default_rng(1), 20_000)
    counts = np.zeros(weight.shape)
    np.add.at(counts, tuple(points.T), 1.0)
    expected = weight / weight.sum()
    assert counts[0, 1] == counts[1, 2] == 0.0
    assert (np.abs(counts / 20_000 - expected) <= 5.0 * np.sqrt(expected / 20_000)).all()


def test_correlations_are_taken_at_a_few_times() -> None:
    np.testing.assert_array_equal(correlation_times(np.linspace(0, 1, 101)), np.arange(0, 101, 10))
    np.testing.assert_array_equal(correlation_times(np.linspace(0, 1, 5)), np.arange(5))
    chosen = correlation_times(np.linspace(0, 1, 54))
    assert (chosen[0], chosen[-1], len(chosen)) == (0, 53, 11)
    assert set(np.diff(chosen)) <= {5, 6}
    np.testing.assert_array_equal(correlation_times(np.array([2.0])), [0])


def test_lanczos_finds_the_same_orbitals() -> None:
    """Long grids use another eigensolver."""
    state, occupations = exact_state(3, 0.6), []
    for points in (128, 640):
        x = np.linspace(-4.5, 4.5, points, endpoint=False)
        dx = x[1] - x[0]
        occupation, orbitals = natural_orbitals(state.density_matrix(x), dx, 6)
        np.testing.assert_allclose(orbitals @ orbitals.conj().T * dx, np.eye(6), atol=1e-9)
        occupations.append(occupation)
    np.testing.assert_allclose(occupations[1], occupations[0], atol=1e-12)


def test_the_phase_of_an_orbital_is_fixed() -> None:
    x = np.linspace(-5.0, 5.0, 101)
    for psi in (np.exp(-(x**2)), x * np.exp(-(x**2))):
        for phase in (1.0, 1j, -1.0):
            matrix = density_matrix((phase * psi)[:, None].astype(complex), 1.0)
            orbital = natural_orbitals(matrix, 0.1, 1)[1][0]
            np.testing.assert_allclose(orbital.imag, 0.0, atol=1e-12)
            assert orbital[np.argmax(np.abs(orbital[:51]))].real > 0.0


def test_nothing_is_divided_where_there_is_nobody() -> None:
    density = np.array([1.0, 1e-3, 1e-7, 0.0])
    with np.errstate(all="raise"):
        g2 = pair_correlation(np.outer(density, density), density)
        g1 = coherence(np.sqrt(np.outer(density, density)) + 0j)
    for values in (g2, g1):
        np.testing.assert_allclose(values[:2, :2], 1.0)
        assert np.isnan(values[2:]).all()
        assert np.isnan(values[:, 2:]).all()
