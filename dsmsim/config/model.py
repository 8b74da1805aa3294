"""The whole input as one typed object: the attribute path of a value is its dotted key in the TOML file."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Self

import tomli_w
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from dsmsim.config.baseline_tables import BaselinesTable
from dsmsim.config.checks import cross_problems
from dsmsim.config.fields import Table
from dsmsim.config.march_table import FEW_COORDINATES, MANY_WALKERS, MarchTable
from dsmsim.config.output_table import OutputTable
from dsmsim.config.run_tables import (
    DEFAULT_KIND,
    POTENTIAL_KINDS,
    CompareTable,
    EvaluationTable,
    NetworkTable,
    RunTable,
    SamplerTable,
    TimeTable,
    TrainTable,
)
from dsmsim.config.system import InitialState, SystemTable, TrapGroundState


class Config(Table):
    """The resolved input. Build it with `load_config` or `parse_config`, which explain what is wrong."""

    title: str = Field(default="", description="a line for figures and reports")
    seed: int = Field(default=1, ge=0, description="seed of every random number of the run, >= 0")
    system: SystemTable = Field(description="the bosons and their potential")
    initial: InitialState = Field(default_factory=TrapGroundState, description="the state at t = 0")
    time: TimeTable = Field(description="the interval of time")
    network: NetworkTable = Field(default_factory=NetworkTable, description="what makes the velocity fields")
    sampler: SamplerTable = Field(default_factory=SamplerTable, description="the sampling process")
    train: TrainTable = Field(default_factory=TrainTable, description="the loss and its minimisation")
    march: MarchTable = Field(
        default_factory=MarchTable, description='fields step by step in time (train.mode = "march")'
    )
    evaluation: EvaluationTable = Field(
        default_factory=EvaluationTable, description="samples for the observables"
    )
    output: OutputTable = Field(default_factory=OutputTable, description="what a run leaves behind")
    compare: CompareTable = Field(default_factory=CompareTable, description="references to compare with")
    baselines: BaselinesTable = Field(default_factory=BaselinesTable, description="solvers to compare with")
    run: RunTable = Field(default_factory=RunTable, description="the machine")

    @model_validator(mode="before")
    @classmethod
    def _suit_the_optimizer(cls, data: Any) -> Any:
        """Velocity networks have too many residuals and parameters for Gauss-Newton: they get SOAP."""
        if not isinstance(data, dict) or not isinstance(data.get("network"), dict | None):
            return data
        kind, train = (data.get("network") or {}).get("kind", DEFAULT_KIND), data.get("train", {})
        if kind in POTENTIAL_KINDS or not isinstance(train, dict) or "optimizer" in train:
            return data
        return {**data, "train": {**train, "optimizer": "soap"}}

    @model_validator(mode="before")
    @classmethod
    def _suit_the_walkers(cls, data: Any) -> Any:
        """A march with many coordinates gets more walkers, where the input does not say how many."""
        parts = (
            [data.get(name, {}) for name in ("system", "train", "march")] if isinstance(data, dict) else []
        )
        if not parts or not all(isinstance(part, dict) for part in parts):
            return data
        system, train, march = parts
        numbers = system.get("particles"), system.get("dimensions", 1)
        if train.get("mode") != "march" or "walkers" in march or not all(type(k) is int for k in numbers):
            return data
        if numbers[0] * numbers[1] <= FEW_COORDINATES:
            return data
        return {**data, "march": {**march, "walkers": MANY_WALKERS}}

    @model_validator(mode="after")
    def _cross_check(self) -> Self:
        problems = cross_problems(self)
        if problems:
            text = "\n".join(str(problem) for problem in problems)
            raise PydanticCustomError("cross_field", "{text}", {"text": text, "problems": problems})
        return self

    def to_dict(self) -> dict[str, Any]:
        """The input with every default written out, as plain values that TOML can hold (no None)."""
        return self.model_dump(mode="python", by_alias=True, exclude_none=True)

    def to_toml(self) -> str:
        """The same as the text of an input file: what runs, checkpoints and results keep of their input."""
        return tomli_w.dumps(self.to_dict())

    def physics_hash(self) -> str:
        """sha256 of [system], [initial] and time.end: equal for runs that answer the same question."""
        plain = self.to_dict()
        physics = {"system": plain["system"], "initial": plain["initial"], "end": plain["time"]["end"]}
        return hashlib.sha256(json.dumps(physics, sort_keys=True).encode()).hexdigest()
