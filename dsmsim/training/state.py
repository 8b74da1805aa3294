"""The state of a training run as plain arrays, and back.

Random streams are keyed by (seed, epoch, block) and the schedule by the epoch, so parameters, optimiser
moments and the epoch are all there is to save.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dsmsim.config import Config
from dsmsim.errors import ConfigError, StoreError
from dsmsim.networks import Fields, build_fields
from dsmsim.parallel import World
from dsmsim.store import Checkpoint
from dsmsim.system import InitialState, System, build_initial, build_system
from dsmsim.training.optimizers import build_optimizer


@dataclass
class TrainState:
    """What training changes: fields, optimiser, epochs done, and seconds spent, earlier sessions included."""

    system: System
    initial: InitialState
    fields: Fields
    optimizer: torch.optim.Optimizer
    epoch: int = 0
    seconds: float = 0.0

    def arrays(self) -> dict[str, np.ndarray]:
        """Parameters as `model/NAME`, optimiser moments as `optimizer/NAME/KEY`."""
        found = {f"model/{name}": _array(p) for name, p in self.fields.named_parameters()}
        for name, parameter in self.fields.named_parameters():
            for key, value in self.optimizer.state.get(parameter, {}).items():
                found[f"optimizer/{name}/{key}"] = _array(value)
        return found

    @torch.no_grad()
    def load(self, checkpoint: Checkpoint) -> None:
        """Become the state that `arrays` described.

        Raises:
            StoreError: if the checkpoint holds other parameters than the input describes.
        """
        parameters = dict(self.fields.named_parameters())
        for key in checkpoint.arrays:
            name = key.removeprefix("model/")
            if name != key and name not in parameters:
                raise StoreError(f"{checkpoint.path}: holds a parameter {name} that the input does not have")
        moments: dict[str, dict[str, Tensor]] = {name: {} for name in parameters}
        for name, parameter in parameters.items():
            values = checkpoint.arrays.get(f"model/{name}")
            if values is None or values.shape != tuple(parameter.shape):
                raise StoreError(f"{checkpoint.path}: no parameter {name} of shape {tuple(parameter.shape)}")
            parameter.copy_(torch.as_tensor(values, dtype=parameter.dtype))
        for key, values in checkpoint.arrays.items():
            if key.startswith("optimizer/"):
                name, _, entry = key.removeprefix("optimizer/").rpartition("/")
                # a copy, because the optimiser works in place and the checkpoint stays what it is
                moments[name][entry] = torch.tensor(values)
        for name, parameter in parameters.items():
            if moments[name]:
                self.optimizer.state[parameter] = {
                    # the step counter stays on the CPU, everything else lies beside the parameter
                    key: value if value.ndim == 0 else value.to(parameter.device, parameter.dtype)
                    for key, value in moments[name].items()
                }
        self.epoch = checkpoint.epoch
        self.seconds = float(checkpoint.attributes.get("seconds", 0.0))


def new_state(config: Config, world: World) -> TrainState:
    """System, fields and optimiser of an input, on this rank's device, equal on all ranks."""
    system, initial = build_system(config), build_initial(config)
    fields = build_fields(config, system, initial).to(world.device)
    for parameter in fields.parameters():
        world.broadcast_(parameter.data)
    return TrainState(system, initial, fields, build_optimizer(fields, config.train))


def check_same_problem(config: Config, checkpoint: Checkpoint) -> None:
    """Refuse to continue a checkpoint of another physical problem, or with another optimiser.

    Raises:
        ConfigError: naming the fix.
    """
    optimizer = checkpoint.attributes.get("optimizer", config.train.optimizer)
    if optimizer != config.train.optimizer:
        raise ConfigError(
            f'train.optimizer = "{config.train.optimizer}": {checkpoint.path} was written by "{optimizer}", '
            f'whose moments mean something else; write "{optimizer}", or start a new run with --out',
            key="train.optimizer",
        )
    found: Any = checkpoint.attributes.get("physics_hash")
    if found != config.physics_hash():
        raise ConfigError(
            f"system: the input describes another physical problem than {checkpoint.path}: "
            "restore [system], [initial] and time.end, or start a new run with --out",
            key="system",
        )


def _array(value: Any) -> np.ndarray:
    return np.asarray(value.detach().cpu().numpy() if isinstance(value, Tensor) else value)
