"""Potentials that a grid can hold."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsmsim.errors import ConfigError


def require_finite(values: NDArray[Any], t: float, key: str = "system") -> None:
    """Refuse a potential with infinite or undefined values.

    Args:
        values: of the potential at points of a grid.
        t: the time.
        key: dotted key of the table that it comes from.

    Raises:
        ConfigError: naming the key, the time and the fix.
    """
    if not np.isfinite(values).all():
        raise ConfigError(
            f"[{key}]: the potential is not finite everywhere at t = {t:.6g}; correct the formulas so that "
            "it is finite at every point of the box",
            key=key,
        )
