"""Residuals with the divergences estimated by random probes, for very many coordinates.

For a random z with independent signs, E[z^T J z] = tr J (Hutchinson 1989), so a residual r(z) with div u and
div v replaced by their estimates is unbiased, and costs a few passes through the network whatever n is. Its
square is not: E[r(z)^2] = r^2 + Var r(z). With two independent probes,

    E[ r(z1) . r(z2) ] = r . r

so the product of two estimates takes the place of the square: an unbiased loss with unbiased gradients, which
may be negative at single points.

Shapes: P points, n coordinates, K probes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dsmsim.networks import FieldPair, Fields
from dsmsim.residuals.derivatives import jvp
from dsmsim.residuals.loss import PointLoss
from dsmsim.residuals.nelson import Form
from dsmsim.system import System

PROBES = 2


def estimated_residuals(
    fields: FieldPair, system: System, x: Tensor, t: Tensor, probes: Tensor, form: Form = "gradient"
) -> tuple[Tensor, Tensor]:
    """(score, newton) residuals for every probe, each (K, P, n), at x (P, n), t (P, 1); probes (K, P, n)."""
    half = system.hbar / (2.0 * system.mass)
    x = x.detach().requires_grad_(True)
    still, one = torch.zeros_like(x), torch.ones_like(t)
    (u, v), (dt_u, dt_v) = jvp(fields, (x, t), (still, one))
    kinetic = 0.5 * (u.square() - v.square()).sum()
    (transport,) = torch.autograd.grad((u * v).sum(), x, create_graph=True)
    if form == "gradient":
        (gain,) = torch.autograd.grad(kinetic, x, create_graph=True)
    else:
        gain = jvp(fields, (x, t), (u, torch.zeros_like(t)))[1][0]
        gain = gain - jvp(fields, (x, t), (v, torch.zeros_like(t)))[1][1]
    score_known = dt_u + transport
    newton_known = dt_v + system.gradient(x, t) / system.mass - gain
    score, newton = [], []
    for z in probes:
        _, (along_u, along_v) = jvp(fields, (x, t), (z, torch.zeros_like(t)))
        (grad_u,) = torch.autograd.grad((z * along_u).sum(), x, create_graph=True)
        (grad_v,) = torch.autograd.grad((z * along_v).sum(), x, create_graph=True)
        score.append(score_known + half * grad_v)
        newton.append(newton_known - half * grad_u)
    return torch.stack(score), torch.stack(newton)


def estimated_loss(
    fields: Fields, system: System, form: Form, x: Tensor, t: Tensor, probes: Tensor
) -> PointLoss:
    """Unbiased estimates of the squared Nelson residuals in natural units; probes (2, P, n)."""
    score, newton = estimated_residuals(fields, system, x, t, probes, form)
    unit = fields.frame.acceleration(t)
    products = [(first / unit * (second / unit)).sum(-1) for first, second in (score, newton)]
    return PointLoss(*products)
