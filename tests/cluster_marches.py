"""Cluster ansaetze for tests: inputs that make every factor, and log psi in elementary operations.

Shapes: W configurations, n coordinates (N particles, D axes), P parameters.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tiny import tiny_config
from torch import Tensor

from dsmsim.config import Config
from dsmsim.march.build import build_cluster
from dsmsim.march.cluster import ClusterModel
from dsmsim.system import build_initial, build_system

ComplexArray = NDArray[np.complex128]

MOVING = {"system.mass": 0.7, "initial.phase": -1.5}
COLLIDING = {"system.interaction": {"kind": "gaussian", "g": 1.0, "s2": 0.2}, "march.pair_functions": 4}
ALONE = {"system.particles": 1, "system.interaction": None}
THREE = {**MOVING, **COLLIDING, "system.particles": 3, "march.collective_functions": 2}
WELL = {"system.trap": {"kind": "double_well", "barrier": 0.5, "half_distance": 0.7}}
PRODUCT = {
    "initial": {
        "kind": "product",
        "amplitude": "exp(-2*(x-0.5)**2) + exp(-2*(x+0.6)**2)",
        "phase": "sin(x)",
        "range": [-5, 5],
    }
}
PLANE = {
    "system.dimensions": 2,
    "system.trap.omega": [1.0, 1.7],
    "initial.variance": [0.3, 0.1],
    "initial.mean": [0.2, -0.1],
}
SPACE = {"system.dimensions": 3, "initial.variance": [0.3, 0.1, 0.2], "initial.mean": [0.2, -0.1, 0.0]}

CASES: dict[str, dict[str, Any]] = {
    "one": {**ALONE, **MOVING},
    "one in a double well": {**ALONE, **MOVING, **WELL, "march.one_body_functions": 5},
    "one in space": {**ALONE, **MOVING, **SPACE, "march.one_body_functions": 2},
    "two": {
        **MOVING,
        **COLLIDING,
        "system.trap.quench": {"omega": {"to": 1.5, "start": 0.1, "duration": 0.6}},
    },
    "two at rest": {**COLLIDING, "initial.mean": 0.0},
    "two of a product state": {**COLLIDING, **PRODUCT, "march.one_body_functions": 3},
    "two in space": {**MOVING, **COLLIDING, **SPACE},
    "three": THREE,
    "three, linear": {**THREE, "march.collective_order": 1, "march.one_body_functions": 2},
    "three, no pair amplitude": {**THREE, "march.pair_functions": 0},
    "three at rest": {**THREE, "initial.mean": 0.0, "initial.phase": 0.0},
    "three in a plane": {**THREE, **PLANE, "march.one_body_functions": 2},
    "five": {**THREE, "system.particles": 5, "march.collective_functions": 1},
}


def cluster_of(name: str) -> tuple[Config, ClusterModel]:
    """The input of one of CASES, and its model."""
    config = tiny_config(CASES[name])
    return config, model_of(config)


def model_of(config: Config) -> ClusterModel:
    """The cluster ansatz of an input."""
    return build_cluster(config, build_system(config), build_initial(config))


def places(config: Config, count: int = 6, seed: int = 1) -> Tensor:
    """Independent configurations (count, n) of the initial state."""
    return torch.from_numpy(build_initial(config).sample(np.random.default_rng(seed), count))


def elsewhere(model: ClusterModel, size: float = 0.2, seed: int = 2) -> ComplexArray:
    """theta (P,) some way from the start; amplitudes keep away from 0."""
    rng, parameters = np.random.default_rng(seed), len(model.names)
    noise = rng.standard_normal(parameters) + 1j * rng.standard_normal(parameters)
    return np.asarray(size / math.sqrt(parameters) * noise)


def plain_log_psi(model: ClusterModel) -> Callable[[Any, Tensor], Tensor]:
    """(theta (P,), x (n,)) -> log psi, a complex number; parameters are known by their names.

    Not differentiable where two particles meet, by square roots that cancel.
    """
    particles, axes = model.system.particles, model.system.dimensions
    basis, one_body = model.factors.basis, model.factors.one_body

    def phi(k: int, r: Tensor) -> Tensor:
        return torch.cos(k * math.pi * torch.asinh(r / basis.length) / math.asinh(basis.reach / basis.length))

    def log_psi(theta: Any, x: Tensor) -> Tensor:
        left = dict(zip(model.names, torch.as_tensor(theta), strict=True))
        z = x.reshape(particles, axes)
        start = 0.5 * model.initial.log_density(x[None])[0] + 1j * model.initial.phase(x[None])[0]
        total = start.to(torch.complex128)
        for axis, name in enumerate("xyz"[:axes]):
            own = z[:, axis] - float(model.initial.mean[axis])
            apart = [(own[i] - own[j]).square() for i, j in itertools.combinations(range(particles), 2)]
            total = total + left.pop(name, 0.0) * own.sum() + left.pop(f"{name}^2") * own.square().sum()
            if apart:
                total = total + left.pop(f"pair {name}^2") * sum(apart)

        single = {name: left.pop(name) for name in list(left) if name.startswith("one-body")}
        for i in range(particles):
            amplitude = torch.ones((), dtype=torch.complex128)
            for name, c in single.items():
                product = torch.ones((), dtype=torch.float64)
                for axis, degree in enumerate(map(int, name.split()[1:])):
                    assert one_body is not None
                    length, center = one_body.length[axis], float(model.initial.mean[axis])
                    y = 0.5 * math.pi + one_body.rate[axis] * torch.asinh((z[i, axis] - center) / length)
                    product = product * torch.cos(degree * y)
                amplitude = amplitude + c * product
            total = total + amplitude.log()

        distance = [
            [(z[i] - z[j]).square().sum().sqrt() if i != j else z[0, 0] for j in range(particles)]
            for i in range(particles)
        ]
        pair = {name: left.pop(name) for name in list(left) if name.startswith("pair")}
        for i, j in itertools.combinations(range(particles), 2):
            terms = [c * phi(int(name.split()[1]), distance[i][j]) for name, c in pair.items()]
            total = total + (1.0 + sum(terms, torch.zeros((), dtype=torch.complex128))).log()

        if left:
            seen = {
                q: torch.stack(
                    [
                        sum(phi(q, distance[i][j]) for j in range(particles) if j != i)
                        for i in range(particles)
                    ]
                )
                / (particles - 1)
                for q in (1, 2)
            }
            gamma = {f"S{q}": seen[q].mean() for q in seen}
            gamma |= {f"T{q}{p}": (seen[q] * seen[p]).mean() for q in seen for p in seen if q <= p}
            amplitude = torch.ones((), dtype=torch.complex128)
            for name, c in left.items():
                amplitude = amplitude + c * math.prod((gamma[part] for part in name.split()), start=1.0)
            total = total + amplitude.log()
        return total

    return log_psi


def cauchy(value: Callable[[complex], ComplexArray], radius: float = 1e-3) -> ComplexArray:
    """Derivative at 0 of an analytic function, from eight points of a circle: error of order radius^8."""
    circle = np.exp(2j * np.pi * np.arange(8) / 8)
    return np.asarray(sum(value(radius * w) / w for w in circle) / (8 * radius))
