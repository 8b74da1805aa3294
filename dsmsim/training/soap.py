"""SOAP: Adam in the slowly turning eigenbasis of Shampoo's preconditioner.

Vyas et al., "SOAP: Improving and Stabilizing Shampoo using Adam" (2024). For a weight matrix with gradient G
the averages L of G G^T and R of G^T G are kept, with eigenvectors Q_L, Q_R; Adam's second moments live in
that basis:

    G' = Q_L^T G Q_R,     V <- b2 V + (1 - b2) G'^2,     W <- W - lr Q_L [ M' / (sqrt V + d) ] Q_R^T

with M the running mean of G and M' the same in the basis. The eigenvectors are refreshed every few steps by
one step of orthogonal iteration. Vectors are treated by Adam itself; cores of more than two axes as
matrices, the first half of the axes against the second.

Three changes keep the answer independent of the number of ranks, whose sums differ by rounding. Rounding
decides the eigenvectors of a (numerical) null space, so nothing may depend on those:

- a side longer than the other one is not turned, because its average has a null space of that difference;
- the basis is the identity until averages of several gradients are there, and it is that of the average plus
  TIE_BREAK times a fixed diagonal, which decides where the average does not;
- the damping d = DAMPING rms(sqrt V) is relative, so directions with next to no gradient hardly move.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

BETAS = (0.95, 0.95)  # of the mean and of the squares, as published
BASIS_MEMORY = 0.95  # of L and R
REFRESH_EVERY = 10  # steps between refreshed eigenvectors
DAMPING = 1e-3
TIE_BREAK = 1e-4  # relative to the mean eigenvalue: directions whose gradient is 1 % of the typical one


class Soap(torch.optim.Optimizer):
    """Drop-in for `torch.optim.Adam`; once-differentiable, no weight decay.

    Args:
        params: parameters or groups, as for any torch optimiser.
        lr: learning rate.
    """

    def __init__(self, params: Iterable[Any], lr: float = 3e-3) -> None:
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update every parameter that has a gradient; a closure is evaluated first, if given."""
        loss = None if closure is None else closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group["lr"])
        return loss

    def _update(self, parameter: Tensor, gradient: Tensor, rate: float) -> None:
        g = _as_matrix(gradient)
        state = self.state[parameter]
        if not state:
            self._begin(state, g)
        state["step"] += 1
        count = int(state["step"])
        mean, square = state["exp_avg"], state["exp_avg_sq"]
        mean.lerp_(g, 1.0 - BETAS[0])
        turned = _turn(g, state)
        square.lerp_(turned.square(), 1.0 - BETAS[1])
        spread = (square / (1.0 - BETAS[1] ** count)).sqrt()
        damping = DAMPING * spread.square().mean().sqrt() + torch.finfo(g.dtype).tiny
        direction = _turn(mean, state) / (1.0 - BETAS[0] ** count) / (spread + damping)
        parameter.sub_(rate * _turn_back(direction, state).view_as(parameter))
        _follow(state, g, count)

    @staticmethod
    def _begin(state: dict[str, Tensor], g: Tensor) -> None:
        state["step"] = torch.zeros(())
        state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(g), torch.zeros_like(g)
        if g.ndim == 2:
            for side, size in zip(("left", "right"), g.shape, strict=True):
                if size == min(g.shape):
                    state[side] = g.new_zeros(size, size)
                    state[f"{side}_basis"] = torch.eye(size, dtype=g.dtype, device=g.device)


def _as_matrix(gradient: Tensor) -> Tensor:
    """Vectors as they are; more than two axes as a matrix."""
    if gradient.ndim <= 2:
        return gradient
    half = gradient.ndim // 2
    return gradient.flatten(half).flatten(0, half - 1)


def _turn(g: Tensor, state: dict[str, Tensor]) -> Tensor:
    """g in the eigenbasis."""
    if "left" in state:
        g = state["left_basis"].T @ g
    return g @ state["right_basis"] if "right" in state else g


def _turn_back(g: Tensor, state: dict[str, Tensor]) -> Tensor:
    """g from the eigenbasis."""
    if "left" in state:
        g = state["left_basis"] @ g
    return g @ state["right_basis"].T if "right" in state else g


def _follow(state: dict[str, Tensor], g: Tensor, count: int) -> None:
    """Let the averages, and now and then their eigenvectors, follow the gradient."""
    for side in ("left", "right"):
        if side not in state:
            continue
        average, basis = state[side], state[f"{side}_basis"]
        average.lerp_(g @ g.T if side == "left" else g.T @ g, 1.0 - BASIS_MEMORY)
        if count % REFRESH_EVERY == 0:
            ramp = torch.linspace(0.5, 1.5, len(average), dtype=g.dtype, device=g.device)
            decided = average + torch.diag(TIE_BREAK * average.diagonal().mean() * ramp)
            first = count == REFRESH_EVERY
            basis.copy_(torch.linalg.eigh(decided)[1] if first else torch.linalg.qr(decided @ basis)[0])
