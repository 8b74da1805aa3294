"""Problems on which orders of convergence are measured, and the slope that measures them."""

from __future__ import annotations

from typing import Any

import numpy as np

from dsmsim.config import Config, parse_config

# of the packet's trap: how smooth V is in time
QUENCHES: dict[str, dict[str, Any]] = {
    "smooth": {"omega": {"to": 2.5, "duration": 1.6, "shape": "smooth"}},
    "kinks": {"center": {"to": 1.0, "start": 0.31, "duration": 0.5}},
    "jump": {"omega": {"to": 0.5, "start": 0.77}},
}


def packet(**trap: Any) -> Config:
    """A displaced, squeezed, moving packet in a harmonic trap."""
    return parse_config(
        {
            "system": {"particles": 1, "trap": {"kind": "harmonic", "omega": 1.5, **trap}},
            "initial": {"kind": "gaussian", "mean": 0.8, "variance": 0.5, "phase": 0.6},
            "time": {"end": 1.6, "save": [0.0, 1.6]},
        }
    )


def bosons(interaction: dict[str, Any], save: Any = 6) -> Config:
    """Two bosons in a quartic well, at first in a product of equal packets."""
    return parse_config(
        {
            "system": {
                "particles": 2,
                "trap": {"kind": "expression", "expression": "x**4/4"},
                "interaction": interaction,
            },
            "initial": {"kind": "gaussian", "mean": 0.4, "variance": 0.3},
            "time": {"end": 1.0, "save": save},
        }
    )


def slope(sizes: list[int], errors: list[float]) -> float:
    """Exponent p of error ~ sizes^-p."""
    return float(-np.polyfit(np.log(sizes), np.log(errors), 1)[0])
