"""Exact derivatives of a pair of velocity fields, for any network, by torch.func.

Forward mode along the n coordinate directions and time gives the Jacobians and the time derivatives; one
reverse pass through a divergence gives its gradient. This is the oracle engine: nothing about the network
is assumed, so every faster engine is tested against it.

Shapes: B batch, n coordinates.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from dsmsim.networks import FieldPair

# their annotations do not admit tuples of outputs that are partly unbatched
jvp: Any = torch.func.jvp
vmap: Any = torch.func.vmap


class Derivatives(NamedTuple):
    """What Nelson's equations need of u and v.

    Attributes:
        u, v: (B, n) fields.
        jacobian_u, jacobian_v: (B, n, n) with [b, i, j] = d f_i / d x_j.
        dt_u, dt_v: (B, n) partial time derivatives.
        grad_div_u, grad_div_v: (B, n) gradients of the divergences.
    """

    u: Tensor
    v: Tensor
    jacobian_u: Tensor
    jacobian_v: Tensor
    dt_u: Tensor
    dt_v: Tensor
    grad_div_u: Tensor
    grad_div_v: Tensor


def derivatives(fields: FieldPair, x: Tensor, t: Tensor) -> Derivatives:
    """Derivatives of (u, v) = fields(x, t) at x (B, n), t (B, 1); differentiable in the parameters."""
    batch, n = x.shape
    x = x.detach().requires_grad_(True)
    directions = torch.eye(n + 1, dtype=x.dtype, device=x.device)[:, None, :].expand(n + 1, batch, n + 1)

    def push(direction: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        tangents = (direction[:, :n], direction[:, n:])
        values, pushed = jvp(fields, (x, t), tangents)
        return (*values, *pushed)

    # the values do not depend on the direction, so they come back once
    u, v, push_u, push_v = vmap(push, out_dims=(None, None, 0, 0))(directions)
    jacobian_u, jacobian_v = push_u[:n].permute(1, 2, 0), push_v[:n].permute(1, 2, 0)
    return Derivatives(
        u,
        v,
        jacobian_u,
        jacobian_v,
        push_u[n],
        push_v[n],
        _gradient_of_trace(jacobian_u, x),
        _gradient_of_trace(jacobian_v, x),
    )


def _gradient_of_trace(jacobian: Tensor, x: Tensor) -> Tensor:
    """(B, n) gradient of tr J; samples are independent, so one pass over the batch sum is enough."""
    divergence = jacobian.diagonal(dim1=-2, dim2=-1).sum()
    if not divergence.requires_grad:  # a field that is constant in x
        return torch.zeros_like(x)
    (gradient,) = torch.autograd.grad(divergence, x, create_graph=True, materialize_grads=True)
    return gradient
