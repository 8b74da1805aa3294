"""Steps of the training: Gauss-Newton with memory, or Adam.

The loss of a batch is the mean of |r|^2 over its points, J the Jacobian of r in the P weights. A Gauss-Newton
step minimises

    sum_k MEMORY^(K - k) |r_k + J_k (theta - theta_k)|^2 / B + DAMPING tr(H)/P |theta - theta_K|^2

over the batches k = 1..K so far, of which a P x P matrix H and a vector are kept: one batch cannot determine
as many weights as it has points. Points far out, where the residual is large and the density small, count
less. Source of Gauss-Newton for residuals of PDEs: Mueller and Zeinhofer, ICML 2023 (arXiv:2302.13163).

Shapes: B points, P weights.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

from baselines.pinn_parts.log_wave import LogWave, Points
from baselines.pinn_parts.network import parameter_count
from dsmsim.errors import DivergedError

MEMORY = 0.9
DAMPING = 1e-3
DAMPINGS = 12  # tenfold each time
LARGEST = 30.0  # times the mean |r|^2, above which a point counts less
FALL = 0.3  # of the steps, at the end, over which their length falls to zero
WARMUP = 50  # steps of Adam over which its rate rises


class Optimizer(Protocol):
    """Changes the weights of a wave function in place."""

    def step(self, points: Points) -> float:
        """One step; the loss before it."""
        ...


def centered(r: Tensor, groups: int) -> Tensor:
    """r (B, ...) less its mean over the points of each group."""
    r = r.reshape(groups, -1, *r.shape[1:])
    return (r - r.mean(1, keepdim=True)).flatten(0, 1)


class GaussNewton:
    """Least squares in the tangent space, with memory.

    Args:
        wave: whose weights it changes.
        rate: factor of the steps.
        steps: how many there will be.
    """

    def __init__(self, wave: LogWave, rate: float, steps: int) -> None:
        self.wave, self.rate, self.steps = wave, rate, steps
        count = parameter_count(wave.network.weights)
        self._matrix = torch.zeros(count, count, dtype=wave.dtype)
        self._vector = torch.zeros(count, dtype=wave.dtype)
        self._done = 0

    def step(self, points: Points) -> float:
        jacobian, r = self._linearised(points)
        squares = r.square().sum(1)
        loss = float(squares.mean())
        if not math.isfinite(loss):
            return loss
        weight = (squares / (LARGEST * squares.mean())).sqrt().clamp(min=1.0).reciprocal()
        rows = (jacobian * weight[:, None, None]).flatten(0, 1)
        right = (r * weight[:, None]).flatten()
        self._matrix.mul_(MEMORY).addmm_(rows.T, rows, alpha=1.0 / len(r))
        self._vector = MEMORY * self._vector + rows.T @ right / len(r)
        left = 1.0 - self._done / self.steps
        change = (self.rate * min(1.0, left / FALL)) * self._direction()
        self._vector += self._matrix @ change
        self._move(change)
        self._done += 1
        return loss

    def _direction(self) -> Tensor:
        """The minimiser of the model; single precision may need more damping than asked for."""
        damping = DAMPING * self._matrix.diagonal().mean()
        for _ in range(DAMPINGS):
            damped = self._matrix.clone()
            damped.diagonal().add_(damping)
            factor, failed = torch.linalg.cholesky_ex(damped)
            if not failed:
                return -torch.cholesky_solve(self._vector.unsqueeze(1), factor).squeeze(1)
            damping = 10.0 * damping
        raise DivergedError(
            "PINN: the Gauss-Newton matrix has no factors, however damped: its numbers are not finite, or "
            'the residual depends on no weight; write baselines.pinn.optimizer = "adam"'
        )

    def _move(self, change: Tensor) -> None:
        start = 0
        for tensor in self.wave.network.weights.values():
            tensor += change[start : start + tensor.numel()].reshape(tensor.shape)
            start += tensor.numel()

    def _linearised(self, points: Points) -> tuple[Tensor, Tensor]:
        """Jacobian (B, 2, P) and residual (B, 2), without their means at equal times."""
        count = len(points.clock)
        # every point has its own copy of the weights, of stride 0, so that gradients stay apart
        copies = {
            name: tensor.expand(count, *tensor.shape).requires_grad_()
            for name, tensor in self.wave.network.weights.items()
        }
        r = self.wave.residual(points, copies)
        parts = []
        for output in range(2):
            found = torch.autograd.grad(r[:, output].sum(), list(copies.values()), retain_graph=output == 0)
            parts.append(torch.cat([gradient.reshape(count, -1) for gradient in found], dim=1))
        jacobian = torch.stack(parts, dim=1)
        return centered(jacobian, points.groups), centered(r.detach(), points.groups)


class Adam:
    """Adam with a short warm-up and a rate that falls to zero as a cosine.

    Args:
        wave: whose weights it changes.
        rate: the largest learning rate.
        steps: how many there will be.
    """

    def __init__(self, wave: LogWave, rate: float, steps: int) -> None:
        self.wave, self.rate, self.steps = wave, rate, steps
        self._weights = [tensor.requires_grad_() for tensor in wave.network.weights.values()]
        self._adam = torch.optim.Adam(self._weights, lr=rate)
        self._done = 0

    def step(self, points: Points) -> float:
        r = centered(self.wave.residual(points), points.groups)
        loss = r.square().sum(1).mean()
        self._adam.zero_grad()
        # in units of the phase that the potential makes, so that one learning rate suits all problems
        torch.autograd.backward(loss / self.wave.units.amplitude**2)
        rate = self.rate * falling(self._done, self.steps, WARMUP)
        for group in self._adam.param_groups:
            group["lr"] = rate
        self._adam.step()
        self._done += 1
        return float(loss.detach())


def falling(done: int, steps: int, warmup: int) -> float:
    """Factor of the rate: a linear rise, then half a period of a cosine."""
    return min(1.0, (done + 1) / warmup) * 0.5 * (1.0 + math.cos(math.pi * done / steps))
