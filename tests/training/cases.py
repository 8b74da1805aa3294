"""States, batches and losses of the tiny input, for the tests of the optimisers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ranks import run_ranks
from tiny import tiny_input
from torch import Tensor

from dsmsim.config import Config, parse_config
from dsmsim.networks import PotentialFields
from dsmsim.parallel import StopRequest, World, blocks_of_rank
from dsmsim.residuals import LossFunction, residual_loss
from dsmsim.residuals.madelung import madelung_loss
from dsmsim.store import Checkpoint, load_checkpoint
from dsmsim.training.batch import block_count, slice_count, training_points
from dsmsim.training.causal import causal_weights
from dsmsim.training.engines import by_autograd
from dsmsim.training.loop import Hooks, train
from dsmsim.training.state import TrainState, new_state, save_state
from dsmsim.training.step import Objective

SILENT = Hooks(lambda entry: None, lambda epoch, loss: None, lambda: None)
PLAIN = {"network.kind": "mlp", "train.optimizer": "soap"}
SECOND_ORDER = {"train.learning_rate": 1.0, "train.warmup": 0, "train.schedule": "exponential"}
LBFGS = SECOND_ORDER | {"train.optimizer": "lbfgs"}
GAUSS_NEWTON = SECOND_ORDER | {"train.optimizer": "gauss_newton"}
# every part of the loss counts, with a weight of its own
WEIGHTS = {"train.alpha": 2.0, "train.beta": 0.5, "train.gamma": 3.0, "network.initial": "learned"}
POTENTIAL = {"network.kind": "potential"}
RING = {"network.kind": "functional_tt", "network.bond_rank": 3}
TT = {"network.tensor": {"rank": 2}}


def config_of(changes: Mapping[str, Any]) -> Config:
    """The tiny input with two velocity networks and soap, and with changes."""
    return parse_config(tiny_input(PLAIN | dict(changes)))


def loss_of(config: Config, state: TrainState) -> LossFunction:
    """The loss of the fields by the plainest engine."""
    if isinstance(state.fields, PotentialFields):
        return madelung_loss(state.fields, state.system, config.train.block)
    return residual_loss(state.fields, state.system, config.train.form)


def objective(
    config: Config, state: TrainState, world: World, epoch: int = 3, losses: Sequence[float] = ()
) -> Objective:
    """The loss of this rank's points of an epoch; with causal weights if losses of the slices are given."""
    mine = blocks_of_rank(block_count(config), world.rank, world.size)
    batch = training_points(config, state.system, state.initial, state.fields, epoch, mine)
    gradient = by_autograd(loss_of(config, state))
    weights = causal_weights(losses, config.train.causal, slice_count(config), batch.x)
    return Objective(config.train, state.fields, gradient, batch, world, weights)


def flat(state: TrainState) -> Tensor:
    """All parameters in one vector."""
    return torch.cat([parameter.detach().reshape(-1) for parameter in state.fields.parameters()])


def losses_of_training(config: Config) -> list[float]:
    """Train from the start on one rank."""
    losses: list[float] = []
    hooks = Hooks(lambda entry: None, lambda epoch, loss: losses.append(loss), lambda: None)
    train(config, new_state(config, World()), World(), StopRequest(), hooks)
    return losses


def trained_on(size: int, config: Config) -> list[TrainState]:
    """The states of all ranks after training from the start on `size` ranks."""
    states = [new_state(config, World()) for _ in range(size)]

    def work(world: World) -> None:
        train(config, states[world.rank], world, StopRequest(), SILENT)

    run_ranks(size, work)
    return states


def stored(state: TrainState, config: Config, directory: Path) -> Checkpoint:
    """The state written to a file and read back."""
    save_state(config, state, directory, cpu_seconds=0.0)
    return load_checkpoint(directory)


def assert_identical(left: dict[str, np.ndarray], right: dict[str, np.ndarray]) -> None:
    """The same arrays, bit by bit."""
    assert left.keys() == right.keys()
    for name, value in left.items():
        assert value.dtype == right[name].dtype, name
        assert value.shape == right[name].shape, name
        assert value.tobytes() == right[name].tobytes(), name
