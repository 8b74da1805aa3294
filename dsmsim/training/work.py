"""What a run does before it is measured: global training, a march in time, or both.

A work knows its state, how to save it and go on from there, and what it adds to the results; `dsm.py` gives
it ranks, directory and clock. Which one an input asks for: [train] `mode` and `polish`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dsmsim.config import Config
from dsmsim.march.evolution import March
from dsmsim.march.fields import MarchedFields
from dsmsim.networks import Fields
from dsmsim.parallel import StopRequest, World
from dsmsim.store import Checkpoint, read_jsonlines, save_checkpoint
from dsmsim.system import InitialState, System
from dsmsim.training.distill import distill
from dsmsim.training.loop import Hooks, train
from dsmsim.training.marching import march_groups, march_to_the_end, marched_fields, new_march
from dsmsim.training.ranks import bonds_of
from dsmsim.training.state import TrainState, checkpoint_attributes, new_state, save_state
from dsmsim.training.trained import MARCHED, POLISHED, TRAINED, Groups, model_groups

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Solved:
    """What is sampled and measured.

    Attributes:
        system, initial: the problem.
        fields: its solution.
        facts: what the results say of it.
    """

    system: System
    initial: InitialState
    fields: Fields
    facts: dict[str, Any]


class Work(Protocol):
    """See the module. All ranks make it and call it together.

    Attributes:
        method: the name of the method in results.
        cpu_seconds: spent in earlier sessions by all ranks.
        changes: of the input since the run began, where they change what it finds.
    """

    @property
    def method(self) -> str: ...

    @property
    def cpu_seconds(self) -> float: ...

    @property
    def changes(self) -> list[str]: ...

    @property
    def place(self) -> str:
        """Where it stands, in words."""
        ...

    def load(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint; StoreError if it is not one of this work."""
        ...

    def run(self, stop: StopRequest, hooks: Hooks) -> Solved:
        """Do what is left; DivergedError or StoppedEarly with the state saved."""
        ...

    def snapshot(self) -> Arrays | None:
        """The whole state, on the first rank: what all ranks have to do for a checkpoint."""
        ...

    def save(self, snapshot: Arrays | None, directory: Path, cpu_seconds: float, log_bytes: int) -> None:
        """Write a checkpoint of a snapshot, on the first rank; StoreError if it cannot be written."""
        ...

    def groups(self, log: Path) -> tuple[Groups, Groups]:
        """Arrays and attributes of its groups of the results, from its state and its log."""
        ...


class Training:
    """Global training of the networks of [network]."""

    def __init__(self, config: Config, world: World, state: TrainState | None = None) -> None:
        self.config, self.world = config, world
        self.state = new_state(config, world) if state is None else state

    @property
    def method(self) -> str:
        return TRAINED[self.config.train.points_from]

    @property
    def cpu_seconds(self) -> float:
        return self.state.cpu_seconds

    @property
    def changes(self) -> list[str]:
        return self.state.changes

    @property
    def place(self) -> str:
        return f"epoch {self.state.epoch}"

    def load(self, checkpoint: Checkpoint) -> None:
        self.state.load(checkpoint)

    def run(self, stop: StopRequest, hooks: Hooks) -> Solved:
        state = self.state
        train(self.config, state, self.world, stop, hooks)
        measured = state.take_best() if self.config.evaluation.parameters == "best" else state.epoch
        return Solved(state.system, state.initial, state.fields, {"epoch": measured})

    def snapshot(self) -> Arrays | None:
        return None  # every rank has it

    def save(self, snapshot: Arrays | None, directory: Path, cpu_seconds: float, log_bytes: int) -> None:
        save_state(self.config, self.state, directory, cpu_seconds, log_bytes)

    def groups(self, log: Path) -> tuple[Groups, Groups]:
        fields = self.state.fields
        arrays, about = model_groups(fields)
        bytes_of_gradient = sum(p.numel() * p.element_size() for p in fields.parameters())
        about["training"] = {"gradient_bytes": bytes_of_gradient}
        return {"training": self._history(log), **arrays}, about

    def _history(self, log: Path) -> dict[str, Any]:
        """The log as one array for each name, and the names of the bonds of tensor layers."""
        records = [record for record in read_jsonlines(log) if "epoch" in record]
        names = records[0].keys() if records else ()
        found = {name: np.asarray([record[name] for record in records]) for name in names}
        bonds = np.asarray(bonds_of(self.state.fields).names)
        return found | ({"bond": bonds} if "rank" in found else {})


class Marching:
    """The march of [march]."""

    method = MARCHED

    def __init__(self, config: Config, world: World) -> None:
        self.config, self.world = config, world
        self.march: March = new_march(config, world)
        self.cpu_seconds = 0.0
        self.changes: list[str] = []

    @property
    def place(self) -> str:
        return f"t = {self.march.time:.4g}"

    def load(self, checkpoint: Checkpoint) -> None:
        self.march.load(_of_march(checkpoint))
        self.cpu_seconds = float(checkpoint.attributes.get("cpu_seconds", 0.0))
        self.changes = list(checkpoint.attributes.get("changes", []))

    def run(self, stop: StopRequest, hooks: Hooks) -> Solved:
        march = self.march
        march_to_the_end(self.config, march, self.world, stop, hooks)
        facts = {"steps_of_march": march.number}
        return Solved(march.system, march.initial, marched_fields(self.config, march), facts)

    def snapshot(self) -> Arrays | None:
        return self.march.arrays()

    def save(self, snapshot: Arrays | None, directory: Path, cpu_seconds: float, log_bytes: int) -> None:
        assert snapshot is not None
        about = checkpoint_attributes(self.config, self.changes, self.march.seconds, cpu_seconds, log_bytes)
        save_checkpoint(directory, self.march.number, _marked(snapshot), about, self.config.output.keep)

    def groups(self, log: Path) -> tuple[Groups, Groups]:
        return march_groups(self.march)


class Polishing:
    """The march, whose fields the networks of [network] then learn and improve by global training."""

    method = POLISHED

    def __init__(self, config: Config, world: World) -> None:
        self.config, self.world = config, world
        self.march, self.training = Marching(config, world), Training(config, world)
        self._learnt = False

    @property
    def cpu_seconds(self) -> float:
        return self.march.cpu_seconds

    @property
    def changes(self) -> list[str]:
        return self.march.changes

    @property
    def place(self) -> str:
        return self.training.place if self.march.march.done else self.march.place

    def load(self, checkpoint: Checkpoint) -> None:
        self.march.load(checkpoint)
        if "epochs" in checkpoint.attributes:
            marched = _marked(_of_march(checkpoint))
            rest = {name: value for name, value in checkpoint.arrays.items() if name not in marched}
            self._learnt = True
            self.training.load(replace(checkpoint, epoch=checkpoint.attributes["epochs"], arrays=rest))

    def run(self, stop: StopRequest, hooks: Hooks) -> Solved:
        found, state = self.march.run(stop, hooks), self.training.state
        if not self._learnt:
            hooks.stage(found, *march_groups(self.march.march))
            hooks.message("the network of [network] learns the fields that were found")
            began = time.monotonic()
            distill(self.config, state, _teacher(found.fields), self.world, hooks.distilled, stop)
            state.seconds = time.monotonic() - began
            self._learnt = True
            hooks.save()
        solved = self.training.run(stop, hooks)
        return replace(solved, facts={**found.facts, **solved.facts})

    def snapshot(self) -> Arrays | None:
        return self.march.snapshot()

    def save(self, snapshot: Arrays | None, directory: Path, cpu_seconds: float, log_bytes: int) -> None:
        assert snapshot is not None
        march, state = self.march.march, self.training.state
        seconds = march.seconds + state.seconds
        about = checkpoint_attributes(self.config, self.changes, seconds, cpu_seconds, log_bytes)
        arrays = _marked(snapshot)
        if self._learnt:
            about["epochs"] = state.epoch
            about["seconds"] = state.seconds
            arrays |= state.arrays()
        number = march.number + self._learnt + state.epoch
        save_checkpoint(directory, number, arrays, about, self.config.output.keep)

    def groups(self, log: Path) -> tuple[Groups, Groups]:
        arrays, about = self.march.groups(log)
        more, about_more = self.training.groups(log)
        return arrays | more, about | about_more


PREFIX = "march/"  # of the names of a march's arrays in a checkpoint, whether it is polished or not


def _marked(arrays: Arrays) -> Arrays:
    return {f"{PREFIX}{name}": values for name, values in arrays.items()}


def _of_march(checkpoint: Checkpoint) -> Arrays:
    found = checkpoint.arrays.items()
    return {name.removeprefix(PREFIX): values for name, values in found if name.startswith(PREFIX)}


def _teacher(fields: Fields) -> MarchedFields:
    assert isinstance(fields, MarchedFields)
    return fields


def build_work(config: Config, world: World) -> Work:
    """The work that [train] `mode` and `polish` ask for."""
    if config.train.mode == "global":
        return Training(config, world)
    return Polishing(config, world) if config.train.polish else Marching(config, world)
