"""Residuals as rows of a least-squares problem: what Gauss-Newton needs.

Every kind of fields has its rows: values and Jacobian as functions of given parameters, not of those that
the fields hold. For a Jacobian every point gets parameters of its own, so that one reverse pass for each
number of a point gives the gradients of all points.

Shapes: P points, B trajectories, n coordinates, k numbers per point and equation (n; 1 for potential
networks), p parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from dsmsim.networks import FieldPair, Fields, PotentialFields
from dsmsim.networks.potential import DenseWeights
from dsmsim.residuals import Derivatives
from dsmsim.residuals.loss import initial_deviations
from dsmsim.residuals.madelung import madelung_residuals
from dsmsim.residuals.nelson import Form, residuals_from
from dsmsim.system import System

JACOBIAN_CHUNK = 128  # points whose Jacobian is taken at a time

Parameters = dict[str, Tensor]

# their annotations do not admit tuples of outputs that are partly unbatched
jvp: Any = torch.func.jvp
vjp: Any = torch.func.vjp
vmap: Any = torch.func.vmap


class Rows(Protocol):
    """Score and newton residuals in natural units; their squares, centred if need be, sum to a PointLoss."""

    def values(self, parameters: Parameters, x: Tensor, t: Tensor) -> Tensor:
        """(P, 2, k) at x (P, n), t (P, 1)."""

    def jacobian(self, parameters: Parameters, x: Tensor, t: Tensor) -> Tensor:
        """(P, 2, k, p) derivatives in the parameters, in their order."""


def residual_rows(fields: Fields, system: System, form: Form) -> Rows:
    """The rows of any fields."""
    if isinstance(fields, PotentialFields):
        return MadelungRows(fields, system)
    return NelsonRows(fields, system, form)


class NelsonRows:
    """Nelson's residuals of any velocity fields, over the unit of acceleration."""

    def __init__(self, fields: Fields, system: System, form: Form) -> None:
        self.fields, self.system, self.form = fields, system, form

    def values(self, parameters: Parameters, x: Tensor, t: Tensor) -> Tensor:
        """(P, 2, n)."""
        d = _derivatives(with_parameters(self.fields, parameters), x, t)
        score, newton = residuals_from(d, self.system, x, t, self.form)
        unit = self.fields.frame.acceleration(t)
        return torch.stack([score / unit, newton / unit], dim=1)

    def jacobian(self, parameters: Parameters, x: Tensor, t: Tensor) -> Tensor:
        """(P, 2, n, p)."""

        def values(own: Parameters, x: Tensor, t: Tensor) -> Tensor:
            found: Tensor = vmap(lambda p, x, t: self.values(p, x[None], t[None])[0])(own, x, t)
            return found

        return by_chunks(
            lambda x, t: flattened(gradients_at_points(values, parameters, x, t), parameters), x, t
        )


def _derivatives(fields: FieldPair, x: Tensor, t: Tensor) -> Derivatives:
    """As `residuals.derivatives`, of transforms of torch.func alone: others can be put around them.

    It takes more memory in a graph than the gradient of autograd that the oracle uses.
    """
    batch, n = x.shape
    directions = torch.eye(n + 1, dtype=x.dtype, device=x.device)

    def push(x: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, ...]]:
        """Sums of both divergences, and values, Jacobians and time derivatives."""

        def along(direction: Tensor) -> tuple[Tensor, ...]:
            tangents = (direction[:n].expand(batch, n), direction[n:].expand(batch, 1))
            values, pushed = jvp(fields, (x, t), tangents)
            return (*values, *pushed)

        # the values do not depend on the direction, so they come back once
        u, v, push_u, push_v = vmap(along, out_dims=(None, None, 0, 0))(directions)
        jacobian_u, jacobian_v = push_u[:n].permute(1, 2, 0), push_v[:n].permute(1, 2, 0)
        traces = tuple(j.diagonal(dim1=-2, dim2=-1).sum() for j in (jacobian_u, jacobian_v))
        return (traces[0], traces[1]), (u, v, jacobian_u, jacobian_v, push_u[n], push_v[n])

    _, pull, (u, v, jacobian_u, jacobian_v, dt_u, dt_v) = vjp(push, x.detach(), has_aux=True)
    one, zero = x.new_ones(()), x.new_zeros(())
    # samples are independent, so the gradient of the batch sum holds those of all samples
    (grad_div_u,), (grad_div_v,) = pull((one, zero)), pull((zero, one))
    return Derivatives(u, v, jacobian_u, jacobian_v, dt_u, dt_v, grad_div_u, grad_div_v)


class MadelungRows:
    """Madelung's two scalar residuals of potential fields, before they are centred."""

    def __init__(self, fields: PotentialFields, system: System) -> None:
        self.fields, self.system = fields, system
        self._weights = DenseWeights(fields.potential)

    def values(self, parameters: Parameters, x: Tensor, t: Tensor) -> Tensor:
        """(P, 2, 1)."""
        weights = self._weights.of(parameters)
        return madelung_residuals(self.fields, self.system, x, t, weights).unsqueeze(-1)

    def jacobian(self, parameters: Parameters, x: Tensor, t: Tensor) -> Tensor:
        """(P, 2, 1, p); the network returns the gradient of every point in a weight of its own."""
        weights, pull = vjp(self._weights.of, parameters)

        def values(own: Parameters, x: Tensor, t: Tensor) -> Tensor:
            return madelung_residuals(self.fields, self.system, x, t, own)

        def rows(x: Tensor, t: Tensor) -> Tensor:
            in_weights = gradients_at_points(values, weights, x, t)
            (in_parameters,) = vmap(vmap(pull))(in_weights)
            return flattened(in_parameters, parameters).unsqueeze(2)

        return by_chunks(rows, x, t, size=self.fields.points_at_once(2 * JACOBIAN_CHUNK))


class InitialRows:
    """Deviations of (u, v) from (u0, v0) at t = 0 of any velocity fields, in natural units."""

    def __init__(self, fields: Fields) -> None:
        self.fields = fields

    def values(self, parameters: Parameters, x: Tensor) -> Tensor:
        """(B, 2, n) at x (B, n)."""
        return initial_deviations(with_parameters(self.fields, parameters), self.fields, x)

    def jacobian(self, parameters: Parameters, x: Tensor) -> Tensor:
        """(B, 2, n, p)."""

        def values(own: Parameters, x: Tensor) -> Tensor:
            found: Tensor = vmap(lambda p, x: self.values(p, x[None])[0])(own, x)
            return found

        return by_chunks(lambda x: flattened(gradients_at_points(values, parameters, x), parameters), x)


def with_parameters(fields: Fields, parameters: Parameters) -> FieldPair:
    """The fields with other parameters than their own."""

    def pair(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        found: tuple[Tensor, Tensor] = torch.func.functional_call(fields, parameters, (x, t))
        return found

    return pair


def by_chunks(work: Callable[..., Tensor], *points: Tensor, size: int | None = None) -> Tensor:
    """`work` on a few points at a time; there must be one at least."""
    chunks = zip(*(torch.split(each, size or JACOBIAN_CHUNK) for each in points), strict=True)
    return torch.cat([work(*chunk) for chunk in chunks])


def gradients_at_points(values: Callable[..., Tensor], parameters: Parameters, *points: Tensor) -> Parameters:
    """Derivatives (P, ..., parameter) of values(own parameters, points) (P, ...) at every point."""
    count = len(points[0])
    own = {name: p.detach().expand(count, *p.shape).clone() for name, p in parameters.items()}
    variables = [p.requires_grad_() for p in own.values()]
    found = values(own, *points)
    rows = [
        torch.autograd.grad(row.sum(), variables, retain_graph=True, materialize_grads=True)
        for row in found.flatten(1).unbind(1)
    ]
    columns = (torch.stack(gradients, dim=1) for gradients in zip(*rows, strict=True))
    return {
        name: column.reshape(*found.shape, *parameters[name].shape)
        for name, column in zip(own, columns, strict=True)
    }


def flattened(gradients: Parameters, parameters: Parameters) -> Tensor:
    """(P, ..., p) from one (P, ..., parameter) for every parameter."""
    columns = []
    for name, parameter in parameters.items():
        gradient = gradients[name]
        columns.append(gradient.reshape(*gradient.shape[: gradient.ndim - parameter.ndim], -1))
    return torch.cat(columns, dim=-1)
