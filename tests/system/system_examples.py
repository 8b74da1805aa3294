"""Inputs for the tests of the physics: small dictionaries that `parse_config` accepts."""

from __future__ import annotations

from typing import Any

from dsmsim.config import Config, parse_config


def make_config(
    *,
    particles: int = 1,
    dimensions: int = 1,
    trap: dict[str, Any] | None = None,
    terms: dict[str, Any] | None = None,
    interaction: dict[str, Any] | None = None,
    initial: dict[str, Any] | None = None,
    end: float = 1.0,
    **system: Any,
) -> Config:
    """A config of these tables; the initial state is a Gaussian of variance 1 unless given."""
    table: dict[str, Any] = {"particles": particles, "dimensions": dimensions, **system}
    optional = {"trap": trap, "terms": terms, "interaction": interaction}
    table |= {name: value for name, value in optional.items() if value is not None}
    return parse_config(
        {
            "system": table,
            "initial": initial or {"kind": "gaussian", "variance": 1.0},
            "time": {"end": end},
        }
    )


def two_bosons(**initial: Any) -> Config:
    """The headline problem: hbar = 0.1, mass = omega = g = 1, s2 = 0.1, T = 1."""
    return make_config(
        particles=2,
        hbar=0.1,
        trap={"kind": "harmonic", "omega": 1.0},
        interaction={"kind": "gaussian", "g": 1.0, "s2": 0.1},
        initial={"kind": "trap_ground_state", **initial},
    )
