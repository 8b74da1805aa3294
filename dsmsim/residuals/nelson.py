"""Residuals of Nelson's stochastic mechanics (Nelson 1966; Orlova et al., ICML 2024, eqs. 7-8).

    newton:  d_t v + grad V / m - [ (u.grad)u - (v.grad)v ] - (hbar/2m) grad div u
    score:   d_t u + grad (v.u) + (hbar/2m) grad div v

Units: acceleration. For gradient fields (u.grad)u = J_u u equals J_u^T u = grad |u|^2 / 2, but a velocity
network is curl-free only after training. The published loss uses the transpose, so that each right-hand
side is the gradient of one scalar; that is `form = "gradient"`, the default. `form = "convective"` uses
J u as the equations are usually written.

Shapes: B batch, n coordinates.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from dsmsim.networks import FieldPair
from dsmsim.residuals.derivatives import Derivatives, derivatives
from dsmsim.system import System

Form = Literal["gradient", "convective"]


def nelson_residuals(
    fields: FieldPair, system: System, x: Tensor, t: Tensor, form: Form = "gradient"
) -> tuple[Tensor, Tensor]:
    """(score, newton) residuals, each (B, n), at x (B, n), t (B, 1)."""
    return residuals_from(derivatives(fields, x, t), system, x, t, form)


def residuals_from(
    d: Derivatives, system: System, x: Tensor, t: Tensor, form: Form = "gradient"
) -> tuple[Tensor, Tensor]:
    """The same from the derivatives of the fields, however they were made."""
    half = system.hbar / (2.0 * system.mass)
    product = "bij,bi->bj" if form == "gradient" else "bij,bj->bi"
    kinetic = torch.einsum(product, d.jacobian_u, d.u) - torch.einsum(product, d.jacobian_v, d.v)
    # grad (u.v) = J_u^T v + J_v^T u in either form: it is a gradient to begin with
    transport = torch.einsum("bij,bi->bj", d.jacobian_u, d.v) + torch.einsum("bij,bi->bj", d.jacobian_v, d.u)
    newton = d.dt_v + system.gradient(x, t) / system.mass - kinetic - half * d.grad_div_u
    score = d.dt_u + transport + half * d.grad_div_v
    return score, newton
