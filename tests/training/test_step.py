"""The step: one loss and one gradient, however the points are shared out or cut into chunks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from cases import config_of
from ranks import run_ranks
from torch import Tensor

from dsmsim.config import Config
from dsmsim.parallel import World, blocks_of_rank
from dsmsim.residuals import PointLoss, nelson_residuals, residual_loss
from dsmsim.training import engines
from dsmsim.training.batch import Batch, block_count, slice_count, training_points
from dsmsim.training.causal import causal_weights
from dsmsim.training.engines import by_autograd
from dsmsim.training.state import TrainState, new_state
from dsmsim.training.step import Objective, StepReport, clip_gradient

CLOSE = {"rtol": 1e-12, "atol": 1e-14}
EPOCH = 3
# every part of the loss counts, with a weight of its own
WEIGHTS = {"train.alpha": 2.0, "train.beta": 0.5, "train.gamma": 3.0, "network.initial": "learned"}
CAUSAL = WEIGHTS | {"train.causal": 0.5}
LOSSES = (3.0, 0.5, 2.0, 1.0)  # of the four slices in the epoch before


def points(config: Config, state: TrainState, blocks: Sequence[int]) -> Batch:
    return training_points(config, state.system, state.initial, state.fields, EPOCH, blocks)


def all_points(config: Config, state: TrainState) -> Batch:
    return points(config, state, range(block_count(config)))


def objective(
    config: Config, state: TrainState, batch: Batch, world: World, losses: Sequence[float] = ()
) -> Objective:
    """The loss of a batch, with causal weights if `losses` of the slices are given."""
    engine = by_autograd(residual_loss(state.fields, state.system, config.train.form))
    weights = causal_weights(losses, config.train.causal, slice_count(config), batch.x)
    return Objective(config.train, state.fields, engine, batch, world, weights)


def flat_gradient(state: TrainState) -> Tensor:
    gradients = [parameter.grad for parameter in state.fields.parameters()]
    return torch.cat([g.reshape(-1) for g in gradients if g is not None])


def numbers(report: StepReport) -> Tensor:
    parts = [report.loss, report.score, report.newton, report.initial, report.gradient_norm]
    return torch.tensor([*parts, report.weighted, *report.slices], dtype=torch.float64)


def whole(config: Config) -> tuple[Tensor, Tensor]:
    """The report and the gradient of one rank that owns all blocks."""
    state = new_state(config, World())
    report = objective(config, state, all_points(config, state), World(), LOSSES).loss_and_gradient()
    return numbers(report), flat_gradient(state)


@pytest.mark.parametrize("changes", [{}, WEIGHTS, CAUSAL], ids=["exact", "learned", "causal"])
@pytest.mark.parametrize("size", [2, 4, 7])
def test_every_rank_has_the_loss_and_gradient_of_all_points(size: int, changes: dict[str, Any]) -> None:
    """Six blocks: even shares, uneven ones, and a rank that owns none."""
    config = config_of(changes)
    states = [new_state(config, World()) for _ in range(size)]

    def work(world: World) -> tuple[Tensor, Tensor]:
        state = states[world.rank]
        mine = points(config, state, blocks_of_rank(block_count(config), world.rank, world.size))
        report = objective(config, state, mine, world, LOSSES).loss_and_gradient()
        return numbers(report), flat_gradient(state)

    expected = whole(config)
    for report, gradient in run_ranks(size, work):
        torch.testing.assert_close(report, expected[0], **CLOSE)
        torch.testing.assert_close(gradient, expected[1], **CLOSE)


@pytest.mark.parametrize("chunk", [7, 47])
def test_chunks_do_not_change_loss_or_gradient(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of(WEIGHTS)
    expected = whole(config)
    monkeypatch.setattr(engines, "RESIDUAL_CHUNK", chunk)
    report, gradient = whole(config)
    torch.testing.assert_close(report, expected[0], **CLOSE)
    torch.testing.assert_close(gradient, expected[1], **CLOSE)


@pytest.mark.parametrize("kind", ["mlp", "equivariant"])
@pytest.mark.parametrize("form", ["gradient", "convective"])
def test_gradient_is_that_of_the_mean_square_residual(kind: str, form: str) -> None:
    """Against the loss written down anew, as a mean over all points, and one call of autograd."""
    config = config_of(WEIGHTS | {"train.form": form, "network.kind": kind})
    state = new_state(config, World())
    fields, system = state.fields, state.system
    batch = all_points(config, state)
    x, t, x0 = batch.x, batch.t, batch.x0

    score, newton = nelson_residuals(fields, system, x, t, config.train.form)
    unit = fields.frame.velocity / config.time.end
    u, v = fields(x0, torch.zeros(len(x0), 1, dtype=x0.dtype))
    start = (u - state.initial.u(x0)).square().mean() + (v - state.initial.v(x0)).square().mean()
    parts = [(score / unit).square().mean(), (newton / unit).square().mean()]
    parts.append(start / fields.frame.velocity**2)
    loss = 2.0 * parts[0] + 0.5 * parts[1] + 3.0 * parts[2]
    gradients = torch.autograd.grad(loss, list(fields.parameters()), materialize_grads=True)
    expected = torch.cat([gradient.reshape(-1) for gradient in gradients])

    report = objective(config, state, batch, World()).loss_and_gradient()
    norm = torch.linalg.vector_norm(expected)
    found = numbers(report)
    torch.testing.assert_close(found[:6], torch.stack([loss, *parts, norm, loss]).detach(), **CLOSE)
    torch.testing.assert_close(found[6:].mean(), (loss - 3.0 * parts[2]).detach(), **CLOSE)
    assert torch.linalg.vector_norm(flat_gradient(state) - expected) <= 1e-12 * norm
    assert all(value > 1e-3 for value in found.tolist())  # every part was really there


def test_causal_weights_weigh_the_gradient_and_not_the_reported_loss() -> None:
    config = config_of(CAUSAL)
    state = new_state(config, World())
    batch = all_points(config, state)
    plain = numbers(objective(config, state, batch, World()).loss_and_gradient())
    report = objective(config, state, batch, World(), LOSSES).loss_and_gradient()
    found, gradient = numbers(report), flat_gradient(state).clone()
    torch.testing.assert_close(found[:4], plain[:4], **CLOSE)
    torch.testing.assert_close(found[6:], plain[6:], **CLOSE)
    weights = torch.exp(-0.5 * torch.tensor([0.0, 3.0, 3.5, 5.5], dtype=torch.float64))
    expected = (weights * plain[6:]).mean() + 3.0 * report.initial
    torch.testing.assert_close(found[5], expected, **CLOSE)

    # the gradient is that of the weighted mean: slice by slice, with a batch that holds one slice only
    total = torch.zeros_like(gradient)
    for k, weight in enumerate(weights.tolist()):
        here = batch.slices == k
        alone = replace(batch, x=batch.x[here], t=batch.t[here], slices=batch.slices[here], x0=batch.x0[:0])
        objective(config, state, alone, World()).loss_and_gradient()
        total += weight * flat_gradient(state)
    nobody = replace(batch, x=batch.x[:0], t=batch.t[:0], slices=batch.slices[:0])
    objective(config, state, nobody, World()).loss_and_gradient()
    torch.testing.assert_close(gradient, total + flat_gradient(state), rtol=1e-11, atol=1e-13)


def test_chunks_keep_groups_together(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def loss(x: Tensor, t: Tensor) -> PointLoss:
        seen.append(len(x))
        return PointLoss(weight * x.sum(-1), weight * x.sum(-1).square())

    weight = torch.ones((), requires_grad=True)
    x = torch.arange(24.0).reshape(12, 2)
    monkeypatch.setattr(engines, "RESIDUAL_CHUNK", 7)
    for group, sizes in ((1, [7, 5]), (2, [6, 6]), (3, [6, 6]), (6, [6, 6]), (12, [12])):
        seen.clear()
        weight.grad = None
        batch = Batch(x, x[:, :1], torch.zeros(12, dtype=torch.int64), x[:0], group)
        found = by_autograd(loss)(batch, torch.ones(12), torch.full((12,), 0.5))
        assert seen == sizes
        assert torch.equal(found.score, x.sum(-1))
        assert weight.grad == (x.sum(-1) + 0.5 * x.sum(-1).square()).sum()


def test_old_gradients_are_forgotten() -> None:
    config = config_of({})
    state = new_state(config, World())
    whole_loss = objective(config, state, all_points(config, state), World())
    whole_loss.loss_and_gradient()
    once = flat_gradient(state)
    whole_loss.loss_and_gradient()
    assert torch.equal(flat_gradient(state), once)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_non_finite_loss_is_reported_on_every_rank(bad: float) -> None:
    """Only the last rank meets the bad point; no rank may take the step."""
    config = config_of({})
    states = [new_state(config, World()) for _ in range(2)]

    def work(world: World) -> StepReport:
        state = states[world.rank]
        batch = points(config, state, blocks_of_rank(block_count(config), world.rank, world.size))
        if world.rank == 1:
            batch.x[0, 0] = bad
        return objective(config, state, batch, world).loss_and_gradient()

    reports = run_ranks(2, work)
    assert [report.finite for report in reports] == [False, False]


def test_a_report_is_finite_only_with_loss_and_gradient() -> None:
    assert StepReport(1.0, 1.0, 0.0, 0.0, 2.0).finite
    assert not StepReport(1.0, 1.0, 0.0, 0.0, math.nan).finite
    assert not StepReport(math.inf, 1.0, 0.0, 0.0, 2.0).finite


def test_clipping_keeps_the_direction() -> None:
    config = config_of({})
    state = new_state(config, World())
    report = objective(config, state, all_points(config, state), World()).loss_and_gradient()
    before = flat_gradient(state).clone()
    clip_gradient(state.fields, report.gradient_norm, 2.0 * report.gradient_norm)
    assert torch.equal(flat_gradient(state), before)
    clip_gradient(state.fields, report.gradient_norm, 0.25 * report.gradient_norm)
    torch.testing.assert_close(flat_gradient(state), 0.25 * before, **CLOSE)
