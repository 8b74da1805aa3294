"""Parts of the relative grid: coordinates, sinc grids, the frame, reduced states and velocities."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from relative_problems import MOVING, bosons

from baselines import split_step
from baselines.relative.breathing import breathing, classical_cloud
from baselines.relative.coordinates import relative_coordinates
from baselines.relative.dvr import HalfGrid
from baselines.relative_grid import evolve
from dsmsim.system import build_initial, build_system, closed_form


@pytest.mark.parametrize(
    ("particles", "dimensions"), [(2, 1), (3, 1), (4, 1), (5, 1), (6, 1), (2, 3), (3, 2)]
)
@pytest.mark.parametrize("each_axis_even", [True, False])
def test_coordinates(particles: int, dimensions: int, each_axis_even: bool) -> None:
    c = relative_coordinates(particles, dimensions, each_axis_even=each_axis_even)
    np.testing.assert_allclose(c.modes @ c.modes.T, np.eye(particles - 1), atol=1e-14)
    np.testing.assert_allclose(c.modes.sum(axis=1), 0.0, atol=1e-14)
    np.testing.assert_allclose(c.mixing @ c.mixing.T, np.eye(len(c.sectors)), atol=1e-14)
    assert len(c.sectors) * len(c.group) == 2**c.count
    # the group leaves every set of distances between particles alone
    rng = np.random.default_rng(0)
    y = rng.standard_normal((particles - 1, dimensions))

    def distances(modes: np.ndarray) -> np.ndarray:
        x = np.einsum("mi,ma->ia", c.modes, modes)
        pairs = [np.abs(x[i] - x[j]) for i, j in itertools.combinations(range(particles), 2)]
        return np.sort(np.array(pairs), axis=0)

    for bits in c.group:
        signs = 1.0 - 2.0 * np.array(bits).reshape(y.shape)
        np.testing.assert_allclose(distances(signs * y), distances(y), atol=1e-13)


@pytest.mark.parametrize(("particles", "sectors"), [(2, 1), (3, 1), (4, 1), (5, 2), (6, 2)])
def test_one_dimension_has_few_sectors(particles: int, sectors: int) -> None:
    assert len(relative_coordinates(particles, 1, each_axis_even=True).sectors) == sectors


@pytest.mark.parametrize("parity", [0, 1])
def test_half_grids_differentiate_and_interpolate(parity: int) -> None:
    grid = HalfGrid(0.25, 28)
    y = grid.y
    values, vectors = grid.spectra[parity]
    gauss = np.exp(-(y**2))
    f, slope = (gauss, -2.0 * y * gauss) if parity == 0 else (y * gauss, (1.0 - 2.0 * y**2) * gauss)
    second = (4.0 * y**2 - 2.0) * gauss if parity == 0 else (4.0 * y**3 - 6.0 * y) * gauss
    np.testing.assert_allclose(grid.derivative(parity) @ f, slope, atol=1e-10)
    np.testing.assert_allclose((vectors * values) @ vectors.T @ f, -second, atol=1e-10)
    at = np.linspace(-2.0, 2.0, 17)
    exact = np.exp(-(at**2)) * (at if parity else 1.0)
    np.testing.assert_allclose(grid.interpolation(at, parity) @ f, exact, atol=1e-12)


def test_the_frame_is_smooth_and_follows_the_edge() -> None:
    config = bosons(4)
    system = build_system(config)
    frame = breathing(classical_cloud(system, build_initial(config), 1.0), 0, system)
    assert not frame.is_static
    step = 1e-4
    for t in (0.1, 0.5, 0.9):
        before, (_, b_dot, b_second), after = (frame.scale(t + move) for move in (-step, 0.0, step))
        assert (after[0] - before[0]) / (2 * step) == pytest.approx(b_dot, rel=1e-5)
        assert (after[1] - before[1]) / (2 * step) == pytest.approx(b_second, rel=1e-4, abs=1e-5)
    times = np.linspace(0.2, 0.7, 2001)
    squares = np.array([frame.scale(t)[0] ** -2 for t in times])
    assert frame.drift(0.2, 0.7) == pytest.approx(np.trapezoid(squares, times), rel=1e-6)
    assert frame.reach * frame.wavenumber < 0.7 * frame.reach * frame.lab_wavenumber


@pytest.mark.parametrize("particles", [2, 3, 4])
def test_velocities_correlations_and_momenta_of_coupled_oscillators(particles: int) -> None:
    config = bosons(particles, interaction={"kind": "harmonic", "g": -0.3}, initial=MOVING, save=3)
    solution = evolve(config, tolerance=1e-5)
    form = closed_form(config)
    assert form is not None
    fields = solution.groups["velocity_fields"]
    for index, t in enumerate(solution.times):
        x = torch.from_numpy(fields["position"][index].reshape(-1, particles))
        clock = x.new_full((len(x), 1), float(t))
        for name, exact in (("osmotic_velocity", form.u), ("current_velocity", form.v)):
            found = fields[name][index].reshape(-1, particles)
            np.testing.assert_allclose(found, exact(x, clock).numpy(), atol=1e-3, err_msg=name)
        covariance, expected = np.cov(x.T.numpy()), form.covariance([t])[0, :, :, 0]
        # 1000 configurations: five standard errors
        np.testing.assert_allclose(covariance, expected, atol=5.0 * np.sqrt(2e-3) * expected[0, 0])
    found = solution.groups["correlations"]
    x, dx = found["x"], np.diff(found["x"])[0]
    two = form.covariance(solution.times)[-1, :2, :2, 0]
    grid = np.stack(np.meshgrid(x, x, indexing="ij"), axis=-1) - form.mean(solution.times)[-1, 0, 0]
    exponent = -0.5 * np.einsum("ijk,kl,ijl->ij", grid, np.linalg.inv(two), grid)
    exact = np.exp(exponent) / (2.0 * np.pi * np.sqrt(np.linalg.det(two)))
    assert np.abs(found["pair_density"][-1] - exact).sum() * dx**2 < 1e-4
    diagonal = np.einsum("ii->i", found["density_matrix_re"][-1])
    np.testing.assert_allclose(diagonal, exact.sum(axis=1) * dx, atol=1e-4)
    np.testing.assert_allclose(found["occupation"].sum(axis=1), 1.0, atol=1e-6)
    momentum = solution.groups["momentum"]
    p, density = momentum["p"], momentum["momentum_density"]
    kinetic = particles * density @ p**2 * (p[1] - p[0]) / 2.0
    np.testing.assert_allclose(kinetic, solution.groups["observables"]["energy_kinetic"], rtol=1e-4)


@pytest.mark.parametrize("particles", [2, 3])
def test_correlations_agree_with_the_full_grid(particles: int) -> None:
    config = bosons(particles, initial=MOVING, save=3)
    solution, full = evolve(config, tolerance=1e-5), split_step.evolve(config, tolerance=1e-2)
    found, expected = solution.groups["correlations"], full.groups["correlations"]
    np.testing.assert_allclose(found["occupation"][:, :6], expected["occupation"][:, :6], atol=1e-4)
    at = np.linspace(-1.0, 1.0, 21)
    for name in ("pair_density", "density_matrix_re", "density_matrix_im"):
        shown = []
        for group in (found, expected):
            x = group["x"]
            thin = np.sinc((at[:, None] - x) / (x[1] - x[0]))
            shown.append(np.einsum("ai,tij,bj->tab", thin, group[name], thin))
        np.testing.assert_allclose(shown[0], shown[1], atol=1e-3, err_msg=name)


def test_five_bosons_have_all_groups() -> None:
    """Three modes in the two-body density, two sectors: against what the density itself says."""
    solution = evolve(bosons(5, save=[0.0, 0.4]), spacing=0.1, dt=0.1, order=4)
    found = solution.groups["correlations"]
    dx = np.diff(found["x"])[0]
    one = found["pair_density"].sum(axis=2) * dx
    np.testing.assert_allclose(one, np.einsum("tii->ti", found["density_matrix_re"]), atol=5e-3)
    np.testing.assert_allclose(found["occupation"].sum(axis=1), 1.0, atol=1e-4)
    assert found["occupation"][0, 0] == pytest.approx(1.0, abs=1e-4)
    assert np.isfinite(solution.groups["velocity_fields"]["osmotic_velocity"]).all()
