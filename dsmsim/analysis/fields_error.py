"""Errors of learnt velocities as fields, at configurations where a reference knows the true ones.

    E_u = sqrt( sum |u - u_true|^2 / sum |u_true|^2 )          E_v_field the same of v

over the configurations, drawn from the true density, of all times together: a velocity that vanishes at one
time, as v does at rest, is no division by zero. The standard error is that of a ratio of two means, with the
times as strata: Cochran, Sampling Techniques, ch. 6.

Shapes: T times, K configurations, N particles, D axes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Evaluate = Callable[[Array, float], tuple[Array, Array]]

# a velocity whose mean square is below this fraction of that of both is rounding, or zero
ROUNDING = 1e-12


def field_errors(group: Mapping[str, NDArray[Any]], evaluate: Evaluate) -> dict[str, NDArray[Any]]:
    """E_u and E_v_field with their standard errors, as arrays of shape (), for a group `errors/<reference>`.

    A velocity that is zero everywhere, but for rounding, has no relative error and is left out.

    Args:
        group: `velocity_fields` of the reference.
        evaluate: u and v, each (K, N, D), at positions (K, N, D) and a time.
    """
    times, position = group["time"], np.asarray(group["position"], dtype=np.float64)
    true = [np.asarray(group[name], dtype=np.float64) for name in ("osmotic_velocity", "current_velocity")]
    wrong = np.zeros((2, *position.shape[:2]))
    for k, t in enumerate(times):
        found = evaluate(position[k], float(t))
        for which in range(2):
            wrong[which, k] = ((found[which] - true[which][k]) ** 2).sum((-2, -1))
    square = np.stack([(field**2).sum((-2, -1)) for field in true])
    errors: dict[str, NDArray[Any]] = {}
    for which, name in enumerate(("E_u", "E_v_field")):
        if square[which].mean() > ROUNDING * square.mean(axis=(1, 2)).sum():
            value, stderr = _root_of_ratio(wrong[which], square[which])
            errors[name], errors[f"{name}_stderr"] = np.asarray(value), np.asarray(stderr)
    return errors


def _root_of_ratio(above: Array, below: Array) -> tuple[float, float]:
    """sqrt(sum above / sum below) of (T, K) values, and its standard error over the configurations."""
    total = float(below.sum())
    value = float(np.sqrt(above.sum() / total))
    count = above.shape[1]
    if count < 2 or value == 0.0:
        return value, 0.0 if value == 0.0 else float("nan")
    rest = above - value**2 * below
    spread = np.sqrt(count * rest.var(axis=1, ddof=1).sum()) / total
    return value, float(spread) / (2.0 * value)
