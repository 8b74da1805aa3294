"""Residuals of Nelson's equations, the quantities whose squares are trained away."""

from __future__ import annotations

from dsmsim.residuals.derivatives import Derivatives, derivatives
from dsmsim.residuals.loss import LossFunction, PointLoss, initial_loss, residual_loss
from dsmsim.residuals.nelson import nelson_residuals

__all__ = [
    "Derivatives",
    "LossFunction",
    "PointLoss",
    "derivatives",
    "initial_loss",
    "nelson_residuals",
    "residual_loss",
]
