"""Exact solutions: a Gaussian in a harmonic trap, with or without a harmonic pair interaction.

    V = 1/2 mass sum_i sum_a omega_a^2 (x_ia - c_a)^2 + (g/2) sum_{i<j} |x_i - x_j|^2

Per axis the normal modes are the centre of mass X = (1/N) sum_i x_i, with frequency omega, and the N - 1
relative coordinates, with frequency^2 = omega^2 + N g / mass (negative: the cloud is pushed apart). All
particles start from N(mu0, s0) with phase k x, so every mode starts with the variance s0. With C =
cos(omega t) and S = sin(omega t)/omega of the mode in question (omega = 0: C = 1, S = t):

    mu(t)  = c + (mu0 - c) C + (hbar k/mass) S
    s(t)   = s0 C^2 + (hbar/(2 mass))^2 S^2 / s0          s_c: centre of mass, s_r: relative modes
    Var x_i = (s_c + (N-1) s_r)/N        Cov(x_i, x_j) = (s_c - s_r)/N        Var X = s_c/N
    u = -(hbar/(2 mass)) [ (X - mu)/s_c + (x_i - X)/s_r ]
    v = mu' + (s_c'/(2 s_c)) (X - mu) + (s_r'/(2 s_r)) (x_i - X)

A sudden quench at t = 0 only changes the numbers of V. Kohn's theorem: X moves in this way for ANY
interaction of differences, as long as the trap is harmonic and alone.

Shapes: `B` batch, `N` particles, `D` dimensions, `n = N D`, `T` times, `M` cells.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import ndtr
from torch import Tensor

from dsmsim.config import Config
from dsmsim.config.interactions import HarmonicPair
from dsmsim.config.system import ProductState
from dsmsim.config.terms import HarmonicTerm
from dsmsim.system.initial import gaussian_parameters
from dsmsim.system.quench import read_parameters

Array = npt.NDArray[np.float64]


class _Waves(NamedTuple):
    """C and S of one mode and their derivatives."""

    c: Tensor
    s: Tensor
    c_dot: Tensor
    s_dot: Tensor


def _waves(square: float, t: Tensor) -> _Waves:
    """C, S of frequency^2 = `square` (any sign) at times t."""
    if square == 0.0:
        return _Waves(torch.ones_like(t), t, torch.zeros_like(t), torch.ones_like(t))
    omega = math.sqrt(abs(square))
    if square > 0.0:
        c, s = torch.cos(omega * t), torch.sin(omega * t) / omega
    else:
        c, s = torch.cosh(omega * t), torch.sinh(omega * t) / omega
    return _Waves(c, s, -square * s, c)


@dataclass(frozen=True)
class _Axis:
    """One axis: the trap and the initial state; `momentum` is hbar k."""

    hbar: float
    mass: float
    center: float
    square: float
    relative_square: float
    mean: float
    variance: float
    momentum: float

    def path(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """mu and mu' at times t."""
        wave = _waves(self.square, t)
        start, velocity = self.mean - self.center, self.momentum / self.mass
        return (
            self.center + start * wave.c + velocity * wave.s,
            start * wave.c_dot + velocity * wave.s_dot,
        )

    def spread(self, square: float, t: Tensor) -> tuple[Tensor, Tensor]:
        """s and s' of a mode of frequency^2 = `square` at times t."""
        wave = _waves(square, t)
        kick = (self.hbar / (2.0 * self.mass)) ** 2 / self.variance
        return (
            self.variance * wave.c**2 + kick * wave.s**2,
            2.0 * (self.variance * wave.c * wave.c_dot + kick * wave.s * wave.s_dot),
        )


class CenterOfMass:
    """Mean and variance of X = (1/N) sum_i x_i at all times."""

    def __init__(self, axes: Sequence[_Axis], particles: int) -> None:
        self._axes = tuple(axes)
        self.particles = particles

    def mean(self, t: npt.ArrayLike) -> Array:
        """E[X] at times t (T,): (T, D)."""
        return _stack([axis.path(_times(t))[0] for axis in self._axes])

    def variance(self, t: npt.ArrayLike) -> Array:
        """Var[X] at times t (T,): (T, D)."""
        return _stack([axis.spread(axis.square, _times(t))[0] for axis in self._axes]) / self.particles


class ClosedForm:
    """The exact state at all times: moments, velocities, one-body density and energy."""

    def __init__(self, axes: Sequence[_Axis], particles: int) -> None:
        self._axes = tuple(axes)
        self.particles = particles
        self.dimensions = len(axes)
        self._center = CenterOfMass(axes, particles)

    def mean(self, t: npt.ArrayLike) -> Array:
        """Mean position at times t (T,): (T, N, D)."""
        return np.repeat(self._center.mean(t)[:, None, :], self.particles, axis=1)

    def variance(self, t: npt.ArrayLike) -> Array:
        """Variance of each coordinate at times t (T,): (T, N, D)."""
        center, relative = self._modes(t)
        one = (center + (self.particles - 1) * relative) / self.particles
        return np.repeat(one[:, None, :], self.particles, axis=1)

    def covariance(self, t: npt.ArrayLike) -> Array:
        """Cov(x_i, x_j) along each axis at times t (T,): (T, N, N, D)."""
        center, relative = self._modes(t)
        between = ((center - relative) / self.particles)[:, None, None, :]
        return relative[:, None, None, :] * np.eye(self.particles)[:, :, None] + between

    def center_of_mass_mean(self, t: npt.ArrayLike) -> Array:
        """E[(1/N) sum_i x_i] at times t (T,): (T, D)."""
        return self._center.mean(t)

    def center_of_mass_variance(self, t: npt.ArrayLike) -> Array:
        """Var[(1/N) sum_i x_i] at times t (T,): (T, D)."""
        return self._center.variance(t)

    def density(self, x_edges: npt.ArrayLike, t: npt.ArrayLike, axis: int = 0) -> Array:
        """One-body density along an axis, averaged over cells with edges (M+1,), at times t (T,): (T, M)."""
        edges = np.asarray(x_edges, dtype=np.float64)
        mean = self.mean(t)[:, 0, axis, None]
        width = np.sqrt(self.variance(t)[:, 0, axis, None])
        below = ndtr((edges - mean) / width)
        above = ndtr((mean - edges) / width)
        # right of the mean the differences of the upper tail keep their digits
        inside = np.where(edges[:-1] > mean, above[:, :-1] - above[:, 1:], below[:, 1:] - below[:, :-1])
        return np.asarray(inside / np.diff(edges), dtype=np.float64)

    def u(self, x: Tensor, t: Tensor) -> Tensor:
        """Osmotic velocity at x (B, n), t (B, 1): (B, n)."""
        columns = []
        for axis, own, center in self._columns(x):
            mean, _ = axis.path(t)
            s_c, _ = axis.spread(axis.square, t)
            s_r, _ = axis.spread(axis.relative_square, t)
            columns.append(-0.5 * axis.hbar / axis.mass * ((center - mean) / s_c + (own - center) / s_r))
        return torch.stack(columns, -1).reshape(x.shape)

    def v(self, x: Tensor, t: Tensor) -> Tensor:
        """Current velocity at x (B, n), t (B, 1): (B, n)."""
        columns = []
        for axis, own, center in self._columns(x):
            mean, velocity = axis.path(t)
            s_c, s_c_dot = axis.spread(axis.square, t)
            s_r, s_r_dot = axis.spread(axis.relative_square, t)
            together = 0.5 * s_c_dot / s_c * (center - mean)
            columns.append(velocity + together + 0.5 * s_r_dot / s_r * (own - center))
        return torch.stack(columns, -1).reshape(x.shape)

    def energy(self) -> float:
        """Total energy for t >= 0 (a quench at t = 0 included)."""
        total = 0.0
        for axis in self._axes:
            kinetic = axis.hbar**2 / (8.0 * axis.mass * axis.variance) + axis.momentum**2 / (2.0 * axis.mass)
            offset = (axis.mean - axis.center) ** 2
            trap = 0.5 * axis.mass * axis.square * (offset + axis.variance)
            # (g/2) N(N-1)/2 pairs of mean square 2 s0, with N g = mass (relative_square - square)
            stiffness = 0.5 * axis.mass * (axis.relative_square - axis.square)
            total += self.particles * (kinetic + trap) + (self.particles - 1) * stiffness * axis.variance
        return total

    def _modes(self, t: npt.ArrayLike) -> tuple[Array, Array]:
        times = _times(t)
        center = _stack([axis.spread(axis.square, times)[0] for axis in self._axes])
        return center, _stack([axis.spread(axis.relative_square, times)[0] for axis in self._axes])

    def _columns(self, x: Tensor) -> list[tuple[_Axis, Tensor, Tensor]]:
        """Per axis: its data, the positions (B, N) and their centre of mass (B, 1)."""
        columns = x.reshape(*x.shape[:-1], self.particles, self.dimensions).unbind(-1)
        return [
            (axis, own, own.mean(-1, keepdim=True)) for axis, own in zip(self._axes, columns, strict=True)
        ]


def closed_form(config: Config) -> ClosedForm | None:
    """The exact solution of an input, or None where this module has none.

    There is one for a Gaussian initial state, no one-body term but a harmonic trap (or none at all), no
    interaction but the harmonic one, and no change in time after t = 0.
    """
    interaction = config.system.interaction
    coupling = 0.0
    if interaction is not None and config.system.particles > 1:
        if not isinstance(interaction, HarmonicPair):
            return None
        g = read_parameters(interaction, "system.interaction", config.system.dimensions)["g"]
        if not g.is_static:
            return None
        coupling = g.after[0]
    axes = _axes(config, coupling)
    return None if axes is None else ClosedForm(axes, config.system.particles)


def center_of_mass(config: Config) -> CenterOfMass | None:
    """The exact centre of mass of an input (Kohn's theorem), or None where the theorem does not apply.

    It needs a Gaussian initial state and no one-body term but a static harmonic trap (or none at all); the
    interaction may be any function of differences.
    """
    axes = _axes(config, coupling=0.0)
    return None if axes is None else CenterOfMass(axes, config.system.particles)


def _axes(config: Config, coupling: float) -> list[_Axis] | None:
    table = config.system
    trap = table.trap
    if table.terms or isinstance(config.initial, ProductState):
        return None
    omega: tuple[float, ...] = (0.0,)
    center: tuple[float, ...] = (0.0,)
    if trap is not None:
        if not isinstance(trap, HarmonicTerm):
            return None
        parameters = read_parameters(trap, "system.trap", table.dimensions)
        if not all(parameter.is_static for parameter in parameters.values()):
            return None
        omega, center = parameters["omega"].after, parameters["center"].after
    repeat = table.dimensions
    omega, center = omega * (repeat // len(omega)), center * (repeat // len(center))
    mean, variance, wavenumber = gaussian_parameters(config)
    return [
        _Axis(
            hbar=table.hbar,
            mass=table.mass,
            center=center[axis],
            square=omega[axis] ** 2,
            relative_square=omega[axis] ** 2 + table.particles * coupling / table.mass,
            mean=mean[axis],
            variance=variance[axis],
            momentum=table.hbar * wavenumber[axis],
        )
        for axis in range(table.dimensions)
    ]


def _times(t: npt.ArrayLike) -> Tensor:
    return torch.as_tensor(np.atleast_1d(np.asarray(t, dtype=np.float64)))


def _stack(columns: Sequence[Tensor]) -> Array:
    return torch.stack(list(columns), -1).numpy()
