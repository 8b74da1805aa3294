"""Squared residuals point by point, so that any weights, chunks and ranks add up to the same loss.

    L = alpha L_score + beta L_newton + gamma L_initial

Each part is the mean over points and numbers per point of a squared residual, measured in its natural unit
(acceleration; velocity for the initial part), hence dimensionless and of order one before training.

Shapes: P points, n coordinates.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from dsmsim.networks import FieldPair, Fields
from dsmsim.residuals.nelson import Form, nelson_residuals
from dsmsim.system import System


class PointLoss(NamedTuple):
    """Squared residuals of every point, in natural units, summed over the numbers of a point.

    Attributes:
        score: (P,) of the equation for u (the continuity equation).
        newton: (P,) of the equation for v (the Hamilton-Jacobi equation).
    """

    score: Tensor
    newton: Tensor


LossFunction = Callable[[Tensor, Tensor], PointLoss]
"""(x (P, n), t (P, 1)) -> PointLoss, differentiable once in the parameters."""


def residual_loss(fields: Fields, system: System, form: Form) -> LossFunction:
    """Squared Nelson residuals of any velocity fields, by the oracle engine."""

    def squares(x: Tensor, t: Tensor) -> PointLoss:
        score, newton = nelson_residuals(fields, system, x, t, form)
        unit = fields.frame.acceleration(t)
        return PointLoss((score / unit).square().sum(-1), (newton / unit).square().sum(-1))

    return squares


def initial_deviations(pair: FieldPair, fields: Fields, x: Tensor) -> Tensor:
    """Deviations of pair(x, 0) from (u0, v0) in natural units at x (B, n): (B, 2, n).

    Args:
        pair: the fields, or what they would be with other parameters.
        fields: source of u0, v0 and the unit.
    """
    u, v = pair(x, x.new_zeros(len(x), 1))
    return torch.stack([u - fields.initial.u(x), v - fields.initial.v(x)], dim=1) / fields.frame.velocity


def initial_loss(fields: Fields, x: Tensor) -> Tensor:
    """Sum over x (B, n) of squared deviations of (u, v) from (u0, v0) at t = 0, in natural units."""
    return initial_deviations(fields, fields, x).square().sum()
