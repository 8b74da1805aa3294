"""The pair of velocity fields (u, v) that deep stochastic mechanics trains.

With `initial = "exact"` (Orlova et al., ICML 2024, for interacting systems) the initial condition holds by
construction. In the lab frame

    u(x, t) = u0(x) + (t/T) U net_u(y, t/T),      v(x, t) = v0(x) + (t/T) U net_v(y, t/T)

with y = (x - c) / sigma. In a comoving frame that has grown by a factor a(t), y = (x - c(t)) / (a sigma),
the gate replaces t/T, the clock is the network's time, and the osmotic velocity shrinks with the frame:
u = u0(c + sigma y) / a + gate U net_u / a. With `initial = "learned"` the networks stand alone, u = U net_u
and v = U net_v, and a loss pulls them to u0 and v0 at t = 0.

Shapes: B batch, n coordinates.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from dsmsim.config import Config, NetworkTable
from dsmsim.networks.equivariant import Equivariant
from dsmsim.networks.frame import Frame, natural_frame
from dsmsim.networks.mlp import MLP
from dsmsim.networks.sorted_mlp import SortedMLP
from dsmsim.system import InitialState, System

FieldPair = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]

KINDS: dict[str, Callable[[NetworkTable, int, int], nn.Module]] = {
    "mlp": MLP,
    "equivariant": Equivariant,
    "sorted": SortedMLP,
}


class Fields(nn.Module):
    """Osmotic velocity u and current velocity v as one module.

    Args:
        net_u, net_v: dimensionless networks, (B, n), (B, 1) -> (B, n).
        initial: initial state, source of u0 and v0.
        frame: natural units.
        exact_initial: whether u0 and v0 are built in.
    """

    def __init__(
        self, net_u: nn.Module, net_v: nn.Module, initial: InitialState, frame: Frame, exact_initial: bool
    ) -> None:
        super().__init__()
        self.u, self.v, self.frame = net_u, net_v, frame
        self.initial, self.exact_initial = initial, exact_initial

    def forward(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """(u, v), each (B, n), at x (B, n) and t (B, 1)."""
        frame = self.frame
        growth = frame.growth(t)
        y, clock = (x - frame.center_at(t)) / (frame.sigma * growth), frame.clock(t)
        u, v = frame.velocity / growth * self.u(y, clock), frame.velocity * self.v(y, clock)
        if not self.exact_initial:
            return u, v
        gate = frame.gate(t)
        start = frame.center + frame.sigma * y if frame.comoving else x
        return self.initial.u(start) / growth + gate * u, self.initial.v(start) + gate * v


def build_fields(config: Config, system: System, initial: InitialState) -> Fields:
    """Fields of the kind the input asks for, initialised from `seed` alone (the same on every rank)."""
    dtype = getattr(torch, config.train.precision)
    make = KINDS[config.network.kind]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        net_u, net_v = (make(config.network, system.particles, system.dimensions) for _ in range(2))
    frame = natural_frame(config, system, initial)
    return Fields(net_u, net_v, initial, frame, config.network.initial == "exact").to(dtype)
