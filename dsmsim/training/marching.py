"""The march of [march] as the work of a run: steps with logs and checkpoints, and groups of the results.

Shapes: K steps, P parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dsmsim.config import Config
from dsmsim.errors import DivergedError, StoreError
from dsmsim.march.build import build_model
from dsmsim.march.evolution import March
from dsmsim.march.fields import MarchedFields
from dsmsim.march.history import History
from dsmsim.networks import natural_frame
from dsmsim.parallel import StopRequest, World
from dsmsim.system import build_initial, build_system
from dsmsim.training.keeping import Keeper
from dsmsim.training.loop import Hooks

Groups = dict[str, dict[str, Any]]

PARTS = {"theta": "theta", "rate_before": "before", "rate_after": "after"}  # of the results, of a history
ARRAYS = ("spectrum", "snr")  # of a record: for the results, too long for the log


def new_march(config: Config, world: World) -> March:
    """The march of an input at t = 0, the same on every rank.

    Raises:
        ConfigError: the potential, the initial state or the ansatz cannot be built; on all ranks alike.
    """
    system, initial = build_system(config), build_initial(config)
    return March(config, build_model(config, system, initial), system, initial, world)


@torch.no_grad()
def march_to_the_end(config: Config, march: March, world: World, stop: StopRequest, hooks: Hooks) -> None:
    """All steps that are left.

    Raises:
        DivergedError: the march cannot be right any more (all ranks agree); the state before has been saved.
        StoppedEarly: a signal or the time limit asked for it; the state has been saved.
    """
    keeper = Keeper(config, world, stop, hooks.save, march.number)
    earlier = march.seconds

    def advance() -> None:
        entry = march.advance()
        march.seconds = earlier + keeper.elapsed
        logged = {name: value for name, value in entry.items() if name not in ARRAYS}
        hooks.record(logged | {"seconds": march.seconds})
        hooks.marched(march.time, march.end, entry["residual"])

    if not march.records:
        advance()
    while not march.done:
        try:
            advance()
        except DivergedError:
            hooks.save()
            raise
        keeper.after_step(
            march.number,
            finished=march.done,
            where=lambda: f"at t = {march.time:.4g} of {config.time.end:g}",
        )


def marched_fields(config: Config, march: March) -> MarchedFields:
    """What the march found, on the device of the ranks."""
    frame = natural_frame(config, march.system, march.initial)
    return MarchedFields(march.model, march.history, march.initial, frame).to(march.world.device)


def march_groups(march: March) -> tuple[Groups, Groups]:
    """The groups `march` and `model/march` of the results, and their attributes."""
    records, history = march.records, march.history
    group: dict[str, Any] = {name: np.array([record[name] for record in records]) for name in records[0]}
    group["step_time"] = group.pop("time")
    group["parameter"] = np.array(march.model.names, dtype=np.str_)
    for name, source in PARTS.items():
        values = getattr(history, source)
        group[f"{name}_re"] = values.real
        if march.model.analytic:
            group[f"{name}_im"] = values.imag
    about = {
        "ansatz": march.config.march.ansatz,
        "parameters": len(march.model.names),
        "walkers": march.config.march.walkers,
        "integrator": march.config.march.integrator,
        "evaluations": march.stepper.evaluations,
    }
    arrays = march.model.arrays()
    groups: Groups = {"march": group}
    if arrays:
        groups["model/march"] = arrays
    return groups, {"march": about}


def stored_fields(
    config: Config, group: Mapping[str, NDArray[Any]], arrays: Mapping[str, NDArray[Any]]
) -> MarchedFields:
    """Fields that have marched, from the groups `march` and `model/march` of results.

    Raises:
        StoreError: they are not those of the input.
    """
    system, initial = build_system(config), build_initial(config)
    model = build_model(config, system, initial, arrays or None)
    if tuple(str(name) for name in group["parameter"]) != model.names:
        raise StoreError("the results hold the march of other parameters than their input describes")
    parts = {}
    for name, target in PARTS.items():
        values = group[f"{name}_re"]
        parts[target] = values + 1j * group[f"{name}_im"] if model.analytic else values
    history = History(group["step_time"], **parts)
    return MarchedFields(model, history, initial, natural_frame(config, system, initial))
