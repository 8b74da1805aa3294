"""A wave function that is known point by point.

    kinetic part of the local energy   -(hbar^2/2m) [ Laplacian log psi + (grad log psi)^2 ]
    osmotic and current velocity       u + i v = (hbar/m) grad log psi

Shapes: W configurations x (W, n) of n coordinates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]


@dataclass(frozen=True)
class Local:
    """log psi, up to a constant, and its derivatives at W configurations.

    Attributes:
        log_psi: (W,).
        gradient: (W, n) d log psi / dx_i.
        laplacian: (W,) sum over i of d^2 log psi / dx_i^2.
    """

    log_psi: ComplexArray
    gradient: ComplexArray
    laplacian: ComplexArray


class WaveFunction(Protocol):
    """psi(x, t), not normalised."""

    def local(self, x: Array, t: float) -> Local:
        """log psi and its derivatives at x (W, n)."""
        ...

    def log_density(self, x: Array, t: float) -> Array:
        """log |psi|^2 (W,)."""
        ...


def kinetic(local: Local, hbar: float, mass: float) -> ComplexArray:
    """Kinetic part of the local energy (W,), an energy."""
    curvature = local.laplacian + (local.gradient**2).sum(axis=1)
    return np.asarray(-(hbar**2 / (2.0 * mass)) * curvature)


def velocities(local: Local, hbar: float, mass: float) -> tuple[Array, Array]:
    """Osmotic and current velocity (W, n), length over time."""
    field = (hbar / mass) * local.gradient
    return np.ascontiguousarray(field.real), np.ascontiguousarray(field.imag)


def flow_rates(local: Local, hbar: float, mass: float) -> tuple[Array, Array]:
    """How points move with the flow, and how the log of their density changes: v (W, n) and -div v (W,)."""
    return velocities(local, hbar, mass)[1], -(hbar / mass) * local.laplacian.imag
