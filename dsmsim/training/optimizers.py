"""Optimisers behind one interface, and learning-rate schedules.

A schedule is a pure function of the epoch, so that a resumed run needs no schedule state.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from dsmsim.config import TrainTable
from dsmsim.networks import Fields
from dsmsim.training.soap import Soap
from dsmsim.training.step import Objective, StepReport, clip_gradient

Arrays = dict[str, npt.NDArray[np.generic]]

# rates of the cores of tensor layers over that of the other parameters, where core_rate = "auto": under Adam
# cores want a larger step than dense weights, because an entry of W is a product of entries of several cores
# (measured: about 1.2e-2 on cores against 2e-3 on dense weights)
CORE_RATES = {"adam": 3.0, "soap": 1.0}
LAST_OF_EXPONENTIAL = 0.01  # the exponential schedule ends at this part of the largest rate
FALL = 0.3  # part of the epochs over which a trapezoid falls

# shares of the largest rate against the share of the epochs done
SCHEDULES: dict[str, Callable[[float], float]] = {
    "cosine": lambda part: 0.5 * (1.0 + math.cos(math.pi * part)),
    "trapezoid": lambda part: min(1.0, (1.0 - part) / FALL),
    "exponential": lambda part: LAST_OF_EXPONENTIAL**part,
    "constant": lambda part: 1.0,
}


class Optimizer(Protocol):
    """Moves the parameters, by the same decisions on every rank, and remembers what it must."""

    def epoch(self, objective: Objective, rate: float) -> StepReport:
        """One epoch's update on one batch.

        Args:
            rate: learning rate of this epoch.

        Returns:
            The loss before the update. If it is not finite, no parameter has moved.
        """

    def arrays(self) -> Arrays:
        """What it remembers, by name ("/" nests); empty if nothing."""

    def load(self, arrays: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """Remember what `arrays` described."""

    def parameters_changed(self, names: Collection[str]) -> None:
        """Forget what is known of parameters of the fields that are others now, in shape or in meaning."""


class FirstOrder:
    """One step of a torch optimiser along the clipped gradient.

    Args:
        fields: the parameters.
        table: which optimiser, and the largest norm of the gradient.
        core_rate: learning rate of the cores of tensor layers over that of the others; None: what suits.
    """

    def __init__(self, fields: Fields, table: TrainTable, core_rate: float | None = None) -> None:
        self.fields, self.table, self.core_rate = fields, table, core_rate
        self.torch = build_torch_optimizer(fields, table, core_rate)

    def epoch(self, objective: Objective, rate: float) -> StepReport:
        """Differentiate, clip, step."""
        report = objective.loss_and_gradient()
        if report.finite:
            clip_gradient(self.fields, objective.observed(report.gradient_norm), self.table.clip)
            set_learning_rate(self.torch, rate)
            self.torch.step()
        return report

    def arrays(self) -> Arrays:
        """The moments as PARAMETER/KEY."""
        return {
            f"{name}/{key}": _array(value)
            for name, parameter in self.fields.named_parameters()
            for key, value in self.torch.state.get(parameter, {}).items()
        }

    def load(self, arrays: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """Take the moments over; copies, because a torch optimiser works in place."""
        for name, parameter in self.fields.named_parameters():
            moments = {
                key.removeprefix(f"{name}/"): torch.tensor(values)
                for key, values in arrays.items()
                if key.rpartition("/")[0] == name
            }
            if moments:
                self.torch.state[parameter] = {
                    # the step counter stays on the CPU, everything else lies beside the parameter
                    key: value if value.ndim == 0 else value.to(parameter.device, parameter.dtype)
                    for key, value in moments.items()
                }

    def parameters_changed(self, names: Collection[str]) -> None:
        """The moments of all other parameters stay."""
        moments = self.torch.state
        self.torch = build_torch_optimizer(self.fields, self.table, self.core_rate)
        for name, parameter in self.fields.named_parameters():
            if name not in names and parameter in moments:
                self.torch.state[parameter] = moments[parameter]


TORCH_OPTIMIZERS: dict[str, Callable[[list[dict[str, object]]], torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "soap": Soap,
}


def build_torch_optimizer(
    module: nn.Module, table: TrainTable, core_rate: float | None = None
) -> torch.optim.Optimizer:
    """The torch optimiser of the input, with a group of their own for the cores of tensor layers.

    Args:
        core_rate: learning rate of that group over that of the other parameters; None: what suits.
    """
    cores = [p for name, p in module.named_parameters() if ".cores." in name]
    others = [p for name, p in module.named_parameters() if ".cores." not in name]
    groups: list[dict[str, object]] = [{"params": others, "rate": 1.0}]
    if cores:
        rate = CORE_RATES[table.optimizer] if core_rate is None else core_rate
        groups.append({"params": cores, "rate": rate})
    return TORCH_OPTIMIZERS[table.optimizer](groups)


def learning_rate(table: TrainTable, epoch: int) -> float:
    """Learning rate of an epoch (counted from 0): linear warm-up, then the schedule."""
    largest = table.learning_rate * min(1.0, (epoch + 1) / max(1, table.warmup))
    part = epoch / table.epochs
    return largest * SCHEDULES[table.schedule](part)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every parameter group its share of `rate`."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["rate"]


def _array(value: object) -> npt.NDArray[np.generic]:
    return np.asarray(value.detach().cpu().numpy() if isinstance(value, Tensor) else value)
