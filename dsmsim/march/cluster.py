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

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsmsim.march.amplitudes import LogWave, Wanted
from dsmsim.march.collective import CollectiveFactor, Variables
from dsmsim.march.model import Equations, Local, Theta
from dsmsim.march.one_body import OneBodyFactor, QuadraticFactor
from dsmsim.march.pair_basis import PairBasis
from dsmsim.march.pairs import PairFactor, PairList, Pairs
from dsmsim.system import GaussianState, InitialState, System

GROWTH = 3.0  # of log psi out to the farthest walker, by the quadratic form, that is given up
BYTES_AT_ONCE = 24 << 20  # of tables: what falls out of a processor's cache is slow


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


class _Found(NamedTuple):
    """log psi at configurations, and what was made on the way; None of factors that there are not."""

    wave: LogWave
    pairs: Pairs | None
    amplitudes: Tensor | None
    variables: Variables | None


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
        system, found = self.system, self._wave(shares, x, Wanted(laplacian=True))
        wave, clock = found.wave, x.new_full((len(x), 1), t)
        assert wave.laplacian is not None
        kinetic = wave.laplacian + wave.gradient.flatten(1).square().sum(1)
        target = 0.5j * self.quantum * kinetic - 1j / system.hbar * system.potential(x, clock)
        return self._local(wave), self._rows(shares, x, found), target

    def local(self, theta: Theta, x: Tensor) -> Local:
        waves = self._waves(theta, x, Wanted(laplacian=True))
        return Local(*(torch.cat(column) for column in zip(*map(self._local, waves), strict=True)))

    def velocities(self, theta: Theta, x: Tensor) -> tuple[Tensor, Tensor]:
        gradients = [wave.gradient.flatten(1) for wave in self._waves(theta, x, Wanted())]
        gradient = self.quantum * torch.cat(gradients)
        return gradient.real, gradient.imag

    def score(self, theta: Theta, x: Tensor) -> tuple[Tensor, Tensor]:
        waves = list(self._waves(theta, x, Wanted()))
        u = self.quantum * torch.cat([wave.gradient.flatten(1).real for wave in waves])
        return u, torch.cat([wave.log_density for wave in waves])

    def log_psi(self, theta: Theta, x: Tensor) -> Tensor:
        """(R, S) at x (W, n) up to a constant, S modulo 2 pi: (W, 2)."""
        found = []
        for wave in self._waves(theta, x, Wanted(phase=True)):
            assert wave.phase is not None
            found.append(torch.stack([0.5 * wave.log_density, wave.phase], -1))
        return torch.cat(found)

    def _waves(self, theta: Theta, x: Tensor, wanted: Wanted) -> Iterator[LogWave]:
        """log psi with derivatives, a chunk of the configurations at a time; one chunk at least."""
        shares = self._shares(theta, x)
        for chunk in torch.split(x, self._chunk(x)):
            yield self._wave(shares, chunk, wanted).wave

    def _wave(self, shares: _Shares, x: Tensor, wanted: Wanted) -> _Found:
        factors, z = self.factors, x.reshape(len(x), self.system.particles, self.system.dimensions)
        wave = self._start(x, wanted) + factors.quadratic.wave(shares.quadratic, z)
        pairs = amplitudes = variables = None
        if factors.one_body is not None:
            wave = wave + factors.one_body.wave(shares.one_body, z, wanted)
        if factors.pair is not None or factors.collective is not None:
            pairs = self.pairs.of(z, factors.basis, laplacian=wanted.laplacian)
        if factors.pair is not None and pairs is not None:
            amplitudes = factors.pair.amplitudes(shares.pair, pairs)
            wave = wave + factors.pair.wave(shares.pair, pairs, amplitudes, wanted)
        if factors.collective is not None and pairs is not None:
            variables = factors.collective.variables(pairs, laplacian=wanted.laplacian)
            wave = wave + factors.collective.wave(shares.collective, variables, z.shape, wanted)
        return _Found(wave, pairs, amplitudes, variables)

    def _rows(self, shares: _Shares, x: Tensor, found: _Found) -> Tensor:
        """d log psi/d theta: (W, P)."""
        factors, z = self.factors, x.reshape(len(x), self.system.particles, self.system.dimensions)
        rows = [factors.quadratic.rows(z)]
        if factors.one_body is not None:
            rows.append(factors.one_body.rows(shares.one_body, z))
        if factors.pair is not None and found.pairs is not None and found.amplitudes is not None:
            rows.append(factors.pair.rows(found.pairs, found.amplitudes))
        if factors.collective is not None and found.variables is not None:
            rows.append(factors.collective.rows(shares.collective, found.variables.value))
        return torch.cat(rows, 1)

    def _local(self, wave: LogWave) -> Local:
        gradient = self.quantum * wave.gradient.flatten(1)
        assert wave.laplacian is not None
        return Local(gradient.real, gradient.imag, self.quantum * wave.laplacian.imag, wave.log_density)

    def _start(self, x: Tensor, wanted: Wanted) -> LogWave:
        """log psi_0."""
        initial, shape = self.initial, (len(x), self.system.particles, self.system.dimensions)
        curved = torch.complex(*initial.divergences(x)) / self.quantum if wanted.laplacian else None
        gradient = (torch.complex(initial.u(x), initial.v(x)) / self.quantum).reshape(shape)
        phase = initial.phase(x) if wanted.phase else None
        return LogWave(initial.log_density(x), phase, gradient, curved)

    def _shares(self, theta: Theta, x: Tensor) -> _Shares:
        whole = torch.as_tensor(theta, dtype=torch.complex128, device=x.device)
        return _Shares(*torch.split(whole, self._sizes))

    def _chunk(self, x: Tensor) -> int:
        """Configurations that are treated at a time."""
        particles, axes = self.system.particles, self.system.dimensions
        numbers = 3 * (self.factors.basis.order + 1) * max(1, particles * (particles - 1) // 2)
        numbers += 2 * len(self._names) + 8 * particles * axes
        return max(64, BYTES_AT_ONCE // (8 * numbers))
