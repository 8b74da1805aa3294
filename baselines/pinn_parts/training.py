"""The training of the form "hard": points by the flow of the network itself, steps of an optimiser.

Shapes: E epochs, one step each.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from baselines.pinn_parts.log_wave import LogWave
from baselines.pinn_parts.optimizers import Adam, GaussNewton, Optimizer, centered
from baselines.pinn_parts.points import GROUPS, SLICES, TRAJECTORIES, make_pool
from dsmsim.config.baseline_tables import PinnTable
from dsmsim.errors import DivergedError
from dsmsim.parallel import random_stream

POOLS = {"gauss_newton": 10, "adam": 200}  # epochs on the same points to choose from
DIVERGED = "the loss of the PINN is not finite: lower baselines.pinn.learning_rate"


@dataclass
class History:
    """What the training writes down.

    Attributes:
        epoch, loss, seconds: of the entries; seconds since the start.
        started: `time.perf_counter()` then.
    """

    epoch: list[int] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    started: float = field(default_factory=time.perf_counter)

    def add(self, epoch: int, loss: float) -> None:
        """Another entry.

        Raises:
            DivergedError: the loss is not finite.
        """
        if not math.isfinite(loss):
            raise DivergedError(f"{DIVERGED} (epoch {epoch})")
        self.epoch.append(epoch)
        self.loss.append(loss)
        self.seconds.append(time.perf_counter() - self.started)

    def group(self) -> dict[str, NDArray[np.float64] | NDArray[np.int64]]:
        """The group `training` of results.h5."""
        return {
            "epoch": np.asarray(self.epoch, dtype=np.int64),
            "loss": np.asarray(self.loss),
            "seconds": np.asarray(self.seconds),
        }


def train(
    wave: LogWave, table: PinnTable, seed: int, progress: Callable[[int, float], None]
) -> tuple[History, float]:
    """Train the network of `wave` in place; the history, and a bound on the error of psi (no unit).

    Args:
        table: how.
        seed: of points and batches.
        progress: called after each epoch with its number and its loss.

    Raises:
        DivergedError: the loss is not finite.
    """
    history, optimizer = History(), make_optimizer(wave, table)
    rng = random_stream(seed, "pinn batches")
    lasts = POOLS[table.optimizer]
    for epoch in range(table.epochs):
        if epoch % lasts == 0:
            pool = make_pool(wave, seed, epoch // lasts)
        loss = optimizer.step(pool.draw(wave, table.points, rng))
        history.add(epoch + 1, loss)
        progress(epoch + 1, loss)
    return history, error_bound(wave, seed, math.ceil(table.epochs / lasts))


def make_optimizer(wave: LogWave, table: PinnTable) -> Optimizer:
    """The optimiser of the input, with its rate."""
    auto = table.learning_rate == "auto"
    if table.optimizer == "gauss_newton":
        return GaussNewton(wave, 1.0 if auto else float(table.learning_rate), table.epochs)
    return Adam(wave, 5e-3 if auto else float(table.learning_rate), table.epochs)


@torch.no_grad()
def error_bound(wave: LogWave, seed: int, number: int) -> float:
    """Largest possible |psi - psi_exact| up to the last time: the integral of the spread of the residual.

    Measured on points that no step has seen.
    """
    pool = make_pool(wave, seed, number)
    total = 0.0
    for first in range(0, SLICES, GROUPS):
        rows = slice(first, first + GROUPS)
        points = wave.points(pool.positions[rows], pool.times[rows])
        squares = centered(wave.residual(points), GROUPS).square().sum(1)
        total += float(squares.reshape(-1, TRAJECTORIES).mean(1).sqrt().sum())
    return total / SLICES
