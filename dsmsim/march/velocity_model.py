"""Two velocity networks that march: u and v directly.

    u(x) = u0(x) + U [ f_u(y; theta) - f_u(y; theta_0) ],      v likewise,      y = (x - c) / sigma

with the natural velocity U, networks whose clock stands at 0, and their parameters theta_0 at the start, at
which u = u0 and v = v0 exactly. The equations of motion of theta are Nelson's in gradient form,

    d_t u = -grad(u . v) - (hbar/2m) grad div v
    d_t v = -grad V / m + grad(|u|^2 - |v|^2) / 2 + (hbar/2m) grad div u

(Nelson 1966; Orlova et al., ICML 2024), 2n numbers at every configuration, measured in units of U. Such
networks know no density, and are free of curl only as far as the equations make them so.

Rows of u depend on the parameters of f_u alone, and rows of v on those of f_v alone: half of A is zero. The
derivatives are those of the oracle `residuals.derivatives`, of any network.

Shapes: W configurations, n coordinates, P parameters.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dsmsim.config import Config
from dsmsim.errors import ConfigError
from dsmsim.march.flat_parameters import FlatParameters, Parameters, begin_with
from dsmsim.march.model import Equations, Local, Theta
from dsmsim.networks import FieldPair, VelocityFields, build_fields
from dsmsim.residuals import Derivatives, derivatives
from dsmsim.residuals.nelson import residuals_from
from dsmsim.system import InitialState, System

CHUNK = 512  # configurations at a time: enough for few calls, and derivatives of few at once
PROBES = 16  # points at which a parameter that matters must have an effect

# their annotations do not admit dictionaries
jacrev: Any = torch.func.jacrev
jvp: Any = torch.func.jvp
vmap: Any = torch.func.vmap


class VelocityModel:
    """The networks of an input of kind "mlp", "equivariant" or "sorted" as a `march.model.Model`.

    Args:
        config: the input; `seed` and [network] make theta_0.
        system, initial: the problem.
        start: theta_0 by name instead, as `FlatParameters.loaded` gives it.

    Raises:
        ConfigError: network.initial or network.frame without an exact start or a static unit of length.
    """

    analytic = False
    centred = False

    def __init__(
        self, config: Config, system: System, initial: InitialState, start: Parameters | None = None
    ) -> None:
        for key, needed in (("initial", "exact"), ("frame", "lab")):
            value = getattr(config.network, key)
            if value != needed:
                raise ConfigError(
                    f"network.{key} = {value!r}: a network that marches needs network.{key} = {needed!r}; "
                    "write that, or leave the key out",
                    key=f"network.{key}",
                )
        fields = build_fields(config, system, initial).double().requires_grad_(False)
        assert isinstance(fields, VelocityFields), "[network] is a potential"
        self.system, self.initial, self.fields = system, initial, fields
        own = {
            f"{part}.{name}": p
            for part, network in fields.networks().items()
            for name, p in network.named_parameters()
        }
        begin_with(own, start)
        self.parameters = FlatParameters(own)
        self.parameters = FlatParameters(own, self._matters())

    @property
    def names(self) -> tuple[str, ...]:
        """The entries of theta."""
        return self.parameters.names

    def start(self) -> NDArray[np.float64]:
        """theta_0 (P,), at which u = u0 and v = v0 exactly."""
        return self.parameters.start()

    def fault(self, theta: Theta, farthest: float) -> None:
        """None: velocities know no norm that could be lost."""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """theta_0 and the weights of the clock, as `start/NAME`."""
        return self.parameters.arrays()

    def equations(self, theta: Theta, x: Tensor, t: float) -> Equations:
        """Fields, rows (W, 2n, P) and targets (W, 2n) at x (W, n) and time t: u first, then v.

        Rows are numbers, targets have the unit 1/time.
        """
        parameters = self._at(theta, x)
        pair, local, targets = self._pair(parameters), [], []
        for part in torch.split(x, CHUNK):
            clock = part.new_full((len(part), 1), t)
            with torch.enable_grad():
                d = derivatives(pair, part, torch.zeros_like(clock))
            d = Derivatives(*(each.detach() for each in d))
            # the fields have no time of their own, so what the residuals lack is their time derivative
            score, newton = residuals_from(d, self.system, part, clock)
            targets.append(-torch.cat([score, newton], -1) / self.fields.frame.velocity)
            local.append((d.u, d.v, d.jacobian_v.diagonal(dim1=-2, dim2=-1).sum(-1)))
        u, v, div_v = map(torch.cat, zip(*local, strict=True))
        return Equations(Local(u, v, div_v, None), self._rows(parameters, x), torch.cat(targets))

    @torch.no_grad()
    def local(self, theta: Theta, x: Tensor) -> Local:
        """The fields at x (W, n)."""
        pair, directions = self._pair(self._at(theta, x)), torch.eye(x.shape[1], dtype=x.dtype).to(x.device)
        parts = []
        for part in torch.split(x, CHUNK):
            clock = part.new_zeros(len(part), 1)

            def along(
                direction: Tensor, part: Tensor = part, clock: Tensor = clock
            ) -> tuple[Tensor, Tensor, Tensor]:
                (u, v), (_, push_v) = jvp(lambda x: pair(x, clock), (part,), (direction.expand_as(part),))
                return u, v, (push_v * direction).sum(-1)

            u, v, slopes = vmap(along, out_dims=(None, None, 0))(directions)
            parts.append((u, v, slopes.sum(0)))
        u, v, div_v = map(torch.cat, zip(*parts, strict=True))
        return Local(u, v, div_v, None)

    @torch.no_grad()
    def velocities(self, theta: Theta, x: Tensor) -> tuple[Tensor, Tensor]:
        """(u, v), each (W, n), at x (W, n)."""
        return self._pair(self._at(theta, x))(x, x.new_zeros(len(x), 1))

    @torch.no_grad()
    def score(self, theta: Theta, x: Tensor) -> tuple[Tensor, None]:
        """u (W, n) at x (W, n); there is no density."""
        return self.initial.u(x) + self._change("u", self._at(theta, x), x), None

    def _at(self, theta: Theta, x: Tensor) -> Parameters:
        """The parameters at theta, where x lies."""
        if self.fields.frame.center.device != x.device:
            self.fields.to(x.device)
            self.parameters.to(x.device)
        return self.parameters.named(theta)

    def _pair(self, parameters: Parameters) -> FieldPair:
        """(x (W, n), clock (W, 1)) -> (u, v)."""

        def pair(x: Tensor, clock: Tensor) -> tuple[Tensor, Tensor]:
            u, v = (self._change(part, parameters, x) for part in ("u", "v"))
            return self.initial.u(x) + u, self.initial.v(x) + v

        return pair

    def _change(self, part: str, parameters: Parameters, x: Tensor) -> Tensor:
        """U [ f(y; theta) - f(y; theta_0) ] of the network of u or of v: (W, n)."""
        y = self._natural(x)
        now, start = (
            self._value(part, _of(part, each), y) for each in (parameters, self.parameters.reference)
        )
        return self.fields.frame.velocity * (now - start)

    def _natural(self, x: Tensor) -> Tensor:
        return (x - self.fields.frame.center) / self.fields.frame.sigma

    def _value(self, part: str, parameters: Parameters, y: Tensor) -> Tensor:
        network: nn.Module = self.fields.networks()[part]
        value: Tensor = torch.func.functional_call(network, parameters, (y, y.new_zeros(*y.shape[:-1], 1)))
        return value

    def _rows(self, parameters: Parameters, x: Tensor) -> Tensor:
        """d (f_u, f_v)/d theta: (W, 2n, P)."""
        n = x.shape[1]
        rows = x.new_zeros(len(x), 2 * n, len(self.parameters))
        for k, part in enumerate(("u", "v")):
            own = _of(part, parameters)

            def one(own: Parameters, y: Tensor, part: str = part) -> Tensor:
                return self._value(part, own, y[None])[0]

            jacobian = vmap(jacrev(one), (None, 0))
            for begin in range(0, len(x), CHUNK):
                chunk = slice(begin, begin + CHUNK)
                found = jacobian(own, self._natural(x[chunk]))
                for j in range(n):
                    gradients = {f"{part}.{name}": column[:, j] for name, column in found.items()}
                    self.parameters.place(gradients, rows[chunk, k * n + j])
        return rows

    def _matters(self) -> Tensor:
        """(Q,) whether a parameter has any effect: those of the clock have none."""
        y = torch.randn(PROBES, self.system.coordinates, generator=torch.Generator().manual_seed(0)).double()
        x = self.fields.frame.center + self.fields.frame.sigma * y
        return self._rows(self.parameters.reference, x).abs().amax((0, 1)) > 0.0


def _of(part: str, parameters: Parameters) -> Parameters:
    """The parameters of the network of u or of v, by their names in it."""
    return {name.removeprefix(f"{part}."): p for name, p in parameters.items() if name.startswith(f"{part}.")}
