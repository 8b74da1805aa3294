"""Inputs for the tests of the relative grid: bosons in harmonic traps."""

from __future__ import annotations

from typing import Any

from dsmsim.config import Config, parse_config

REPULSION: dict[str, Any] = {"kind": "gaussian", "g": 1.0, "s2": 0.1}
MOVING: dict[str, Any] = {"kind": "gaussian", "mean": 0.3, "variance": 0.07, "phase": 1.5}


def bosons(
    particles: int,
    *,
    dimensions: int = 1,
    interaction: dict[str, Any] | None = None,
    initial: dict[str, Any] | None = None,
    trap: dict[str, Any] | None = None,
    end: float = 1.0,
    save: Any = 11,
    **baselines: Any,
) -> Config:
    """The headline problem of N bosons (hbar = 0.1, mass = omega = g = 1, s2 = 0.1), or a variant."""
    return parse_config(
        {
            "system": {
                "particles": particles,
                "dimensions": dimensions,
                "hbar": 0.1,
                "trap": trap or {"kind": "harmonic", "omega": 1.0},
                "interaction": interaction or REPULSION,
            },
            "initial": initial or {"kind": "trap_ground_state"},
            "time": {"end": end, "save": save},
            "baselines": baselines,
        }
    )
