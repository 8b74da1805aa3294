"""CPU seconds of one epoch against the number of coordinates, with as many residual points whatever d is.

An epoch is everything that is done between two steps of the optimiser: trajectories are generated (DSM), or
taken from a pool that is renewed every ten steps (PINN, whose share of it is counted), derivatives, gradient
and step. All methods of one d take turns in one process, so that a slow moment of the machine meets all.

Shapes: R rows, one for each method and d.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from baselines.pinn_parts.log_wave import make_log_wave
from baselines.pinn_parts.points import make_pool
from baselines.pinn_parts.published import make_published_wave, train_published
from baselines.pinn_parts.training import POOLS, make_optimizer
from dsmsim.config import Config
from dsmsim.parallel import StopRequest, World, random_stream
from dsmsim.system import build_initial, build_system
from dsmsim.training.loop import Hooks, train
from dsmsim.training.state import new_state
from tools.reproduce.measurements.scaling_problems import METHODS, NETWORKS, config_of
from tools.reproduce.measuring import Columns

Epoch = Callable[[], float]
"""Does one epoch and returns its CPU seconds."""

SILENT = Hooks(lambda entry: None, lambda epoch, loss: None, lambda: None)


def measure(
    directory: Path, *, problem: str, particles: Sequence[int], most: dict[str, int], points: int, turns: int
) -> Columns:
    """Seconds per epoch of every method at every d.

    Args:
        problem: of `scaling_problems`.
        particles: the values of d.
        most: methods to time, and the largest d at which each is.
        points: residual points per epoch, of all methods.
        turns: epochs that are timed, after one that is not.

    Returns:
        method, d, parameters (R,); seconds (R, turns).
    """
    rows = []
    for d in particles:
        chosen = [method for method in METHODS if most.get(method, 0) >= d]
        epochs = {method: epoch_of(method, problem, d, points) for method in chosen}
        for epoch, _ in epochs.values():
            epoch()  # compiles and fetches what has to be
        found = [[epochs[method][0]() for method in chosen] for _ in range(turns)]
        for method, seconds in zip(chosen, zip(*found, strict=True), strict=True):
            rows.append((method, d, epochs[method][1], seconds))
    methods, sizes, parameters, seconds = zip(*rows, strict=True)
    values = {"method": methods, "d": sizes, "parameters": parameters, "seconds": np.array(seconds)}
    return Columns(values, {"seconds": "s"})


def epoch_of(method: str, problem: str, particles: int, points: int) -> tuple[Epoch, int]:
    """One epoch of a method on a problem, and the number of parameters that it trains."""
    if method in NETWORKS:
        settings = {"train.points": points, "train.warmup": 0, "train.schedule": "constant"}
        return _dsm(config_of(problem, particles, METHODS[method] | settings))
    settings = {"baselines.pinn.points": points, "baselines.pinn.collocation": max(2 * points, 256)}
    config = config_of(problem, particles, METHODS[method] | settings)
    return _published_pinn(config) if method == "pinn_published" else _pinn(config)


def _dsm(config: Config) -> tuple[Epoch, int]:
    world, stop = World(), StopRequest(None)
    state = new_state(config, world)

    def epoch() -> float:
        table = config.train.model_copy(update={"epochs": state.epoch + 1})
        one_more = config.model_copy(update={"train": table})
        began = time.process_time()
        train(one_more, state, world, stop, SILENT)
        return time.process_time() - began

    return epoch, sum(parameter.numel() for parameter in state.fields.parameters())


def _pinn(config: Config) -> tuple[Epoch, int]:
    table = config.baselines.pinn
    wave = make_log_wave(config, build_system(config), build_initial(config))
    optimizer, rng = make_optimizer(wave, table), random_stream(config.seed, "pinn batches")
    number = 0

    def epoch() -> float:
        nonlocal number
        number += 1
        began = time.process_time()
        pool = make_pool(wave, config.seed, number)
        pooled = time.process_time()
        optimizer.step(pool.draw(wave, table.points, rng))
        return (pooled - began) / POOLS[table.optimizer] + time.process_time() - pooled

    return epoch, sum(tensor.numel() for tensor in wave.network.weights.values())


def _published_pinn(config: Config) -> tuple[Epoch, int]:
    table = config.baselines.pinn.model_copy(update={"epochs": 2})
    config = config.model_copy(update={"baselines": config.baselines.model_copy(update={"pinn": table})})
    wave = make_published_wave(config, build_system(config), build_initial(config))

    def epoch() -> float:
        ends: list[float] = []  # the first epoch also draws all points: the second counts
        train_published(wave, config, lambda number, loss: ends.append(time.process_time()))
        return ends[1] - ends[0]

    return epoch, sum(tensor.numel() for tensor in wave.weights.values())
