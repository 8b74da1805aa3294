"""Ground states by imaginary time, against closed forms and a direct diagonalisation."""

from __future__ import annotations

import numpy as np
import pytest
from gaussian_states import HBAR, MASS, OMEGA, G, coupled
from scipy.linalg import eigh

from baselines.grids.ground_state import ground_state as on_a_grid
from baselines.split_step import GroundState, ground_state
from dsmsim.config import Config, parse_config
from dsmsim.errors import ConfigError
from dsmsim.system import build_initial, build_system


def oscillator(dimensions: int = 1) -> Config:
    omega, mean = [2.0, 1.0][:dimensions], [0.3, -0.2][:dimensions]
    system = {
        "particles": 1,
        "dimensions": dimensions,
        "hbar": 0.5,
        "trap": {"kind": "harmonic", "omega": omega},
    }
    initial = {"kind": "gaussian", "mean": mean, "variance": 0.4, "phase": 2.0}
    return parse_config({"system": system, "initial": initial, "time": {"end": 1.0}})


def two_bosons() -> Config:
    system = {
        "particles": 2,
        "hbar": 0.1,
        "trap": {"kind": "harmonic", "omega": 1.0},
        "interaction": {"kind": "gaussian", "g": 1.0, "s2": 0.1},
    }
    return parse_config({"system": system, "time": {"end": 1.0}})


def residual_bounds_the_error(found: GroundState, exact: float) -> bool:
    return abs(found.energy - exact) <= found.residual + 1e-9


@pytest.mark.parametrize("order", [2, 4])
@pytest.mark.parametrize(("dimensions", "energy"), [(1, 0.5), (2, 0.75)])
def test_harmonic_oscillator(order: int, dimensions: int, energy: float) -> None:
    found = ground_state(oscillator(dimensions), order=order, tolerance=1e-5)
    assert found.converged
    # of second order in the residual
    assert found.energy == pytest.approx(energy, abs=1e-9)
    assert residual_bounds_the_error(found, energy)
    assert found.psi.min() > -1e-6
    assert max(found.edge_probability, found.momentum_edge_probability) <= 1e-10


@pytest.mark.parametrize("particles", [2, 3])
def test_coupled_oscillators(particles: int) -> None:
    """Half a quantum of the centre of mass, and half of each of the N - 1 relative modes."""
    relative = np.sqrt(OMEGA**2 + particles * G / MASS)
    exact = 0.5 * HBAR * (OMEGA + (particles - 1) * relative)
    found = ground_state(coupled(particles), tolerance=1e-5)
    assert found.converged
    assert found.energy == pytest.approx(exact, abs=1e-8)
    axes = tuple(range(found.psi.ndim))
    for k in axes[1:]:
        np.testing.assert_allclose(found.psi, np.swapaxes(found.psi, 0, k), atol=1e-9)


def test_two_interacting_bosons() -> None:
    """The relative coordinate r = x1 - x2 alone, of mass 1/2: a one-dimensional problem."""
    points = 401
    r = np.linspace(-4.0, 4.0, points)
    h = r[1] - r[0]
    offset = np.subtract.outer(np.arange(points), np.arange(points))
    with np.errstate(divide="ignore"):
        bend = np.where(offset == 0, np.pi**2 / 3.0, 2.0 * (-1.0) ** offset / offset.astype(float) ** 2)
    repulsion = 0.5 * np.exp(-(r**2) / 0.2) / np.sqrt(0.2 * np.pi)
    hamiltonian = 0.1**2 / h**2 * bend + np.diag(0.25 * r**2 + repulsion)
    exact = eigh(hamiltonian, eigvals_only=True, subset_by_index=[0, 0])[0] + 0.05
    found = ground_state(two_bosons(), tolerance=1e-6)
    assert found.converged
    assert found.energy == pytest.approx(exact, abs=1e-9)
    assert residual_bounds_the_error(found, exact)


@pytest.mark.convergence
@pytest.mark.parametrize("order", [2, 4])
def test_order_of_the_steps(order: int) -> None:
    """Steps of a fixed length have a lowest state of their own, step^order away."""
    config = two_bosons()
    system, initial = build_system(config), build_initial(config)
    steps, residuals, energies = [0.5, 0.35, 0.25, 0.18], [], []
    for step in steps:
        found = on_a_grid(system, initial, ((-2.5, 2.5),), 48, order=order, tolerance=1e-12, step=step)
        assert not found.converged
        residuals.append(found.residual)
        energies.append(found.energy)
    assert np.polyfit(np.log(steps), np.log(residuals), 1)[0] == pytest.approx(order, abs=0.1)
    assert (np.diff(energies) <= 1e-14).all()


def test_a_state_that_fills_its_box_is_marked() -> None:
    free = {"system": {"particles": 1}, "initial": {"kind": "gaussian", "variance": 0.2}}
    found = ground_state(parse_config(free | {"time": {"end": 1.0}}), points=64, extent=3.0)
    assert found.edge_probability > 1e-2
    assert not found.converged


def test_what_is_not_finite_is_refused() -> None:
    term = {"kind": "expression", "expression": "1/abs(x)"}
    system = {"particles": 1, "trap": term}
    initial = {"kind": "gaussian", "variance": 0.2}
    config = parse_config({"system": system, "initial": initial, "time": {"end": 1.0}})
    with pytest.raises(ConfigError, match="not finite"):
        ground_state(config, points=64, extent=4.0)
    with pytest.raises(ValueError, match="order 2 and 4"):
        ground_state(oscillator(), order=3)
