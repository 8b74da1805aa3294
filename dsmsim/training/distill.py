"""Distillation: the network of [network] learns fields that are known already, before it trains globally.

The teacher knows u and v, and for potential networks log psi = R + i S. The network learns it by least
squares at points of the teacher's own process; nothing is differentiated in space or time, so an epoch is
cheaper than one of residuals. What is compared at a point:

    potential networks    gate f(y, t) with [(R, S) - (R0, S0)] / A, as deviations from the mean among points
                          of equal time: a function of time alone means nothing
    velocity networks     (u, v) with the teacher's, over the natural velocity U

The optimiser is that of the input, its learning rate constant at first and then falling to zero.

A teacher may know S only modulo 2 pi. The branch is then the one on which the integral of m v/hbar along a
straight line ends that comes from the first point of the same time and block. That point's particles are
named so that they have the same order along the first axis at both ends: then no two of them meet on the way,
where the phase may turn quickly.

Trajectories come in blocks with random streams of their own, shared out over the ranks.

Shapes: B trajectories of this rank, M times, P = B M points, n coordinates, p parameters.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from dsmsim.config import Config, TrainTable
from dsmsim.errors import DivergedError, StoppedEarly
from dsmsim.networks import Fields, PotentialFields
from dsmsim.networks.potential import DenseWeights
from dsmsim.parallel import StopRequest, World, blocks_of_rank, random_stream
from dsmsim.residuals import LossFunction, PointLoss
from dsmsim.residuals.madelung import centred
from dsmsim.sampler import refine, residual_clocks, trajectories
from dsmsim.system import System
from dsmsim.training.batch import Batch, training_process
from dsmsim.training.build import build_optimizer
from dsmsim.training.engines import by_autograd
from dsmsim.training.gauss_newton import GaussNewton
from dsmsim.training.optimizers import SCHEDULES, Optimizer
from dsmsim.training.rows import (
    JACOBIAN_CHUNK,
    NelsonRows,
    Parameters,
    Rows,
    by_chunks,
    flattened,
    gradients_at_points,
    vjp,
    vmap,
    with_parameters,
)
from dsmsim.training.state import TrainState
from dsmsim.training.step import Objective, StepReport

# measured with three bosons (docs/marching.md): Gauss-Newton needs no more points, and no fewer epochs
TRAJECTORIES, BLOCK, TIMES = 32, 16, 16  # of an epoch
EPOCHS = {"gauss_newton": 24, "lbfgs": 24, "soap": 400, "adam": 1000}
DRAWS, EPOCHS_OF_DRAW = 6, 4  # ensembles, which optimisers of many epochs see again and again
FIRST_DAMPING = 1e-3  # of Gauss-Newton: rows of values are better behaved than residuals
NEXT_DAMPING = 1e-2  # of Gauss-Newton on residuals afterwards: it begins near a solution
NODES = 8  # of the line integral that finds the branch of S: an error of pi would do no harm


class Teacher(Protocol):
    """What is learnt: velocities, and for potential networks the wave function."""

    def __call__(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """(u, v), each (B, n), at x (B, n) and t (B, 1), which are float64; t is the same for all."""
        ...

    def log_psi(self, x: Tensor, t: Tensor) -> Tensor:
        """(R, S) (B, 2) up to a function of t, S modulo 2 pi. Velocity networks do not ask for it."""
        ...


@dataclass(frozen=True)
class Distilled:
    """What distillation came to.

    Attributes:
        epochs: done.
        loss: mean squared difference of the last epoch, in natural units: of log psi over A, or of u and v.
    """

    epochs: int
    loss: float


def distill(
    config: Config,
    state: TrainState,
    teacher: Teacher,
    world: World,
    progress: Callable[[int, int, float], None] = lambda done, total, loss: None,
    stop: StopRequest | None = None,
) -> Distilled:
    """Make `state.fields` what the teacher is, as far as they can be, and let the optimiser go on from there.

    All ranks call it together and end with the same fields. It takes seconds and keeps no state of its own:
    one that was stopped begins again.

    Args:
        config: seed, [sampler], [network] and the optimiser of [train].
        state: of an input with `network.initial = "exact"`.
        progress: called with (epochs done, epochs in all, loss) after each.
        stop: asked after every epoch.

    Raises:
        DivergedError: the teacher has values that are not finite on its own trajectories.
        StoppedEarly: it was asked for.
    """
    train = _table(config)
    fields, system = state.fields, state.system
    rows = _rows(fields, system, config)
    optimizer = _optimizer(config, fields, system, rows)
    gradient = by_autograd(_loss(fields, rows))
    weights = fields.frame.center.new_ones(TIMES)
    epochs, batches = EPOCHS[train.optimizer], list[Batch]()
    report: StepReport | None = None
    for epoch in range(epochs):
        if epoch == len(batches) < DRAWS * EPOCHS_OF_DRAW:
            batches += _batches(config, state, teacher, epoch // EPOCHS_OF_DRAW, world)
        batch = batches[epoch % len(batches)]
        objective = Objective(train, fields, gradient, batch, world, weights)
        rate = train.learning_rate * SCHEDULES["trapezoid"](epoch / epochs)
        report = optimizer.epoch(objective, rate)
        if not report.finite:
            raise DivergedError(
                f"the fields that the march found have values that are not finite on their own trajectories "
                f"(epoch {epoch + 1} of distillation); march with more walkers or a smaller tolerance"
            )
        progress(epoch + 1, epochs, report.loss)
        reason = None if stop is None else stop.agreed(world)
        if reason is not None:
            raise StoppedEarly(f"stopped while [network] learnt the fields that were found ({reason})")
    assert report is not None
    if isinstance(state.optimizer, GaussNewton):
        state.optimizer.damping = NEXT_DAMPING
    return Distilled(epochs, report.loss)


def _table(config: Config) -> TrainTable:
    """[train] with the sizes of a distillation, both parts of the loss alike."""
    sizes = {"points": TRAJECTORIES * TIMES, "trajectories": TRAJECTORIES, "block": BLOCK}
    return config.train.model_copy(update={**sizes, "alpha": 1.0, "beta": 1.0})


def _optimizer(config: Config, fields: Fields, system: System, rows: Rows) -> Optimizer:
    """The optimiser of the input, which has seen nothing yet."""
    optimizer = build_optimizer(config, fields, system)
    if isinstance(optimizer, GaussNewton):
        optimizer.rows, optimizer.initial, optimizer.damping = rows, None, FIRST_DAMPING
    return optimizer


def _batches(config: Config, state: TrainState, teacher: Teacher, draw: int, world: World) -> list[Batch]:
    """The points of this rank in EPOCHS_OF_DRAW epochs; drawn together, which is far cheaper."""
    per_epoch = TRAJECTORIES // BLOCK
    own = blocks_of_rank(per_epoch, world.rank, world.size)
    mine = [per_epoch * epoch + block for epoch in range(EPOCHS_OF_DRAW) for block in own]
    found = teacher_points(config, state, teacher, draw, mine)
    parts = (each.chunk(EPOCHS_OF_DRAW) for each in (found.x, found.t, found.slices, found.x0))
    return [Batch(x, t, slices, x0, found.group) for x, t, slices, x0 in zip(*parts, strict=True)]


@torch.no_grad()
def teacher_points(config: Config, state: TrainState, teacher: Teacher, draw: int, mine: list[int]) -> Batch:
    """Points of this rank's blocks on trajectories of the teacher, and what the teacher knows there.

    Returns:
        A batch in order of block, time and trajectory. The columns of its x are n coordinates, and then what
        the rows compare with: 2 for potential networks, 2 n for others.
    """
    fields, system, initial = state.fields, state.system, state.initial
    n, like = system.coordinates, fields.frame.center
    known = 2 if fields.grouped else 2 * n
    group = BLOCK if fields.grouped else 1
    if not mine:
        nowhere = torch.zeros(0, dtype=torch.int64, device=like.device)
        return Batch(like.new_zeros(0, n + known), like.new_zeros(0, 1), nowhere, like.new_zeros(0, n), group)
    substeps = math.ceil(config.time.steps / TIMES)
    clocks = residual_clocks(random_stream(config.seed, "distillation times", draw), 1, TIMES, "stratified")
    streams = [random_stream(config.seed, "distillation", draw, block) for block in mine]
    starts = np.concatenate([initial.sample(stream, BLOCK) for stream in streams])
    kicks = np.concatenate([stream.standard_normal((BLOCK, TIMES * substeps, n)) for stream in streams])

    def tensor(values: Any) -> Tensor:
        return torch.as_tensor(values, dtype=torch.float64, device=like.device)

    x0, noise = tensor(starts), tensor(kicks)
    grid = tensor(fields.frame.time_at(refine(clocks, substeps)))
    path = trajectories(teacher, system, training_process(config), x0, grid, lambda k: noise[:, k])
    points, times = [], []
    for k, (x, t) in enumerate(path, start=1):
        if k % substeps == 0:
            points.append(torch.cat([x, _known(fields, state, teacher, x, t)], 1))
            times.append(t)

    def by_block(values: list[Tensor]) -> Tensor:
        """One (B, k) tensor for every time: (P, k) in the order of the batch."""
        together = torch.stack(values).reshape(TIMES, len(mine), BLOCK, -1)
        return together.transpose(0, 1).reshape(TIMES * len(x0), -1).to(like.dtype)

    slices = torch.arange(TIMES, device=like.device).repeat_interleave(BLOCK).repeat(len(mine))
    return Batch(by_block(points), by_block(times), slices, x0.to(like.dtype), group)


def _known(fields: Fields, state: TrainState, teacher: Teacher, x: Tensor, t: Tensor) -> Tensor:
    """What the rows compare with at x (B, n): (B, 2), deviations from the mean of each block; or (B, 2 n)."""
    if not isinstance(fields, PotentialFields):
        return torch.cat(teacher(x, t), 1)
    found = teacher.log_psi(x, t)
    phase = _continued(found[:, 1], teacher, x, t, fields)
    start = torch.stack([0.5 * state.initial.log_density(x), state.initial.phase(x)], -1)
    change = (torch.stack([found[:, 0], phase], -1) - start) / fields.amplitude
    blocks = change.reshape(-1, BLOCK, 2)
    # before they are rounded: the mean may be large
    return (blocks - blocks.mean(1, keepdim=True)).reshape(-1, 2)


def _continued(phase: Tensor, teacher: Teacher, x: Tensor, t: Tensor, fields: PotentialFields) -> Tensor:
    """The phase (B,) on one branch in each block: see the module's docstring."""
    count, axes = fields.potential.particles, fields.potential.dimensions
    first = x.reshape(-1, BLOCK, x.shape[1])[:, :1].expand(-1, BLOCK, -1).reshape(-1, count, axes)
    # the inverse of the order at x, of the order at the first point
    names = x.reshape(-1, count, axes)[:, :, 0].argsort(1).argsort(1)
    order = first[:, :, 0].argsort(1).gather(1, names)
    first = first.gather(1, order.unsqueeze(-1).expand_as(first)).reshape(x.shape)
    way = x - first
    abscissas, shares = np.polynomial.legendre.leggauss(NODES)
    nodes = torch.as_tensor(0.5 * (abscissas + 1.0)).to(x)
    places = (first + nodes[:, None, None] * way).reshape(-1, x.shape[1])
    _, v = teacher(places, t[:1].expand(len(places), 1))
    along = (v.reshape(NODES, *x.shape) * way).sum(-1) / fields.quantum
    expected = torch.as_tensor(0.5 * shares).to(x) @ along
    reference = phase.reshape(-1, BLOCK)[:, :1].expand(-1, BLOCK).reshape(-1)
    turns = torch.round((reference + expected - phase) / (2.0 * math.pi))
    return phase + 2.0 * math.pi * turns


def _loss(fields: Fields, rows: Rows) -> LossFunction:
    """Squares of the rows, for optimisers that follow a gradient."""

    def squares(x: Tensor, t: Tensor) -> PointLoss:
        found = rows.values(dict(fields.named_parameters()), x, t)
        found = centred(found, BLOCK) if fields.grouped else found
        return PointLoss(*found.square().sum(-1).unbind(1))

    return squares


def _rows(fields: Fields, system: System, config: Config) -> Rows:
    if isinstance(fields, PotentialFields):
        return ValueRows(fields, system.coordinates)
    return VelocityRows(fields, system, config.train.form)


class ValueRows:
    """Differences of log psi over A, before they are centred, of potential fields.

    Args:
        coordinates: n.
    """

    def __init__(self, fields: PotentialFields, coordinates: int) -> None:
        self.fields, self.coordinates = fields, coordinates
        self._weights = DenseWeights(fields.potential)

    def values(self, parameters: Parameters, x: Tensor, t: Tensor) -> Tensor:
        """(P, 2, 1) at x (P, n + 2) as from `teacher_points`."""
        return self._differences(self._weights.of(parameters), x, t).unsqueeze(-1)

    def jacobian(self, parameters: Parameters, x: Tensor, t: Tensor) -> Tensor:
        """(P, 2, 1, p); the network returns the gradient of every point in a weight of its own."""
        weights, pull = vjp(self._weights.of, parameters)

        def rows(x: Tensor, t: Tensor) -> Tensor:
            in_weights = gradients_at_points(self._differences, weights, x, t)
            (in_parameters,) = vmap(vmap(pull))(in_weights)
            return flattened(in_parameters, parameters).unsqueeze(2)

        return by_chunks(rows, x, t, size=self.fields.points_at_once(2 * JACOBIAN_CHUNK))

    def _differences(self, weights: Parameters, x: Tensor, t: Tensor) -> Tensor:
        """(P, 2) with dense weights."""
        fields, positions = self.fields, x[:, : self.coordinates]
        y = (positions - fields.frame.center) / fields.length
        change = fields.potential(y, fields.frame.clock(t), weights)
        found: Tensor = fields.frame.gate(t) * change - x[:, self.coordinates :]
        return found


class VelocityRows(NelsonRows):
    """Differences of u and v over U of any velocity fields."""

    def values(self, parameters: Parameters, x: Tensor, t: Tensor) -> Tensor:
        """(P, 2, n) at x (P, 3 n) as from `teacher_points`."""
        positions, u, v = x.chunk(3, dim=1)
        found_u, found_v = with_parameters(self.fields, parameters)(positions, t)
        return torch.stack([found_u - u, found_v - v], dim=1) / self.fields.frame.velocity
