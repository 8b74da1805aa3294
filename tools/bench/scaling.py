"""Time per training step against the number of coordinates.

    OMP_NUM_THREADS=1 python tools/bench/scaling.py [--d 1 2 5 10 20 50] [--points 256] [--turns 5]

One loss with its gradient at the same random points, by every engine, in turns in one process; medians of the
turns and their spread (largest over smallest). Bosons in a harmonic trap on a line. The last line gives the
slope of log time against log d over the upper half of the list.

    potential          network.kind = potential, Gaussian interaction: all pairs and messages
    potential, free    the same without interaction
    mlp fused          exact divergences, hand-derived
    mlp hutchinson     two random probes
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from dsmsim.config import Config, parse_config
from dsmsim.networks import build_fields
from dsmsim.system import build_initial, build_system
from dsmsim.training.batch import Batch
from dsmsim.training.engines import gradient_function

PAIR = {"kind": "gaussian", "g": 1.0, "s2": 0.1}
CASES: dict[str, dict[str, Any]] = {
    "potential": {"system": {"interaction": PAIR}, "train": {"optimizer": "soap"}},
    "potential, free": {"train": {"optimizer": "soap"}},
    "mlp fused": {"network": {"kind": "mlp"}, "system": {"interaction": PAIR}},
    "mlp hutchinson": {
        "network": {"kind": "mlp"},
        "system": {"interaction": PAIR},
        "train": {"divergence": "hutchinson"},
    },
}


def config_of(case: str, particles: int) -> Config:
    """The input of one case."""
    tables = CASES[case]
    system = {"particles": particles, "hbar": 0.1, "trap": {"kind": "harmonic", "omega": 1.0}}
    return parse_config(
        {
            "system": system | tables.get("system", {}),
            "time": {"end": 1.0},
            "network": tables.get("network", {}),
            "train": tables.get("train", {}),
        },
        environment=False,
    )


def step_of(case: str, particles: int, points: int) -> Callable[[], None]:
    """One loss with its gradient."""
    config = config_of(case, particles)
    system, initial = build_system(config), build_initial(config)
    fields = build_fields(config, system, initial)
    rng = np.random.default_rng(1)
    x = torch.as_tensor(initial.sample(rng, points), dtype=torch.float32)
    group = config.train.block if fields.grouped else 1
    clocks = rng.random((points // group, 1)).repeat(group, axis=0)
    probes = torch.as_tensor(rng.choice((-1.0, 1.0), (2, *x.shape))).to(x)
    slices = torch.zeros(points, dtype=torch.int64)
    batch = Batch(x, torch.as_tensor(clocks).to(x), slices, x[:0], group, probes)
    engine, weights = gradient_function(config, fields, system), torch.full((points,), 1.0 / points)

    def step() -> None:
        fields.zero_grad()
        engine(batch, weights, weights)

    return step


def main() -> None:
    """Time all cases in turns and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--d", type=int, nargs="+", default=[1, 2, 5, 10, 20, 50])
    parser.add_argument("--points", type=int, default=256)
    parser.add_argument("--turns", type=int, default=5)
    args = parser.parse_args()
    print(f"milliseconds per step of {args.points} points (spread); torch threads: {torch.get_num_threads()}")
    print("| d | " + " | ".join(CASES) + " |")
    print("|---" * (len(CASES) + 1) + "|")
    medians = []
    for d in args.d:
        steps = [step_of(case, d, args.points) for case in CASES]
        for step in steps:
            step()
        times = np.empty((args.turns, len(steps)))
        for turn in range(args.turns):
            for k, step in enumerate(steps):
                started = time.perf_counter()
                step()
                times[turn, k] = 1e3 * (time.perf_counter() - started)
        medians.append(np.median(times, axis=0))
        spread = times.max(0) / times.min(0)
        cells = (f"{m:.1f} ({s:.1f})" for m, s in zip(medians[-1], spread, strict=True))
        print(f"| {d} | " + " | ".join(cells) + " |", flush=True)
    if len(args.d) >= 2:
        upper = slice(-max(2, len(args.d) // 2), None)
        log_d, log_t = np.log(args.d[upper]), np.log(np.array(medians)[upper])
        slopes = np.polyfit(log_d, log_t, 1)[0]
        print("| slope | " + " | ".join(f"d^{slope:.2f}" for slope in slopes) + " |")


if __name__ == "__main__":
    main()
