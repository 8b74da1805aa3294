"""The state of a training run as plain arrays, and back.

Random streams are keyed by (seed, epoch, block) and the schedule by the epoch, so parameters, what the
optimiser remembers, the parameters that drew the batch in use, and a few numbers are all there is to save.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from dsmsim.config import Change, Config, changes_between, parse_config
from dsmsim.errors import ConfigError, StoreError
from dsmsim.networks import Fields, build_fields
from dsmsim.parallel import World
from dsmsim.store import Checkpoint, save_checkpoint
from dsmsim.system import InitialState, System, build_initial, build_system
from dsmsim.training.build import build_optimizer
from dsmsim.training.optimizers import Optimizer
from dsmsim.training.ranks import RankSearch, adopt_cores
from dsmsim.training.reuse import BatchSource
from dsmsim.training.step import StepReport

SMOOTHING = 0.9  # memory of the smoothed loss: ten epochs
PATIENCE = 10  # epochs in a row that the smoothed loss must be below the target


@dataclass(frozen=True)
class Best:
    """The networks of one epoch.

    Attributes:
        epoch: epochs done by then.
        loss: smoothed loss then.
        parameters: by name.
    """

    epoch: int
    loss: float
    parameters: dict[str, npt.NDArray[Any]]


@dataclass
class TrainState:
    """What training changes.

    Attributes:
        system, initial: the problem; they do not change.
        fields: the networks.
        optimizer: with what it remembers.
        batches: with the batch in use.
        ranks: what changes the ranks of tensor layers, None where they stand still.
        epoch: epochs done.
        seconds: spent, earlier sessions included.
        cpu_seconds: spent in earlier sessions, all their ranks together.
        slice_losses: mean losses of the slices of time in the last epoch; empty before the first.
        smoothed_loss: exponentially smoothed; infinite before the first epoch.
        below: epochs in a row at whose end the smoothed loss was below the target.
        best: the networks with the smallest smoothed loss so far; None before the first epoch.
        changes: of the input since the run began, where they changed the training.
    """

    system: System
    initial: InitialState
    fields: Fields
    optimizer: Optimizer
    batches: BatchSource = field(default_factory=BatchSource)
    ranks: RankSearch | None = None
    epoch: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    slice_losses: tuple[float, ...] = ()
    smoothed_loss: float = float("inf")
    below: int = 0
    best: Best | None = None
    changes: list[str] = field(default_factory=list)

    def advance(self, report: StepReport, target: float | None) -> None:
        """An epoch is done."""
        before = self.smoothed_loss if math.isfinite(self.smoothed_loss) else report.loss
        self.epoch += 1
        self.slice_losses = report.slices
        self.smoothed_loss = SMOOTHING * before + (1.0 - SMOOTHING) * report.loss
        self.below = self.below + 1 if target is not None and self.smoothed_loss < target else 0
        if self.best is None or self.smoothed_loss < self.best.loss:
            self.best = Best(self.epoch, self.smoothed_loss, self._model(copy=True))

    def take_best(self) -> int:
        """Let the fields be the best ones, from which training does not go on; their epoch."""
        if self.best is None:
            return self.epoch
        self._set_model(self.best.parameters, f"the best state, of epoch {self.best.epoch}")
        return self.best.epoch

    def adapt_ranks(self, world: World) -> None:
        """Look at the ranks after an epoch, if they may change; called by all ranks."""
        changed = frozenset() if self.ranks is None else self.ranks.adapt(self.epoch, world)
        if changed:
            self.optimizer.parameters_changed(changed)
            self.batches.forget()

    def reached(self, target: float | None) -> bool:
        """Whether the smoothed loss has been below the target for long enough."""
        return target is not None and self.smoothed_loss < target and self.below >= PATIENCE

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Parameters as `model/NAME`, `best/NAME`; `optimizer/...`, `ranks/...`, `training/...`."""
        found = {f"model/{name}": value for name, value in self._model().items()}
        found |= {f"optimizer/{name}": value for name, value in self.optimizer.arrays().items()}
        if self.ranks is not None:
            found |= {f"ranks/{name}": value for name, value in self.ranks.arrays().items()}
        found |= {f"batches/{name}": value for name, value in self.batches.arrays().items()}
        found["training/slice_losses"] = np.asarray(self.slice_losses, dtype=np.float64)
        found["training/smoothed_loss"] = np.asarray(self.smoothed_loss)
        found["training/below"] = np.asarray(self.below)
        if self.best is not None:
            found |= {f"best/{name}": value for name, value in self.best.parameters.items()}
            found["training/best_epoch"] = np.asarray(self.best.epoch)
            found["training/best_loss"] = np.asarray(self.best.loss)
        return found

    def _model(self, copy: bool = False) -> dict[str, npt.NDArray[Any]]:
        model = {name: p.detach().cpu().numpy() for name, p in self.fields.named_parameters()}
        return {name: value.copy() for name, value in model.items()} if copy else model

    @torch.no_grad()
    def _set_model(self, model: Mapping[str, npt.NDArray[Any]], source: str) -> None:
        """Give the fields these parameters, which came from `source`."""
        if self.ranks is not None:
            self.optimizer.parameters_changed(adopt_cores(self.fields, model))
        parameters = dict(self.fields.named_parameters())
        for name in model:
            if name not in parameters:
                raise StoreError(f"{source}: holds a parameter {name} that the input does not have")
        for name, parameter in parameters.items():
            values = model.get(name)
            if values is None or values.shape != tuple(parameter.shape):
                raise StoreError(f"{source}: no parameter {name} of shape {tuple(parameter.shape)}")
            parameter.copy_(torch.as_tensor(values, dtype=parameter.dtype))

    @torch.no_grad()
    def load(self, checkpoint: Checkpoint) -> None:
        """Become the state that `arrays` described.

        Raises:
            StoreError: if the checkpoint holds other parameters than the input describes.
        """
        self._set_model(_below(checkpoint.arrays, "model/"), str(checkpoint.path))
        self.optimizer.load(_below(checkpoint.arrays, "optimizer/"))
        if self.ranks is not None:
            self.ranks.load(_below(checkpoint.arrays, "ranks/"))
        self.batches.load(_below(checkpoint.arrays, "batches/"))
        self.epoch = checkpoint.epoch
        self.seconds = float(checkpoint.attributes.get("seconds", 0.0))
        self.cpu_seconds = float(checkpoint.attributes.get("cpu_seconds", 0.0))
        self.slice_losses = tuple(checkpoint.arrays["training/slice_losses"].tolist())
        self.smoothed_loss = float(checkpoint.arrays["training/smoothed_loss"])
        self.below = int(checkpoint.arrays["training/below"])
        self.changes = list(checkpoint.attributes.get("changes", []))
        if "training/best_epoch" in checkpoint.arrays:
            self.best = Best(
                int(checkpoint.arrays["training/best_epoch"]),
                float(checkpoint.arrays["training/best_loss"]),
                _below(checkpoint.arrays, "best/"),
            )


def new_state(config: Config, world: World) -> TrainState:
    """System, fields and optimiser of an input, on this rank's device, equal on all ranks."""
    system, initial = build_system(config), build_initial(config)
    fields = build_fields(config, system, initial).to(world.device)
    for parameter in fields.parameters():
        world.broadcast_(parameter.data)
    tensor = config.network.tensor
    ranks = (
        RankSearch(fields, tensor, config.train.epochs) if tensor is not None and tensor.adaptive else None
    )
    return TrainState(system, initial, fields, build_optimizer(config, fields, system), ranks=ranks)


def save_state(
    config: Config, state: TrainState, directory: Path, cpu_seconds: float, log_bytes: int = 0
) -> None:
    """Write a checkpoint of the state, which `check_same_problem` and `TrainState.load` understand.

    Args:
        cpu_seconds: spent so far, by all ranks together.
        log_bytes: length of the log, to which a run that goes on from here cuts it back.

    Raises:
        StoreError: the file cannot be written; earlier checkpoints are all there.
    """
    attributes = checkpoint_attributes(config, state.changes, state.seconds, cpu_seconds, log_bytes)
    save_checkpoint(directory, state.epoch, state.arrays(), attributes, config.output.keep)


def checkpoint_attributes(
    config: Config, changes: list[str], seconds: float, cpu_seconds: float, log_bytes: int
) -> dict[str, Any]:
    """What every checkpoint says about its run."""
    return {
        "physics_hash": config.physics_hash(),
        "input": config.to_toml(),
        "changes": changes,
        "log_bytes": log_bytes,
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
    }


def check_same_problem(config: Config, checkpoint: Checkpoint) -> list[Change]:
    """What differs between this input and the one that the checkpoint was written with.

    Raises:
        ConfigError: another physical problem, or networks or an optimiser that the checkpoint does not fit;
            every such key is named, with both values.
    """
    try:
        old = parse_config(tomllib.loads(checkpoint.attributes["input"]), environment=False)
    except (KeyError, ConfigError) as error:
        raise StoreError(
            f"{checkpoint.path} was written by another version of dsmsim, which this one cannot continue "
            f"({error}): start a new run with --out"
        ) from error
    changes = changes_between(old, config)
    for weight, what in (
        ("physics", "describes another physical problem"),
        ("state", "has other networks or another optimiser"),
    ):
        refused = [change for change in changes if change.weight == weight]
        if refused:
            raise ConfigError(
                "\n  ".join([f"the input {what} than {checkpoint.path}:", *map(str, refused)])
                + "\nrestore what is on the left, or start a new run with --out",
                key=refused[0].key,
            )
    return changes


def _below(arrays: Mapping[str, npt.NDArray[Any]], prefix: str) -> dict[str, npt.NDArray[Any]]:
    return {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}
