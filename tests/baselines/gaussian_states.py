"""Coupled harmonic oscillators: the exact wave function at any time, and what follows from it.

The normal modes Q = sum_i x_i/sqrt(N) and the N - 1 relative ones are Gaussian at all times, of variance s
and its rate s', so that psi = exp(-x A x/2) with a complex symmetric matrix A = R + i I, and

    <x x> = 1/(2 R)     <p p> = hbar^2/2 (R + I R^-1 I)     <x p> symmetrised = -hbar/2 R^-1 I
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from baselines.grids.product import Grid
from dsmsim.config import Config, parse_config

HBAR, MASS, OMEGA, G, START = 0.5, 1.3, 1.1, 0.8, 0.35


def coupled(particles: int, dimensions: int = 1, **time: Any) -> Config:
    """Bosons in a harmonic trap with a harmonic interaction, squeezed at first."""
    system = {
        "particles": particles,
        "dimensions": dimensions,
        "hbar": HBAR,
        "mass": MASS,
        "trap": {"kind": "harmonic", "omega": OMEGA},
        "interaction": {"kind": "harmonic", "g": G},
    }
    initial = {"kind": "gaussian", "variance": START}
    return parse_config({"system": system, "initial": initial, "time": {"end": 1.0, **time}})


@dataclass(frozen=True)
class Gaussian:
    """psi = exp(-x A x/2) of N particles in one dimension, A (N, N)."""

    a: np.ndarray

    @property
    def position_covariance(self) -> np.ndarray:
        return np.asarray(np.linalg.inv(2.0 * self.a.real))

    @property
    def momentum_covariance(self) -> np.ndarray:
        real, imaginary = self.a.real, self.a.imag
        return np.asarray(0.5 * HBAR**2 * (real + imaginary @ np.linalg.inv(real) @ imaginary))

    @property
    def mixed_covariance(self) -> np.ndarray:
        return np.asarray(-0.5 * HBAR * np.linalg.inv(self.a.real) @ self.a.imag)

    def wave(self, grid: Grid) -> np.ndarray:
        """On a grid, of norm 1."""
        mesh = np.stack(np.meshgrid(*[grid.positions(0)] * grid.particles, indexing="ij"))
        psi = np.exp(-0.5 * np.einsum("i...,ij,j...->...", mesh, self.a, mesh))
        return np.asarray(psi / np.sqrt(grid.norm(psi)))

    def density_matrix(self, x: np.ndarray) -> np.ndarray:
        """rho(x, x'): the other particles are integrated out as a Gaussian."""
        b = self.a[0, 1:]
        others = np.linalg.inv(2.0 * self.a[1:, 1:].real)
        linear = b[:, None, None] * x[:, None] + b.conj()[:, None, None] * x
        own = self.a[0, 0] * x[:, None] ** 2 + self.a[0, 0].conj() * x**2
        found = np.exp(-0.5 * own + 0.5 * np.einsum("ixy,ij,jxy->xy", linear, others, linear))
        return np.asarray(found / np.sqrt(2.0 * np.pi * self.position_covariance[0, 0]))

    def occupations(self, count: int) -> np.ndarray:
        """Geometric: those of a thermal state with the same <x x>, <p p> and <x p> of one particle."""
        square = self.position_covariance[0, 0] * self.momentum_covariance[0, 0]
        nu = np.sqrt(square - self.mixed_covariance[0, 0] ** 2) / HBAR
        return np.asarray(((nu - 0.5) / (nu + 0.5)) ** np.arange(count) / (nu + 0.5))


def exact_state(particles: int, t: float) -> Gaussian:
    """The state of `coupled(particles)` at time t."""

    def mode(square: float) -> complex:
        omega = np.sqrt(square)
        c, s = np.cos(omega * t), np.sin(omega * t) / omega
        kick = (HBAR / (2.0 * MASS)) ** 2 / START
        variance = START * c**2 + kick * s**2
        rate = 2.0 * s * c * (kick - START * square)
        return complex(1.0 / (2.0 * variance), -MASS * rate / (2.0 * HBAR * variance))

    center = np.full((particles, particles), 1.0 / particles)
    relative = np.eye(particles) - center
    return Gaussian(mode(OMEGA**2) * center + mode(OMEGA**2 + particles * G / MASS) * relative)
