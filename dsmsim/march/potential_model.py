"""A potential network that marches: log psi = R + i S with real parameters theta.

    (R, S)(x) = (R0, S0)(x) + A [ f(y; theta) - f(y; theta_0) ],      y = (x - c) / sigma

with any network f of two channels (see `dsmsim.networks.potential`) whose clock stands at 0, its parameters
theta_0 at the start, and the natural phase A = m sigma U / hbar. At theta_0 this is psi_0 exactly. With

    d_t R = -(hbar/2m) (lap S + 2 grad R . grad S)
    d_t S =  (hbar/2m) (lap R + |grad R|^2 - |grad S|^2) - V/hbar

(Madelung 1927) the equations of motion of theta are A d f/d theta . theta' = (d_t R, d_t S) at every point.
They count as deviations from their means: a function of time alone is norm and global phase.

Rows come from values alone, by reverse mode with weights of its own for every point (see
`dsmsim.networks.jets`); gradients and Laplacians from one pass of jets.

Shapes: W configurations, n coordinates, P parameters.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsmsim.config import Config
from dsmsim.march.flat_parameters import FlatParameters, Parameters, begin_with
from dsmsim.march.model import Equations, Local, Theta
from dsmsim.networks import PotentialFields, build_fields
from dsmsim.networks.potential import CHANNELS, DenseWeights
from dsmsim.networks.potential_fields import CACHED_BYTES
from dsmsim.system import InitialState, System

PROBES = 16  # points at which a parameter that matters must have an effect
DEVICE_BYTES = 64 << 20  # of one layer, where there is no cache to stay in

# its annotation does not admit dictionaries
vjp: Any = torch.func.vjp


class _Wave(NamedTuple):
    """(R, S) (W, 2) up to constants, their gradients (W, n, 2) and Laplacians (W, 2)."""

    value: Tensor
    gradient: Tensor
    laplacian: Tensor


class PotentialModel:
    """The network of an input of kind "potential" or "functional_tt" as a `march.model.Model`.

    Args:
        config: the input; `seed` and [network] make theta_0.
        system, initial: the problem.
        start: theta_0 by name instead, as `FlatParameters.loaded` gives it.
    """

    analytic = False
    centred = True

    def __init__(
        self, config: Config, system: System, initial: InitialState, start: Parameters | None = None
    ) -> None:
        fields = build_fields(config, system, initial).double().requires_grad_(False)
        assert isinstance(fields, PotentialFields), "[network] is no potential"
        self.system, self.initial, self.fields = system, initial, fields
        self._potential = fields.potential
        own = dict(self._potential.named_parameters())
        self._dense = own.keys() == self._potential.weights().keys()
        self._dense_weights = DenseWeights(self._potential)
        begin_with(own, start)
        self.parameters = FlatParameters(own)
        self.parameters = FlatParameters(own, self._matters())
        self._reference = self._weights(self.parameters.reference)

    @property
    def names(self) -> tuple[str, ...]:
        """The entries of theta."""
        return self.parameters.names

    def start(self) -> NDArray[np.float64]:
        """theta_0 (P,), at which the state is psi_0 exactly."""
        return self.parameters.start()

    def fault(self, theta: Theta, farthest: float) -> None:
        """None: tanh networks are bounded, so |psi|^2 falls off as |psi_0|^2 does, whatever theta is."""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """theta_0 and the weights of the clock, as `start/NAME`."""
        return self.parameters.arrays()

    @torch.no_grad()
    def equations(self, theta: Theta, x: Tensor, t: float) -> Equations:
        """Fields, rows (W, 2, P) and targets (W, 2) at x (W, n) and time t.

        Rows are numbers, targets have the unit 1/time.
        """
        parameters = self._at(theta, x)
        wave = self._wave(self._weights(parameters), x)
        half = self.system.hbar / (2.0 * self.system.mass)
        grad_r, grad_s = wave.gradient.unbind(-1)
        lap_r, lap_s = wave.laplacian.unbind(-1)
        potential = self.system.potential(x, x.new_full((len(x), 1), t)) / self.system.hbar
        dt_r = -half * (lap_s + 2.0 * (grad_r * grad_s).sum(-1))
        dt_s = half * (lap_r + grad_r.square().sum(-1) - grad_s.square().sum(-1)) - potential
        return Equations(self._local(wave), self._rows(parameters, x), torch.stack([dt_r, dt_s], -1))

    @torch.no_grad()
    def local(self, theta: Theta, x: Tensor) -> Local:
        """The fields at x (W, n)."""
        return self._local(self._wave(self._weights(self._at(theta, x)), x))

    @torch.no_grad()
    def log_psi(self, theta: Theta, x: Tensor) -> Tensor:
        """(R, S) (W, 2) at x (W, n), up to constants."""
        weights = self._weights(self._at(theta, x))
        parts = [self._difference(weights, self._natural(part)) for part in self._chunks(x, streams=1)]
        return self._initial_value(x) + self.fields.amplitude * torch.cat(parts)

    @torch.no_grad()
    def velocities(self, theta: Theta, x: Tensor) -> tuple[Tensor, Tensor]:
        """(u, v), each (W, n), at x (W, n)."""
        _, slopes = self._slopes(theta, x, [(1.0, 0.0), (0.0, 1.0)])
        return self.initial.u(x) + slopes[0], self.initial.v(x) + slopes[1]

    @torch.no_grad()
    def score(self, theta: Theta, x: Tensor) -> tuple[Tensor, Tensor]:
        """u (W, n) and log |psi|^2 (W,) up to a constant at x (W, n)."""
        value, slopes = self._slopes(theta, x, [(1.0, 0.0)])
        log_density = self.initial.log_density(x) + 2.0 * self.fields.amplitude * value[:, 0]
        return self.initial.u(x) + slopes[0], log_density

    def _at(self, theta: Theta, x: Tensor) -> Parameters:
        """The parameters at theta, where x lies."""
        if self.fields.frame.center.device != x.device:
            self.fields.to(x.device)
            self.parameters.to(x.device)
            self._reference = {name: w.to(x.device) for name, w in self._reference.items()}
        return self.parameters.named(theta)

    def _weights(self, parameters: Parameters) -> Parameters:
        return parameters if self._dense else self._weights_of(parameters)

    def _weights_of(self, parameters: Parameters) -> Parameters:
        return self._dense_weights.of({f"potential.{name}": p for name, p in parameters.items()})

    def _chunks(self, x: Tensor, streams: int) -> Iterator[Tensor]:
        """So many points at a time that a layer's jets with so many streams stay in the cache."""
        per_stream = self._potential.values_per_point / (x.shape[1] + 3)
        most = CACHED_BYTES if x.device.type == "cpu" else DEVICE_BYTES
        size = max(1, int(most / (x.element_size() * per_stream * streams)))
        return iter(torch.split(x, size))

    def _natural(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return (x - self.fields.frame.center) / self.fields.length, x.new_zeros(len(x), 1)

    def _difference(self, weights: Mapping[str, Tensor], point: tuple[Tensor, Tensor]) -> Tensor:
        """f(y; theta) - f(y; theta_0): (W, 2)."""
        difference: Tensor = self._potential(*point, weights) - self._potential(*point, self._reference)
        return difference

    def _initial_value(self, x: Tensor) -> Tensor:
        return torch.stack([0.5 * self.initial.log_density(x), self.initial.phase(x)], -1)

    def _wave(self, weights: Mapping[str, Tensor], x: Tensor) -> _Wave:
        fields, parts = self.fields, []
        for part in self._chunks(x, streams=x.shape[1] + 3):
            point = self._natural(part)
            jet, start = self._potential.jet(*point, weights), self._potential.jet(*point, self._reference)
            velocities = torch.stack([self.initial.u(part), self.initial.v(part)], -1)
            divergences = torch.stack(self.initial.divergences(part), -1)
            by = fields.amplitude, fields.amplitude / fields.length, fields.amplitude / fields.length**2
            parts.append(
                _Wave(
                    self._initial_value(part) + by[0] * (jet.value - start.value),
                    velocities / fields.quantum + by[1] * (jet.gradient - start.gradient),
                    divergences / fields.quantum + by[2] * (jet.laplacian - start.laplacian),
                )
            )
        return _Wave(*map(torch.cat, zip(*parts, strict=True)))

    def _local(self, wave: _Wave) -> Local:
        u, v = (self.fields.quantum * wave.gradient).unbind(-1)
        return Local(u, v, self.fields.quantum * wave.laplacian[:, 1], 2.0 * wave.value[:, 0])

    def _slopes(
        self, theta: Theta, x: Tensor, combinations: list[tuple[float, float]]
    ) -> tuple[Tensor, list[Tensor]]:
        """The network's part (W, 2), and (hbar/m) A times the gradient of a R + b S for each (a, b)."""
        weights = self._weights(self._at(theta, x))
        values: list[Tensor] = []
        slopes: list[list[Tensor]] = [[] for _ in combinations]
        for part in self._chunks(x, streams=2):
            y, clock = self._natural(part)
            with torch.enable_grad():
                y.requires_grad_(True)
                value = self._difference(weights, (y, clock))
                for k, pair in enumerate(combinations):
                    pull = value.new_tensor(pair).expand_as(value)
                    (slope,) = torch.autograd.grad(value, y, pull, retain_graph=k + 1 < len(combinations))
                    slopes[k].append(slope)
            values.append(value.detach())
        return torch.cat(values), [self.fields.frame.velocity * torch.cat(each) for each in slopes]

    def _rows(self, parameters: Parameters, x: Tensor) -> Tensor:
        """A d f/d theta: (W, 2, P)."""
        if self._dense:
            weights, pull = parameters, None
        else:
            weights, vector_product = vjp(self._weights_of, parameters)
            pull = torch.func.vmap(lambda gradient: vector_product(gradient)[0])
        rows = x.new_empty(len(x), CHANNELS, len(self.parameters))
        if len(x) == 0:  # a rank without walkers
            return rows
        begin = 0
        for part in self._chunks(x, streams=4):
            out = rows[begin : begin + len(part)]
            begin += len(part)
            for channel, gradients in enumerate(self._gradients(weights, part)):
                self.parameters.place(gradients if pull is None else pull(gradients), out[:, channel])
        return rows.mul_(self.fields.amplitude)

    def _gradients(self, weights: Mapping[str, Tensor], x: Tensor) -> Iterator[Parameters]:
        """Gradients of R and of S of the network in the weights, of every point: (W, *weight), by name."""
        # stride 0: no copy is made of what is the same for every point
        own = {name: w.detach().expand(len(x), *w.shape).requires_grad_() for name, w in weights.items()}
        with torch.enable_grad():
            totals = self._potential(*self._natural(x), own).sum(0).unbind()
        for channel, total in enumerate(totals):
            more = channel + 1 < len(totals)
            found = torch.autograd.grad(total, list(own.values()), retain_graph=more, materialize_grads=True)
            yield dict(zip(own, found, strict=True))

    def _matters(self) -> Tensor:
        """(Q,) whether a parameter has any effect: those of the clock have none."""
        y = torch.randn(PROBES, self.system.coordinates, generator=torch.Generator().manual_seed(0)).double()
        x = self.fields.frame.center + self.fields.length * y
        return self._rows(self.parameters.reference, x).abs().amax((0, 1)) > 0.0
