"""Order of the Magnus steps of the Fock solver, measured by slopes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from baselines.fock_space.propagation import Wave, magnus_step

HBAR, END = 0.7, 1.5
START = np.array([1.0, 0.5j, -0.2]) / np.sqrt(1.29)


def hamiltonian(t: float) -> np.ndarray:
    """Three levels, driven: the parts do not commute with each other at different times."""
    static = np.diag([0.0, 1.0, 2.3])
    drive = np.array([[0.0, 1.0, 0.2j], [1.0, 0.0, 0.6], [-0.2j, 0.6, 0.0]])
    return np.asarray(static * (1.0 + 0.4 * np.cos(2.0 * t)) + np.sin(3.0 * t) * drive)


def evolved(steps: int) -> Wave:
    psi = START.copy()
    dt = END / steps
    for k in range(steps):
        psi = magnus_step(
            psi, k * dt, dt, HBAR, lambda t: (hamiltonian(t),), lambda m: lambda v: m[0] @ v, 1e-14
        )
    return psi


@pytest.mark.convergence
def test_fourth_order_and_the_norm() -> None:
    start = START.copy()
    exact = solve_ivp(
        lambda t, psi: hamiltonian(t) @ psi / (1j * HBAR), (0.0, END), start, "DOP853", rtol=1e-13, atol=1e-14
    ).y[:, -1]
    counts = [8, 12, 16, 24, 32]
    errors = [float(np.linalg.norm(evolved(count) - exact)) for count in counts]
    slope = -np.polyfit(np.log(counts), np.log(errors), 1)[0]
    assert slope == pytest.approx(4.0, abs=0.15)
    assert errors[-1] > 1e-10, "rounding errors would hide the order"
    assert np.linalg.norm(evolved(8)) == pytest.approx(1.0, abs=1e-12)
