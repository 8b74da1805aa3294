"""Optimisers and learning-rate schedules.

A schedule is a pure function of the epoch, so that a resumed run needs no schedule state.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import nn

from dsmsim.config import TrainTable
from dsmsim.training.soap import Soap

# under Adam, TT cores want a larger step than dense weights: an entry of W is a product of entries of
# several cores (measured: about 1.2e-2 on cores against 2e-3 on dense weights)
CORE_RATE = 3.0


OPTIMIZERS: dict[str, Callable[[list[dict[str, object]]], torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "soap": Soap,
}


def build_optimizer(module: nn.Module, table: TrainTable) -> torch.optim.Optimizer:
    """The optimiser of the input, with a parameter group of their own for tensor-train cores."""
    cores = [p for name, p in module.named_parameters() if ".cores." in name]
    others = [p for name, p in module.named_parameters() if ".cores." not in name]
    groups: list[dict[str, object]] = [{"params": others, "rate": 1.0}]
    if cores:
        groups.append({"params": cores, "rate": CORE_RATE if table.optimizer == "adam" else 1.0})
    return OPTIMIZERS[table.optimizer](groups)


def learning_rate(table: TrainTable, epoch: int) -> float:
    """Learning rate of an epoch (counted from 0): linear warm-up, then the schedule."""
    rise = min(1.0, (epoch + 1) / max(1, table.warmup))
    if table.schedule == "constant":
        return table.learning_rate * rise
    return table.learning_rate * rise * 0.5 * (1.0 + math.cos(math.pi * epoch / table.epochs))


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every parameter group its share of `rate`."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["rate"]
