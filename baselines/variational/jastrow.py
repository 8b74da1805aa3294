"""The default ansatz of t-VMC: the initial state times one-body, pair and three-body functions.

    log psi = log psi_0 + sum_k theta_k O_k(x)

O: the functions of `features.py`: per axis sum x^2, and sum x where the cloud can move; sum r_ij^2 and
Gaussians of the pair distance with widths halved from one to the next; and, for three bosons and more, the
products sum_i A_iq A_ip of what each particle sees of the others, which couple three. In a harmonic trap the
one-body functions hold the motion of the centre of mass exactly.

The Gaussians reach from about the distance at which the interaction acts to several widths of the first
cloud. A wider one would look like r^2, whose coefficient decides whether psi can be normalised; a narrower
one resolves nothing. The three-body products halve what two-body functions leave of the error, from three
bosons on (docs/tvmc.md).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from baselines.variational.features import Coefficients, Shape, functions, local, log_density
from baselines.variational.initial_part import initial_local, initial_log_density
from baselines.wave.wave_function import Array, ComplexArray, Local
from dsmsim.config import Config
from dsmsim.config.interactions import GaussianPair
from dsmsim.config.terms import HarmonicTerm
from dsmsim.system import (
    GaussianState,
    InitialState,
    System,
    build_initial,
    build_system,
    is_mirror_symmetric,
)

WIDEST = 32.0  # w_0 in variances of the first cloud
AUTOMATIC_BUMPS = 6  # Gaussians of a coordinate where the trap is not harmonic
BUMP_REACH = 3.0  # how far their centres reach, in standard deviations of the first cloud


@dataclass(frozen=True)
class JastrowAnsatz:
    """log psi linear in its parameters; see the module.

    Attributes:
        system, initial: of the input.
        shape: which functions there are.
        quadratic: coefficients (D,) of x and of x^2 in log psi_0 where that is a Gaussian, else None.
    """

    system: System
    initial: InitialState
    shape: Shape
    quadratic: tuple[ComplexArray, ComplexArray] | None

    @property
    def linear(self) -> bool:
        """Always."""
        return True

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters, in their order."""
        shape, axes = self.shape, "xyz"[: self.shape.dimensions]
        names = [f"{a}" for a in axes] if shape.linear else []
        names += [f"{a}^2" for a in axes]
        names += [f"bump {a}{m}" for a in axes for m in range(shape.centers.shape[1])]
        if shape.particles > 1:
            names += ["pair r^2", *(f"pair {k}" for k in range(shape.widths))]
            many = len(shape.chosen)
            names += [
                f"triple {shape.chosen[s]} {shape.chosen[p]}" for s in range(many) for p in range(s + 1)
            ]
        return tuple(names)

    def start(self) -> ComplexArray:
        """All zero: psi_0 itself."""
        return np.zeros(len(self.names), dtype=np.complex128)

    def coefficients(self, theta: ComplexArray) -> Coefficients:
        """theta (P,), with what psi_0 adds, as the kernels want it."""
        shape = self.shape
        dims, bumps, many = shape.dimensions, shape.centers.shape[1], len(shape.chosen)
        at = dims if shape.linear else 0
        first = theta[:at] if shape.linear else np.zeros(dims, dtype=np.complex128)
        second = theta[at : at + dims]
        if self.quadratic is not None:
            first, second = first + self.quadratic[0], second + self.quadratic[1]
        at += dims + dims * bumps
        of_bumps = theta[at - dims * bumps : at].reshape(dims, bumps)
        pairs = np.zeros(1 + shape.widths, dtype=np.complex128)
        triples = np.zeros((many, many), dtype=np.complex128)
        if shape.particles > 1:
            pairs = theta[at : at + 1 + shape.widths]
        at += 1 + shape.widths
        for s in range(many):
            triples[s, : s + 1] = 0.5 * theta[at : at + s + 1]
            at += s + 1
        return Coefficients(first, second, of_bumps, pairs, triples + triples.T)

    def local(self, theta: ComplexArray, x: Array) -> Local:
        """log psi, its gradient and its Laplacian at x (W, n)."""
        found = Local(
            np.empty(len(x), dtype=np.complex128),
            np.empty(x.shape, dtype=np.complex128),
            np.empty(len(x), dtype=np.complex128),
        )
        local(x, self.shape, self.coefficients(theta), found.log_psi, found.gradient, found.laplacian)
        if self.quadratic is not None:
            return found
        start = initial_local(self.initial, self.system.hbar, self.system.mass, x)
        return Local(
            found.log_psi + start.log_psi,
            found.gradient + start.gradient,
            found.laplacian + start.laplacian,
        )

    def derivatives(self, theta: ComplexArray, x: Array) -> Array:
        """O (W, P), whatever theta is."""
        out = np.empty((len(x), len(theta)))
        functions(x, self.shape, out)
        return out

    def log_density(self, theta: ComplexArray, x: Array) -> Array:
        """log |psi|^2 (W,)."""
        out = np.empty(len(x))
        real = [np.ascontiguousarray(part.real) for part in self.coefficients(theta)]
        log_density(x, self.shape, tuple(real), out)
        return out if self.quadratic is not None else out + initial_log_density(self.initial, x)


def jastrow(config: Config) -> JastrowAnsatz:
    """The ansatz that [baselines.tvmc] describes.

    Raises:
        ConfigError: the potential or the initial state cannot be built.
    """
    system, initial = build_system(config), build_initial(config)
    table = config.baselines.tvmc
    variance = initial.variance[: system.dimensions]
    widths = table.pair_functions if system.particles > 1 else 0
    triples = table.three_body_functions if system.particles > 2 else 0
    harmonic = all(isinstance(term, HarmonicTerm) for term in config.system.one_body_terms().values())
    bumps = table.one_body_functions
    count = (0 if harmonic else AUTOMATIC_BUMPS) if isinstance(bumps, str) else bumps
    centers, spreads = _bumps(initial, system.dimensions, count)
    shape = Shape(
        system.particles,
        system.dimensions,
        _widest(config, float(variance.mean()), widths),
        widths,
        _spread(triples, widths),
        centers,
        spreads,
        not is_mirror_symmetric(config.time.end, system, initial),
    )
    return JastrowAnsatz(system, initial, shape, _quadratic(initial, system))


def _widest(config: Config, variance: float, widths: int) -> float:
    """w_0: 32 variances of the cloud, or less where the narrowest Gaussian would miss a short interaction."""
    widest = WIDEST * variance
    pair = config.system.interaction
    if isinstance(pair, GaussianPair) and widths > 0:
        widest = min(widest, max(pair.s2, variance / 8.0) * 2.0 ** (widths - 2))
    return widest


def _spread(count: int, widths: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """`count` of the pair functions for three bodies, evenly from the widest on, the narrowest left out."""
    if count <= 1:
        return np.arange(count, dtype=np.int64)
    last = max(widths - 2, count - 1)
    return np.round(np.linspace(0, last, count)).astype(np.int64)


def _bumps(initial: InitialState, dimensions: int, count: int) -> tuple[Array, Array]:
    """Centres (D, C) over the first cloud, and the squared spread (D,) that lets neighbours overlap."""
    mean, sigma = initial.mean[:dimensions], np.sqrt(initial.variance[:dimensions])
    places = np.linspace(-BUMP_REACH, BUMP_REACH, count) if count > 1 else np.zeros(count)
    step = places[1] - places[0] if count > 1 else 1.0
    return mean[:, None] + sigma[:, None] * places, (step * sigma) ** 2


def _quadratic(initial: InitialState, system: System) -> tuple[ComplexArray, ComplexArray] | None:
    """Coefficients of x and x^2 in log psi_0, up to a constant, of a Gaussian start."""
    if not isinstance(initial, GaussianState):
        return None
    dims = system.dimensions
    center = torch.from_numpy(initial.mean[None])
    velocity = initial.v(center)[0, :dims].numpy() * (system.mass / system.hbar)
    mean, variance = initial.mean[:dims], initial.variance[:dims]
    first: ComplexArray = mean / (2.0 * variance) + 1j * velocity
    second: ComplexArray = -1.0 / (4.0 * variance) + 0j * velocity
    return first, second
