"""Correlated Gaussian states of N particles whose wave function is known point by point, and all of rho_1.

    log psi = -1/2 z K z + i k sum_i x_i ,   z = x - mean ,   K = a P + b (1 - P) ,   P = 1/N everywhere

with complex a (centre of mass) and b (relative motion): breathing, moving and entangled for a != b. |psi|^2
has the covariance (2 Re K)^-1, and rho_1 is Gaussian, with natural occupations (1 - q) q^j.

Shapes: B samples, N particles, P points.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsmsim.config import parse_config
from dsmsim.measure.context import Context, Extent
from dsmsim.measure.observable import Sampled
from dsmsim.system import build_system

Array = NDArray[np.float64]
Wave = NDArray[np.complex128]


@dataclass(frozen=True)
class GaussianWave:
    """The state, its samples and its exact one-body quantities."""

    particles: int = 3
    a: complex = 5.0 - 4.0j
    b: complex = 1.5 + 1.0j
    mean: float = 0.3
    wavenumber: float = 2.0
    hbar: float = 0.2
    mass: float = 1.3
    kernel: Wave = field(init=False)

    def __post_init__(self) -> None:
        together = np.full((self.particles, self.particles), 1.0 / self.particles)
        kernel = self.a * together + self.b * (np.eye(self.particles) - together)
        object.__setattr__(self, "kernel", kernel)

    @property
    def covariance(self) -> Array:
        """(N, N) of the positions."""
        return np.asarray(np.linalg.inv(2.0 * self.kernel.real))

    def draw(self, count: int, rng: np.random.Generator) -> Tensor:
        """(B, N) exact samples."""
        mean = np.full(self.particles, self.mean)
        return torch.from_numpy(rng.multivariate_normal(mean, self.covariance, size=count))

    def log_psi(self, x: Tensor) -> Tensor:
        """(R, S) (B, 2), S modulo 2 pi."""
        z = x - self.mean
        form = -0.5 * torch.einsum(
            "bi,ij,bj->b", z.to(torch.complex128), torch.from_numpy(self.kernel), z + 0j
        )
        phase = form.imag + self.wavenumber * x.sum(1)
        return torch.stack([form.real + 7.0, torch.remainder(phase, 2.0 * torch.pi)], -1)

    def velocities(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """u and v (B, N)."""
        z, unit = x - self.mean, self.hbar / self.mass
        u, v = (
            -unit * z @ torch.from_numpy(part) for part in (self.kernel.real.copy(), self.kernel.imag.copy())
        )
        return u, v + unit * self.wavenumber

    def sampled(self, x: Tensor, index: int = 0, **more: object) -> Sampled:
        """Samples as an observable is shown them."""
        u, v = self.velocities(x)
        return Sampled(index, float(index), x, u, v, log_psi=self.log_psi, **more)  # type: ignore[arg-type]

    def moments(self) -> tuple[float, float, float]:
        """Variance of the position and of the momentum of a particle, and their covariance."""
        one = self.covariance[0]
        slopes = self.hbar * self.kernel[0]
        square = float(np.real(slopes @ self.covariance @ slopes.conj()))
        return float(one[0]), square, -float(slopes.imag @ one)

    def density_matrix(self, x: Array) -> Wave:
        """rho_1 (P, P)."""
        z, first, cross = x - self.mean, self.kernel[0, 0], self.kernel[0, 1:]
        force = -(np.multiply.outer(cross, z)[:, :, None] + np.multiply.outer(cross.conj(), z)[:, None, :])
        rest = 2.0 * self.kernel[1:, 1:].real
        if self.particles > 1:
            filled = np.einsum("ixy,ij,jxy->xy", force, np.linalg.inv(rest), force)
        else:
            filled = np.zeros((len(x), len(x)))
        exponent = -0.5 * (first * z[:, None] ** 2 + first.conjugate() * z**2) + 0.5 * filled
        phase = 1j * self.wavenumber * (x[:, None] - x)
        return np.asarray(np.exp(exponent + phase) / np.sqrt(2.0 * np.pi * self.covariance[0, 0]))

    def momentum_density(self, p: Array) -> Array:
        """n(p) (P,)."""
        variance = self.moments()[1]
        away = p - self.hbar * self.wavenumber
        return np.asarray(np.exp(-0.5 * away**2 / variance) / np.sqrt(2.0 * np.pi * variance))

    def occupations(self, count: int) -> Array:
        """The largest natural occupations."""
        x, p, both = self.moments()
        purity = 0.5 * self.hbar / np.sqrt(x * p - both**2)
        q = (1.0 - purity) / (1.0 + purity)
        return np.asarray((1.0 - q) * q ** np.arange(count))

    def context(self, blocks: dict[tuple[int, int], int], times: int = 1, reach: float = 5.0) -> Context:
        """What an observable is told: these samples at every time, with so many standard deviations."""
        system = {"particles": self.particles, "hbar": self.hbar, "mass": self.mass}
        config = parse_config(
            {
                "system": system,
                "initial": {"kind": "gaussian", "mean": 0.0, "variance": 1.0},
                "time": {"end": 1.0},
            }
        )
        position, momentum, _ = self.moments()
        half, ones = reach * np.sqrt(position), np.ones(times)
        low, high = self.mean - half, self.mean + half
        extent = Extent(
            low=np.full((times, 1), low),
            high=np.full((times, 1), high),
            center_low=low,
            center_high=high,
            distance=2.0 * half,
            reach=half,
            momentum=self.hbar * self.wavenumber * ones,
            momentum_spread=np.sqrt(momentum) * ones,
        )
        return Context(
            system=build_system(config),
            times=np.arange(times, dtype=np.float64),
            kept=np.arange(times),
            edges=[np.linspace(low, high, 41)],
            extent=extent,
            mean=np.zeros(self.particles),
            variance=np.ones(self.particles),
            blocks=blocks,
            knows_wave=True,
        )
