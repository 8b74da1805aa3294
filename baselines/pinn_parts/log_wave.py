"""The wave function of the form "hard", and the residual of its Schroedinger equation.

    psi(x, t) = psi_0(x) exp((t/T) A F(x, t)),        F = f_R + i f_S

so that the initial condition holds exactly. Divided by psi, the equation i hbar d/dt psi = H psi becomes two
real ones for log psi = R + i S, here times T, a pure number:

    r_R = T dR/dt + k (Lap S + 2 grad R . grad S)
    r_S = T dS/dt - k (Lap R + |grad R|^2 - |grad S|^2) + T V / hbar,       k = hbar T / (2 m L^2)

with derivatives along y = x / L. A function of t alone in either is norm or global phase and has no meaning,
so the loss is the variance of r_R + i r_S among points of |psi|^2 at equal times, averaged over times. It
bounds the error: |psi(t) - psi_exact(t)| <= sqrt(loss) in the norm of L2, with the best phase, for t <= T.

Shapes: B points, n coordinates, P parameters, K streams, G groups of points at equal times.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from baselines.classical import leapfrog, wigner_sample
from baselines.pinn_parts.features import SymmetricFeatures
from baselines.pinn_parts.network import SymmetricNetwork, Weights
from baselines.wave.wave_function import Array, ComplexArray, Local
from dsmsim.config import Config
from dsmsim.config.terms import HarmonicTerm
from dsmsim.parallel import random_stream
from dsmsim.system import InitialState, System

CLOUD = 2000  # classical trajectories from which features and range are scaled
CLASSICAL_STEPS = 64
NARROWEST, RATIO = 1.0, 2.0  # widths of the Gaussians, in units of the initial one


@dataclass(frozen=True)
class Units:
    """Natural units.

    Attributes:
        length, time: L, the initial width, and T, the end.
        amplitude: A, the phase that the potential makes in the time T, at least 1.
        stiffness: k of the module's docstring.
        velocity: hbar / (m L): the current velocity is this times the gradient of S along y.
        low, high: (n,) range of the classical cloud over all times, with a margin.
    """

    length: float
    time: float
    amplitude: float
    stiffness: float
    velocity: float
    low: Array
    high: Array


@dataclass(frozen=True)
class Points:
    """Points of the residual, and what does not depend on the network there.

    Attributes:
        groups: G; points of one group stand together and share their time.
        features: (B, n + 2, F) jets.
        clock: (B, 1) t/T.
        start_gradient, start_laplacian: of log psi_0 along y: (B, n, 2), (B, 2).
        potential: (B,) T V / hbar, of mean 0 in every group.
    """

    groups: int
    features: Tensor
    clock: Tensor
    start_gradient: Tensor
    start_laplacian: Tensor
    potential: Tensor


class LogWave:
    """psi = psi_0 exp(t net).

    Args:
        system, initial: of the input.
        features, network, units: what F is made of.
    """

    def __init__(
        self,
        system: System,
        initial: InitialState,
        features: SymmetricFeatures,
        network: SymmetricNetwork,
        units: Units,
    ) -> None:
        self.system, self.initial = system, initial
        self.features, self.network, self.units = features, network, units

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return self.network.weights["output"].dtype

    def points(self, x: Tensor, t: Tensor) -> Points:
        """Points at x (G, M, n) float64, the M of a group at the time t (G,)."""
        groups, each, _ = x.shape
        flat, times = x.flatten(0, 1), t.repeat_interleave(each).unsqueeze(1)
        gradient, laplacian = self._start(flat)
        potential = self.system.potential(flat, times) * (self.units.time / self.system.hbar)
        potential = potential.reshape(groups, each)
        potential = (potential - potential.mean(1, keepdim=True)).reshape(-1)
        return Points(
            groups,
            self.features.jets(flat.to(self.dtype)),
            (times / self.units.time).to(self.dtype),
            gradient.to(self.dtype),
            laplacian.to(self.dtype),
            potential.to(self.dtype),
        )

    def residual(self, points: Points, weights: Weights | None = None) -> Tensor:
        """(r_R, r_S) at the points (B, 2), each up to a function of time."""
        gradient, laplacian, rate = self._derivatives(points, weights)
        grad_r, grad_s = gradient.unbind(-1)
        k = self.units.stiffness
        r = rate[:, 0] + k * (laplacian[:, 1] + 2.0 * (grad_r * grad_s).sum(1))
        squares = (grad_r.square() - grad_s.square()).sum(1)
        s = rate[:, 1] - k * (laplacian[:, 0] + squares) + points.potential
        return torch.stack([r, s], dim=1)

    def _derivatives(self, points: Points, weights: Weights | None) -> tuple[Tensor, Tensor, Tensor]:
        """Gradient (B, n, 2) and Laplacian (B, 2) of (R, S) along y, and T d/dt of both (B, 2)."""
        jets = self.network.jets(points.features, points.clock, weights) * self.units.amplitude
        clock = points.clock
        gradient = points.start_gradient + clock.unsqueeze(2) * jets[:, 1:-2]
        laplacian = points.start_laplacian + clock * jets[:, -1]
        return gradient, laplacian, jets[:, 0] + clock * jets[:, -2]

    def _start(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient (B, n, 2) and Laplacian (B, 2) of log psi_0 along y at x (B, n)."""
        scale = 1.0 / self.units.velocity
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            fields = [self.initial.u(x), self.initial.v(x)]
            # psi_0 is a product: each component depends on its own coordinate alone
            slopes = [_own_slopes(field, x).sum(1) for field in fields]
        gradient = torch.stack([field.detach() for field in fields], dim=2) * scale
        return gradient, torch.stack(slopes, dim=1) * (scale * self.units.length)

    @torch.no_grad()
    def velocity(self, x: Tensor, t: float) -> Tensor:
        """Current velocity at x (B, n) float64 and one time: (B, n)."""
        jets = self._jets(self.features.jets(x.to(self.dtype)), t / self.units.time)[:, 1:-2, 1]
        scale = self.units.velocity * self.units.amplitude * t / self.units.time
        return self.initial.v(x) + scale * jets.double()

    def in_double(self) -> LogWave:
        """The same in double precision."""
        network = SymmetricNetwork.__new__(SymmetricNetwork)
        network.features, network.depth = self.network.features, self.network.depth
        network.weights = {key: value.detach().double() for key, value in self.network.weights.items()}
        return LogWave(self.system, self.initial, self.features, network, self.units)

    @torch.no_grad()
    def local(self, x: Array, t: float) -> Local:
        """log psi and its derivatives at x (W, n)."""
        places, length = torch.from_numpy(x), self.units.length
        clock = t / self.units.time
        jets = self._jets(self.features.jets(places.to(self.dtype)), clock) * (self.units.amplitude * clock)
        gradient, laplacian = self._start(places)
        return Local(
            _complex(jets[:, 0] + torch.stack(self._start_value(places), dim=1)),
            _complex((gradient + jets[:, 1:-2]) / length),
            _complex((laplacian + jets[:, -1]) / length**2),
        )

    @torch.no_grad()
    def log_density(self, x: Array, t: float) -> Array:
        """log |psi|^2 (W,)."""
        places, clock = torch.from_numpy(x), t / self.units.time
        # the value alone, and the stream of the Laplacian that a jet must have
        features = self.features.jets(places.to(self.dtype))[:, [0, -1]]
        value = self._jets(features, clock)[:, 0, 0].double() * (self.units.amplitude * clock)
        return np.asarray((self.initial.log_density(places) + 2.0 * value).numpy())

    def _jets(self, features: Tensor, clock: float) -> Tensor:
        """F at one time, from jets of the features."""
        return self.network.jets(features, features.new_full((len(features), 1), clock))

    def _start_value(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """R and S of psi_0 (B,)."""
        return 0.5 * self.initial.log_density(x), self.initial.phase(x)


def _own_slopes(field: Tensor, x: Tensor) -> Tensor:
    """d field_i / dx_i (B, n), where component i depends on x_i alone."""
    if not field.requires_grad:
        return torch.zeros_like(x)
    slopes = torch.autograd.grad(field.sum(), x, allow_unused=True)[0]
    return torch.zeros_like(x) if slopes is None else slopes


def _complex(pair: Tensor) -> ComplexArray:
    """Real and imaginary part along the last axis as one complex array."""
    values: ComplexArray = torch.view_as_complex(pair.double().contiguous()).numpy()
    return values


def make_log_wave(config: Config, system: System, initial: InitialState) -> LogWave:
    """A network with the weights that it starts from, features and units scaled by classical trajectories."""
    table = config.baselines.pinn
    length = float(np.exp(np.log(np.sqrt(initial.variance)).mean()))
    cloud = np.concatenate(classical_cloud(system, initial, CLOUD, config.time.end, config.seed))
    low, high = cloud.min(0), cloud.max(0)
    margin = 0.5 * (high - low)
    features = SymmetricFeatures(
        system.particles,
        system.dimensions,
        initial.mean,
        length,
        [NARROWEST * RATIO**index for index in range(table.gaussians)],
        interacting=system.interaction is not None,
        one_body=_needs_one_body(config),
    )
    features.fit(torch.from_numpy(cloud))
    units = Units(
        length,
        config.time.end,
        amplitude=1.0,
        stiffness=0.5 * system.hbar * config.time.end / (system.mass * length**2),
        velocity=system.hbar / (system.mass * length),
        low=low - margin,
        high=high + margin,
    )
    start = torch.from_numpy(cloud[:CLOUD])
    phase = system.potential(start, start.new_zeros(len(start), 1)) * (config.time.end / system.hbar)
    units = replace(units, amplitude=max(1.0, float(phase.std())))
    network = SymmetricNetwork(
        features.count,
        table.width,
        table.depth,
        random_stream(config.seed, "pinn weights"),
        getattr(torch, table.precision),
    )
    return LogWave(system, initial, features, network, units)


def _needs_one_body(config: Config) -> bool:
    """Whether several particles see more than harmonic traps."""
    terms = config.system.one_body_terms().values()
    return config.system.particles > 1 and not all(isinstance(term, HarmonicTerm) for term in terms)


def classical_cloud(
    system: System, initial: InitialState, count: int, end: float, seed: int, stops: int = 8
) -> list[Array]:
    """Positions (count, n) of classical trajectories at `stops` + 1 times from 0 to the end."""
    path = classical_path(system, initial, count, end, seed)
    return [path(end * index / stops) for index in range(stops + 1)]


def classical_path(
    system: System, initial: InitialState, count: int, end: float, seed: int
) -> Callable[[float], Array]:
    """Positions (count, n) of classical trajectories as a function of time, linear between their steps."""
    x, p = wigner_sample(system, initial, count, seed)
    times, places = [0.0], [x]
    for t, position, _ in leapfrog(system, x, p, 0.0, end, CLASSICAL_STEPS):
        times.append(t)
        places.append(position)
    step = end / CLASSICAL_STEPS

    def at(t: float) -> Array:
        index = min(int(t / step), CLASSICAL_STEPS - 1)
        fraction = (t - times[index]) / step
        return np.asarray((1.0 - fraction) * places[index] + fraction * places[index + 1])

    return at
