"""Networks that march in tests: small problems, and the plainest integrator there is.

Walkers stand still, at a Sobol set of the initial density; weights |psi|^2/rho_0 keep the averages right as
long as the density has not moved far. Rates are numpy's least squares, steps are the classical Runge-Kutta
method.

Shapes: W configurations, n coordinates, P parameters.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tiny import tiny_config
from torch import Tensor

from dsmsim.config import Config
from dsmsim.march.model import Model
from dsmsim.march.network_model import build_network_model
from dsmsim.march.potential_model import PotentialModel
from dsmsim.march.velocity_model import VelocityModel
from dsmsim.system import ClosedForm, build_initial, build_system, closed_form

Array = NDArray[np.float64]

MOVING = {"system.mass": 0.7, "initial.phase": -1.5}
CROWD = {"system.particles": 3, "system.interaction": {"kind": "gaussian", "g": 1.0, "s2": 0.2}}
PLANE = {
    "system.dimensions": 2,
    "system.trap.omega": [1.0, 1.7],
    "initial.variance": [0.3, 0.1],
    "initial.mean": [0.2, -0.1],
}
PRODUCT = {
    "initial": {
        "kind": "product",
        "amplitude": "exp(-2*(x-0.5)**2) + exp(-2*(x+0.5)**2)",
        "phase": "sin(x)",
        "range": [-5, 5],
    }
}


def march_config(kind: str, changes: dict[str, Any], width: int = 4) -> Config:
    """The tiny input with a moving cloud, heavier or lighter than one, and a network of a kind."""
    return tiny_config({**MOVING, "network.kind": kind, "network.width": width, **changes})


def model_of(config: Config, arrays: dict[str, Any] | None = None) -> PotentialModel | VelocityModel:
    """The model of an input."""
    return build_network_model(config, build_system(config), build_initial(config), arrays)


def places(config: Config, count: int = 6, seed: int = 1) -> Tensor:
    """Independent configurations of the initial state."""
    return torch.from_numpy(build_initial(config).sample(np.random.default_rng(seed), count))


def elsewhere(model: Model, size: float = 0.3, seed: int = 2) -> Array:
    """theta (P,) some way from the start."""
    theta = model.start()
    return np.asarray(theta.real + size * np.random.default_rng(seed).standard_normal(theta.shape))


def exact_rates(form: ClosedForm, x: Tensor, t: float) -> tuple[Tensor, Tensor]:
    """d(u, v)/dt of a closed form at x (W, n): each (W, n)."""
    time = torch.full((len(x), 1), t, dtype=torch.float64)
    _, rates = torch.func.jvp(
        lambda time: (form.u(x, time), form.v(x, time)), (time,), (torch.ones_like(time),)
    )
    return rates


def rate(model: Model, theta: Array, x: Tensor, log_rho: Tensor, t: float, cutoff: float) -> Array:
    """theta' (P,): weighted least squares over x (W, n), drawn from exp(log_rho) (W,)."""
    equations = model.equations(theta, x, t)
    rows, targets = equations.rows.numpy(), equations.targets.numpy()
    weights = np.full(len(x), 1.0 / len(x))
    if equations.local.log_density is not None:
        logarithms = (equations.local.log_density - log_rho).numpy()
        weights = np.exp(logarithms - logarithms.max())
        weights /= weights.sum()
    if model.centred:
        rows = rows - np.tensordot(weights, rows, 1)
        targets = targets - weights @ targets
    root = np.sqrt(weights)
    matrix = (root[:, None, None] * rows).reshape(-1, rows.shape[-1])
    found = np.linalg.lstsq(matrix, (root[:, None] * targets).reshape(-1), rcond=cutoff)[0]
    return np.asarray(found, dtype=np.float64)


def march(
    model: Model, config: Config, end: float, steps: int, count: int = 500, cutoff: float = 1e-5
) -> Array:
    """theta (P,) at `end`, by steps of the classical Runge-Kutta method."""
    initial = build_initial(config)
    x = torch.from_numpy(initial.low_discrepancy(np.random.default_rng(3), count))
    log_rho, theta, h = initial.log_density(x), np.asarray(model.start().real), end / steps

    def rates(theta: Array, t: float) -> Array:
        return rate(model, theta, x, log_rho, t, cutoff)

    for k in range(steps):
        t = k * h
        k1 = rates(theta, t)
        k2 = rates(theta + 0.5 * h * k1, t + 0.5 * h)
        k3 = rates(theta + 0.5 * h * k2, t + 0.5 * h)
        k4 = rates(theta + h * k3, t + h)
        theta = theta + h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)
    return theta


def field_errors(
    model: Model, theta: Array, config: Config, end: float, count: int = 512
) -> tuple[float, float]:
    """Relative errors of u and v in L2 of the exact density, against the closed form at `end`."""
    form = closed_form(config)
    assert form is not None
    mean, deviation = form.mean(end).reshape(-1), np.sqrt(form.variance(end).reshape(-1))
    noise = np.random.default_rng(4).standard_normal((count, len(mean)))
    x = torch.from_numpy(mean + deviation * noise)
    t = torch.full((count, 1), end, dtype=torch.float64)
    u, v = model.velocities(theta, x)
    exact_u, exact_v = form.u(x, t), form.v(x, t)
    return (
        float((u - exact_u).norm() / exact_u.norm()),
        float((v - exact_v).norm() / exact_v.norm()),
    )
