"""Gauss-Newton with memory: every batch of residuals that was ever seen still pulls, less and less.

The loss is a least-squares problem. With r_k the residuals of batch k, weighted so that its loss is |r_k|^2,
and J_k their Jacobian at the parameters theta_k of that epoch, a step minimises the sum over all batches

    sum_k mu^(K-k) |r_k + J_k (theta - theta_k)|^2  +  lambda m |theta - theta_K|^2

by the normal matrix A = sum mu^(K-k) J_k^T J_k, with m its mean eigenvalue, and the pull b = sum mu^(K-k)
J_k^T (r_k + J_k (theta_K - theta_k)): recursive least squares with exponential forgetting, which is the
extended Kalman filter for constant parameters (Bertsekas, "Incremental least squares methods and the extended
Kalman filter", SIAM J. Optim. 6, 807 (1996)). Nothing of the old batches is kept but A and b. A batch of a
thousand points does not determine a thousand parameters; a few batches do, at the cost of one.

Measured, two and five bosons, potential networks of 1,520 parameters, 1,024 points an epoch: mu = 0.8 does
best. mu = 0 stands still at a loss ten times larger; mu = 0.95 is led astray by derivatives that are out of
date, and so is a fresh pull with an old matrix. lambda below 1e-5 follows noise in single precision.

The damping lambda falls while the linear model predicts the loss after a step well, and rises where it does
not; a step that raises the loss of its batch is tried again with more damping. Points whose squared residual
is more than CLIP times the mean count less (Huber's weights), or a few points far out would decide.

Points that share a time know their residuals up to a constant only: inside their group r and J are taken from
the mean, times sqrt(G / (G - 1)) for groups of G points.

Ranks add up A and b, and the first rank solves for all. Cost per epoch: R p^2 for A and p^3 / 3 for each
solution, so it is meant for up to a few thousand parameters.

Shapes: P points, B trajectories, n coordinates, k numbers per point and equation, R rows of this rank,
p parameters.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dsmsim.networks import Fields
from dsmsim.residuals import PointLoss
from dsmsim.residuals.madelung import centred
from dsmsim.training.rows import InitialRows, Parameters, Rows
from dsmsim.training.step import Objective, StepReport

MEMORY = 0.8  # mu
FIRST_DAMPING, LEAST_DAMPING = 1.0, 1e-5  # lambda
CLIP = 10.0
GOOD, BAD = 0.25, 0.75  # errors of the linear model, of the loss, that lower and raise the damping
SMALLER, LARGER, MUCH_LARGER = 0.5, 2.0, 4.0  # factors of the damping
WORSE = 1.3  # factor by which a step may raise the loss of its own batch: batches are noisy
TRIES = 12  # steps tried in an epoch before it goes by without one
VALUES_CHUNK = 512  # points whose residuals are computed at a time
TINY = 1e-300


class GaussNewton:
    """Damped Gauss-Newton steps with memory.

    Args:
        fields: the parameters.
        rows: residuals of the points.
        initial: deviations at t = 0; None where the initial condition is built in.

    Attributes:
        damping: lambda.
        normal: (p, p) A, in double precision.
        pull: (p,) b.
    """

    normal: Tensor
    pull: Tensor

    def __init__(self, fields: Fields, rows: Rows, initial: InitialRows | None) -> None:
        self.fields, self.rows, self.initial = fields, rows, initial
        self.damping = FIRST_DAMPING
        self._begin()

    @torch.no_grad()
    def epoch(self, objective: Objective, rate: float) -> StepReport:
        """One step, `rate` times its length."""
        world = objective.world
        now = {name: p.detach().clone() for name, p in self.fields.named_parameters()}
        rows, points, start = self._residuals(objective, now)
        squares = [part.double().square().sum(1) for part in rows]
        total = torch.cat(squares)
        mean, count = world.sum_(torch.stack([total.sum(), total.new_tensor(float(len(total)))])).tolist()
        weights = [(CLIP * mean / count / part.clamp_min(TINY)).clamp(max=1.0) for part in squares]
        roots = [
            weight.sqrt().to(part.dtype).unsqueeze(1) for weight, part in zip(weights, rows, strict=True)
        ]
        residuals = _weighted(roots, rows)
        jacobian = self._jacobian(objective, now, roots)
        report, gradient = objective.report(points, start, 2.0 * (jacobian.T @ residuals))
        if not (report.finite and math.isfinite(mean)):
            return report
        objective.observed(report.gradient_norm, gradient)
        self.normal.mul_(MEMORY).add_(world.sum_((jacobian.T @ jacobian).double()))
        self.pull.mul_(MEMORY).add_(0.5 * gradient.double())
        for _ in range(TRIES):
            step = rate * self._solution(objective)
            trial = _moved(now, step)
            after, _, _ = self._residuals(objective, trial)
            model = residuals + jacobian @ step.to(residuals.dtype)
            ends = (residuals, model, _weighted(roots, after))
            sums = world.sum_(torch.stack([end.double().square().sum() for end in ends]))
            before, predicted, found = sums.tolist()
            if found < WORSE * before:  # and a number
                break
            self.damping *= MUCH_LARGER
        else:
            return report
        for name, parameter in self.fields.named_parameters():
            parameter.copy_(trial[name])
        self.pull += self.normal @ step
        error = abs(found - predicted) / max(before, TINY)
        if error < GOOD:
            self.damping = max(SMALLER * self.damping, LEAST_DAMPING)
        elif error > BAD:
            self.damping *= LARGER
        return report

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Damping, normal matrix and pull."""
        return {
            "damping": np.asarray(self.damping),
            "normal": self.normal.cpu().numpy(),
            "pull": self.pull.cpu().numpy(),
        }

    def load(self, arrays: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """Take them over."""
        self.damping = float(arrays["damping"])
        self.normal = torch.tensor(arrays["normal"]).to(self.normal)
        self.pull = torch.tensor(arrays["pull"]).to(self.pull)

    def parameters_changed(self, names: Collection[str]) -> None:
        """Forget the old batches: A and b couple all parameters. The damping, relative to A, stays."""
        self._begin()

    def _begin(self) -> None:
        """No batch was seen yet."""
        parameters = list(self.fields.parameters())
        size, device = sum(p.numel() for p in parameters), parameters[0].device
        self.normal = torch.zeros(size, size, dtype=torch.float64, device=device)
        self.pull = torch.zeros(size, dtype=torch.float64, device=device)

    def _solution(self, objective: Objective) -> Tensor:
        """-(A + lambda m)^-1 b in double precision, the same on every rank: the first one's."""
        damped = self.normal.clone()
        damped.diagonal().add_(self.damping * damped.diagonal().mean())
        factor, failed = torch.linalg.cholesky_ex(damped)
        step = -torch.cholesky_solve(self.pull.unsqueeze(1), factor).squeeze(1)
        if int(failed):  # not positive definite within rounding: refused, and tried with more damping
            step.fill_(math.nan)
        objective.world.broadcast_(step)
        return step

    def _residuals(
        self, objective: Objective, parameters: Parameters
    ) -> tuple[list[Tensor], PointLoss, Tensor]:
        """Rows (P, 2 k) and (B, 2 n) of points and starts, point losses, this rank's initial loss."""
        batch, train = objective.batch, objective.train
        chunks = zip(torch.split(batch.x, VALUES_CHUNK), torch.split(batch.t, VALUES_CHUNK), strict=True)
        values = [self.rows.values(parameters, x, t) for x, t in chunks]
        found = _centred(torch.cat(values), batch.group)
        score, newton = found.square().sum(-1).unbind(1)
        rows, start = [(found * _weights(objective, found)).flatten(1)], found.new_zeros(())
        if self.initial is not None:
            deviations = self.initial.values(parameters, batch.x0) * _per_start(objective)
            start = deviations.square().sum()
            rows.append(math.sqrt(train.gamma) * deviations.flatten(1))
        return rows, PointLoss(score, newton), start

    def _jacobian(self, objective: Objective, parameters: Parameters, roots: list[Tensor]) -> Tensor:
        """J (R, p) of the same rows, each point times its root of Huber's weight."""
        batch, train = objective.batch, objective.train
        if len(batch.x) == 0:
            return torch.zeros(0, len(self.pull), dtype=batch.x.dtype, device=batch.x.device)
        with torch.enable_grad():
            found = self.rows.jacobian(parameters, batch.x, batch.t)
            starts = None if self.initial is None else self.initial.jacobian(parameters, batch.x0)
        found = _centred(found, batch.group)
        parts = [found * _weights(objective, found)]
        if starts is not None:
            parts.append(math.sqrt(train.gamma) * _per_start(objective) * starts)
        pairs = zip(parts, roots, strict=True)
        return torch.cat([(part.flatten(1, 2) * root.unsqueeze(2)).flatten(0, 1) for part, root in pairs])


def _weighted(roots: list[Tensor], rows: list[Tensor]) -> Tensor:
    """(R,) all rows in one vector, each point times its root."""
    return torch.cat([(root * part).reshape(-1) for root, part in zip(roots, rows, strict=True)])


def _per_start(objective: Objective) -> float:
    """Square root of the share of one number in the initial loss."""
    return 1.0 / math.sqrt(objective.train.trajectories * objective.batch.x0.shape[1])


def _weights(objective: Objective, rows: Tensor) -> Tensor:
    """Square roots of the weights of rows (P, 2, ...)."""
    train, batch = objective.train, objective.batch
    of_points = objective.slice_weights[batch.slices] / objective.numbers
    of_equations = rows.new_tensor([train.alpha, train.beta])
    weights = (of_points[:, None] * of_equations).sqrt()
    return weights.reshape(*weights.shape, *(1 for _ in rows.shape[2:]))


def _centred(rows: Tensor, group: int) -> Tensor:
    return rows if group == 1 else centred(rows, group)


def _moved(parameters: Parameters, step: Tensor) -> Parameters:
    sizes = [parameter.numel() for parameter in parameters.values()]
    shares = zip(parameters.items(), torch.split(step, sizes), strict=True)
    return {name: p + share.view_as(p).to(p.dtype) for (name, p), share in shares}
