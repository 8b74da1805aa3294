"""A potential that is zero, and slow for the samples of an evaluation where the environment says so."""

from __future__ import annotations

import os
import time

from torch import Tensor

SAMPLES = 37  # in a block: no other number of points in a run of the tiny input is the same


def still(r: Tensor, t: Tensor) -> Tensor:
    """Zero at r (N, B, D), after DSMSIM_TEST_PAUSE seconds for a block of samples."""
    if r.shape[1] == SAMPLES:
        time.sleep(float(os.environ.get("DSMSIM_TEST_PAUSE", "0")))
    return 0.0 * r[..., 0]
