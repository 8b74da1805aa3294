"""Small problems for the tests of `dsmsim.networks`, in double precision."""

from __future__ import annotations

from typing import Any

from dsmsim.config import Config, parse_config

TRAP = {"kind": "harmonic", "omega": 1.3}
PAIR = {"kind": "gaussian", "g": 1.0, "s2": 0.1}

# initial states of a problem with hbar = 0.3; every one keeps particles exchangeable
INITIALS: dict[str, dict[str, Any]] = {
    "ground": {"kind": "trap_ground_state"},
    "moving": {"kind": "gaussian", "mean": 0.4, "variance": 0.2, "phase": -3.0},
    "narrow": {"kind": "gaussian", "mean": -0.1, "variance": 1e-3, "phase": 1.0},
    "product": {
        "kind": "product",
        "amplitude": "exp(-2*(x-0.5)**2) + exp(-2*(x+0.5)**2)",
        "phase": "sin(x)",
        "range": [-5, 5],
    },
}


def problem(
    kind: str = "mlp",
    *,
    particles: int = 3,
    dimensions: int = 1,
    initial: str | dict[str, Any] = "moving",
    system: dict[str, Any] | None = None,
    end: float = 1.5,
    seed: int = 1,
    precision: str = "float64",
    **network: Any,
) -> Config:
    """An input with a tiny network of a kind; further arguments go to [network]."""
    table = {"particles": particles, "dimensions": dimensions, "hbar": 0.3, "mass": 0.7, "trap": TRAP}
    return parse_config(
        {
            "seed": seed,
            "system": table | {"interaction": PAIR} | (system or {}),
            "initial": INITIALS[initial] if isinstance(initial, str) else initial,
            "time": {"end": end},
            "network": {"kind": kind, "width": 8} | network,
            "train": {"precision": precision},
        }
    )
