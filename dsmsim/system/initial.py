"""The state at t = 0: psi_0 = sqrt(rho_0) e^{i S_0}, the same one-particle state for every boson.

    current velocity   v_0 = (hbar/mass) dS_0/dx
    osmotic velocity   u_0 = (hbar/(2 mass)) d log(rho_0)/dx = (hbar/mass) d log(A)/dx,  rho_0 = A^2 / norm

    trap_ground_state  Gaussian of variance hbar/(2 mass omega) at the trap's centre, before any quench
    gaussian           rho_0 = N(mean, variance), S_0 = k x, so that v_0 = hbar k / mass
    product            A(x) and S(x) are formulas of one coordinate, differentiated by sympy

Shapes: `B` batch, `N` particles, `D` dimensions, `n = N D`; x (B, n) particle-major.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import sympy
import torch
from scipy.integrate import cumulative_simpson, simpson
from scipy.special import ndtri
from torch import Tensor

from dsmsim.config import Config, per_axis
from dsmsim.config.expressions import symbol
from dsmsim.config.system import GaussianState as GaussianTable
from dsmsim.config.system import ProductState as ProductTable
from dsmsim.config.system import TrapGroundState
from dsmsim.config.terms import HarmonicTerm
from dsmsim.errors import ConfigError
from dsmsim.system.expressions import compile_expressions, expand, read_expression
from dsmsim.system.quench import axis_constant

Array = npt.NDArray[np.float64]

# points of the table from which a product state is normalised and sampled
TABLE_POINTS = 20001
# largest density at an end of `initial.range`, relative to its peak: below it the cut cannot be seen
EDGE_DENSITY = 1e-6
# probability beyond which no quantile is taken
SMALLEST = 2.0**-32


class InitialState(ABC):
    """psi_0 of N particles in D dimensions.

    Attributes:
        particles, dimensions, coordinates: N, D and n = N D.
        mean, variance: of every coordinate, float64 arrays (n,).
    """

    def __init__(
        self, particles: int, dimensions: int, mean: Sequence[float], variance: Sequence[float]
    ) -> None:
        self.particles = particles
        self.dimensions = dimensions
        self.coordinates = particles * dimensions
        self.mean: Array = np.tile(np.asarray(mean, dtype=np.float64), particles)
        self.variance: Array = np.tile(np.asarray(variance, dtype=np.float64), particles)

    @abstractmethod
    def u(self, x: Tensor) -> Tensor:
        """Osmotic velocity at x (B, n): (B, n)."""

    @abstractmethod
    def v(self, x: Tensor) -> Tensor:
        """Current velocity at x (B, n): (B, n)."""

    def divergences(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Those of u and v at x (B, n): each (B,). In a product state component k depends on x_k alone."""
        with torch.enable_grad():
            x = x.detach().requires_grad_(True)
            fields = self.u(x), self.v(x)
            slopes = [
                torch.autograd.grad(field.sum(), x, allow_unused=True)[0] if field.requires_grad else None
                for field in fields
            ]
        of_u, of_v = (x.new_zeros(len(x)) if slope is None else slope.sum(-1) for slope in slopes)
        return of_u, of_v

    @abstractmethod
    def log_density(self, x: Tensor) -> Tensor:
        """log rho_0 at x (B, n), normalised: (B,)."""

    @abstractmethod
    def phase(self, x: Tensor) -> Tensor:
        """S_0 (radian) at x (B, n): (B,)."""

    @abstractmethod
    def sample(self, rng: np.random.Generator, count: int) -> Array:
        """`count` independent configurations from rho_0: float64 (count, n)."""

    @abstractmethod
    def quantiles(self, uniform: Array) -> Array:
        """The configuration (B, n) whose every coordinate has the cumulative probability `uniform` (B, n)."""

    def low_discrepancy(self, rng: np.random.Generator, count: int) -> Array:
        """The first `count` points of a scrambled Sobol sequence, distributed as rho_0: (count, n).

        Only numbers that are powers of two make balanced sets.
        """
        from scipy.stats import qmc  # half a second to import, and most callers draw nothing

        points = qmc.Sobol(self.coordinates, scramble=True, seed=int(rng.integers(2**63)))
        uniform = points.random_base2(math.ceil(math.log2(count)))[:count]
        return self.quantiles(np.asarray(uniform, dtype=np.float64))


def _inside(uniform: Array) -> Array:
    """Probabilities so far from 0 and 1 that quantiles are finite."""
    return np.asarray(np.clip(uniform, SMALLEST, 1.0 - SMALLEST))


class GaussianState(InitialState):
    """rho_0 = product of N(mean_a, variance_a), S_0 = sum of k_a x_a.

    Args:
        mean, variance, wavenumber: one number per axis (D); wavenumber is k in 1/length.
    """

    def __init__(
        self,
        *,
        particles: int,
        dimensions: int,
        hbar: float,
        mass: float,
        mean: Sequence[float],
        variance: Sequence[float],
        wavenumber: Sequence[float],
    ) -> None:
        super().__init__(particles, dimensions, mean, variance)
        self.velocity_unit = hbar / mass
        self._mean = tuple(mean) * particles
        self._variance = tuple(variance) * particles
        self._wavenumber = tuple(wavenumber) * particles
        self._log_norm = -0.5 * sum(math.log(2.0 * math.pi * s) for s in self._variance)

    def _from_mean(self, x: Tensor) -> Tensor:
        return x - axis_constant(self._mean, x)

    def u(self, x: Tensor) -> Tensor:
        return -0.5 * self.velocity_unit * self._from_mean(x) / axis_constant(self._variance, x)

    def v(self, x: Tensor) -> Tensor:
        return self.velocity_unit * expand(axis_constant(self._wavenumber, x), x)

    def divergences(self, x: Tensor) -> tuple[Tensor, Tensor]:
        slopes = 1.0 / axis_constant(self._variance, x) * (-0.5 * self.velocity_unit)
        return expand(slopes, x).sum(-1), x.new_zeros(len(x))

    def log_density(self, x: Tensor) -> Tensor:
        return self._log_norm - 0.5 * (self._from_mean(x) ** 2 / axis_constant(self._variance, x)).sum(-1)

    def phase(self, x: Tensor) -> Tensor:
        return (axis_constant(self._wavenumber, x) * x).sum(-1)

    def sample(self, rng: np.random.Generator, count: int) -> Array:
        normal = rng.standard_normal((count, self.coordinates))
        return self.mean + np.sqrt(self.variance) * normal

    def quantiles(self, uniform: Array) -> Array:
        return np.asarray(self.mean + np.sqrt(self.variance) * ndtri(_inside(uniform)))


class _Factor:
    """A(x) e^{i S(x)} along one axis: compiled formulas and the table of its cumulative distribution."""

    def __init__(self, amplitude: str, phase: str, low: float, high: float, key: str, phase_key: str) -> None:
        x = symbol("x")
        a = read_expression(amplitude, ["x"], [], key=key)
        s = read_expression(phase, ["x"], [], key=phase_key)
        grid = torch.linspace(low, high, TABLE_POINTS, dtype=torch.float64)
        for log_a in _logarithms(a):
            self.functions = compile_expressions([log_a, sympy.diff(log_a, x), s, sympy.diff(s, x)], ["x"])
            values = [expand(value, grid).numpy() for value in self.functions(grid)]
            if np.isfinite(values).all():
                break
        _check_factor(a, values, grid, (key, amplitude), (phase_key, phase))
        self.grid: Array = grid.numpy()
        # relative to the peak, so that nothing overflows
        peak = 2.0 * float(values[0].max())
        density = np.exp(2.0 * values[0] - peak)
        total = float(simpson(density, x=self.grid))
        self.log_norm = -peak - math.log(total)
        density /= total
        self.mean = float(simpson(self.grid * density, x=self.grid))
        self.variance = float(simpson((self.grid - self.mean) ** 2 * density, x=self.grid))
        cumulative = np.maximum.accumulate(cumulative_simpson(density, x=self.grid, initial=0.0))
        self.cumulative: Array = cumulative / cumulative[-1]
        for edge in (0, -1):
            if density[edge] > EDGE_DENSITY * density.max():
                raise ConfigError(
                    f"initial.range = [{low}, {high}]: the density of {key} at {self.grid[edge]} is still "
                    f"{density[edge] / density.max():.1e} of its peak; widen the range until the state fits",
                    key="initial.range",
                )


class ProductState(InitialState):
    """psi_0 = product over particles and axes of A_a(x) e^{i S_a(x)}."""

    def __init__(
        self, *, particles: int, dimensions: int, hbar: float, mass: float, factors: Sequence[_Factor]
    ) -> None:
        mean = [factor.mean for factor in factors]
        super().__init__(particles, dimensions, mean, [factor.variance for factor in factors])
        self.velocity_unit = hbar / mass
        self.factors = tuple(factors)

    def _each(self, x: Tensor, which: int) -> Tensor:
        """One of log A, (log A)', S, S' for every coordinate: (B, n)."""
        r = x.reshape(*x.shape[:-1], self.particles, self.dimensions)
        columns = [
            expand(factor.functions(column)[which], column)
            for factor, column in zip(self.factors, r.unbind(-1), strict=True)
        ]
        return torch.stack(columns, -1).reshape(x.shape)

    def u(self, x: Tensor) -> Tensor:
        return self.velocity_unit * self._each(x, 1)

    def v(self, x: Tensor) -> Tensor:
        return self.velocity_unit * self._each(x, 3)

    def log_density(self, x: Tensor) -> Tensor:
        norm = self.particles * sum(factor.log_norm for factor in self.factors)
        return 2.0 * self._each(x, 0).sum(-1) + norm

    def phase(self, x: Tensor) -> Tensor:
        return self._each(x, 2).sum(-1)

    def sample(self, rng: np.random.Generator, count: int) -> Array:
        return self._by_table(rng.random((count, self.particles, self.dimensions)))

    def quantiles(self, uniform: Array) -> Array:
        return self._by_table(_inside(uniform).reshape(-1, self.particles, self.dimensions))

    def _by_table(self, uniform: Array) -> Array:
        """(B, n) from cumulative probabilities (B, N, D)."""
        columns = [
            np.interp(uniform[..., axis], factor.cumulative, factor.grid)
            for axis, factor in enumerate(self.factors)
        ]
        return np.stack(columns, -1).reshape(-1, self.coordinates)


def build_initial(config: Config) -> InitialState:
    """The initial state of an input.

    Raises:
        ConfigError: no harmonic trap for `trap_ground_state`; a formula that cannot be used, is not positive
            or does not fit into `initial.range`.
    """
    table, initial = config.system, config.initial
    shape: dict[str, Any] = {
        "particles": table.particles,
        "dimensions": table.dimensions,
        "hbar": table.hbar,
        "mass": table.mass,
    }
    if isinstance(initial, ProductTable):
        return ProductState(**shape, factors=_factors(initial, table.dimensions))
    mean, variance, wavenumber = gaussian_parameters(config)
    return GaussianState(**shape, mean=mean, variance=variance, wavenumber=wavenumber)


def gaussian_parameters(config: Config) -> tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]:
    """Mean, variance and wavenumber per axis of a Gaussian initial state; every length is D.

    Raises:
        ConfigError: `trap_ground_state` without a harmonic trap with omega > 0 on every axis.
    """
    table, initial = config.system, config.initial
    if isinstance(initial, GaussianTable):
        return (
            per_axis(initial.mean, table.dimensions),
            per_axis(initial.variance, table.dimensions),
            per_axis(initial.phase, table.dimensions),
        )
    assert isinstance(initial, TrapGroundState), "product states have no such parameters"
    trap = table.trap
    omega = per_axis(trap.omega, table.dimensions) if isinstance(trap, HarmonicTerm) else ()
    if not isinstance(trap, HarmonicTerm) or min(omega) <= 0.0:
        raise ConfigError(
            "initial.kind = 'trap_ground_state': needs a harmonic [system.trap] with omega > 0 on every "
            "axis; write kind = 'gaussian' with mean and variance",
            key="initial.kind",
        )
    variance = tuple(table.hbar / (2.0 * table.mass * frequency) for frequency in omega)
    return per_axis(trap.center, table.dimensions), variance, (0.0,) * table.dimensions


def _factors(initial: ProductTable, dimensions: int) -> list[_Factor]:
    low, high = initial.range
    amplitudes = _formulas(initial.amplitude, dimensions, "initial.amplitude")
    phases = _formulas(initial.phase, dimensions, "initial.phase")
    return [
        _Factor(amplitude, phase, low, high, key, phase_key)
        for (key, amplitude), (phase_key, phase) in zip(amplitudes, phases, strict=True)
    ]


def _formulas(value: str | list[str], dimensions: int, key: str) -> list[tuple[str, str]]:
    if isinstance(value, str):
        return [(key, value)] * dimensions
    if len(value) != dimensions:
        raise ConfigError(
            f"{key} = {value}: must be one formula, or one for each axis; write {dimensions} formulas",
            key=key,
        )
    return [(f"{key}[{axis}]", formula) for axis, formula in enumerate(value)]


def _logarithms(amplitude: Any) -> list[Any]:
    """log A in two forms: with products and exponentials taken apart, and as it stands.

    The first stays finite where A underflows, as in log(2 e^{-x^2}); the second where A is positive but its
    factors are not, as in log((x - 9)^2).
    """
    plain = sympy.log(amplitude)
    apart = sympy.expand_log(plain, force=True)
    return [plain] if apart.has(sympy.I, sympy.zoo, sympy.nan) else [apart, plain]


def _check_factor(
    amplitude: Any, values: Sequence[Array], grid: Tensor, formula: tuple[str, str], phase: tuple[str, str]
) -> None:
    """A > 0 and finite, and S finite, at every point of the table."""
    direct = expand(compile_expressions([amplitude], ["x"])(grid)[0], grid).numpy()
    log_a, slope, angle, angle_slope = values
    wrong = (direct < 0.0) | ~np.isfinite(direct) | ~np.isfinite(log_a) | ~np.isfinite(slope)
    if wrong.any():
        place = float(grid[int(np.argmax(wrong))])
        raise ConfigError(
            f"{formula[0]} = {formula[1]!r}: must be positive and finite on initial.range, which it is not "
            f"at x = {place:.6g}; correct the formula, or shorten the range to where the state lives",
            key=formula[0],
        )
    if not (np.isfinite(angle).all() and np.isfinite(angle_slope).all()):
        raise ConfigError(
            f"{phase[0]} = {phase[1]!r}: must be finite on initial.range; correct the formula", key=phase[0]
        )
