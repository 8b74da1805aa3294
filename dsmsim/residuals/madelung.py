"""Residuals of the Schroedinger equation for psi = exp(R + i S) in Madelung's form.

    continuity:         r_R = d_t R + (hbar/2m) (lap S + 2 grad R . grad S)
    Hamilton-Jacobi:    r_S = d_t S - (hbar/2m) (lap R + |grad R|^2 - |grad S|^2) + V / hbar

(Madelung 1927.) Nelson's equations are (hbar/m) times the gradients of these two, so one scalar each replaces
n components, and Laplacians replace gradients of divergences. A function of t alone in r_R or r_S changes
only norm and global phase; what counts is the VARIANCE of each over |psi|^2 at equal times. It bounds the
error of the wave function itself: for a normalised psi that starts right,

    || psi(t) - psi_exact(t) || <= int_0^t sqrt(Var r_R + Var r_S) dt'

(d_t psi + i H psi / hbar = (r_R + i r_S) psi, and the exact evolution keeps norms), the time-dependent cousin
of the zero-variance principle.

Residuals are measured in the natural unit A / T (see `potential_fields.py`).

Shapes: P points, n coordinates, G points of equal time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from dsmsim.networks import PotentialFields
from dsmsim.residuals.loss import LossFunction, PointLoss
from dsmsim.system import System


def madelung_residuals(
    fields: PotentialFields,
    system: System,
    x: Tensor,
    t: Tensor,
    weights: Mapping[str, Tensor] | None = None,
) -> Tensor:
    """(r_R, r_S) at x (P, n), t (P, 1) in natural units: (P, 2); differentiable once in the weights."""
    d = fields.derivatives(x, t, weights)
    half = system.hbar / (2.0 * system.mass)
    grad_r, grad_s = d.gradient.unbind(-1)
    continuity = d.dt[:, 0] + half * (d.laplacian[:, 1] + 2.0 * (grad_r * grad_s).sum(-1))
    kinetic = d.laplacian[:, 0] + grad_r.square().sum(-1) - grad_s.square().sum(-1)
    hamilton_jacobi = d.dt[:, 1] - half * kinetic + system.potential(x, t) / system.hbar
    unit = fields.amplitude / fields.frame.end
    return torch.stack([continuity, hamilton_jacobi], -1) / unit


def centred(values: Tensor, group: int) -> Tensor:
    """Deviations from the mean of each `group` consecutive rows, scaled so that their squares are unbiased.

    values (P, ...) to the same shape; the mean square of the result is the variance among points of equal
    time, whatever the size of the group.
    """
    grouped = values.reshape(-1, group, *values.shape[1:])
    deviations = grouped - grouped.mean(1, keepdim=True)
    scaled: Tensor = deviations * math.sqrt(group / (group - 1))
    return scaled.reshape(values.shape)


def madelung_loss(fields: PotentialFields, system: System, group: int) -> LossFunction:
    """Squared deviations of both residuals among each `group` consecutive points of equal time."""

    def squares(x: Tensor, t: Tensor) -> PointLoss:
        residuals = centred(madelung_residuals(fields, system, x, t), group).square()
        return PointLoss(residuals[:, 0], residuals[:, 1])

    return squares
