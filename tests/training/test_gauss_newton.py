"""Gauss-Newton: the damped least-squares step over all batches, its damping, weights and ranks."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from cases import GAUSS_NEWTON, POTENTIAL, WEIGHTS, config_of, flat, objective, trained_on
from ranks import run_ranks
from torch import Tensor

from dsmsim.config import Config
from dsmsim.parallel import World
from dsmsim.training import gauss_newton
from dsmsim.training.gauss_newton import MEMORY, MUCH_LARGER, SMALLER, TRIES, GaussNewton
from dsmsim.training.rows import Parameters
from dsmsim.training.state import TrainState, new_state
from dsmsim.training.step import Objective

LOSSES = (3.0, 0.5, 2.0, 1.0)  # of the four slices in the epoch before
CASES = pytest.mark.parametrize(
    "changes",
    [{}, WEIGHTS | {"train.causal": 0.5}, POTENTIAL | {"train.alpha": 2.0, "train.block": 4}],
    ids=["plain", "weighted", "potential"],
)


def start(changes: dict[str, Any]) -> tuple[Config, TrainState, GaussNewton]:
    config = config_of(GAUSS_NEWTON | changes)
    state = new_state(config, World())
    assert isinstance(state.optimizer, GaussNewton)
    return config, state, state.optimizer


def residuals_by_hand(config: Config, state: TrainState, loss: Objective) -> tuple[Tensor, Tensor]:
    """The weighted residual vector, with a graph, in the plainest way; and the point of each residual."""
    train, batch, fields = config.train, loss.batch, state.fields
    rows = state.optimizer.rows.values(dict(fields.named_parameters()), batch.x, batch.t)  # type: ignore[attr-defined]
    if batch.group > 1:
        groups = rows.reshape(-1, batch.group, *rows.shape[1:])
        rows = (groups - groups.mean(1, keepdim=True)).reshape(rows.shape)
        rows = rows * math.sqrt(batch.group / (batch.group - 1))
    numbers = train.points * rows.shape[2]
    weights = loss.slice_weights[batch.slices] / numbers
    parts = [
        (train.alpha * weights).sqrt()[:, None] * rows[:, 0],
        (train.beta * weights).sqrt()[:, None] * rows[:, 1],
    ]
    if not fields.exact_initial:
        u, v = fields(batch.x0, batch.x0.new_zeros(len(batch.x0), 1))
        scale = math.sqrt(train.gamma / batch.x0.numel()) / fields.frame.velocity
        parts += [scale * (u - state.initial.u(batch.x0)), scale * (v - state.initial.v(batch.x0))]
    points = [torch.arange(len(part))[:, None].expand_as(part) for part in parts]
    points = [number + (len(batch.x) if k > 1 else 0) for k, number in enumerate(points)]
    return torch.cat([part.reshape(-1) for part in parts]), torch.cat([k.reshape(-1) for k in points])


def by_hand(config: Config, state: TrainState, loss: Objective) -> tuple[Tensor, Tensor]:
    """r and J with Huber's weights, row by row."""
    residuals, points = residuals_by_hand(config, state, loss)
    squares = torch.zeros(int(points.max()) + 1, dtype=residuals.dtype)
    squares.index_add_(0, points, residuals.detach().square())
    huber = (gauss_newton.CLIP * squares.mean() / squares).clamp(max=1.0).sqrt()[points]
    parameters = list(state.fields.parameters())
    rows = [torch.autograd.grad(r, parameters, retain_graph=True, materialize_grads=True) for r in residuals]
    jacobian = torch.stack([torch.cat([g.reshape(-1) for g in row]) for row in rows])
    return huber * residuals.detach(), huber[:, None] * jacobian


@CASES
def test_report_is_that_of_the_gradient_engines(
    changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gauss_newton, "CLIP", 1e9)  # Huber's weights change the gradient
    config, state, optimizer = start(changes)
    loss = objective(config, state, World(), losses=LOSSES)
    expected = loss.loss_and_gradient()
    found = optimizer.epoch(loss, 1.0)
    for name in ("loss", "score", "newton", "initial", "gradient_norm", "weighted", "slices"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=1e-11), name


@CASES
@pytest.mark.parametrize("clip", [1.5, 1e9])
def test_steps_are_those_of_a_dense_solve(
    changes: dict[str, Any], clip: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three batches, each at half the length of the step: what was not done yet still pulls."""
    monkeypatch.setattr(gauss_newton, "CLIP", clip)
    config, state, optimizer = start(changes)
    optimizer.damping = 0.05
    normal = torch.zeros_like(optimizer.normal)
    pull = torch.zeros_like(optimizer.pull)
    for epoch in range(3):
        loss = objective(config, state, World(), epoch, LOSSES)
        before, damping = flat(state), optimizer.damping
        residuals, jacobian = by_hand(config, state, loss)
        normal = MEMORY * normal + jacobian.T @ jacobian
        pull = MEMORY * pull + jacobian.T @ residuals
        unit = damping * normal.diagonal().mean() * torch.eye(len(normal), dtype=normal.dtype)
        expected = -0.5 * torch.linalg.solve(normal + unit, pull)
        optimizer.epoch(loss, 0.5)
        moved = flat(state) - before
        assert torch.linalg.vector_norm(moved - expected) <= 1e-8 * torch.linalg.vector_norm(expected)
        pull = pull + normal @ expected


def test_huber_counts_single_points_less() -> None:
    config, state, _ = start({})
    loss = objective(config, state, World())
    residuals, points = residuals_by_hand(config, state, loss)
    squares = torch.zeros(len(loss.batch.x), dtype=residuals.dtype)
    squares.index_add_(0, points, residuals.detach().square())
    assert squares.max() > 1.5 * squares.mean()  # so a clip of 1.5 in the tests above is felt


@pytest.mark.parametrize("changes", [{}, WEIGHTS, POTENTIAL], ids=["plain", "weighted", "potential"])
def test_ranks_agree(changes: dict[str, Any]) -> None:
    config = config_of(GAUSS_NEWTON | changes | {"train.epochs": 3})
    (alone,) = trained_on(1, config)
    for size in (3, 7):  # six blocks: one rank of seven has none
        for state in trained_on(size, config):
            torch.testing.assert_close(flat(state), flat(alone), rtol=0.0, atol=1e-9)


def test_damping_falls_where_the_model_is_good() -> None:
    config, state, optimizer = start({})
    optimizer.damping = 100.0  # a step so short that the loss is as good as quadratic
    before = flat(state)
    optimizer.epoch(objective(config, state, World()), 1.0)
    assert optimizer.damping == 100.0 * SMALLER
    assert 0.0 < (flat(state) - before).abs().max() < 0.05


class Liar:
    """Rows that are right once, at the parameters before the step, and wrong after it."""

    def __init__(self, rows: Any, after: float) -> None:
        self.rows, self.after, self.calls = rows, after, 0

    def values(self, parameters: Parameters, x: Tensor, t: Tensor) -> Tensor:
        self.calls += 1
        found: Tensor = self.rows.values(parameters, x, t)
        return found if self.calls == 1 else torch.full_like(found, self.after)

    def jacobian(self, parameters: Parameters, x: Tensor, t: Tensor) -> Tensor:
        found: Tensor = self.rows.jacobian(parameters, x, t)
        return found


@pytest.mark.parametrize("after", [1e3, math.inf, math.nan])
def test_a_step_that_raises_the_loss_is_not_taken(after: float) -> None:
    config, state, optimizer = start({})
    optimizer.damping = 0.01
    liar = Liar(optimizer.rows, after)
    optimizer.rows = liar
    before = flat(state)
    report = optimizer.epoch(objective(config, state, World()), 1.0)
    assert report.finite
    assert torch.equal(flat(state), before)
    assert liar.calls == 1 + TRIES
    assert optimizer.damping == pytest.approx(0.01 * MUCH_LARGER**TRIES)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_moves_nothing_on_any_rank(bad: float) -> None:
    config = config_of(GAUSS_NEWTON)
    states = [new_state(config, World()) for _ in range(2)]
    before = flat(states[0])

    def work(world: World) -> bool:
        loss = objective(config, states[world.rank], world)
        if world.rank == 1:
            loss.batch.x[0, 0] = bad
        return states[world.rank].optimizer.epoch(loss, 1.0).finite

    assert run_ranks(2, work) == [False, False]
    assert all(torch.equal(flat(state), before) for state in states)


@pytest.mark.parametrize("changes", [{}, POTENTIAL], ids=["mlp", "potential"])
def test_it_fits_a_batch(changes: dict[str, Any]) -> None:
    config, state, optimizer = start(changes)
    loss = objective(config, state, World())
    losses = [optimizer.epoch(loss, 1.0).loss for _ in range(20)]
    assert losses[-1] < losses[0] / 100
