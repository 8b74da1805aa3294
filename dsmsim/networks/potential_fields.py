"""Velocity fields from one network of the wave function's logarithm: psi = exp(R + i S).

    R(x, t) = R0(x) + gate(t) A f_R(y, t/T),      S(x, t) = S0(x) + gate(t) A f_S(y, t/T)
    u = (hbar/m) grad R,      v = (hbar/m) grad S

with y = (x - c) / sigma, gate = t/T and A = m sigma U / hbar, the phase that belongs to the natural velocity
U: the initial condition holds exactly, and u and v are free of curl. A function of t alone in R or S has no
meaning (normalisation and global phase), and nothing here fixes it.

Shapes: B batch, n coordinates.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dsmsim.networks.fields import Fields
from dsmsim.networks.frame import Frame
from dsmsim.networks.potential import Potential
from dsmsim.system import InitialState

# bytes of one layer's jets; measured on a CPU: larger chunks fall out of its cache, smaller ones leave the
# time to the calls themselves
CACHED_BYTES = 4 << 20


class LogWaveFunction(NamedTuple):
    """Derivatives of (R, S): gradient (B, n, 2) 1/length, dt (B, 2) 1/time, laplacian (B, 2) 1/length^2."""

    gradient: Tensor
    dt: Tensor
    laplacian: Tensor


class PotentialFields(Fields):
    """u and v as gradients of a potential network.

    Args:
        potential: (B, n), (B, 1) -> (B, 2), dimensionless.
        initial: initial state.
        frame: natural units, of kind "lab".
        hbar, mass: of the system.
    """

    grouped = True

    def __init__(
        self, potential: Potential, initial: InitialState, frame: Frame, hbar: float, mass: float
    ) -> None:
        super().__init__(initial, frame, exact_initial=True)
        self.potential = potential
        self.length = float(frame.sigma.log().mean().exp())
        self.quantum = hbar / mass  # circulation unit over 2 pi, length^2 / time
        self.amplitude = self.length * frame.velocity / self.quantum

    def networks(self) -> dict[str, nn.Module]:
        return {"potential": self.potential}

    def numbers_per_point(self) -> int:
        return 1

    def points_at_once(self, most: int, group: int = 1) -> int:
        """Points whose jets stay in a processor's cache, at most `most`; a multiple of `group`."""
        size = self.frame.center.element_size() * self.potential.values_per_point
        return max(group, min(most, CACHED_BYTES // size) // group * group)

    def _natural(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        return (x - self.frame.center) / self.length, self.frame.clock(t)

    def log_psi(self, x: Tensor, t: Tensor) -> Tensor:
        """(R, S) up to a function of t: (B, 2)."""
        start = torch.stack([0.5 * self.initial.log_density(x), self.initial.phase(x)], -1)
        log_psi: Tensor = start + self.amplitude * self.frame.gate(t) * self.potential(*self._natural(x, t))
        return log_psi

    def forward(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """(u, v), each (B, n), at x (B, n) and t (B, 1); not differentiable further."""
        from_r, from_s = self._slopes(x, t, [(1.0, 0.0), (0.0, 1.0)])
        return self.initial.u(x) + from_r, self.initial.v(x) + from_s

    def drift(self, x: Tensor, t: Tensor, nu: float) -> Tensor:
        """v + nu u, the gradient of the one scalar S + nu R."""
        (slope,) = self._slopes(x, t, [(nu, 1.0)])
        base = self.initial.v(x)
        return base + slope + nu * self.initial.u(x) if nu != 0.0 else base + slope

    def _slopes(self, x: Tensor, t: Tensor, combinations: list[tuple[float, float]]) -> list[Tensor]:
        """(hbar/m) times the gradient of a R' + b S' for each (a, b), with R', S' the network's part."""
        y, clock = self._natural(x, t)
        with torch.enable_grad():
            y = y.detach().requires_grad_(True)
            value = self.potential(y, clock)
            slopes = []
            for k, (a, b) in enumerate(combinations):
                pull = value.new_tensor((a, b)).expand_as(value)
                (slope,) = torch.autograd.grad(value, y, pull, retain_graph=k + 1 < len(combinations))
                slopes.append(slope)
        scale = self.frame.gate(t) * self.frame.velocity
        return [scale * slope for slope in slopes]

    def derivatives(
        self, x: Tensor, t: Tensor, weights: Mapping[str, Tensor] | None = None
    ) -> LogWaveFunction:
        """Derivatives of (R, S) at x (B, n), t (B, 1); differentiable once in the network's weights.

        Args:
            weights: as from `Potential.weights`; absent: the network's own.
        """
        y, clock = self._natural(x, t)
        jet = self.potential.jet(y, clock, weights)
        gate, length = self.frame.gate(t), self.length
        u, v = self.initial.u(x), self.initial.v(x)
        div_u, div_v = self.initial.divergences(x)
        per_quantum = 1.0 / self.quantum
        scaled = self.amplitude * gate
        gradient = torch.stack([u, v], -1) * per_quantum + (scaled / length).unsqueeze(-1) * jet.gradient
        laplacian = torch.stack([div_u, div_v], -1) * per_quantum + scaled / length**2 * jet.laplacian
        # lab frame: gate and clock are both t/T
        dt = self.amplitude / self.frame.end * (jet.value + gate * jet.dt)
        return LogWaveFunction(gradient, dt, laplacian)
