"""The step: one loss and one gradient, however the points are shared out or cut into chunks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from ranks import run_ranks
from tiny import tiny_config
from torch import Tensor

from dsmsim.config import Config
from dsmsim.parallel import World, blocks_of_rank
from dsmsim.residuals import nelson_residuals
from dsmsim.training import step
from dsmsim.training.batch import block_count, training_points
from dsmsim.training.state import TrainState, new_state
from dsmsim.training.step import StepReport, clip_gradient, loss_and_gradient

CLOSE = {"rtol": 1e-12, "atol": 1e-14}
EPOCH = 3
# every part of the loss counts, with a weight of its own
WEIGHTS = {"train.alpha": 2.0, "train.beta": 0.5, "train.gamma": 3.0, "network.initial": "learned"}


def points(config: Config, state: TrainState, blocks: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    return training_points(config, state.system, state.initial, state.fields, EPOCH, blocks)


def all_points(config: Config, state: TrainState) -> tuple[Tensor, Tensor, Tensor]:
    return points(config, state, range(block_count(config)))


def flat_gradient(state: TrainState) -> Tensor:
    gradients = [parameter.grad for parameter in state.fields.parameters()]
    return torch.cat([g.reshape(-1) for g in gradients if g is not None])


def numbers(report: StepReport) -> Tensor:
    parts = [report.loss, report.score, report.newton, report.initial, report.gradient_norm]
    return torch.tensor(parts, dtype=torch.float64)


def whole(config: Config) -> tuple[Tensor, Tensor]:
    """The report and the gradient of one rank that owns all blocks."""
    state = new_state(config, World())
    report = loss_and_gradient(config, state.system, state.fields, *all_points(config, state), World())
    return numbers(report), flat_gradient(state)


@pytest.mark.parametrize("changes", [{}, WEIGHTS], ids=["exact", "learned"])
@pytest.mark.parametrize("size", [2, 4, 7])
def test_every_rank_has_the_loss_and_gradient_of_all_points(size: int, changes: dict[str, Any]) -> None:
    """Six blocks: even shares, uneven ones, and a rank that owns none."""
    config = tiny_config(changes)
    states = [new_state(config, World()) for _ in range(size)]

    def work(world: World) -> tuple[Tensor, Tensor]:
        state = states[world.rank]
        mine = points(config, state, blocks_of_rank(block_count(config), world.rank, world.size))
        report = loss_and_gradient(config, state.system, state.fields, *mine, world)
        return numbers(report), flat_gradient(state)

    expected = whole(config)
    for report, gradient in run_ranks(size, work):
        torch.testing.assert_close(report, expected[0], **CLOSE)
        torch.testing.assert_close(gradient, expected[1], **CLOSE)


def test_blocks_are_the_same_points_whoever_owns_them() -> None:
    config = tiny_config()
    state = new_state(config, World())
    together = all_points(config, state)
    alone = [points(config, state, [block]) for block in range(block_count(config))]
    assert torch.equal(together[2], torch.cat([x0 for _, _, x0 in alone]))
    # the points of several blocks come time by time: compare them as sets of rows
    rows = torch.cat([torch.cat([x, t], dim=1) for x, t, _ in alone])
    expected = torch.cat(together[:2], dim=1)
    for values in (rows, expected):
        assert values.shape == (config.train.points, 3)
    torch.testing.assert_close(_sorted_rows(rows), _sorted_rows(expected), **CLOSE)


def _sorted_rows(values: Tensor) -> Tensor:
    return values[torch.argsort(values[:, -1])]


def test_epochs_and_seeds_have_their_own_points() -> None:
    config, other = tiny_config(), tiny_config({"seed": 2})
    state = new_state(config, World())
    first = training_points(config, state.system, state.initial, state.fields, 0, [0])
    again = training_points(config, state.system, state.initial, state.fields, 0, [0])
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    for changed, epoch, block in ((config, 1, 0), (config, 0, 1), (other, 0, 0)):
        others = training_points(changed, state.system, state.initial, state.fields, epoch, [block])
        assert not torch.isclose(first[0], others[0]).any()


@pytest.mark.parametrize("chunk", [7, 47])
def test_chunks_do_not_change_loss_or_gradient(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny_config(WEIGHTS)
    expected = whole(config)
    monkeypatch.setattr(step, "RESIDUAL_CHUNK", chunk)
    report, gradient = whole(config)
    torch.testing.assert_close(report, expected[0], **CLOSE)
    torch.testing.assert_close(gradient, expected[1], **CLOSE)


@pytest.mark.parametrize("kind", ["mlp", "equivariant"])
@pytest.mark.parametrize("form", ["gradient", "convective"])
def test_gradient_is_that_of_the_mean_square_residual(kind: str, form: str) -> None:
    """Against the loss written down anew, as a mean over all points, and one call of autograd."""
    config = tiny_config(WEIGHTS | {"train.form": form, "network.kind": kind})
    state = new_state(config, World())
    fields, system = state.fields, state.system
    x, t, x0 = all_points(config, state)

    score, newton = nelson_residuals(fields, system, x, t, config.train.form)
    unit = fields.frame.velocity / config.time.end
    u, v = fields(x0, torch.zeros(len(x0), 1, dtype=x0.dtype))
    start = (u - state.initial.u(x0)).square().mean() + (v - state.initial.v(x0)).square().mean()
    parts = [(score / unit).square().mean(), (newton / unit).square().mean()]
    parts.append(start / fields.frame.velocity**2)
    loss = 2.0 * parts[0] + 0.5 * parts[1] + 3.0 * parts[2]
    gradients = torch.autograd.grad(loss, list(fields.parameters()), materialize_grads=True)
    expected = torch.cat([gradient.reshape(-1) for gradient in gradients])

    report = loss_and_gradient(config, system, fields, x, t, x0, World())
    norm = torch.linalg.vector_norm(expected)
    torch.testing.assert_close(
        numbers(report), torch.stack([loss.detach(), *(p.detach() for p in parts), norm]), **CLOSE
    )
    assert torch.linalg.vector_norm(flat_gradient(state) - expected) <= 1e-12 * norm
    assert all(value > 1e-3 for value in numbers(report).tolist())  # every part was really there


def test_old_gradients_are_forgotten() -> None:
    config = tiny_config()
    state = new_state(config, World())
    arguments = (config, state.system, state.fields, *all_points(config, state), World())
    loss_and_gradient(*arguments)
    once = flat_gradient(state)
    loss_and_gradient(*arguments)
    assert torch.equal(flat_gradient(state), once)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_non_finite_loss_is_reported_on_every_rank(bad: float) -> None:
    """Only the last rank meets the bad point; no rank may take the step."""
    config = tiny_config()
    states = [new_state(config, World()) for _ in range(2)]

    def work(world: World) -> StepReport:
        state = states[world.rank]
        x, t, x0 = points(config, state, blocks_of_rank(block_count(config), world.rank, world.size))
        if world.rank == 1:
            x[0, 0] = bad
        return loss_and_gradient(config, state.system, state.fields, x, t, x0, world)

    reports = run_ranks(2, work)
    assert [report.finite for report in reports] == [False, False]


def test_a_report_is_finite_only_with_loss_and_gradient() -> None:
    assert StepReport(1.0, 1.0, 0.0, 0.0, 2.0).finite
    assert not StepReport(1.0, 1.0, 0.0, 0.0, math.nan).finite
    assert not StepReport(math.inf, 1.0, 0.0, 0.0, 2.0).finite


def test_clipping_keeps_the_direction() -> None:
    config = tiny_config()
    state = new_state(config, World())
    report = loss_and_gradient(config, state.system, state.fields, *all_points(config, state), World())
    before = flat_gradient(state).clone()
    clip_gradient(state.fields, report.gradient_norm, 2.0 * report.gradient_norm)
    assert torch.equal(flat_gradient(state), before)
    clip_gradient(state.fields, report.gradient_norm, 0.25 * report.gradient_norm)
    torch.testing.assert_close(flat_gradient(state), 0.25 * before, **CLOSE)
