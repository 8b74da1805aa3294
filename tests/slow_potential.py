"""A potential that is zero, and slow where the environment says so: it gives signals the time to arrive."""

from __future__ import annotations

import os
import time

from torch import Tensor

RESIDUAL_POINTS = (24, 48)  # of the tiny input on two ranks and on one: once an epoch


def still(r: Tensor, t: Tensor) -> Tensor:
    """Zero at r (B, N, D), after DSMSIM_TEST_PAUSE seconds for the residual points of an epoch."""
    if len(r) in RESIDUAL_POINTS:
        time.sleep(float(os.environ.get("DSMSIM_TEST_PAUSE", "0")))
    return 0.0 * r[..., 0]
