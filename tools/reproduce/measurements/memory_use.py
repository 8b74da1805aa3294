"""Peak memory against d: measured in processes of their own, and what `dsmsim check` predicts.

Every case runs in a child process (Linux: peaks are read from /proc). A tiny run of the same kind comes
first, so that everything is loaded; what is resident then is the program, and counts for nobody.

Shapes: R rows.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from numpy.typing import ArrayLike

import baselines.crank_nicolson as crank_nicolson
import baselines.fock as fock
import baselines.pinn as pinn
from baselines.pinn_parts.log_wave import make_log_wave
from baselines.pinn_parts.points import make_pool
from baselines.pinn_parts.training import make_optimizer
from dsmsim.config import Config, make_plan, parse_config
from dsmsim.parallel import StopRequest, World, random_stream
from dsmsim.system import build_initial, build_system
from dsmsim.training.loop import Hooks, train
from dsmsim.training.state import new_state
from tools.bench.memory import forget_peak, status_bytes, tiny
from tools.reproduce.measurements.scaling_problems import METHODS, NETWORKS, config_of, data_of
from tools.reproduce.measuring import Columns

SETTINGS: dict[str, dict[str, Any]] = {
    **{method: METHODS[method] for method in NETWORKS},
    "pinn": {},
    "crank_nicolson": {"time.save": 9, "baselines.crank_nicolson.tolerance": 1e-2},
    "fock": {"time.save": 9, "baselines.fock.tolerance": 2e-3},
}
"""What can be measured, by what is different in the input."""


def measure(
    directory: Path,
    *,
    problem: str,
    particles: Mapping[str, Sequence[int]],
    points: int,
    grids: Sequence[int],
    tolerance: float,
) -> Columns:
    """Peak of each method at each d, and what grids of d coordinates would take.

    Args:
        problem: of `scaling_problems`.
        particles: for each method, the values of d.
        points: residual points of an epoch.
        grids: values of d of the grids.
        tolerance: of the grids.

    Returns:
        method, d (R,); measured, predicted (R,), bytes above the program; and grid_d, grid_points for each
        coordinate, grid_memory, grid_seconds, grid_own: see `predicted_grids`.
    """
    rows = []
    for method, sizes in particles.items():
        for d in sizes:
            measured, predicted = in_a_child(case, problem, method, d, points)
            rows.append((method, d, float(measured), float(predicted)))
    methods, numbers, measured_bytes, predicted_bytes = zip(*rows, strict=True)
    values: dict[str, ArrayLike] = {
        "method": methods,
        "d": numbers,
        "measured": measured_bytes,
        "predicted": predicted_bytes,
    }
    units = {"measured": "byte", "predicted": "byte", "grid_memory": "byte", "grid_seconds": "s"}
    values.update(predicted_grids(problem, grids, tolerance))
    return Columns(values, units)


def predicted_grids(problem: str, particles: Sequence[int], tolerance: float) -> dict[str, Sequence[float]]:
    """What grids would take by `dsmsim check`; nothing is solved.

    Up to four coordinates this is the solver's own prediction. Beyond, where there is no solver, as many
    points for each coordinate as with four.

    Args:
        particles: increasing, the last one of at most four among them.

    Returns:
        Columns of as many rows as there are particles; grid_own: 1 where the solver itself says so.
    """
    rows: list[tuple[int, float, float, float, int]] = []
    for d in particles:
        if d <= crank_nicolson.MOST_COORDINATES:
            changes = {"time.save": 9, "baselines.crank_nicolson.tolerance": tolerance}
            said = crank_nicolson.predict(config_of(problem, d, changes))
            each = float(said.points.split("^")[0])
            rows.append((d, each, float(said.memory), said.seconds or math.nan, 1))
        else:
            four, each, memory, seconds, _ = max(row for row in rows if row[4])
            more = each ** (d - four)
            # sweeps over all coordinates of all points
            rows.append((d, each, memory * more, seconds * more * d / four, 0))
    names = ("grid_d", "grid_points", "grid_memory", "grid_seconds", "grid_own")
    return dict(zip(names, zip(*rows, strict=True), strict=True))


def case(problem: str, method: str, particles: int, points: int) -> tuple[int, int]:
    """Bytes above the program at the peak of one case in this process, and as predicted."""
    config = config_of(problem, particles, SETTINGS[method])
    if method in NETWORKS:
        settings = SETTINGS[method] | {"train.points": points, "train.epochs": 2, "train.warmup": 0}
        config = config_of(problem, particles, settings)
        small = tiny(_with_tables(data_of(problem, particles, settings), config))
        _train(parse_config(small, environment=False))
        memory = make_plan(config).memory
        return above_the_program(lambda: _train(config)), memory.training
    if method == "pinn":
        few = config_of(problem, particles, {"baselines.pinn.points": 64, "baselines.pinn.width": 4})
        _pinn_step(few)
        config = config_of(problem, particles, {"baselines.pinn.points": points})
        return above_the_program(lambda: _pinn_step(config)), pinn.predict(config).memory - pinn.PROGRAM
    if method == "crank_nicolson":
        crank_nicolson.evolve(config_of("interacting", 2, {"time.save": 3}), points=16, dt=0.5)
        tolerance = config.baselines.crank_nicolson.tolerance
        said = crank_nicolson.predict(config)
        return above_the_program(lambda: crank_nicolson.evolve(config, tolerance=tolerance)), said.memory
    fock.evolve(config_of("interacting", 2, {"time.save": 3}), cutoff=8)
    tolerance = config.baselines.fock.tolerance
    return above_the_program(lambda: fock.evolve(config, tolerance=tolerance)), fock.predict(config).memory


def above_the_program(work: Callable[[], object]) -> int:
    """How much the resident memory rises above where it is now."""
    forget_peak()
    before = status_bytes("VmRSS")
    work()
    return status_bytes("VmHWM") - before


def in_a_child(function: Callable[..., tuple[int, int]], *arguments: Any) -> tuple[int, int]:
    """What a function returns in a new process.

    A fork would find memory that this process has given up, and take it without growing.

    Args:
        function: of a module, so that the child can import it.

    Raises:
        RuntimeError: the child has failed.
    """
    context = get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_answer, args=(sender, function, arguments))
    child.start()
    sender.close()
    try:
        text = receiver.recv()
    except EOFError:
        text = ""
    child.join()
    if child.exitcode != 0 or not text:
        raise RuntimeError(f"the measurement of {arguments} ended with code {child.exitcode}")
    measured, predicted = json.loads(text)
    return measured, predicted


def _answer(sender: Connection, function: Callable[..., tuple[int, int]], arguments: tuple[Any, ...]) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    sender.send(json.dumps(function(*arguments)))
    sender.close()


def _with_tables(data: dict[str, Any], config: Config) -> dict[str, Any]:
    """The input with the tables that a tiny run makes smaller, all values written out."""
    network = {"kind": config.network.kind} | data.get("network", {})
    train_table = data.get("train", {}) | {"block": config.train.block}
    return data | {"network": network, "train": train_table}


def _train(config: Config) -> None:
    world, stop = World(), StopRequest(None)
    nothing = Hooks(lambda entry: None, lambda epoch, loss: None, lambda: None)
    train(config, new_state(config, world), world, stop, nothing)


def _pinn_step(config: Config) -> None:
    table = config.baselines.pinn
    wave = make_log_wave(config, build_system(config), build_initial(config))
    optimizer, rng = make_optimizer(wave, table), random_stream(config.seed, "pinn batches")
    for number in range(2):
        pool = make_pool(wave, config.seed, number)
        optimizer.step(pool.draw(wave, table.points, rng))
