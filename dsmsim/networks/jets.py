"""Quantities with their gradient, time derivative and Laplacian, carried through a network in one pass.

A jet is one tensor with an axis of K streams:

    [0] value    [1 .. m] derivatives along m orthonormal directions    [m + 1] d/dt    [m + 2] Laplacian

so K = m + 3, and the Laplacian is the sum of the second derivatives along the m directions (the forward
Laplacian of Li et al., Nature Machine Intelligence 6, 209 (2024)). With K = 1 a jet is its value alone. A
linear layer acts on all streams alike, so it is one matrix product over K times as many rows.

`TanhLayer` and `LinearLayer` know their own backward pass; they can be differentiated once. A weight may
come with an axis of points in front, (P, O, I), every point with the SAME values: the backward pass then
returns the gradient of every point by itself, which is what Gauss-Newton needs.

Shapes: P points, K streams, R rows (particles or pairs), I inputs, O outputs.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def variable(value: Tensor, direction: int, directions: int) -> Tensor:
    """Coordinate number `direction` of `directions` as a jet: value (P, R) to (P, K, R)."""
    jet = value.new_zeros(value.shape[0], directions + 3, value.shape[1])
    jet[:, 0] = value
    jet[:, 1 + direction] = 1.0
    return jet


def clock_variable(clock: Tensor, rows: int, directions: int) -> Tensor:
    """The time (P, 1) as a jet (P, K, rows)."""
    jet = clock.new_zeros(clock.shape[0], directions + 3, rows)
    jet[:, 0] = clock
    jet[:, -2] = 1.0
    return jet


def product(a: Tensor, b: Tensor) -> Tensor:
    """a b of two jets (P, K, R)."""
    if a.shape[1] == 1:
        return a * b
    result = a * b[:, :1]
    result[:, 1:] += a[:, :1] * b[:, 1:]
    result[:, -1] += 2.0 * (a[:, 1:-2] * b[:, 1:-2]).sum(1)
    return result


def chain(a: Tensor, value: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """f(a) of a jet (P, K, R) from f, f' and f'' at its value, each (P, R)."""
    result = torch.empty_like(a)
    result[:, 0] = value
    torch.mul(a[:, 1:], first.unsqueeze(1), out=result[:, 1:])
    result[:, -1] += second * a[:, 1:-2].square().sum(1)
    return result


def soft_sign_length(a: Tensor, length: float) -> Tensor:
    """asinh(a / length): linear near 0, and slow to saturate."""
    if a.shape[1] == 1:
        return torch.asinh(a / length)
    z = a[:, 0] / length
    root = torch.sqrt(1.0 + z * z)
    return chain(a, torch.asinh(z), 1.0 / (length * root), -z / (length**2 * root**3))


def soft_length(square: Tensor, length: float) -> Tensor:
    """sqrt(1 + square / length^2) of a squared length: smooth at 0, linear far away."""
    scale = 1.0 / length**2
    if square.shape[1] == 1:
        return torch.sqrt(1.0 + scale * square)
    root = torch.sqrt(1.0 + scale * square[:, 0])
    return chain(square, root, 0.5 * scale / root, -0.25 * scale**2 / root**3)


def gaussian(square: Tensor, width: float) -> Tensor:
    """exp(-square / (2 width^2)) of a squared length."""
    rate = -0.5 / width**2
    value = torch.exp(rate * square if square.shape[1] == 1 else rate * square[:, 0])
    return value if square.shape[1] == 1 else chain(square, value, rate * value, rate**2 * value)


def reciprocal(a: Tensor) -> Tensor:
    """1 / a."""
    if a.shape[1] == 1:
        return 1.0 / a
    value = 1.0 / a[:, 0]
    return chain(a, value, -(value**2), 2.0 * value**3)


def _shared(weight: Tensor) -> Tensor:
    return weight if weight.dim() == 2 else weight[0]


def _weight_gradient(weight: Tensor, x: Tensor, g: Tensor) -> Tensor:
    """Gradient of x W^T with respect to W, of all points together or of each: see the module's docstring."""
    if weight.dim() == 2:
        return torch.mm(g.reshape(-1, g.shape[-1]).t(), x.reshape(-1, x.shape[-1]))
    points = len(x)
    return torch.bmm(g.reshape(points, -1, g.shape[-1]).transpose(1, 2), x.reshape(points, -1, x.shape[-1]))


class LinearLayer(torch.autograd.Function):
    """x W^T for a jet x (P, K, R, I) and W (O, I) or (P, O, I): (P, K, R, O)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return torch.matmul(x, _shared(weight).t())

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        to_x = torch.matmul(g, _shared(weight)) if ctx.needs_input_grad[0] else None
        to_weight = _weight_gradient(weight, x, g.contiguous()) if ctx.needs_input_grad[1] else None
        return to_x, to_weight


class TanhLayer(torch.autograd.Function):
    """tanh(x W^T + b + skip) for a jet x (P, K, R, I), with W (O, I), b (O,) or one of each for every point.

    With a = x W^T + b + skip, y = tanh a, D = 1 - y^2 and a_k the derivatives of a:

        y_k = D a_k,     lap y = D lap a - 2 y D sum_k a_k^2
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, skip: Tensor | None) -> Tensor:
        a = torch.matmul(x, _shared(weight).t())
        a[:, 0] += bias if bias.dim() == 1 else bias[0]
        if skip is not None:
            a += skip
        y = torch.empty_like(a)
        value = torch.tanh(a[:, 0])
        y[:, 0] = value
        if x.shape[1] > 1:
            slope = 1.0 - value * value
            torch.mul(a[:, 1:], slope.unsqueeze(1), out=y[:, 1:])
            y[:, -1].addcmul_(a[:, 1:-2].square().sum(1), value * slope, value=-2.0)
        ctx.save_for_backward(x, weight, bias, a if x.shape[1] > 1 else None, y)
        ctx.has_skip = skip is not None
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None]:
        x, weight, bias, a, y = ctx.saved_tensors
        value = y[:, 0]
        slope = 1.0 - value * value
        to_a = g * slope.unsqueeze(1)
        if a is not None:
            second = -2.0 * value * slope
            last = g[:, -1]
            # the slope changes with the value: all derivatives of y pull on it
            to_a[:, 0].addcmul_(second, (g[:, 1:] * a[:, 1:]).sum(1))
            squares = a[:, 1:-2].square().sum(1)
            to_a[:, 0].addcmul_(slope * (6.0 * value * value - 2.0), squares * last)
            to_a[:, 1:-2].addcmul_(a[:, 1:-2], (2.0 * second * last).unsqueeze(1))
        to_x = torch.matmul(to_a, _shared(weight)) if ctx.needs_input_grad[0] else None
        to_weight = _weight_gradient(weight, x, to_a) if ctx.needs_input_grad[1] else None
        to_bias = None
        if ctx.needs_input_grad[2]:
            to_bias = to_a[:, 0].sum((0, 1) if bias.dim() == 1 else 1)
        return to_x, to_weight, to_bias, to_a if ctx.has_skip else None


def tanh_layer(x: Tensor, weight: Tensor, bias: Tensor, skip: Tensor | None = None) -> Tensor:
    """tanh(x W^T + b + skip), see `TanhLayer`."""
    result: Tensor = TanhLayer.apply(x, weight, bias, skip)  # type: ignore[no-untyped-call]
    return result


def linear_layer(x: Tensor, weight: Tensor) -> Tensor:
    """x W^T, see `LinearLayer`."""
    result: Tensor = LinearLayer.apply(x, weight)  # type: ignore[no-untyped-call]
    return result
