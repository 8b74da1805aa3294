"""The loss of deep stochastic mechanics on one batch and its gradient, on any number of ranks.

Every rank takes the gradient of its own sums divided by the GLOBAL counts; one all-reduce of a single flat
vector then yields the gradient, the parts of the loss and the verdict on finiteness, the same on every rank.

Shapes: P points, n coordinates, M slices of time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from dsmsim.config import TrainTable
from dsmsim.networks import Fields
from dsmsim.parallel import World
from dsmsim.residuals import PointLoss, initial_loss
from dsmsim.training.batch import Batch
from dsmsim.training.engines import GradientFunction

CHUNK = 4096  # points whose slices are sorted out at a time


@dataclass(frozen=True)
class StepReport:
    """Loss parts (dimensionless) and gradient norm of one batch, over all ranks.

    Attributes:
        loss: alpha score + beta newton + gamma initial, every point with the same weight.
        score, newton, initial: the parts.
        gradient_norm: of the gradient of `weighted`.
        weighted: the loss with the weights of the points; what is minimised.
        slices: alpha score + beta newton of each slice of time, its mean: M numbers.
    """

    loss: float
    score: float
    newton: float
    initial: float
    gradient_norm: float
    weighted: float = 0.0
    slices: tuple[float, ...] = ()

    @property
    def finite(self) -> bool:
        """Whether the step may be taken."""
        return bool(torch.isfinite(torch.tensor([self.loss, self.gradient_norm])).all())


@dataclass(frozen=True)
class Objective:
    """The loss of one batch over all ranks, at whatever parameters the fields have.

    Attributes:
        train: the weights of the parts and the global counts.
        fields: what is differentiated.
        gradient: the engine.
        batch: this rank's points.
        world: all ranks.
        slice_weights: (M,) weights of the points by slice of time.
        observer: called once an epoch, when the whole gradient lies in the parameters' `.grad`; it may add
            to it. None where nobody looks.
    """

    train: TrainTable
    fields: Fields
    gradient: GradientFunction
    batch: Batch
    world: World
    slice_weights: Tensor
    observer: Callable[[], None] | None = None

    @property
    def numbers(self) -> int:
        """Squared residuals of either equation over all ranks and points."""
        return self.train.points * self.fields.numbers_per_point()

    def report(self, points: PointLoss, initial: Tensor, gradient: Tensor) -> tuple[StepReport, Tensor]:
        """Add up over the ranks.

        Args:
            points: of this rank's batch.
            initial: this rank's share of the initial loss, a mean over all ranks' starts.
            gradient: (parameters,) this rank's share of the gradient of the weighted loss.

        Returns:
            The report, and the whole gradient; both the same on every rank.
        """
        train, slices = self.train, len(self.slice_weights)
        both = train.alpha * points.score + train.beta * points.newton
        # a product, not an index_add: the sum has the same order on every device and in every run
        numbers, of_slices = torch.arange(slices, device=both.device), both.new_zeros(slices)
        for losses, places in zip(
            torch.split(both, CHUNK), torch.split(self.batch.slices, CHUNK), strict=True
        ):
            of_slices += (numbers[:, None] == places).to(both.dtype) @ losses
        sums = torch.stack([points.score.sum(), points.newton.sum()])
        flat = self.world.sum_(torch.cat([gradient, sums / self.numbers, initial.reshape(1), of_slices]))
        size = len(gradient)
        score, newton, start = flat[size : size + 3].tolist()
        of_slices = flat[size + 3 :] / self.numbers
        norm = float(torch.linalg.vector_norm(flat[:size]))
        weighted = float((self.slice_weights * of_slices).sum()) + train.gamma * start
        loss = train.alpha * score + train.beta * newton + train.gamma * start
        means = tuple((slices * of_slices).tolist())
        return StepReport(loss, score, newton, start, norm, weighted, means), flat[:size]

    def loss_and_gradient(self) -> StepReport:
        """Leave the global gradient of the weighted loss in the parameters' `.grad`; the global loss."""
        train, batch = self.train, self.batch
        parameters = list(self.fields.parameters())
        for parameter in parameters:
            parameter.grad = None
        weights = self.slice_weights[batch.slices] / self.numbers
        points = self.gradient(batch, train.alpha * weights, train.beta * weights)
        initial = batch.x.new_zeros(())
        if not self.fields.exact_initial and len(batch.x0):
            mean = initial_loss(self.fields, batch.x0) / (train.trajectories * batch.x0.shape[1])
            torch.autograd.backward(train.gamma * mean)
            initial = mean.detach()
        report, gradient = self.report(points, initial, flat_gradient(parameters))
        leave_gradient(parameters, gradient)
        return report

    def observed(self, norm: float, gradient: Tensor | None = None) -> float:
        """Let the observer see the gradient, whose norm is given; the norm of what it leaves.

        Args:
            gradient: (parameters,) the whole one; absent: it lies in `.grad` already.
        """
        if self.observer is None:
            return norm
        parameters = list(self.fields.parameters())
        if gradient is not None:
            leave_gradient(parameters, gradient)
        self.observer()
        return float(torch.linalg.vector_norm(flat_gradient(parameters)))


def flat_gradient(parameters: list[torch.nn.Parameter]) -> Tensor:
    """All gradients in one vector, zeros where there is none."""
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    return torch.cat([gradient.reshape(-1) for gradient in gradients])


def leave_gradient(parameters: list[torch.nn.Parameter], gradient: Tensor) -> None:
    """Cut a flat gradient into the parameters' `.grad`."""
    offset = 0
    for parameter in parameters:
        share = gradient[offset : offset + parameter.numel()]
        parameter.grad = share.view_as(parameter).clone()
        offset += parameter.numel()


def clip_gradient(fields: Fields, norm: float, largest: float) -> None:
    """Shrink the gradient to the norm `largest` where it is longer."""
    if norm > largest:
        for parameter in fields.parameters():
            if parameter.grad is not None:
                parameter.grad.mul_(largest / norm)
