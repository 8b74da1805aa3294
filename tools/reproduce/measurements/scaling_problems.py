"""Two families of problems with any number d of coordinates, and the methods whose cost is measured on them.

    free            d bosons beside the centre of a trap, no interaction: the published non-interacting system
    interacting     d bosons that repel each other, with g (d - 1) = 1, so that every boson sees about the
                    same mean field of all others whatever d is

Both are shipped inputs with other values of a few keys, so that anybody can run them alone.
"""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Mapping
from typing import Any

from dsmsim.config import Config, parse_config
from tools.reproduce.task import ROOT

INPUTS = {"free": "inputs/oscillator_zero_phase.toml", "interacting": "inputs/two_bosons.toml"}
NETWORKS: dict[str, dict[str, Any]] = {
    "potential": {},
    "functional_tt": {"network.kind": "functional_tt"},
    "mlp": {"network.kind": "mlp"},
}
"""The networks that `dsmsim run` trains, by what is different in the input."""
PINNS: dict[str, dict[str, Any]] = {
    "pinn": {},
    "pinn_published": {"baselines.pinn.form": "published"},
}
"""The networks that `dsmsim baseline pinn` trains."""
METHODS = NETWORKS | PINNS


def changes_of(problem: str, particles: int) -> dict[str, Any]:
    """What is different in the input of a problem with so many bosons."""
    changes: dict[str, Any] = {"system.particles": particles}
    if problem == "interacting":
        changes["system.interaction.g"] = 1.0 / (particles - 1)
    return changes


def data_of(problem: str, particles: int, changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The tables of the input, with further changes by dotted key."""
    data = tomllib.loads((ROOT / INPUTS[problem]).read_text(encoding="utf-8"))
    for key, value in (changes_of(problem, particles) | dict(changes or {})).items():
        *tables, name = key.split(".")
        owner = data
        for table in tables:
            owner = owner.setdefault(table, {})
        owner[name] = copy.deepcopy(value)
    return data


def config_of(problem: str, particles: int, changes: Mapping[str, Any] | None = None) -> Config:
    """The same, checked, with all defaults."""
    return parse_config(data_of(problem, particles, changes), environment=False)
