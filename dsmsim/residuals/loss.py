"""Squared residuals point by point, so that any weights, chunks and ranks add up to the same loss.

    L = alpha L_score + beta L_newton + gamma L_initial

Each part is the mean over points and numbers per point of a squared residual, measured in its natural unit
(acceleration; velocity for the initial part), hence dimensionless and of order one before training.

Shapes: P points, n coordinates.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from dsmsim.networks import Fields
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


def initial_loss(fields: Fields, x: Tensor) -> Tensor:
    """Sum over x (B, n) of squared deviations of (u, v) from (u0, v0) at t = 0, in natural units."""
    u, v = fields(x, x.new_zeros(len(x), 1))
    unit = fields.frame.velocity
    deviations = ((u - fields.initial.u(x)) / unit, (v - fields.initial.v(x)) / unit)
    total: Tensor = deviations[0].square().sum() + deviations[1].square().sum()
    return total
