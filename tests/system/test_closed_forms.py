"""Closed forms: Nelson's equations pointwise, moments against Heisenberg's equations, known cases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from system_examples import make_config, two_bosons
from torch import Tensor

from baselines.split_step import evolve
from dsmsim.config import Config
from dsmsim.system import build_initial, build_system, center_of_mass, closed_form

HBAR, MASS = 0.3, 1.4


def gaussian(**changes: Any) -> dict[str, Any]:
    return {"kind": "gaussian", "mean": 0.3, "variance": 0.4, "phase": 2.0} | changes


def harmonic(**changes: Any) -> dict[str, Any]:
    return {"kind": "harmonic", "omega": 1.3, "center": -0.2} | changes


def pairs(g: float) -> dict[str, Any]:
    return {"kind": "harmonic", "g": g}


CASES: dict[str, dict[str, Any]] = {
    "one_axis": {"trap": harmonic(), "initial": gaussian()},
    "published": {
        "trap": harmonic(omega=1.0, center=0.1),
        "initial": gaussian(mean=0.0, variance=0.1, phase=-5.0),
    },
    "three_axes": {
        "dimensions": 3,
        "trap": harmonic(omega=[0.5, 1.0, 2.0], center=[0.0, 0.2, -0.1]),
        "initial": gaussian(mean=[0.1, -0.2, 0.0], variance=[0.1, 0.5, 0.3], phase=[1.0, 0.0, -2.0]),
    },
    "free": {"initial": gaussian()},
    "half_free": {"dimensions": 2, "trap": harmonic(omega=[0.0, 1.0]), "initial": gaussian()},
    "ground_state_after_a_jump": {
        "dimensions": 2,
        "trap": harmonic(quench={"omega": {"to": [2.0, 0.0]}, "center": {"to": 0.5}}),
        "initial": {"kind": "trap_ground_state"},
    },
    "two_coupled": {"particles": 2, "trap": harmonic(), "interaction": pairs(0.8), "initial": gaussian()},
    "three_coupled": {"particles": 3, "trap": harmonic(), "interaction": pairs(0.8), "initial": gaussian()},
    "four_repelled": {"particles": 4, "trap": harmonic(), "interaction": pairs(-0.9), "initial": gaussian()},
    "five_marginal": {
        "particles": 5,
        "trap": harmonic(omega=1.0),
        "interaction": pairs(-MASS / 5.0),
        "initial": gaussian(),
    },
    "coupled_3d": {
        "particles": 3,
        "dimensions": 3,
        "trap": harmonic(omega=[0.0, 1.0, 2.0]),
        "interaction": pairs(0.3),
        "initial": gaussian(phase=[1.0, 0.0, -1.0]),
    },
    "coupled_free": {"particles": 2, "interaction": pairs(0.5), "initial": gaussian()},
}


def case(name: str) -> Config:
    return make_config(hbar=HBAR, mass=MASS, end=2.0, **CASES[name])


Field = Callable[[Tensor, Tensor], Tensor]


def nelson_residuals(config: Config, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Both residuals (B, n) by automatic differentiation at one point each, and the size of their terms."""
    form, system = closed_form(config), build_system(config)
    assert form is not None
    half = config.system.hbar / (2.0 * config.system.mass)

    def divergence(field: Field, at: Tensor, time: Tensor) -> Tensor:
        return torch.func.jacfwd(field)(at, time).diagonal(dim1=-2, dim2=-1).sum(-1)

    def one_point(at: Tensor, time: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        u, v = form.u(at, time), form.v(at, time)
        u_x, v_x = (torch.func.jacfwd(field)(at, time) for field in (form.u, form.v))
        u_t, v_t = (torch.func.jacfwd(field, argnums=1)(at, time)[:, 0] for field in (form.u, form.v))
        grad_div_u = torch.func.jacrev(lambda place: divergence(form.u, place, time))(at)
        grad_div_v = torch.func.jacrev(lambda place: divergence(form.v, place, time))(at)
        force = -system.gradient(at, time) / config.system.mass
        newton = v_t - (force + u_x @ u - v_x @ v + half * grad_div_u)
        score = u_t + u_x @ v + v_x.T @ u + half * grad_div_v
        return newton, score, (v_t.abs() + force.abs() + (u_x @ u).abs() + (v_x @ v).abs() + u_t.abs()).max()

    return torch.func.vmap(one_point)(x, t)


@pytest.mark.parametrize("name", CASES)
def test_velocities_satisfy_nelsons_equations_at_every_point(name: str) -> None:
    config = case(name)
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(1000, config.system.coordinates, dtype=torch.float64, generator=generator)
    t = 2.0 * torch.rand(1000, 1, dtype=torch.float64, generator=generator)
    newton, score, size = nelson_residuals(config, x, t)
    scale = size.clamp(min=1.0)[:, None]
    assert float((newton.abs() / scale).max()) < 1e-12
    assert float((score.abs() / scale).max()) < 1e-12


@pytest.mark.parametrize("name", CASES)
def test_velocities_start_from_the_initial_state(name: str) -> None:
    config = case(name)
    form, initial = closed_form(config), build_initial(config)
    assert form is not None
    x = torch.from_numpy(initial.sample(np.random.default_rng(0), 50))
    start = torch.zeros(50, 1, dtype=torch.float64)
    torch.testing.assert_close(form.u(x, start), initial.u(x), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(form.v(x, start), initial.v(x), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(form.mean([0.0])[0].ravel(), initial.mean, rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(form.variance([0.0])[0].ravel(), initial.variance, rtol=1e-13)


def phase_space_moments(config: Config, axis: int, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means (T, N) and covariances (T, N, N) of the positions along one axis, integrated in time.

    Heisenberg's equations for z = (x_1 ... x_N, p_1 ... p_N): d<z>/dt = A <z> + f, dC/dt = A C + C A^T.
    """
    system, initial = build_system(config), build_initial(config)
    particles, dimensions = system.particles, system.dimensions
    origin = torch.zeros(system.coordinates, dtype=torch.float64)
    now = torch.ones(1, dtype=torch.float64)
    own = [i * dimensions + axis for i in range(particles)]
    stiffness = torch.func.jacrev(system.gradient)(origin, now).numpy()[np.ix_(own, own)]
    push = -system.gradient(origin, now).numpy()[own]
    flow = np.block(
        [
            [np.zeros((particles, particles)), np.eye(particles) / MASS],
            [-stiffness, np.zeros((particles, particles))],
        ]
    )
    velocity = initial.v(origin[None])[0].numpy()[own]
    mean = np.concatenate([initial.mean[own], MASS * velocity])
    variance = initial.variance[own]
    covariance = np.diag(np.concatenate([variance, HBAR**2 / (4.0 * variance)]))

    def slope(_: float, state: np.ndarray) -> np.ndarray:
        z, c = state[: 2 * particles], state[2 * particles :].reshape(2 * particles, 2 * particles)
        forced = flow @ z + np.concatenate([np.zeros(particles), push])
        return np.concatenate([forced, (flow @ c + c @ flow.T).ravel()])

    start = np.concatenate([mean, covariance.ravel()])
    solved = solve_ivp(slope, (0.0, 2.0), start, t_eval=times, method="DOP853", rtol=1e-12, atol=1e-13).y.T
    covariances = solved[:, 2 * particles :].reshape(-1, 2 * particles, 2 * particles)
    return solved[:, :particles], covariances[:, :particles, :particles]


@pytest.mark.parametrize("name", CASES)
def test_moments_follow_heisenbergs_equations(name: str) -> None:
    config = case(name)
    form = closed_form(config)
    assert form is not None
    times = np.linspace(0.0, 2.0, 9)
    covariance = form.covariance(times)
    for axis in range(config.system.dimensions):
        mean, expected = phase_space_moments(config, axis, times)
        np.testing.assert_allclose(form.mean(times)[:, :, axis], mean, rtol=1e-9, atol=1e-10)
        np.testing.assert_allclose(covariance[..., axis], expected, rtol=1e-9, atol=1e-10)
        center = expected.mean(axis=(1, 2))
        np.testing.assert_allclose(form.center_of_mass_variance(times)[:, axis], center, rtol=1e-9)
    np.testing.assert_allclose(form.variance(times), np.einsum("tiia->tia", covariance), rtol=1e-12)


def test_published_formulas_of_one_particle() -> None:
    config = make_config(
        hbar=0.01, trap=harmonic(omega=1.0, center=0.1), initial=gaussian(mean=0.0, variance=0.1, phase=-5.0)
    )
    form = closed_form(config)
    assert form is not None
    t = np.linspace(0.0, 1.0, 11)
    mean = 0.1 - 0.1 * np.cos(t) - 0.05 * np.sin(t)
    variance = 0.1 * np.cos(t) ** 2 + 1e-4 / (4.0 * 0.1) * np.sin(t) ** 2
    np.testing.assert_allclose(form.mean(t)[:, 0, 0], mean, rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(form.variance(t)[:, 0, 0], variance, rtol=1e-13)


def test_coupled_pair_agrees_with_the_grid() -> None:
    config = make_config(
        particles=2, trap=harmonic(omega=1.0), interaction=pairs(0.7), initial=gaussian(phase=0.8), end=1.5
    )
    form, solution = closed_form(config), evolve(config, order=4, tolerance=1e-8)
    assert form is not None
    found, times = solution.groups["observables"], solution.times
    for name in ("mean", "covariance", "center_of_mass_variance"):
        np.testing.assert_allclose(found[name], getattr(form, name)(times), atol=1e-6)
    np.testing.assert_allclose(found["energy"], form.energy(), rtol=1e-6)


def test_density_is_the_cell_average_of_the_gaussian() -> None:
    form = closed_form(case("three_axes"))
    assert form is not None
    edges, times = np.linspace(-4.0, 4.0, 41), np.array([0.0, 0.7, 2.0])
    fine = np.linspace(-4.0, 4.0, 40_001)
    for axis in range(3):
        mean, variance = form.mean(times)[:, 0, axis, None], form.variance(times)[:, 0, axis, None]
        values = np.exp(-((fine - mean) ** 2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)
        middle = 0.5 * (values[:, 1:] + values[:, :-1])
        expected = middle.reshape(3, 40, 1000).mean(axis=2)
        np.testing.assert_allclose(form.density(edges, times, axis), expected, rtol=1e-4, atol=1e-9)
    far = form.density(np.array([8.0, 8.5]), [0.0], axis=0)
    assert 0.0 < far[0, 0] < 1e-100


@pytest.mark.parametrize(
    "changes",
    [
        {"terms": {"spot": {"kind": "gaussian", "amplitude": 0.1, "width": 1.0}}},
        {"trap": {"kind": "double_well", "barrier": 1.0, "half_distance": 1.0}},
        {"trap": harmonic(quench={"omega": {"to": 2.0, "start": 0.5}})},
        {"trap": harmonic(quench={"omega": {"to": 2.0, "duration": 0.5}})},
        {"initial": {"kind": "product", "amplitude": "1/cosh(x)", "range": [-12.0, 12.0]}},
    ],
)
def test_none_where_nothing_is_known(changes: dict[str, Any]) -> None:
    config = make_config(**({"particles": 2, "trap": harmonic(), "initial": gaussian()} | changes))
    assert closed_form(config) is None
    assert center_of_mass(config) is None


def test_kohns_theorem_for_any_interaction() -> None:
    config = two_bosons()
    assert closed_form(config) is None
    center = center_of_mass(config)
    assert center is not None
    times = np.linspace(0.0, 1.0, 5)
    # ground state of the trap: hbar/(2 mass omega N), at rest
    np.testing.assert_allclose(center.variance(times), 0.025, rtol=1e-13)
    np.testing.assert_allclose(center.mean(times), 0.0, atol=1e-15)
    ramped = {"kind": "harmonic", "g": 1.0, "quench": {"g": {"to": 2.0, "duration": 1.0}}}
    driven = make_config(particles=2, trap=harmonic(), interaction=ramped, initial=gaussian())
    assert closed_form(driven) is None
    assert center_of_mass(driven) is not None


def test_interaction_of_a_single_particle_does_not_matter() -> None:
    gaussian_pair = {"kind": "gaussian", "g": 1.0, "s2": 0.1}
    form = closed_form(make_config(trap=harmonic(), interaction=gaussian_pair, initial=gaussian()))
    assert form is not None
