"""Inputs for ansaetze, and ansaetze that are built by `module:function`, right ones and wrong ones."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from baselines.variational.hermite import Hermite
from baselines.wave.wave_function import Array, ComplexArray, Local
from dsmsim.config import Config, parse_config

VARIANCE = 0.05  # of the trap's ground state in `bosons`


def bosons(particles: int = 2, *, dimensions: int = 1, initial: Any = None, **tvmc: Any) -> Config:
    """The headline problem: hbar = 0.1, mass = omega = g = 1, s2 = 0.1."""
    return parse_config(
        {
            "system": {
                "particles": particles,
                "dimensions": dimensions,
                "hbar": 0.1,
                "trap": {"kind": "harmonic", "omega": 1.0},
                "interaction": {"kind": "gaussian", "g": 1.0, "s2": 0.1},
            },
            "initial": initial or {"kind": "trap_ground_state"},
            "time": {"end": 1.0},
            "baselines": {"tvmc": tvmc},
        }
    )


def of_this_module(name: str, particles: int = 2, **shape: Any) -> Config:
    """The same with an ansatz of this module."""
    return bosons(particles, ansatz="python", function=f"ansatz_examples:{name}", **shape)


def polynomial(n: int, y: Tensor) -> Tensor:
    """H_n(y) / sqrt(2^n n!) from the coefficients of H_n."""
    coefficients = np.polynomial.hermite.herm2poly([0] * n + [1])
    powers = torch.stack([y**k for k in range(n + 1)], -1)
    return powers @ torch.from_numpy(coefficients) / math.sqrt(2.0**n * math.factorial(n))


def hermite_by_definition(ansatz: Hermite) -> Callable[[Tensor, Tensor], Tensor]:
    """log psi of the published form as a torch function, written term by term."""
    indices = [(k, m) for k in range(ansatz.n_max + 2) for m in range(k, ansatz.n_max + 2)]

    def log_psi(theta: Tensor, x: Tensor) -> Tensor:
        y = (x - ansatz.mean) / ansatz.length
        gauss = math.pi**-0.25 * torch.exp(-(y**2) / 2.0)
        phi = [torch.ones_like(y)] + [gauss * polynomial(n, y) for n in range(ansatz.n_max + 1)]
        a = torch.cat((theta.new_ones(1), theta[: ansatz.n_max]))
        weights = torch.cat((theta.new_ones(1), theta[ansatz.n_max :]))
        total = torch.stack([a[n] * phi[n + 1] for n in range(ansatz.n_max + 1)]).sum(0).log().sum(1)
        for j in range(x.shape[1]):
            for i in range(j):
                pair = [phi[k][:, i] * phi[m][:, j] + phi[m][:, i] * phi[k][:, j] for k, m in indices]
                total = total + torch.stack([c * b for c, b in zip(weights, pair, strict=True)]).sum(0).log()
        return total

    return log_psi


def hermite(config: Config) -> Any:
    """The published form, differentiated by torch."""
    ansatz = Hermite(config.system.particles, 1, 0.0, VARIANCE)
    return ansatz.start(), hermite_by_definition(ansatz)


def stretched(config: Config | None) -> Any:
    """exp(-a |x|^2) with a = 1/(4 variance) + theta, in any number of dimensions."""
    return [0.0], lambda theta, x: (-(x**2).sum(1) / (4.0 * VARIANCE)) - theta[0] * (x**2).sum(1)


@dataclass
class Stretched:
    """The same by hand, with a factor in one place that should be 1."""

    gradient_factor: float = 1.0
    laplacian_factor: float = 1.0
    derivative_factor: float = 1.0
    density_factor: float = 1.0
    linear: bool = True
    names: tuple[str, ...] = ("x^2",)

    def start(self) -> ComplexArray:
        return np.zeros(1, dtype=np.complex128)

    def local(self, theta: ComplexArray, x: Array) -> Local:
        a = 0.25 / VARIANCE + theta[0]
        laplacian = np.full(len(x), -2.0 * a * x.shape[1])
        gradient = -2.0 * a * x * self.gradient_factor
        return Local(-a * (x**2).sum(1), gradient, laplacian * self.laplacian_factor)

    def derivatives(self, theta: ComplexArray, x: Array) -> Array:
        return -(x**2).sum(1, keepdims=True) * self.derivative_factor

    def log_density(self, theta: ComplexArray, x: Array) -> Array:
        return 2.0 * self.local(theta, x).log_psi.real * self.density_factor


def by_hand(config: Config) -> Any:
    """An object with all members."""
    return Stretched()


def wrong_laplacian(config: Config) -> Any:
    """A factor of 2 in the Laplacian."""
    return Stretched(laplacian_factor=2.0)


def wrong_derivatives(config: Config) -> Any:
    """A sign error in O."""
    return Stretched(derivative_factor=-1.0)


def wrong_density(config: Config) -> Any:
    """log |psi| instead of log |psi|^2."""
    return Stretched(density_factor=0.5)


def wrong_start(config: Config) -> Any:
    """Too narrow a Gaussian."""
    return [0.1], stretched(config)[1]


def not_analytic(config: Config) -> Any:
    """The parameter's conjugate."""
    function = stretched(config)[1]
    return [0.0], lambda theta, x: function(theta.conj(), x)


def not_symmetric(config: Config) -> Any:
    """The first particle is stretched only."""
    return [0.0], lambda theta, x: (-(x**2).sum(1) / (4.0 * VARIANCE)) - theta[0] * x[:, 0] ** 2


def mixing(config: Config) -> Any:
    """Subtracts the mean over configurations."""
    function = stretched(config)[1]

    def log_psi(theta: Tensor, x: Tensor) -> Tensor:
        return function(theta, x) - function(theta, x).mean()

    return [0.0], log_psi


def not_complex(config: Config) -> Any:
    """Real values."""
    return [0.0], lambda theta, x: -(x**2).sum(1) / (4.0 * VARIANCE)


def not_an_ansatz(config: Config) -> Any:
    """A number."""
    return 1.0


def raising(config: Config) -> Any:
    """A mistake of another kind."""
    raise KeyError("omega")


not_callable = 1.0
