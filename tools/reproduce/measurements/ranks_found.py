"""Ranks that find themselves, on the handwritten digits: what is left of a train that starts too large.

Adapters, network and training are those of `tools/rank_table.py`.

Shapes: A adapters, S seeds.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from dsmsim.tensor.adaptation import ADAPTERS, DEFAULT_TOLERANCE
from tools.rank_table import LEAST, MOST, tensor_model, trained
from tools.reproduce.measurements.digits_table import DENSE_WEIGHTS
from tools.reproduce.measurements.digits_task import DIGITS, WIDTH
from tools.reproduce.measuring import Columns

BIASES = WIDTH + DIGITS


def found_ranks(directory: Path, *, adapters: Sequence[str], seeds: Sequence[int]) -> Columns:
    """Train with every adapter.

    Args:
        directory: of the measurement; nothing but what is returned is kept.
        adapters: "rounding", "growth" or "shrinkage".
        seeds: one network for each.

    Returns:
        adapter (A,), weights (A, S) that are left, biases not counted, share (A, S) of the dense weights,
        accuracy (A, S) on the test, and seconds (A,) of one network's training.
    """
    weights: list[list[int]] = []
    accuracy: list[list[float]] = []
    seconds: list[float] = []
    for name in adapters:
        rank = LEAST if ADAPTERS[name].start == "least" else MOST["digits"]
        began = time.process_time()
        results = [
            trained("digits", tensor_model("digits", rank, seed), seed, name, DEFAULT_TOLERANCE)
            for seed in seeds
        ]
        seconds.append((time.process_time() - began) / len(seeds))
        weights.append([parameters - BIASES for parameters, _ in results])
        accuracy.append([1.0 - error for _, error in results])
    return Columns(
        {
            "adapter": list(adapters),
            "seed": list(seeds),
            "weights": weights,
            "share": [[size / DENSE_WEIGHTS for size in row] for row in weights],
            "accuracy": accuracy,
            "seconds": seconds,
        },
        {"seconds": "CPU s"},
    )
