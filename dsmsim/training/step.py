"""One optimiser step of deep stochastic mechanics, on any number of ranks.

Every rank takes the gradient of its own sums divided by the GLOBAL counts; one all-reduce of a single flat
vector then yields the gradient, the parts of the loss and the verdict on finiteness, the same on every rank.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dsmsim.config import Config
from dsmsim.config.plan import RESIDUAL_CHUNK
from dsmsim.networks import Fields
from dsmsim.parallel import World
from dsmsim.residuals import initial_loss, residual_loss
from dsmsim.system import System


@dataclass(frozen=True)
class StepReport:
    """Loss parts (dimensionless) and gradient norm of one epoch, over all ranks."""

    loss: float
    score: float
    newton: float
    initial: float
    gradient_norm: float

    @property
    def finite(self) -> bool:
        """Whether the step may be taken."""
        return bool(torch.isfinite(torch.tensor([self.loss, self.gradient_norm])).all())


def loss_and_gradient(
    config: Config, system: System, fields: Fields, x: Tensor, t: Tensor, x0: Tensor, world: World
) -> StepReport:
    """Leave the global gradient in the parameters' `.grad` and return the global loss.

    Args:
        x, t: (P, n), (P, 1) residual points of this rank.
        x0: (B, n) initial positions of this rank, for the initial-condition loss.
    """
    train = config.train
    numbers = train.points * system.coordinates
    starts = train.trajectories * system.coordinates
    parameters = list(fields.parameters())
    for parameter in parameters:
        parameter.grad = None
    parts = x.new_zeros(3)
    for xs, ts in zip(torch.split(x, RESIDUAL_CHUNK), torch.split(t, RESIDUAL_CHUNK), strict=True):
        if len(xs) == 0:
            continue
        sums = residual_loss(fields, system, xs, ts, train.form)
        score, newton = sums.score / numbers, sums.newton / numbers
        torch.autograd.backward(train.alpha * score + train.beta * newton)
        parts[0] += score.detach()
        parts[1] += newton.detach()
    if not fields.exact_initial and len(x0):
        initial = initial_loss(fields, x0) / starts
        torch.autograd.backward(train.gamma * initial)
        parts[2] = initial.detach()

    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    flat = world.sum_(torch.cat([*(g.reshape(-1) for g in gradients), parts]))
    offset = 0
    for parameter in parameters:
        parameter.grad = flat[offset : offset + parameter.numel()].view_as(parameter).clone()
        offset += parameter.numel()
    score_sum, newton_sum, initial_sum = flat[offset:].tolist()
    norm = float(torch.linalg.vector_norm(flat[:offset]))
    loss = train.alpha * score_sum + train.beta * newton_sum + train.gamma * initial_sum
    return StepReport(loss, score_sum, newton_sum, initial_sum, norm)


def clip_gradient(fields: Fields, norm: float, largest: float) -> None:
    """Shrink the gradient to the norm `largest` where it is longer."""
    if norm > largest:
        for parameter in fields.parameters():
            if parameter.grad is not None:
                parameter.grad.mul_(largest / norm)
