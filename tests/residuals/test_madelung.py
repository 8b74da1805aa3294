"""The scalar residuals of a potential network, against Nelson's equations and a stationary state."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from plain_potential import plain_velocities
from tiny import tiny_config
from torch import Tensor

from dsmsim.networks import PotentialFields, build_fields
from dsmsim.residuals.madelung import centred, madelung_loss, madelung_residuals
from dsmsim.residuals.nelson import nelson_residuals
from dsmsim.system import System, build_initial, build_system

CASES: dict[str, dict[str, Any]] = {
    "two": {},
    "three, moving": {"system.particles": 3, "initial.phase": -1.5},
    "tensor layers": {"system.particles": 3, "network.tensor": {"rank": 2}},
    "plane": {
        "system.dimensions": 2,
        "system.trap.omega": [1.0, 1.7],
        "initial.variance": [0.3, 0.1],
        "initial.mean": [0.2, -0.1],
        "system.interaction": {"kind": "gaussian", "g": 1.0, "s2": 0.2},
    },
    "product": {
        "initial": {
            "kind": "product",
            "amplitude": "exp(-2*(x-0.5)**2) + exp(-2*(x+0.5)**2)",
            "phase": "sin(x)",
            "range": [-5, 5],
        }
    },
    "no messages": {"system.particles": 3, "network.messages": False},
    "ring": {"system.particles": 4, "network.kind": "functional_tt"},
    "ring in a plane": {"system.dimensions": 2, "network.kind": "functional_tt", "network.bond_rank": 2},
}
cases = pytest.mark.parametrize("name", CASES)


def problem(name: str) -> tuple[PotentialFields, System]:
    config = tiny_config({"network.kind": "potential", "network.width": 6, **CASES[name]})
    system = build_system(config)
    fields = build_fields(config, system, build_initial(config))
    assert isinstance(fields, PotentialFields)
    return fields, system


def points(system: System, count: int = 6) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    x = 0.6 * torch.randn(count, system.coordinates, dtype=torch.float64)
    return x, torch.rand(count, 1, dtype=torch.float64)


@cases
def test_gradients_of_the_residuals_are_nelsons(name: str) -> None:
    fields, system = problem(name)
    x, t = points(system)
    score, newton = nelson_residuals(plain_velocities(fields), system, x, t)
    step = 1e-5
    for k in range(system.coordinates):
        shift = torch.zeros_like(x)
        shift[:, k] = step
        ahead, behind = (madelung_residuals(fields, system, y, t) for y in (x + shift, x - shift))
        slope = (ahead - behind) / (2.0 * step)
        found = fields.quantum * fields.amplitude / fields.frame.end * slope
        torch.testing.assert_close(found[:, 0], score[:, k], rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(found[:, 1], newton[:, k], rtol=1e-6, atol=1e-6)


@cases
def test_velocities_and_drift(name: str) -> None:
    fields, system = problem(name)
    x, t = points(system)
    u, v = fields(x, t)
    expected = plain_velocities(fields)(x, t)
    torch.testing.assert_close(u, expected[0], rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(v, expected[1], rtol=1e-11, atol=1e-12)
    for nu in (0.0, 0.7):
        torch.testing.assert_close(fields.drift(x, t, nu), v + nu * u, rtol=1e-11, atol=1e-12)
    gradient = fields.derivatives(x, t).gradient
    torch.testing.assert_close(fields.quantum * gradient[..., 0], u, rtol=1e-11, atol=1e-12)


@cases
def test_log_psi_has_these_velocities(name: str) -> None:
    fields, system = problem(name)
    x, t = points(system)
    u, v = fields(x, t)
    step = 1e-6
    for k in range(system.coordinates):
        shift = torch.zeros_like(x)
        shift[:, k] = step
        with torch.no_grad():
            slope = (fields.log_psi(x + shift, t) - fields.log_psi(x - shift, t)) / (2.0 * step)
        found = fields.quantum * slope
        torch.testing.assert_close(found, torch.stack([u[:, k], v[:, k]], -1), rtol=1e-7, atol=1e-7)


def test_a_stationary_state_has_no_variance() -> None:
    alone = {"system.interaction": None, "initial": {"kind": "trap_ground_state"}}
    config = tiny_config({"network.kind": "potential", **alone})
    system = build_system(config)
    fields = build_fields(config, system, build_initial(config))
    assert isinstance(fields, PotentialFields)
    x, _ = points(system, 8)
    t = torch.full((8, 1), 0.3, dtype=torch.float64)
    before = madelung_loss(fields, system, 8)(x, t)
    assert before.newton.sum() > 1e-3
    with torch.no_grad():
        for name, parameter in fields.named_parameters():
            if "output" in name:
                parameter.zero_()
    after = madelung_loss(fields, system, 8)(x, t)
    assert max(after.newton.max().item(), after.score.max().item()) < 1e-24


def test_centred_squares_are_an_unbiased_variance() -> None:
    rng = np.random.default_rng(1)
    values = torch.from_numpy(rng.normal(5.0, 2.0, (200_000, 1)))
    for group in (2, 5, 20):
        variance = centred(values, group).square().mean().item()
        assert variance == pytest.approx(4.0, abs=5.0 * 4.0 * np.sqrt(2.0 / 100_000))
