"""Order of the steps of the relative grid, at rest, breathing and through quenches; accuracy in h."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from baselines.relative_grid import evolve
from dsmsim.config import Config, parse_config

STEPS = {2: [24, 32, 48, 64], 4: [12, 16, 24, 32]}


def bosons(particles: int = 3, interaction: dict[str, Any] | None = None, **trap: Any) -> Config:
    return parse_config(
        {
            "system": {
                "particles": particles,
                "hbar": 0.1,
                "trap": {"kind": "harmonic", "omega": 1.0, **trap},
                "interaction": interaction or {"kind": "gaussian", "g": 1.0, "s2": 0.1},
            },
            "initial": {"kind": "gaussian", "variance": 0.06},
            "time": {"end": 1.0, "save": [0.0, 1.0]},
        }
    )


def final_density(config: Config, steps: int, order: int, breathe: bool, spacing: float = 0.14) -> np.ndarray:
    solution = evolve(
        config, dt=1.0 / steps, order=order, spacing=spacing, breathe=breathe, correlations=False
    )
    return np.asarray(solution.density[-1])


def slope(config: Config, order: int, breathe: bool) -> float:
    """Exponent p of error ~ steps^-p of the density at the end."""
    steps = STEPS[order]
    exact = final_density(config, 6 * steps[-1], 4, breathe)
    errors = [np.abs(final_density(config, count, order, breathe) - exact).sum() for count in steps]
    assert errors[-1] > 1e-10, "rounding errors would hide the order"
    return float(-np.polyfit(np.log(steps), np.log(errors), 1)[0])


@pytest.mark.convergence
@pytest.mark.parametrize("order", STEPS)
@pytest.mark.parametrize("breathe", [False, True], ids=["at rest", "breathing"])
def test_order_in_dt(order: int, breathe: bool) -> None:
    assert slope(bosons(), order, breathe) == pytest.approx(order, abs=0.25)


@pytest.mark.convergence
@pytest.mark.parametrize("order", STEPS)
def test_order_holds_through_quenches(order: int) -> None:
    ramp = {"omega": {"to": 1.8, "start": 0.25, "duration": 0.25}}
    coupling = {"kind": "gaussian", "g": 0.2, "s2": 0.1, "quench": {"g": {"to": 1.0, "start": 0.75}}}
    assert slope(bosons(2, coupling, quench=ramp), order, True) == pytest.approx(order, abs=0.25)


@pytest.mark.convergence
def test_the_error_falls_faster_than_any_power_of_h() -> None:
    config = bosons()
    exact = final_density(config, 20, 4, True, 0.08)
    coarse, middle, fine = (
        np.abs(final_density(config, 20, 4, True, spacing) - exact).sum() for spacing in (0.3, 0.2, 0.15)
    )
    # a fourth-order stencil would gain 5 and 3.2
    assert middle < coarse / 8.0
    assert fine < middle / 8.0
