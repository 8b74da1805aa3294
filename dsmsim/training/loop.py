"""The training loop: sample, differentiate, agree, step, log, save; stop when asked or when it must.

The loop knows nothing of files: what should happen after an epoch or for a checkpoint comes in as
callables. All ranks run it in step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dsmsim.config import Config
from dsmsim.errors import DivergedError
from dsmsim.parallel import StopRequest, World, blocks_of_rank
from dsmsim.training.batch import Batch, block_count, slice_count, training_points
from dsmsim.training.causal import causal_weights
from dsmsim.training.engines import GradientFunction, gradient_function
from dsmsim.training.evaluate import Solution
from dsmsim.training.keeping import Keeper
from dsmsim.training.optimizers import learning_rate
from dsmsim.training.ranks import bonds_of, ranks_found
from dsmsim.training.state import TrainState
from dsmsim.training.step import Objective, StepReport

Groups = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Hooks:
    """What the loop tells the outside world, on every rank.

    Attributes:
        record: called with one log entry per logged epoch.
        progress: called after every epoch with (epochs done, loss).
        save: called when a checkpoint is due.
        message: called with what the user should know.
        marched: called after every step of a march with (time reached, end, residual).
        stage: called with what has been solved before the run goes on from it, and with its groups of the
            results and their attributes.
        distilled: called after every epoch of a distillation with (epochs done, epochs in all, loss).
    """

    record: Callable[[dict[str, Any]], None]
    progress: Callable[[int, float], None]
    save: Callable[[], None]
    message: Callable[[str], None] = lambda text: None
    marched: Callable[[float, float, float], None] = lambda time, end, residual: None
    distilled: Callable[[int, int, float], None] = lambda done, total, loss: None
    stage: Callable[[Solution, Groups, Groups], None] = lambda solved, groups, attributes: None


def train(config: Config, state: TrainState, world: World, stop: StopRequest, hooks: Hooks) -> None:
    """Train until `train.epochs` epochs are done, or the loss stays below `train.target_loss`.

    Raises:
        DivergedError: loss or gradient is not finite (all ranks agree); the last good state has been saved.
        StoppedEarly: a signal or the time limit asked for it; the state has been saved.
    """
    blocks = blocks_of_rank(block_count(config), world.rank, world.size)
    gradient = gradient_function(config, state.fields, state.system)
    keeper = Keeper(config, world, stop, hooks.save, state.epoch)
    earlier = state.seconds
    while not _finished(config, state):
        report = _epoch(config, state, world, list(blocks), gradient)
        if not report.finite:
            hooks.save()
            raise DivergedError(_diverged(config, state.epoch, report))
        state.advance(report, config.train.target_loss)
        state.adapt_ranks(world)
        state.seconds = earlier + keeper.elapsed
        finished = _finished(config, state)
        if state.epoch % config.train.log_every == 0 or state.epoch == 1 or finished:
            hooks.record(_entry(config, state, report))
        hooks.progress(state.epoch, report.loss)
        keeper.after_step(
            state.epoch,
            finished=finished,
            where=lambda: f"after epoch {state.epoch} of {config.train.epochs}",
        )
    if state.reached(config.train.target_loss):
        hooks.message(
            f"training ended after epoch {state.epoch} of {config.train.epochs}: the smoothed loss "
            f"{state.smoothed_loss:.3g} stays below train.target_loss = {config.train.target_loss}"
        )

    if state.ranks is not None:
        hooks.message(ranks_found(state.fields))


def _finished(config: Config, state: TrainState) -> bool:
    return state.epoch >= config.train.epochs or state.reached(config.train.target_loss)


def _epoch(
    config: Config, state: TrainState, world: World, blocks: list[int], gradient: GradientFunction
) -> StepReport:
    fields = state.fields

    def draw(epoch: int) -> Batch:
        return training_points(config, state.system, state.initial, fields, epoch, blocks)

    batch = state.batches.batch(config, fields, state.epoch, draw, world)
    weights = causal_weights(state.slice_losses, config.train.causal, slice_count(config), batch.x)
    ranks, number = state.ranks, state.epoch + 1
    observer = None if ranks is None else lambda: ranks.observe(number)
    objective = Objective(config.train, fields, gradient, batch, world, weights, observer)
    return state.optimizer.epoch(objective, learning_rate(config.train, state.epoch))


def _entry(config: Config, state: TrainState, report: StepReport) -> dict[str, Any]:
    bonds = bonds_of(state.fields)
    return {
        "epoch": state.epoch,
        "loss": report.loss,
        "loss_newton": report.newton,
        "loss_score": report.score,
        "loss_initial": report.initial,
        "learning_rate": learning_rate(config.train, state.epoch - 1),
        "gradient_norm": report.gradient_norm,
        "seconds": state.seconds,
        **({"rank": bonds.ranks, "bond_entropy": bonds.entropies} if bonds.names else {}),
    }


def _diverged(config: Config, epoch: int, report: StepReport) -> str:
    return (
        f"loss {report.loss} and gradient norm {report.gradient_norm} at epoch {epoch + 1} are not finite: "
        f"lower train.learning_rate = {config.train.learning_rate}, raise time.steps = {config.time.steps}, "
        "or look at the potential; the last good state is saved"
    )
