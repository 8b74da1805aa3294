"""Order of the Crank-Nicolson steps in dt and in dx, measured by slopes, and what they conserve."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from order_problems import QUENCHES, bosons, packet, slope

from baselines.crank_nicolson import GridSolution, evolve
from baselines.grids.adi import BLANES_MOAN_PADE, STRANG, State
from baselines.grids.product import dirichlet_grid
from dsmsim.config import Config
from dsmsim.system import build_initial, build_system, closed_form

# walls where the packets are below 1e-12: a cut would leave waves of all lengths, which have no order
EXTENT = 9.0
NARROW = 6.0


GAUSSIAN = {"kind": "gaussian", "g": 2.0, "s2": 0.2}


def _extent(config: Config) -> float:
    return EXTENT if config.system.particles == 1 else NARROW


def final_wave(
    config: Config, points: int, steps: int, time_order: int = 4, space_order: int = 4
) -> np.ndarray:
    """psi at the end, by one evolution."""
    system, initial = build_system(config), build_initial(config)
    extent, end = _extent(config), config.time.end
    grid = dirichlet_grid(((-extent, extent),), points, system.particles)
    state = State(system, initial, grid, space_order, STRANG if time_order == 2 else BLANES_MOAN_PADE)
    for start, stop in itertools.pairwise((0.0, *system.breakpoints, end)):
        state.advance(start, stop, math.ceil(steps * (stop - start) / end - 1e-9))
    return state.wave()


STEPS = {2: [40, 56, 80, 112, 160], 4: [20, 28, 40, 56, 80]}


@pytest.mark.convergence
@pytest.mark.parametrize("space_order", [2, 4])
@pytest.mark.parametrize("order", STEPS)
@pytest.mark.parametrize("config", [packet(), bosons(GAUSSIAN, save=[0.0, 1.0])], ids=["packet", "bosons"])
def test_order_in_dt(config: Config, order: int, space_order: int) -> None:
    points = 143 if config.system.particles == 1 else 71
    exact = final_wave(config, points, 4 * STEPS[4][-1], time_order=4, space_order=space_order)
    errors = []
    for count in STEPS[order]:
        wave = final_wave(config, points, count, time_order=order, space_order=space_order)
        errors.append(float(np.linalg.norm(wave - exact) / np.linalg.norm(exact)))
    assert slope(STEPS[order], errors) == pytest.approx(order, abs=0.1)
    assert errors[-1] > 1e-10, "rounding errors would hide the order"


@pytest.mark.convergence
@pytest.mark.parametrize("order", STEPS)
@pytest.mark.parametrize("quench", QUENCHES.values(), ids=QUENCHES)
def test_order_in_dt_holds_while_the_potential_changes(order: int, quench: dict[str, Any]) -> None:
    config = packet(quench=quench)
    exact = final_wave(config, 143, 512, time_order=4)
    errors = []
    for count in STEPS[order]:
        wave = final_wave(config, 143, count, time_order=order)
        errors.append(float(np.linalg.norm(wave - exact) / np.linalg.norm(exact)))
    assert slope(STEPS[order], errors) == pytest.approx(order, abs=0.25)


SPACINGS = {2: [191, 271, 383, 541, 767], 4: [95, 133, 191, 271, 383]}


@pytest.mark.convergence
@pytest.mark.parametrize("order", SPACINGS)
def test_order_in_dx_of_the_exact_moments(order: int) -> None:
    config = packet()
    form = closed_form(config)
    assert form is not None
    mean, variance = form.mean([1.6])[0, 0, 0], form.variance([1.6])[0, 0, 0]
    means, variances = [], []
    for points in SPACINGS[order]:
        solution = evolve(config, points=points, extent=EXTENT, dt=0.02, space_order=order, time_order=4)
        found = solution.groups["observables"]
        means.append(abs(float(found["mean"][-1, 0, 0]) - mean))
        variances.append(abs(float(found["variance"][-1, 0, 0]) - variance))
    counts = [points + 1 for points in SPACINGS[order]]
    assert slope(counts, means) == pytest.approx(order, abs=0.1)
    assert slope(counts, variances) == pytest.approx(order, abs=0.1)


@pytest.mark.convergence
@pytest.mark.parametrize(("order", "points"), [(2, [143, 191, 287]), (4, [95, 143, 191])])
def test_order_in_dx_of_two_bosons(order: int, points: list[int]) -> None:
    """Grids of 48 k intervals share points, so that waves can be compared there."""
    config = bosons(GAUSSIAN, save=[0.0, 1.0])

    def wave(count: int, space_order: int) -> np.ndarray:
        every = (count + 1) // 16
        return final_wave(config, count, 50, 4, space_order)[every - 1 :: every, every - 1 :: every]

    exact = wave(575, 4)
    errors = [float(np.linalg.norm(wave(count, order) - exact)) for count in points]
    assert slope([count + 1 for count in points], errors) == pytest.approx(order, abs=0.15)


def test_packet_agrees_with_the_closed_form() -> None:
    config = packet()
    form = closed_form(config)
    assert form is not None
    solution: GridSolution = evolve(config, dt=0.01, points=767, extent=EXTENT, time_order=4)
    found, times = solution.groups["observables"], solution.times
    np.testing.assert_allclose(found["mean"], form.mean(times), atol=1e-6)
    np.testing.assert_allclose(found["variance"], form.variance(times), atol=1e-6)
    np.testing.assert_allclose(found["energy"], form.energy(), rtol=1e-6)
    np.testing.assert_allclose(found["norm"], 1.0, atol=1e-12)
    variance, mean = form.variance(times)[:, 0], form.mean(times)[:, 0]
    exact = np.exp(-((solution.x - mean) ** 2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)
    np.testing.assert_allclose(solution.density, exact, atol=1e-6)


@pytest.mark.parametrize("time_order", [2, 4])
@pytest.mark.parametrize("space_order", [2, 4])
@pytest.mark.parametrize(
    "interaction", [GAUSSIAN, {"kind": "harmonic", "g": -0.5}], ids=["gaussian", "harmonic"]
)
def test_norm_energy_and_symmetry(time_order: int, space_order: int, interaction: dict[str, Any]) -> None:
    solution = evolve(
        bosons(interaction, save=[0.0, 1.0]),
        points=191,
        extent=NARROW,
        dt=0.005,
        time_order=time_order,
        space_order=space_order,
        keep_psi=True,
    )
    found = solution.groups["observables"]
    np.testing.assert_allclose(found["norm"], 1.0, atol=1e-12)
    # the scheme conserves its own energy; what is measured is that of the continuum
    np.testing.assert_allclose(found["energy"], found["energy"][0], rtol=5e-2 if space_order == 2 else 1e-3)
    assert solution.psi is not None
    np.testing.assert_allclose(solution.psi, np.swapaxes(solution.psi, 1, 2), atol=1e-12)


@pytest.mark.convergence
@pytest.mark.parametrize("order", [2, 4])
def test_energy_is_conserved_to_the_order_in_space(order: int) -> None:
    """Steps far below what matters: the drift of the energy is that of the second difference."""
    config, counts = bosons(GAUSSIAN, save=[0.0, 1.0]), [96, 128, 192]
    drifts = []
    for count in counts:
        solution = evolve(config, points=count - 1, extent=NARROW, dt=0.005, time_order=4, space_order=order)
        energy = solution.groups["observables"]["energy"]
        drifts.append(abs(float(energy[-1] - energy[0])))
    assert slope(counts, drifts) == pytest.approx(order, abs=0.2)
