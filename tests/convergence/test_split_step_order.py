"""Order of the split-step products, measured by slopes, and what they conserve."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from order_problems import QUENCHES, bosons, packet, slope

from baselines.split_step import GridSolution, evolve
from dsmsim.config import Config
from dsmsim.system import closed_form

GRID: dict[str, Any] = {"points": 64, "extent": 7.0}


def final_wave(config: Config, steps: int, order: int) -> np.ndarray:
    solution = evolve(config, dt=config.time.end / steps, order=order, keep_psi=True, **GRID)
    assert solution.psi is not None
    return np.asarray(solution.psi[-1])


def wave_errors(config: Config, steps: list[int], order: int) -> list[float]:
    """L2 distance of the final wave from that of four times as many steps of fourth order."""
    exact = final_wave(config, 4 * steps[-1], 4)
    scale = np.linalg.norm(exact)
    return [float(np.linalg.norm(final_wave(config, count, order) - exact) / scale) for count in steps]


CASES = {2: [32, 48, 64, 96, 128], 4: [16, 24, 32, 48, 64]}


@pytest.mark.convergence
@pytest.mark.parametrize("order", CASES)
def test_order_in_dt_of_the_wave_function(order: int) -> None:
    errors = wave_errors(packet(), CASES[order], order)
    assert slope(CASES[order], errors) == pytest.approx(order, abs=0.1)
    assert errors[-1] > 1e-11, "rounding errors would hide the order"


@pytest.mark.convergence
@pytest.mark.parametrize("order", CASES)
def test_order_in_dt_of_the_exact_moments(order: int) -> None:
    config = packet()
    form = closed_form(config)
    assert form is not None
    expected = form.variance([1.6])[0, 0, 0]
    errors = []
    for count in CASES[order]:
        solution = evolve(config, dt=1.6 / count, order=order, **GRID)
        errors.append(abs(solution.groups["observables"]["variance"][-1, 0, 0] - expected))
    assert slope(CASES[order], errors) == pytest.approx(order, abs=0.1)


@pytest.mark.convergence
@pytest.mark.parametrize("order", CASES)
@pytest.mark.parametrize("quench", QUENCHES.values(), ids=QUENCHES)
def test_order_holds_while_the_potential_changes(order: int, quench: dict[str, Any]) -> None:
    errors = wave_errors(packet(quench=quench), CASES[order], order)
    assert slope(CASES[order], errors) == pytest.approx(order, abs=0.25)


def test_packet_agrees_with_the_closed_form() -> None:
    config = packet()
    form = closed_form(config)
    assert form is not None
    solution = evolve(config, dt=0.01, order=4, points=128, extent=9.0)
    found, times = solution.groups["observables"], solution.times
    np.testing.assert_allclose(found["mean"], form.mean(times), atol=1e-8)
    np.testing.assert_allclose(found["variance"], form.variance(times), atol=1e-8)
    np.testing.assert_allclose(found["energy"], form.energy(), rtol=1e-8)
    np.testing.assert_allclose(found["norm"], 1.0, atol=1e-12)
    variance, mean = form.variance(times)[:, 0], form.mean(times)[:, 0]
    exact = np.exp(-((solution.x - mean) ** 2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)
    np.testing.assert_allclose(solution.density, exact, atol=1e-8)


@pytest.mark.parametrize("order", [2, 4])
@pytest.mark.parametrize(
    "interaction",
    [{"kind": "gaussian", "g": 2.0, "s2": 0.2}, {"kind": "harmonic", "g": -0.5}],
    ids=["gaussian", "harmonic"],
)
def test_norm_energy_and_symmetry(order: int, interaction: dict[str, Any]) -> None:
    solution = evolve(bosons(interaction), points=48, extent=4.0, dt=0.005, order=order, keep_psi=True)
    found = solution.groups["observables"]
    np.testing.assert_allclose(found["norm"], 1.0, atol=1e-12)
    np.testing.assert_allclose(found["energy"], found["energy"][0], rtol=2e-4 if order == 2 else 1e-9)
    parts = found["energy_kinetic_osmotic"] + found["energy_kinetic_current"] + found["energy_potential"]
    np.testing.assert_allclose(parts, found["energy"], rtol=1e-12)
    assert solution.psi is not None
    np.testing.assert_allclose(solution.psi, np.swapaxes(solution.psi, 1, 2), atol=1e-12)


def test_kinetic_energies_of_a_moving_packet() -> None:
    """Osmotic: hbar^2/(8 m s). Current: m mu'^2/2 + m s'^2/(8 s); both known from the closed form."""
    config = packet()
    form = closed_form(config)
    assert form is not None
    solution: GridSolution = evolve(config, dt=0.01, order=4, points=128, extent=9.0)
    step = 1e-5
    times = solution.times
    s = form.variance(times)[:, 0, 0]
    s_dot = (form.variance(times + step) - form.variance(times - step))[:, 0, 0] / (2 * step)
    velocity = (form.mean(times + step) - form.mean(times - step))[:, 0, 0] / (2 * step)
    found = solution.groups["observables"]
    np.testing.assert_allclose(found["energy_kinetic_osmotic"], 1.0 / (8.0 * s), rtol=1e-8)
    np.testing.assert_allclose(
        found["energy_kinetic_current"], 0.5 * velocity**2 + s_dot**2 / (8.0 * s), rtol=1e-7
    )
