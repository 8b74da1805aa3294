"""Inputs so small that a run takes a fraction of a second, and what they leave behind."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w

from dsmsim.config import Config, parse_config

# Two bosons with a harmonic interaction: there is a closed form, and nothing is symmetric by accident.
TINY: dict[str, Any] = {
    "title": "tiny",
    "system": {
        "particles": 2,
        "hbar": 0.5,
        "trap": {"kind": "harmonic", "omega": 1.0},
        "interaction": {"kind": "harmonic", "g": 0.3},
    },
    "initial": {"kind": "gaussian", "mean": 0.2, "variance": 0.3},
    "time": {"end": 1.0, "steps": 8, "save": 5},
    "network": {"kind": "mlp", "width": 8},
    "train": {
        "epochs": 6,
        "warmup": 1,
        "trajectories": 12,
        "points": 48,
        "block": 2,
        "precision": "float64",
        "log_every": 1,
    },
    "evaluation": {"samples": 240, "trials": 6, "bins": 16},
    "output": {"checkpoint_every": "2 epochs", "keep": 10, "figures": False, "report": False},
    "run": {"device": "cpu", "timeout": "60 s"},
}


def tiny_input(changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The tiny input with values at dotted keys replaced, tables on the way made; None removes a key."""
    data = copy.deepcopy(TINY)
    for path, value in (changes or {}).items():
        *tables, key = path.split(".")
        owner = data
        for table in tables:
            owner = owner.setdefault(table, {})
        if value is None:
            del owner[key]
        else:
            owner[key] = value
    return data


def tiny_config(changes: Mapping[str, Any] | None = None) -> Config:
    """The same as a `Config`."""
    return parse_config(tiny_input(changes))


def write_input(path: Path, changes: Mapping[str, Any] | None = None) -> Path:
    """The same as a file."""
    path.write_text(tomli_w.dumps(tiny_input(changes)), encoding="utf-8")
    return path
