"""Product grids for solvers that hold the whole wave function, and what is read off them.

Every coordinate x_k of the configuration has equidistant points lo_a + j h_a, j = 0 ... M-1, h_a = (hi_a -
lo_a)/M, that depend on its axis a only: all particles share one box. The box is periodic, as the discrete
Fourier transform wants it, so sums over the points times the cell volume are integrals of spectral
accuracy.

Shapes: `N` particles, `D` dimensions, `n = N D` coordinates (particle-major), `M` points per coordinate,
psi (M, ..., M) with n dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt
import scipy.fft
import torch

from dsmsim.system import InitialState, System

Array = npt.NDArray[np.float64]
Wave = npt.NDArray[np.complex128]
Values = TypeVar("Values", bound=np.ndarray[Any, Any])
Box = tuple[tuple[float, float], ...]

# rows of a batch handed to the potential at once
ROWS = 1 << 20


@dataclass(frozen=True)
class Grid:
    """Equidistant points in a box, the same for all particles.

    Attributes:
        box: (lo, hi) of every axis (D pairs), a length.
        points: M, per coordinate.
        particles: N.
    """

    box: Box
    points: int
    particles: int

    @property
    def dimensions(self) -> int:
        """D."""
        return len(self.box)

    @property
    def coordinates(self) -> int:
        """n = N D."""
        return self.particles * self.dimensions

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the wave function."""
        return (self.points,) * self.coordinates

    def spacing(self, axis: int) -> float:
        """h of an axis."""
        low, high = self.box[axis]
        return (high - low) / self.points

    def positions(self, axis: int) -> Array:
        """The points along an axis (M,)."""
        return np.asarray(self.box[axis][0] + self.spacing(axis) * np.arange(self.points))

    def wavenumbers(self, axis: int) -> Array:
        """The wavenumbers of the Fourier transform along an axis (M,), in its order."""
        return np.asarray(2.0 * np.pi * scipy.fft.fftfreq(self.points, self.spacing(axis)))

    @property
    def cell(self) -> float:
        """Volume that belongs to one point of the grid."""
        return float(np.prod([self.spacing(axis) for axis in range(self.dimensions)])) ** self.particles

    def along(self, values: Values, coordinate: int) -> Values:
        """Values (M,) of one coordinate, shaped to broadcast over the wave function."""
        shape = [-1 if k == coordinate else 1 for k in range(self.coordinates)]
        return cast(Values, values.reshape(shape))

    def batches(self) -> Iterator[torch.Tensor]:
        """All points of the grid in their order, as batches (B, n) of at most `ROWS` rows."""
        size = self.points**self.coordinates
        axes = [self.positions(k % self.dimensions) for k in range(self.coordinates)]
        for start in range(0, size, ROWS):
            index = np.unravel_index(np.arange(start, min(start + ROWS, size)), self.shape)
            columns = [axis[place] for axis, place in zip(axes, index, strict=True)]
            yield torch.from_numpy(np.stack(columns, axis=-1))

    def potential(self, system: System, t: float) -> Array:
        """V at all points at time t."""
        return self.values(lambda x: system.potential(x, x.new_full((x.shape[0], 1), t)))

    def values(self, function: Callable[[torch.Tensor], torch.Tensor]) -> Array:
        """A function of batches (B, n), values (B,), at all points."""
        with torch.no_grad():
            parts = [function(x).numpy() for x in self.batches()]
        return np.concatenate(parts).reshape(self.shape)

    def initial_wave(self, initial: InitialState) -> Wave:
        """psi_0 = sqrt(rho_0) e^{i S_0}, with norm 1 on the grid."""
        with torch.no_grad():
            parts = [
                np.exp(0.5 * initial.log_density(x).numpy() + 1j * initial.phase(x).numpy())
                for x in self.batches()
            ]
        psi = np.concatenate(parts).reshape(self.shape)
        psi /= np.sqrt(self.norm(psi))
        return psi

    def norm(self, psi: Wave) -> float:
        """Integral of |psi|^2."""
        return float(np.vdot(psi, psi).real * self.cell)

    def marginals(self, probability: Array) -> list[Array]:
        """From the probability of each point of the grid, that of each value of a coordinate: n arrays."""
        return [
            probability.sum(axis=tuple(k for k in range(self.coordinates) if k != kept))
            for kept in range(self.coordinates)
        ]

    def moments(self, probability: Array) -> tuple[Array, Array]:
        """Means (N, D) and covariances (N, N, D) along each axis, for a probability that sums to 1."""
        shape = (self.particles, self.dimensions)
        positions = [self.positions(k % self.dimensions) for k in range(self.coordinates)]
        ones = self.marginals(probability)
        mean = np.array([x @ one for x, one in zip(positions, ones, strict=True)])
        covariance = np.zeros((self.particles, self.particles, self.dimensions))
        for i, j, axis in np.ndindex(covariance.shape):
            first, second = sorted((i * self.dimensions + axis, j * self.dimensions + axis))
            from_mean = positions[first] - mean[first], positions[second] - mean[second]
            if first == second:
                covariance[i, j, axis] = from_mean[0] ** 2 @ ones[first]
                continue
            others = tuple(k for k in range(self.coordinates) if k not in (first, second))
            covariance[i, j, axis] = from_mean[0] @ probability.sum(axis=others) @ from_mean[1]
        return mean.reshape(shape), covariance

    def densities(self, probability: Array) -> list[Array]:
        """One-body density along each axis, averaged over particles: D arrays (M,)."""
        ones = self.marginals(probability)
        return [
            np.mean(ones[axis :: self.dimensions], axis=0) / self.spacing(axis)
            for axis in range(self.dimensions)
        ]

    def edge_probability(self, probability: Array) -> Array:
        """Probability in the outer 1/32 of the box at its low and high end, of the worst particle: (D, 2)."""
        band = max(2, self.points // 32)
        ones = np.reshape(self.marginals(probability), (self.particles, self.dimensions, self.points))
        ends = np.stack([ones[..., :band].sum(-1), ones[..., -band:].sum(-1)], axis=-1)
        return np.asarray(ends.max(axis=0))

    def momentum_edge_probability(self, psi: Wave) -> float:
        """Probability in the outer 1/16 of the wavenumbers that the grid can tell apart, the worst axis.

        Of the first particle: all bosons have the same.
        """
        low = max(1, self.points // 32)
        middle = self.points // 2
        worst = 0.0
        for axis in range(self.dimensions):
            power = np.abs(scipy.fft.fft(psi, axis=axis))
            power *= power
            others = tuple(k for k in range(self.coordinates) if k != axis)
            one = power.sum(axis=others)
            worst = max(worst, float(one[middle - low : middle + low + 1].sum() / one.sum()))
        return worst


def dirichlet_grid(box: Box, points: int, particles: int) -> Grid:
    """The grid of M points strictly between walls at the ends (lo, hi) of `box`.

    As a periodic grid it has the length of the box less one spacing, and the same spacing.
    """
    inner = tuple((low + (high - low) / (points + 1), high) for low, high in box)
    return Grid(inner, points, particles)
