"""The cluster ansatz: amplitudes of one, two and all particles, each linear in its complex parameters.

    psi = psi_0 exp(quadratic form) prod_i h(x_i) prod_{i<j} f(|x_i - x_j|) F(collective variables)

(`one_body.py`, `pairs.py`, `collective.py`). All parameters are 0 at the start, where psi = psi_0. log psi is
analytic in them, so that R = Re log psi and S = Im log psi move together, and

    u = (hbar/m) grad R,   v = (hbar/m) grad S.

For two bosons in a harmonic trap the form is exact but for the number of functions; in a harmonic trap the
quadratic form holds the motion of the centre of mass exactly for any number.

Shapes: W configurations, n coordinates (N particles, D axes), P parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsmsim.march.amplitudes import LogWave
from dsmsim.march.collective import CollectiveFactor, Variables
from dsmsim.march.model import Equations, Local, Theta
from dsmsim.march.one_body import OneBodyFactor, QuadraticFactor
from dsmsim.march.pair_basis import PairBasis
from dsmsim.march.pairs import PairFactor, PairList, Pairs
from dsmsim.networks.potential_fields import initial_velocities
from dsmsim.system import GaussianState, InitialState, System

GROWTH = 3.0  # of log psi out to the farthest walker, by the quadratic form, that is given up
BYTES_AT_ONCE = 8 << 20  # of tables: what falls out of a processor's cache is slow


@dataclass(frozen=True)
class Factors:
    """What psi is a product of; None for what there is none of.

    Attributes:
        quadratic, one_body, pair, collective: see their modules.
        basis: of functions of distances.
    """

    quadratic: QuadraticFactor
    one_body: OneBodyFactor | None
    pair: PairFactor | None
    collective: CollectiveFactor | None
    basis: PairBasis


class _Shares(NamedTuple):
    """The parameters of each factor."""

    quadratic: Tensor
    one_body: Tensor
    pair: Tensor
    collective: Tensor


class ClusterModel:
    """See the module; a `Model`.

    Args:
        system, initial: of the input.
        factors: what psi is a product of.
        pairs: which pairs there are.
    """

    analytic = True
    centred = True

    def __init__(self, system: System, initial: InitialState, factors: Factors, pairs: PairList) -> None:
        self.system, self.initial, self.factors, self.pairs = system, initial, factors, pairs
        self.quantum = system.hbar / system.mass
        kinds = (factors.quadratic, factors.one_body, factors.pair, factors.collective)
        named = [() if kind is None else kind.names for kind in kinds]
        self._sizes = [len(names) for names in named]
        self._names = tuple(name for names in named for name in names)

    @property
    def names(self) -> tuple[str, ...]:
        return self._names

    def start(self) -> Theta:
        return np.zeros(len(self._names), dtype=np.complex128)

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {}

    def fault(self, theta: Theta, farthest: float) -> str | None:
        """The quadratic form alone decides whether psi can be normalised: all other functions are bounded.

        They may hold a cloud together within their reach where the form does not, so that what counts is how
        far psi would have grown where the walkers are.
        """
        if not isinstance(self.initial, GaussianState):  # whose tails are not those of a quadratic form
            return None
        axes, particles = self.system.dimensions, self.system.particles
        own, relative = self.factors.quadratic.stiffness(theta[: self._sizes[0]])
        start = -0.25 / self.initial.variance[:axes]
        forms = {"of the centre of mass": own, "of relative motion": own + particles * relative}
        for what, form in forms.items():
            if not ((start + form) * farthest**2 < GROWTH).all():
                return f"the wave function {what} cannot be normalised any more"
        return None

    def equations(self, theta: Theta, x: Tensor, t: float) -> Equations:
        shares = self._shares(theta, x)
        parts = [self._equations(shares, chunk, t) for chunk in torch.split(x, self._chunk(x))]
        local = Local(*(torch.cat(column) for column in zip(*(part[0] for part in parts), strict=True)))
        rows, targets = torch.cat([part[1] for part in parts]), torch.cat([part[2] for part in parts])
        return Equations(local, rows.unsqueeze(1), targets.unsqueeze(1))

    def _equations(self, shares: _Shares, x: Tensor, t: float) -> tuple[Local, Tensor, Tensor]:
        system = self.system
        wave, log_density, pairs, variables = self._wave(shares, x, laplacian=True)
        local = self._local(x, wave, log_density)
        assert wave.laplacian is not None
        clock = x.new_full((len(x), 1), t)
        gradient = wave.gradient.flatten(1)
        kinetic = wave.laplacian + gradient.square().sum(1)
        target = 0.5j * self.quantum * kinetic - 1j / system.hbar * system.potential(x, clock)
        return local, self._rows(shares, x, pairs, variables), target

    def local(self, theta: Theta, x: Tensor) -> Local:
        shares = self._shares(theta, x)
        found = []
        for chunk in torch.split(x, self._chunk(x)):
            wave, log_density, _, _ = self._wave(shares, chunk, laplacian=True)
            found.append(self._local(chunk, wave, log_density))
        return Local(*(torch.cat(column) for column in zip(*found, strict=True)))

    def velocities(self, theta: Theta, x: Tensor) -> tuple[Tensor, Tensor]:
        u, v, _ = self._first_order(theta, x)
        return u, v

    def score(self, theta: Theta, x: Tensor) -> tuple[Tensor, Tensor]:
        u, _, log_density = self._first_order(theta, x)
        return u, log_density

    def log_psi(self, theta: Theta, x: Tensor) -> Tensor:
        """(R, S) at x (W, n) up to a constant, S modulo 2 pi: (W, 2)."""
        shares = self._shares(theta, x)
        found = []
        for chunk in torch.split(x, self._chunk(x)):
            wave, log_density, _, _ = self._wave(shares, chunk, laplacian=False)
            found.append(torch.stack([0.5 * log_density, wave.value.imag], -1))
        return torch.cat(found)

    def _first_order(self, theta: Theta, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        shares = self._shares(theta, x)
        found = []
        for chunk in torch.split(x, self._chunk(x)):
            wave, log_density, _, _ = self._wave(shares, chunk, laplacian=False)
            gradient = self.quantum * wave.gradient.flatten(1)
            found.append((gradient.real, gradient.imag, log_density))
        u, v, log_density = (torch.cat(column) for column in zip(*found, strict=True))
        return u, v, log_density

    def _wave(
        self, shares: _Shares, x: Tensor, *, laplacian: bool
    ) -> tuple[LogWave, Tensor, Pairs | None, Variables | None]:
        """log psi with derivatives, log |psi|^2, and the tables that were made on the way."""
        factors, z = self.factors, x.reshape(len(x), self.system.particles, self.system.dimensions)
        start = self._start(x, laplacian)
        wave = start + factors.quadratic.wave(shares.quadratic, z)
        pairs = variables = None
        if factors.one_body is not None:
            wave = wave + factors.one_body.wave(shares.one_body, z, laplacian=laplacian)
        if factors.pair is not None or factors.collective is not None:
            pairs = self.pairs.of(z, factors.basis, laplacian=laplacian)
        if factors.pair is not None and pairs is not None:
            wave = wave + factors.pair.wave(shares.pair, pairs)
        if factors.collective is not None and pairs is not None:
            variables = factors.collective.variables(pairs, laplacian=laplacian)
            wave = wave + factors.collective.wave(shares.collective, variables, z.shape)
        return wave, 2.0 * wave.value.real, pairs, variables

    def _rows(self, shares: _Shares, x: Tensor, pairs: Pairs | None, variables: Variables | None) -> Tensor:
        """d log psi/d theta: (W, P)."""
        factors, z = self.factors, x.reshape(len(x), self.system.particles, self.system.dimensions)
        rows = [factors.quadratic.rows(z)]
        if factors.one_body is not None:
            rows.append(factors.one_body.rows(shares.one_body, z))
        if factors.pair is not None and pairs is not None:
            rows.append(factors.pair.rows(shares.pair, pairs))
        if factors.collective is not None and variables is not None:
            rows.append(factors.collective.rows(shares.collective, variables.value))
        return torch.cat(rows, 1)

    def _local(self, x: Tensor, wave: LogWave, log_density: Tensor) -> Local:
        gradient = self.quantum * wave.gradient.flatten(1)
        assert wave.laplacian is not None
        return Local(gradient.real, gradient.imag, self.quantum * wave.laplacian.imag, log_density)

    def _start(self, x: Tensor, laplacian: bool) -> LogWave:
        """log psi_0."""
        initial, shape = self.initial, (len(x), self.system.particles, self.system.dimensions)
        value = torch.complex(0.5 * initial.log_density(x), initial.phase(x))
        if laplacian:
            u, v, div_u, div_v = initial_velocities(initial, x)
            curved = torch.complex(div_u, div_v) / self.quantum
        else:
            u, v, curved = initial.u(x), initial.v(x), None
        return LogWave(value, (torch.complex(u, v) / self.quantum).reshape(shape), curved)

    def _shares(self, theta: Theta, x: Tensor) -> _Shares:
        whole = torch.as_tensor(theta, dtype=torch.complex128, device=x.device)
        return _Shares(*torch.split(whole, self._sizes))

    def _chunk(self, x: Tensor) -> int:
        """Configurations that are treated at a time."""
        particles, axes = self.system.particles, self.system.dimensions
        numbers = 3 * (self.factors.basis.order + 1) * max(1, particles * (particles - 1) // 2)
        numbers += 2 * len(self._names) + 8 * particles * axes
        return max(64, BYTES_AT_ONCE // (8 * numbers))
