"""Squared Nelson residuals of residual tanh networks, exact and fast: the fused engine.

The same numbers as `residual_loss` (the oracle, any network) to rounding, from the hand-derived sweeps of
`fused_mlp`. Points go through in chunks whose size follows from width and coordinates, so that memory does
not grow with their number, and no graph is kept: `FusedLoss.backward` makes residuals and parameter gradient
of a chunk together. As a `LossFunction` the gradient's weights are not known before the backward pass, which
therefore makes the derivatives once more (a third more work). `tools/bench/loss.py` measures it.

Shapes: P points, n coordinates; leading 2 for (u, v).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from dsmsim.networks import Fields, VelocityFields
from dsmsim.networks.mlp import MLP
from dsmsim.residuals.fused_chart import Chart, ChartResiduals, make_chart, separable
from dsmsim.residuals.fused_mlp import MLPDerivatives, MLPSweeps, MLPWeights, Workspace
from dsmsim.residuals.loss import PointLoss
from dsmsim.residuals.nelson import Form
from dsmsim.system import System

# bytes of one stack of the sweeps, which keep about 25 of them for every network or pair of networks: large
# enough for products at full speed and for calls that cost little beside their work, but no larger
STACK_BYTES = {"cpu": 3 << 20, "cuda": 128 << 20}
SMALLEST_CHUNK = 16
# from this width on a CPU has all the work it needs in the stack of one network
SEPARATE_WIDTH = 128


def applies(fields: Fields) -> bool:
    """Whether this engine knows the fields: two residual tanh networks of one shape, separable u0 and v0."""
    if not isinstance(fields, VelocityFields) or not separable(fields):
        return False
    if not (type(fields.u) is MLP and type(fields.v) is MLP):
        return False
    shapes = [[weight.shape for weight in dense_weights(net)] for net in (fields.u, fields.v)]
    return shapes[0] == shapes[1] and len(shapes[0]) > 4


def dense_weights(net: nn.Module) -> list[Tensor]:
    """Weight and bias of input, hidden and output layers; tensor layers are rebuilt, with a graph."""
    assert isinstance(net, MLP)
    layers: list[Any] = [net.input]
    for block in net.blocks:
        layers += [block.first, block.second]
    found: list[Tensor] = []
    for layer in [*layers, net.output]:
        weight = layer.weight
        found += [weight, weight.new_zeros(len(weight)) if layer.bias is None else layer.bias]
    return found


def fused_loss(fields: Fields, system: System, form: Form) -> FusedLoss:
    """A `LossFunction`, differentiable once in the parameters, with `backward` as its faster form.

    Raises:
        ValueError: the engine does not apply to these fields.
    """
    if not isinstance(fields, VelocityFields) or not applies(fields):
        raise ValueError("the fused engine needs two equal 'mlp' networks and a separable initial state")
    return FusedLoss(fields, system, form)


def fused_loss_and_gradient(
    fields: Fields,
    system: System,
    form: Form,
    x: Tensor,
    t: Tensor,
    weights_score: Tensor,
    weights_newton: Tensor,
) -> PointLoss:
    """Squared residuals of x (P, n), t (P, 1), and the gradient of their weighted sum added to `.grad`.

    The sum is `(weights_score * score + weights_newton * newton).sum()`, with weights (P,).
    """
    return fused_loss(fields, system, form).backward(x, t, weights_score, weights_newton)


class FusedLoss:
    """Squared residuals point by point; see `fused_loss`."""

    def __init__(self, fields: VelocityFields, system: System, form: Form) -> None:
        self.fields, self.system, self.form = fields, system, form
        self._rooms = (Workspace(), Workspace())

    def __call__(self, x: Tensor, t: Tensor) -> PointLoss:
        """PointLoss at x (P, n), t (P, 1), differentiable once in the parameters."""
        apply: Any = _Squares.apply
        return PointLoss(*apply(self, self._chart(x, t), *self._weights()))

    def backward(self, x: Tensor, t: Tensor, weights_score: Tensor, weights_newton: Tensor) -> PointLoss:
        """As `fused_loss_and_gradient`; the result has no graph."""
        weights = self._weights()
        point_weights = torch.stack([weights_score, weights_newton]).to(x.dtype)
        loss, gradients = self.evaluate(self._chart(x, t), weights, point_weights)
        pairs = [(w, g) for w, g in zip(weights, gradients, strict=True) if w.requires_grad]
        torch.autograd.backward([w for w, _ in pairs], [g for _, g in pairs])
        return loss

    def _chart(self, x: Tensor, t: Tensor) -> Chart:
        # nothing may be kept that was made in inference mode: it could not be changed in place later
        with torch.inference_mode(False):
            x, t = (part.clone() if part.is_inference() else part.detach() for part in (x, t))
            return make_chart(self.fields, self.system, x, t)

    def _weights(self) -> list[Tensor]:
        return [*dense_weights(self.fields.u), *dense_weights(self.fields.v)]

    @torch.inference_mode(False)
    @torch.no_grad()
    def evaluate(
        self, chart: Chart, weights: list[Tensor], point_weights: Tensor | None
    ) -> tuple[PointLoss, list[Tensor]]:
        """Squared residuals; with point weights (2, P) of (score, newton) also gradients in `weights`."""
        stacked = _stacked(weights)
        gradient = stacked.zeros() if point_weights is not None else None
        points = chart.z.shape[1]
        squares = chart.z.new_empty(2, points)
        chunks = math.ceil(points / chunk_size(stacked, chart.z))
        size = math.ceil(points / max(chunks, 1))
        for a in range(0, points, max(size, 1)):
            b = min(a + size, points)
            given = None if point_weights is None else point_weights[:, a:b]
            squares[:, a:b] = self._chunk(chart.slice(a, b), stacked, given, gradient)
        gradients = [] if gradient is None else _unstacked(gradient)
        return PointLoss(squares[0], squares[1]), gradients

    def _chunk(
        self, chart: Chart, weights: MLPWeights, point_weights: Tensor | None, gradient: MLPWeights | None
    ) -> Tensor:
        groups = _groups(weights)
        sweeps = [
            MLPSweeps(weights.network(*group), room) for group, room in zip(groups, self._rooms, strict=False)
        ]
        parts = [
            sweep.derivatives(chart.z, chart.weight[slice(*group)])
            for sweep, group in zip(sweeps, groups, strict=True)
        ]
        found = parts[0] if len(parts) == 1 else MLPDerivatives(*map(torch.cat, zip(*parts, strict=True)))
        residuals = ChartResiduals(chart, found, self.system.hbar / (2.0 * self.system.mass), self.form)
        if point_weights is not None and gradient is not None:
            cotangents = residuals.cotangents(point_weights)
            for sweep, group in zip(sweeps, groups, strict=True):
                own = MLPDerivatives(*(part[slice(*group)] for part in cotangents))
                sweep.accumulate(own, gradient.network(*group))
        return residuals.squares


class _Squares(torch.autograd.Function):
    """FusedLoss as a node of a graph."""

    @staticmethod
    def forward(ctx: Any, loss: FusedLoss, chart: Chart, *weights: Tensor) -> tuple[Tensor, Tensor]:
        ctx.loss, ctx.chart = loss, chart
        ctx.save_for_backward(*weights)
        found, _ = loss.evaluate(chart, list(weights), None)
        return found.score.clone(), found.newton.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_score: Tensor, of_newton: Tensor) -> tuple[Tensor | None, ...]:
        point_weights = torch.stack([of_score, of_newton])
        _, gradients = ctx.loss.evaluate(ctx.chart, list(ctx.saved_tensors), point_weights)
        return (None, None, *gradients)


def chunk_size(weights: MLPWeights, x: Tensor) -> int:
    """Points in a chunk."""
    networks = max(last - first for first, last in _groups(weights))
    width, rows = weights.input.shape[1], weights.output.shape[1] + 1
    budget = STACK_BYTES.get(x.device.type, STACK_BYTES["cuda"])
    return max(SMALLEST_CHUNK, budget // (networks * rows * width * x.element_size()))


def _groups(weights: MLPWeights) -> list[tuple[int, int]]:
    """Networks that go through the sweeps together."""
    separate = weights.input.device.type == "cpu" and weights.input.shape[1] >= SEPARATE_WIDTH
    return [(0, 1), (1, 2)] if separate else [(0, 2)]


def _stacked(weights: list[Tensor]) -> MLPWeights:
    half = len(weights) // 2
    pairs = [torch.stack([u, v]) for u, v in zip(weights[:half], weights[half:], strict=True)]
    first, first_bias, *hidden, last, last_bias = pairs
    return MLPWeights(first, first_bias, tuple(hidden[::2]), tuple(hidden[1::2]), last, last_bias)


def _unstacked(gradient: MLPWeights) -> list[Tensor]:
    hidden = [part for pair in zip(gradient.hidden, gradient.hidden_bias, strict=True) for part in pair]
    flat = [gradient.input, gradient.input_bias, *hidden, gradient.output, gradient.output_bias]
    return [part[network] for network in range(2) for part in flat]
