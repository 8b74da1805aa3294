"""Which engine differentiates the loss of a run, behind one signature.

An engine adds the gradient of sum(weight_score * score + weight_newton * newton) over the points of a batch
to the parameters' `.grad`, and returns the point losses themselves.

    fused       velocity networks of kind mlp: hand-derived (`residuals/fused.py`)
    torch_func  any velocity network, by torch.func: the oracle
    probes      any velocity network, divergences estimated (`residuals/hutchinson.py`)
    jets        potential networks: value, gradient and Laplacian in one pass (`residuals/madelung.py`)

Shapes: P points, n coordinates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from dsmsim.config import Config
from dsmsim.config.plan import RESIDUAL_CHUNK
from dsmsim.networks import Fields, PotentialFields
from dsmsim.residuals import LossFunction, PointLoss, residual_loss
from dsmsim.residuals.fused import FusedLoss, applies, fused_loss
from dsmsim.residuals.hutchinson import estimated_loss
from dsmsim.residuals.madelung import madelung_loss
from dsmsim.system import System
from dsmsim.training.batch import Batch

GradientFunction = Callable[[Batch, Tensor, Tensor], PointLoss]
"""(batch, weight_score (P,), weight_newton (P,)) -> PointLoss without a graph; adds to `.grad`."""


def gradient_function(config: Config, fields: Fields, system: System) -> GradientFunction:
    """The engine that `[network]` and `[train]` ask for; "auto" takes the fused one where it applies."""
    form = config.train.form
    if isinstance(fields, PotentialFields):
        most = fields.points_at_once(RESIDUAL_CHUNK, config.train.block)
        return by_autograd(madelung_loss(fields, system, config.train.block), most)
    if config.train.divergence == "hutchinson":
        return by_probes(fields, system, config)
    if config.train.engine != "torch_func" and applies(fields):
        return by_fused(fused_loss(fields, system, form))
    return by_autograd(residual_loss(fields, system, form))


def by_fused(loss: FusedLoss) -> GradientFunction:
    """The hand-derived engine, which makes loss and gradient together."""

    def accumulate(batch: Batch, weight_score: Tensor, weight_newton: Tensor) -> PointLoss:
        def points(chunk: slice) -> PointLoss:
            return loss.backward(batch.x[chunk], batch.t[chunk], weight_score[chunk], weight_newton[chunk])

        return _joined(points(chunk) for chunk in _chunks(batch))

    return accumulate


def by_autograd(loss: LossFunction, most: int | None = None) -> GradientFunction:
    """A differentiable loss as an engine, at most `most` points at a time."""

    def accumulate(batch: Batch, weight_score: Tensor, weight_newton: Tensor) -> PointLoss:
        def points(chunk: slice) -> PointLoss:
            return loss(batch.x[chunk], batch.t[chunk])

        return _by_chunks(points, batch, weight_score, weight_newton, most)

    return accumulate


def by_probes(fields: Fields, system: System, config: Config) -> GradientFunction:
    """Two independent random probes for the divergences at every point."""

    def accumulate(batch: Batch, weight_score: Tensor, weight_newton: Tensor) -> PointLoss:
        probes = batch.probes
        assert probes is not None  # drawn by training_points where divergence = "hutchinson"

        def points(chunk: slice) -> PointLoss:
            x, t = batch.x[chunk], batch.t[chunk]
            return estimated_loss(fields, system, config.train.form, x, t, probes[:, chunk])

        return _by_chunks(points, batch, weight_score, weight_newton)

    return accumulate


def _by_chunks(
    points: Callable[[slice], PointLoss],
    batch: Batch,
    weight_score: Tensor,
    weight_newton: Tensor,
    most: int | None = None,
) -> PointLoss:
    """Losses with a graph, a chunk at a time."""

    def without_graph(chunk: slice) -> PointLoss:
        found = points(chunk)
        weighted = weight_score[chunk] * found.score + weight_newton[chunk] * found.newton
        torch.autograd.backward(weighted.sum())
        return PointLoss(found.score.detach(), found.newton.detach())

    return _joined(without_graph(chunk) for chunk in _chunks(batch, most))


def _chunks(batch: Batch, most: int | None = None) -> Iterator[slice]:
    """At most `most` (or RESIDUAL_CHUNK) points at a time, never a part of a group; one chunk at least."""
    size = max(batch.group, (most or RESIDUAL_CHUNK) // batch.group * batch.group)
    for first in range(0, max(len(batch.x), 1), size):
        yield slice(first, first + size)


def _joined(parts: Iterable[PointLoss]) -> PointLoss:
    scores, newtons = zip(*parts, strict=True)
    return PointLoss(torch.cat(scores), torch.cat(newtons))
