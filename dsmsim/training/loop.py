"""The training loop: sample, differentiate, agree, step, log, save; stop when asked or when it must.

The loop knows nothing of files: what should happen after an epoch or for a checkpoint comes in as
callables. All ranks run it in step.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch

from dsmsim.config import Config
from dsmsim.errors import DivergedError, StoppedEarly
from dsmsim.parallel import StopRequest, World, blocks_of_rank
from dsmsim.training.batch import block_count, training_points
from dsmsim.training.optimizers import learning_rate, set_learning_rate
from dsmsim.training.state import TrainState
from dsmsim.training.step import StepReport, clip_gradient, loss_and_gradient


@dataclass(frozen=True)
class Hooks:
    """What the loop tells the outside world, on every rank.

    Attributes:
        record: called with one log entry per logged epoch.
        progress: called after every epoch with (epochs done, loss).
        save: called when a checkpoint is due.
    """

    record: Callable[[dict[str, Any]], None]
    progress: Callable[[int, float], None]
    save: Callable[[], None]


def train(config: Config, state: TrainState, world: World, stop: StopRequest, hooks: Hooks) -> None:
    """Train until `train.epochs` epochs are done.

    Raises:
        DivergedError: loss or gradient is not finite (all ranks agree); the last good state has been saved.
        StoppedEarly: a signal or the time limit asked for it; the state has been saved.
    """
    blocks = blocks_of_rank(block_count(config), world.rank, world.size)
    unit, interval = config.output.cadence.unit, config.output.cadence.number
    saved_at = time.monotonic()
    begin = saved_at - state.seconds
    saved_epoch = state.epoch
    while state.epoch < config.train.epochs:
        report = _epoch(config, state, world, list(blocks))
        if not report.finite:
            hooks.save()
            raise DivergedError(_diverged(config, state.epoch, report))
        state.epoch += 1
        state.seconds = time.monotonic() - begin
        if state.epoch % config.train.log_every == 0 or state.epoch in (1, config.train.epochs):
            hooks.record(_entry(config, state.epoch, report, state.seconds))
        hooks.progress(state.epoch, report.loss)

        now = time.monotonic()
        due = state.epoch - saved_epoch >= interval if unit == "epochs" else now - saved_at >= interval
        # clocks and signals differ between ranks: they act only on what all have agreed
        stopping, due = _agree(world, stop.requested, due)
        if stopping and state.epoch < config.train.epochs:
            hooks.save()
            reason = stop.reason or "another rank was asked to"
            raise StoppedEarly(
                f"stopped after epoch {state.epoch} of {config.train.epochs} ({reason}); the state is saved"
            )
        if due and state.epoch < config.train.epochs:  # the last epoch is saved below
            hooks.save()
            saved_at, saved_epoch = now, state.epoch
    hooks.save()


def _epoch(config: Config, state: TrainState, world: World, blocks: list[int]) -> StepReport:
    points = training_points(config, state.system, state.initial, state.fields, state.epoch, blocks)
    report = loss_and_gradient(config, state.system, state.fields, *points, world)
    if report.finite:
        clip_gradient(state.fields, report.gradient_norm, config.train.clip)
        set_learning_rate(state.optimizer, learning_rate(config.train, state.epoch))
        state.optimizer.step()
    return report


def _agree(world: World, stopping: bool, due: bool) -> tuple[bool, bool]:
    flags = world.max_(torch.tensor([int(stopping), int(due)], dtype=torch.uint8))
    return bool(flags[0]), bool(flags[1])


def _entry(config: Config, epoch: int, report: StepReport, seconds: float) -> dict[str, Any]:
    parts = asdict(report)
    return {
        "epoch": epoch,
        "loss": parts["loss"],
        "loss_newton": parts["newton"],
        "loss_score": parts["score"],
        "loss_initial": parts["initial"],
        "learning_rate": learning_rate(config.train, epoch - 1),
        "gradient_norm": parts["gradient_norm"],
        "seconds": seconds,
    }


def _diverged(config: Config, epoch: int, report: StepReport) -> str:
    return (
        f"loss {report.loss} and gradient norm {report.gradient_norm} at epoch {epoch + 1} are not finite: "
        f"lower train.learning_rate = {config.train.learning_rate}, raise time.steps = {config.time.steps}, "
        "or look at the potential; the last good state is saved"
    )
