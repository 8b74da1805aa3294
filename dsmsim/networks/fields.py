"""The pair of velocity fields (u, v) that deep stochastic mechanics trains.

`Fields` is what samplers, losses and files know of them; `VelocityFields` are two networks, one for u and one
for v, and `potential_fields.py` derives both from one network of the wave function's logarithm.

Velocity fields: with `initial = "exact"` (Orlova et al., ICML 2024, for interacting systems) the initial
condition holds by construction. In the lab frame

    u(x, t) = u0(x) + (t/T) U net_u(y, t/T),      v(x, t) = v0(x) + (t/T) U net_v(y, t/T)

with y = (x - c) / sigma. In a comoving frame that has grown by a factor a(t), y = (x - c(t)) / (a sigma),
the gate replaces t/T, the clock is the network's time, and the osmotic velocity shrinks with the frame:
u = u0(c + sigma y) / a + gate U net_u / a. With `initial = "learned"` the networks stand alone, u = U net_u
and v = U net_v, and a loss pulls them to u0 and v0 at t = 0.

Shapes: B batch, n coordinates.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from dsmsim.networks.frame import Frame
from dsmsim.system import InitialState
from dsmsim.tensor import kept_weights

FieldPair = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class Fields(nn.Module, ABC):
    """Osmotic velocity u and current velocity v as one module.

    Args:
        initial: initial state, source of u0 and v0.
        frame: natural units.
        exact_initial: whether u0 and v0 are built in.

    Attributes:
        grouped: whether residuals count as variances among points of equal time, because a function of time
            alone means nothing.
    """

    grouped = False

    def __init__(self, initial: InitialState, frame: Frame, exact_initial: bool) -> None:
        super().__init__()
        self.frame, self.initial, self.exact_initial = frame, initial, exact_initial

    @abstractmethod
    def forward(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """(u, v), each (B, n), at x (B, n) and t (B, 1)."""

    @abstractmethod
    def networks(self) -> dict[str, nn.Module]:
        """The trained networks by the names under which they are stored."""

    @abstractmethod
    def numbers_per_point(self) -> int:
        """How many numbers one residual has at one point."""

    def drift(self, x: Tensor, t: Tensor, nu: float) -> Tensor:
        """v + nu u at x (B, n), t (B, 1): what moves the trajectories."""
        u, v = self(x, t)
        drift: Tensor = v + nu * u
        return drift


class VelocityFields(Fields):
    """One dimensionless network each for u and v, (B, n), (B, 1) -> (B, n)."""

    def __init__(
        self, net_u: nn.Module, net_v: nn.Module, initial: InitialState, frame: Frame, exact_initial: bool
    ) -> None:
        super().__init__(initial, frame, exact_initial)
        self.u, self.v = net_u, net_v

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

    def networks(self) -> dict[str, nn.Module]:
        return {"u": self.u, "v": self.v}

    def numbers_per_point(self) -> int:
        return len(self.frame.sigma)


@contextmanager
def standing_still(fields: nn.Module) -> Iterator[None]:
    """As long as this lasts parameters are constants, and the weights of tensor layers rebuilt once.

    For sampling: velocities of a potential are gradients in x, which would else carry those of weights.
    """
    wanted = [parameter for parameter in fields.parameters() if parameter.requires_grad]
    try:
        for parameter in wanted:
            parameter.requires_grad_(False)
        with kept_weights(fields):
            yield
    finally:
        for parameter in wanted:
            parameter.requires_grad_(True)
