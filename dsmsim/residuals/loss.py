"""Losses as sums and counts, so that any number of ranks adds up to the same number.

    L = alpha L_score + beta L_newton + gamma L_initial

Each part is the mean over points and coordinates of a squared residual, measured in the natural unit of
acceleration (velocity for the initial part), hence dimensionless and of order one before training.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from dsmsim.networks import Fields
from dsmsim.residuals.nelson import Form, nelson_residuals
from dsmsim.system import System


@dataclass(frozen=True)
class LossSums:
    """Sums of squares over the points of one rank (0-d tensors), and how many numbers went in.

    Attributes:
        score, newton: sums of squared residuals in natural units.
        count: points times coordinates.
    """

    score: Tensor
    newton: Tensor
    count: int


def residual_loss(fields: Fields, system: System, x: Tensor, t: Tensor, form: Form) -> LossSums:
    """Sums of the squared Nelson residuals at x (B, n), t (B, 1)."""
    score, newton = nelson_residuals(fields, system, x, t, form)
    unit = fields.frame.acceleration(t)
    return LossSums((score / unit).square().sum(), (newton / unit).square().sum(), score.numel())


def initial_loss(fields: Fields, x: Tensor) -> Tensor:
    """Sum over x (B, n) of squared deviations of (u, v) from (u0, v0) at t = 0, in natural units."""
    u, v = fields(x, x.new_zeros(len(x), 1))
    unit = fields.frame.velocity
    deviations = ((u - fields.initial.u(x)) / unit, (v - fields.initial.v(x)) / unit)
    total: Tensor = deviations[0].square().sum() + deviations[1].square().sum()
    return total
