"""Nelson's residuals from the derivatives of the two networks, and cotangents back to those.

    f(x, t) = f0(x, t) + m(t) o(y(x, t), s(t))    for f = u and v

(`dsmsim.networks.fields`). All that is not a network is elementwise: functions of time, which may differ from
coordinate to coordinate, and the initial velocities f0, whose coordinate i depends on x_i alone for a product
state. So one reverse pass differentiates each of them, whatever the number of coordinates. Memory is of the
order of the points themselves.

Shapes: P points, n coordinates; leading 2 for (u, v); points come last.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from dsmsim.networks import Fields, VelocityFields
from dsmsim.residuals.fused_mlp import MLPDerivatives
from dsmsim.residuals.nelson import Form
from dsmsim.system import GaussianState, ProductState, System


def separable(fields: Fields) -> bool:
    """Whether coordinate i of u0 and v0 is known to depend on x_i alone."""
    return isinstance(fields.initial, GaussianState | ProductState)


class Chart(NamedTuple):
    """Everything but the networks, at P points.

    Attributes:
        z: (n + 1, P) inputs (y, s) of the networks.
        scale: (n, P) dy/dx.
        rate: (n + 1, P) time derivative of z at fixed x.
        factor, factor_rate: (2, n, P) m(t), which multiplies the networks' outputs, and its time derivative.
        share: (n, P), equal rows; a network's part of the divergence is share * sum_i w_i do_i/dy_i.
        weight: (2, n, P) those w.
        value, slope, value_rate, bend: (2, n, P) f0, its diagonal Jacobian, time derivative and grad div.
        force: (n, P) grad V / mass.
        unit: (1, P) of acceleration.
    """

    z: Tensor
    scale: Tensor
    rate: Tensor
    factor: Tensor
    factor_rate: Tensor
    share: Tensor
    weight: Tensor
    value: Tensor
    slope: Tensor
    value_rate: Tensor
    bend: Tensor
    force: Tensor
    unit: Tensor

    def slice(self, first: int, last: int) -> Chart:
        """Points first to last - 1."""
        return Chart(*(part[..., first:last] for part in self))


@torch.no_grad()
def make_chart(fields: VelocityFields, system: System, x: Tensor, t: Tensor) -> Chart:
    """The chart of separable fields at x (P, n), t (P, 1)."""
    frame = fields.frame
    with torch.enable_grad():
        # one copy of the time for every coordinate makes all functions of time elementwise
        time = t.expand_as(x).clone().requires_grad_(True)
        growth = frame.growth(time).expand_as(x)
        gate = frame.gate(time) if fields.exact_initial else torch.ones_like(time)
        functions = (
            1.0 / (frame.sigma * growth),
            frame.center_at(time).expand_as(x),
            frame.clock(time),
            frame.velocity * gate,
            1.0 / growth,
        )
        rates = [_slope(function, time) for function in functions]
    scale, place, clock, share, shrink_u = (function.detach() for function in functions)
    scale_rate, place_rate, clock_rate, share_rate, shrink_u_rate = rates
    # u0 shrinks as the frame grows and v0 does not, and so do their networks
    shrink = torch.stack([shrink_u, torch.ones_like(shrink_u)])
    shrink_rate = torch.stack([shrink_u_rate, torch.zeros_like(shrink_u)])
    y = (x - place) * scale
    y_rate = (x - place) * scale_rate - place_rate * scale
    if fields.exact_initial:
        start = frame.center + frame.sigma * y if frame.comoving else x
        inner = frame.sigma * scale  # d start / dx
        value, slope, bend = _initial_velocities(fields, start)
        base = (
            shrink * value,
            shrink * slope * inner,
            shrink_rate * value + shrink * slope * (frame.sigma * y_rate),
            shrink * bend * inner.square(),
        )
    else:
        base = (x.new_zeros(2, *x.shape),) * 4
    parts = (
        torch.cat([y, clock[:, :1]], -1),
        scale,
        torch.cat([y_rate, clock_rate[:, :1]], -1),
        share * shrink,
        share_rate * shrink + share * shrink_rate,
        share,
        shrink * scale,
        *base,
        system.gradient(x, t) / system.mass,
        torch.as_tensor(frame.acceleration(t), dtype=x.dtype, device=x.device).expand_as(t),
    )
    # from here on points come last: all that follows is vectorised over them
    return Chart(*(part.transpose(-1, -2).contiguous() for part in parts))


def _slope(values: Tensor, x: Tensor, create_graph: bool = False) -> Tensor:
    """Derivative of values that are made elementwise from x, or do not depend on it."""
    if not values.requires_grad:
        return torch.zeros_like(x)
    (slope,) = torch.autograd.grad(
        values.sum(), x, create_graph=create_graph, retain_graph=True, materialize_grads=True
    )
    return slope


def _initial_velocities(fields: VelocityFields, start: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(u0, v0) and their first and second derivatives in their own coordinate, each (2, P, n)."""
    with torch.enable_grad():
        x = start.detach().requires_grad_(True)  # coordinate i of a separable state depends on x_i alone
        values = [fields.initial.u(x), fields.initial.v(x)]
        slopes = [_slope(value, x, create_graph=True) for value in values]
        bends = [_slope(slope, x) for slope in slopes]
    value, slope, bend = (torch.stack(parts).detach() for parts in (values, slopes, bends))
    return value, slope, bend


class ChartResiduals:
    """Nelson's residuals in natural units from the networks' derivatives, and back."""

    def __init__(self, chart: Chart, found: MLPDerivatives, half: float, form: Form) -> None:
        self.chart, self.half, self.form = chart, half, form
        n = len(chart.scale)
        self.field = chart.value + chart.factor * found.value
        # every Jacobian is [k, j, i] = d f_i / d x_j
        self.stretch = chart.factor.unsqueeze(1) * chart.scale.unsqueeze(1)
        self.jacobian = found.jacobian[:, :n] * self.stretch
        self.jacobian.diagonal(dim1=1, dim2=2).add_(chart.slope.transpose(1, 2))
        moving = (found.jacobian * chart.rate.unsqueeze(1)).sum(1)
        rate = chart.value_rate + chart.factor_rate * found.value + chart.factor * moving
        grad_div = chart.bend + chart.share * chart.scale * found.grad_div
        if form == "gradient":
            kinetic = (self.jacobian * self.field.unsqueeze(1)).sum(2)
        else:
            kinetic = (self.jacobian * self.field.unsqueeze(2)).sum(1)
        transport = (self.jacobian * self.field.flip(0).unsqueeze(1)).sum((0, 2))
        newton = rate[1] + chart.force - kinetic[0] + kinetic[1] - half * grad_div[0]
        score = rate[0] + transport + half * grad_div[1]
        self.residuals = torch.stack([score, newton]) / chart.unit
        self.squares = self.residuals.square().sum(1)  # (2, P)

    def cotangents(self, point_weights: Tensor) -> MLPDerivatives:
        """Cotangents of the derivatives for the sum of point_weights (2, P) times squares."""
        chart, n = self.chart, len(self.chart.scale)
        pulled = self.residuals * (2.0 * point_weights.unsqueeze(1) / chart.unit)
        score, newton = pulled
        signed = torch.stack([-newton, newton])  # kinetic terms enter as -u, +v
        of_jacobian = self.field.flip(0).unsqueeze(1) * score.unsqueeze(1)
        of_field = (self.jacobian * score.unsqueeze(1)).sum(1).flip(0)
        if self.form == "gradient":
            of_jacobian.addcmul_(self.field.unsqueeze(1), signed.unsqueeze(2))
            of_field += (self.jacobian * signed.unsqueeze(2)).sum(1)
        else:
            of_jacobian.addcmul_(signed.unsqueeze(1), self.field.unsqueeze(2))
            of_field += (self.jacobian * signed.unsqueeze(1)).sum(2)
        # (score, newton) hold the time derivatives of (u, v)
        rows = (chart.factor * pulled).unsqueeze(1) * chart.rate.unsqueeze(1)
        rows[:, :n].addcmul_(of_jacobian, self.stretch)
        return MLPDerivatives(
            chart.factor * of_field + chart.factor_rate * pulled,
            rows,
            self.half * chart.share * chart.scale * torch.stack([-newton, score]),
        )
