"""Exact derivatives of residual tanh networks, and the gradient of anything made from them, by hand.

Of a network o(z), z = (y, s) with n coordinates y and a time s, wanted are

    o,    do_i/dz_j (n + 1 columns, the last one in time),    q_k = d/dy_k sum_i w_i do_i/dy_i ,

and, for given cotangents of these three, the gradient in the parameters. Weights w of the divergence (one
number per point and coordinate) leave room for coordinates that are scaled unlike.

Four sweeps do it, each with a stack of n + 1 rows per point, so that every layer is one large product:

    forward   row 0: the value;                row i: the tangent along y_i, times w_i
    reverse   row 0: adjoint of the            row i: cotangent of output i; at the bottom its products with
              divergence; it ends as q         the input layer are the Jacobian, time column included
    second    row 0: the tangent along the     row i: the adjoint of cotangent i
              cotangent of q
    third     row 0: the adjoint of the value  row i: the adjoint of tangent i

"reverse" is the gradient of the divergence by reverse mode, "second" and "third" are the reverse pass through
"reverse" and "forward"; a weight then has the gradient reverse^T second + third^T forward. With F = 4 H^2
operations (one value through one block of width H) a sweep costs (n + 1) F per block, network and point, and
the two products for the weights cost as much each:

    (2n + 2) F for the derivatives,    (6n + 6) F with the gradient.

The Jacobian and the time derivative are by-products. A gradient by reverse mode costs three times its
function (value, input side, weight side), so that only the 2n + 2 could shrink: n tangents and n cotangents,
as for any sum of second derivatives over n directions, and one value each way. Row 0 of "second" is a
combination of the tangents, though: taken as such it would save 2 F for n more passes over memory in every
layer, a few per cent at n = 2 and less beyond, which is left. Input and output layers are of order n H.

Shapes: K networks of equal shape, n coordinates, P points, H width; a stack is (K, n + 1, P, H).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from dsmsim.residuals.fused_products import add_linear, linear, narrow_linear, outer

ONE = torch.tensor(1.0)  # of no dimension, so that it takes the precision of the other operand


class MLPWeights(NamedTuple):
    """Dense weights of K networks of equal shape, or the gradients in them.

    Attributes:
        input: (K, H, n + 1); input_bias (K, H).
        hidden: the two layers of every block in turn, each (K, H, H); hidden_bias (K, H) each.
        output: (K, n, H); output_bias (K, n).
    """

    input: Tensor
    input_bias: Tensor
    hidden: tuple[Tensor, ...]
    hidden_bias: tuple[Tensor, ...]
    output: Tensor
    output_bias: Tensor

    def network(self, first: int, last: int) -> MLPWeights:
        """Views of networks first to last - 1."""
        return self.map(lambda weight: weight[first:last])

    def zeros(self) -> MLPWeights:
        """Room for gradients."""
        return self.map(torch.zeros_like)

    def map(self, change: Callable[[Tensor], Tensor]) -> MLPWeights:
        """The same structure with every tensor changed."""
        return MLPWeights(
            change(self.input),
            change(self.input_bias),
            tuple(change(weight) for weight in self.hidden),
            tuple(change(bias) for bias in self.hidden_bias),
            change(self.output),
            change(self.output_bias),
        )


class MLPDerivatives(NamedTuple):
    """What the kernel finds, and equally the cotangents that it takes.

    Attributes:
        value: (K, n, P).
        jacobian: (K, n + 1, n, P) with [k, j, i] = d o_i / d z_j, the last j in time.
        grad_div: (K, n, P) gradient in y of the weighted divergence.
    """

    value: Tensor
    jacobian: Tensor
    grad_div: Tensor


class Workspace:
    """Memory that chunks and steps use again: new pages cost more than the arithmetic on them."""

    def __init__(self) -> None:
        self._flat: dict[str, Tensor] = {}

    def take(self, name: str, like: Tensor, *shape: int) -> Tensor:
        """An uninitialised tensor of this shape; it is overwritten when the name is asked for again."""
        size = math.prod(shape)
        flat = self._flat.get(name)
        if flat is None or flat.numel() < size or flat.dtype != like.dtype or flat.device != like.device:
            flat = self._flat[name] = like.new_empty(size)
        return flat[:size].view(shape)


class _Tanh:
    """One layer of tanh in the four sweeps; what a later sweep needs is kept."""

    def __init__(self, stack: Tensor, room: Workspace, name: str) -> None:
        self.tangents = stack[:, 1:]
        self.room, self.name, self.shape = room, name, stack.shape
        # tanh x = 1 - 2 sigmoid(-2x), because sigmoid is several times faster than tanh; the error is
        # rounding relative to 1, as that of the slope 1 - tanh^2 is in any case
        self.after = self._take("forward", *stack.shape)
        self.value = torch.mul(stack[:, 0], -2.0, out=self.after[:, 0]).sigmoid_()
        torch.sub(ONE, self.value, alpha=2, out=self.value)
        self.slope = torch.mul(self.value, self.value, out=self._take_row("slope"))
        torch.sub(ONE, self.slope, out=self.slope)
        self.rows_slope = self.slope.unsqueeze(1)
        # the second derivative of tanh is -2 times this
        self.bend = torch.mul(self.value, self.slope, out=self._take_row("bend"))

    def _take(self, name: str, *shape: int) -> Tensor:
        return self.room.take(f"{self.name}.{name}", self.tangents, *shape)

    def _take_row(self, name: str) -> Tensor:
        networks, _, points, width = self.shape
        return self._take(name, networks, points, width)

    def forward(self) -> Tensor:
        """Stack after the layer; the values stand there already."""
        torch.mul(self.tangents, self.rows_slope, out=self.after[:, 1:])
        return self.after

    def reverse(self, stack: Tensor) -> Tensor:
        """Cotangents before the layer from those after it, which may be the same at every point."""
        self.cotangents = stack
        self.paired = _paired(stack[:, 1:], self.tangents, self._take_row("paired"))
        out = torch.mul(stack, self.rows_slope, out=self._take("reverse", *self.shape))
        out[:, 0].addcmul_(self.bend, self.paired, value=-2.0)
        return out

    def second(self, stack: Tensor) -> Tensor:
        """Adjoints of the cotangents after the layer from those before it; in place."""
        # adjoints of the first and of the second derivative of tanh
        self.of_slope = _paired(self.cotangents, stack, self._take_row("of_slope"))
        self.of_bend = self.paired.mul_(stack[:, 0])
        self.turn = torch.mul(self.bend, stack[:, 0], out=self._take_row("turn")).unsqueeze(1)
        stack.mul_(self.rows_slope)
        stack[:, 1:].addcmul_(self.turn, self.tangents, value=-2.0)
        return stack

    def third(self, stack: Tensor, out: Tensor | None = None) -> Tensor:
        """Adjoints of value and tangents before the layer from those after it; in place, or in `out`."""
        _paired(stack[:, 1:], self.tangents, self.of_slope, add=True)
        out = torch.mul(stack, self.rows_slope, out=stack if out is None else out)
        out[:, 1:].addcmul_(self.turn, self.cotangents[:, 1:], value=-2.0)
        self._values_third(out[:, 0])
        return out

    def third_of_value(self, of_value: Tensor, out: Tensor) -> Tensor:
        """As `third` in `out`, where nothing depends on the tangents after the layer; of_value (K, P, H)."""
        torch.mul(self.turn, self.cotangents[:, 1:], out=out[:, 1:]).mul_(-2.0)
        self._values_third(torch.mul(of_value, self.slope, out=out[:, 0]))
        return out

    def _values_third(self, row: Tensor) -> None:
        row.addcmul_(self.bend, self.of_slope, value=-2.0)
        # the third derivative of tanh is slope (4 - 6 slope)
        self.of_bend.mul_(self.slope)
        row.addcmul_(self.of_bend, self.slope, value=-6.0).add_(self.of_bend, alpha=4.0)


def _paired(a: Tensor, b: Tensor, out: Tensor, add: bool = False) -> Tensor:
    """Sum over rows of a * b, in `out` or added to it."""
    # row by row it passes over memory once; a product and its sum would do so twice
    rows = zip(a.unbind(1), b.unbind(1), strict=True)
    if not add:
        torch.mul(*next(rows), out=out)
    for left, right in rows:
        out.addcmul_(left, right)
    return out


class _Block(NamedTuple):
    """Activations of h -> tanh(h + tanh(W_b tanh(W_a h + b_a) + b_b)) and the stacks that enter products."""

    first: _Tanh
    second: _Tanh
    sum: _Tanh
    entering: Tensor
    between: Tensor


class MLPSweeps:
    """K networks on one chunk of points: `derivatives`, then `accumulate` for their gradient."""

    def __init__(self, weights: MLPWeights, room: Workspace) -> None:
        self.weights, self.room = weights, room

    def derivatives(self, z: Tensor, divergence_weights: Tensor) -> MLPDerivatives:
        """Derivatives at z (n + 1, P), with weights of the divergence (K, n, P)."""
        w = self.weights
        networks, n, width = w.output.shape
        points = z.shape[1]
        self.shape = (networks, n + 1, points, width)
        seeds = z.new_zeros(networks, n + 1, n + 1, points)
        seeds[:, :, 0] = z
        seeds[:, :n, 1:].diagonal(dim1=1, dim2=2).copy_(divergence_weights.transpose(1, 2))
        self.seeds = seeds.permute(0, 2, 3, 1)
        self.bottom = self._layer("bottom", self.seeds, w.input, w.input_bias)
        self.blocks: list[_Block] = []
        top = self.bottom
        for k in range(0, len(w.hidden), 2):
            entering = top.forward()
            first = self._layer(f"{k}", entering, w.hidden[k], w.hidden_bias[k])
            between = first.forward()
            second = self._layer(f"{k + 1}", between, w.hidden[k + 1], w.hidden_bias[k + 1])
            top = _Tanh(second.forward().add_(entering), self.room, f"sum {k}")
            self.blocks.append(_Block(first, second, top, entering, between))
        value = torch.baddbmm(w.output_bias.unsqueeze(2), w.output, top.value.transpose(1, 2))

        # at the top the cotangent of output i is row i of the output weights, at every point
        stack = torch.cat([torch.zeros_like(w.output[:, :1]), w.output], 1).unsqueeze(2)
        self.products: list[tuple[Tensor, Tensor]] = []
        for k in reversed(range(0, len(w.hidden), 2)):
            block = self.blocks[k // 2]
            skip = block.sum.reverse(stack)
            after = block.second.reverse(skip)
            before = block.first.reverse(
                linear(after, w.hidden[k + 1].transpose(1, 2), self._take(f"cotangents {k + 1}"))
            )
            stack = linear(before, w.hidden[k].transpose(1, 2), self._take(f"cotangents {k}")).add_(skip)
            self.products.append((before, after))
        self.products.reverse()
        self.foot = self.bottom.reverse(stack)
        found = narrow_linear(self.foot, w.input.transpose(1, 2))
        return MLPDerivatives(value, found[:, :, 1:], found[:, :n, 0])

    def accumulate(self, cotangents: MLPDerivatives, gradient: MLPWeights) -> None:
        """Add the gradient in the weights of the sum of cotangents times derivatives; once after those."""
        w, g = self.weights, gradient
        cotangent_rows = torch.cat([cotangents.grad_div, torch.zeros_like(cotangents.grad_div[:, :1])], 1)
        seeds = torch.cat([cotangent_rows.unsqueeze(2), cotangents.jacobian], 2).permute(0, 2, 3, 1)
        outer(self.foot, seeds, g.input)
        stack = self.bottom.second(linear(seeds, w.input, self._take("stack")))
        for k, (block, (before, after)) in enumerate(zip(self.blocks, self.products, strict=True)):
            outer(before, stack, g.hidden[2 * k])
            between = block.first.second(linear(stack, w.hidden[2 * k], self._take("between")))
            outer(after, between, g.hidden[2 * k + 1])
            joined = block.second.second(linear(between, w.hidden[2 * k + 1], self._take("after")))
            stack = block.sum.second(stack.add_(joined))
        g.output.add_(stack[:, 1:].sum(2))

        top = self.blocks[-1].sum
        g.output.baddbmm_(cotangents.value, top.value)
        g.output_bias.add_(cotangents.value.sum(2))
        top.third_of_value(torch.bmm(cotangents.value.transpose(1, 2), w.output), stack)
        for k, block in reversed(list(enumerate(self.blocks))):
            if block.sum is not top:
                block.sum.third(stack)
            after = block.second.third(stack, self._take("after"))
            _collect(after, block.between, g.hidden[2 * k + 1], g.hidden_bias[2 * k + 1])
            before = block.first.third(
                linear(after, w.hidden[2 * k + 1].transpose(1, 2), self._take("between"))
            )
            _collect(before, block.entering, g.hidden[2 * k], g.hidden_bias[2 * k])
            add_linear(stack, before, w.hidden[2 * k].transpose(1, 2))
        _collect(self.bottom.third(stack), self.seeds, g.input, g.input_bias)

    def _layer(self, name: str, stack: Tensor, weight: Tensor, bias: Tensor) -> _Tanh:
        """A linear layer and its tanh; the bias belongs to the value alone."""
        out = linear(stack, weight, self._take(name))
        out[:, 0].add_(bias.unsqueeze(1))
        return _Tanh(out, self.room, f"layer {name}")

    def _take(self, name: str) -> Tensor:
        return self.room.take(name, self.seeds, *self.shape)


def _collect(stack: Tensor, entering: Tensor, gradient: Tensor, bias_gradient: Tensor) -> None:
    outer(stack, entering, gradient)
    bias_gradient.add_(stack[:, 0].sum(1))
