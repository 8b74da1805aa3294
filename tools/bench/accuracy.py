"""Time to accuracy: how long training takes until Var x_1 and the density are right.

    OMP_NUM_THREADS=1 python tools/bench/accuracy.py inputs/two_bosons.toml [--seeds 5] [--every 5]
                      [--set train.epochs=60 --set network.width=24 ...] [--samples 40960]

Trains the input with its own settings (and what --set changes) for each seed, measures the trained process
every few epochs against an exact solution, and prints for each seed and as the median over the seeds:

    the seconds of training until the mean relative error of Var x_1 over t stays below 1 %, 0.3 %, 0.1 %
    the errors at the end: Var x_1 (mean and largest over t), density L1 (mean and largest), with their floors

Seconds are processor time of this process, all its threads, without evaluation: nearly the same on a busy
machine. Seeds run one after the other in one process. The exact solution is that of `dsmsim baseline exact`.
"""

from __future__ import annotations

import argparse
import time
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import torch

from baselines.exact import evolve
from dsmsim.analysis import compare
from dsmsim.config import Config, parse_config, with_settings
from dsmsim.parallel import StopRequest, World
from dsmsim.training.evaluate import evaluate
from dsmsim.training.loop import Hooks, train
from dsmsim.training.state import TrainState, new_state

GOALS = (1e-2, 3e-3, 1e-3)


class Watch:
    """Measures the trained process at every few epochs, and the seconds of training without that."""

    def __init__(self, config: Config, state: TrainState, exact: dict[str, Any], every: int) -> None:
        self.config, self.state, self.exact, self.every = config, state, exact, every
        self.spent_measuring = 0.0
        self.begin = time.process_time()
        self.history: list[tuple[int, float, float, dict[str, Any]]] = []

    def progress(self, epoch: int, loss: float) -> None:
        """Called by the loop after every epoch."""
        if epoch % self.every and epoch != self.config.train.epochs:
            return
        seconds = time.process_time() - self.begin - self.spent_measuring
        started = time.process_time()
        sums = evaluate(self.config, self.state, World(), lambda done, total: None).sums
        results = {"observables": sums.observables(), "density": sums.density()}
        self.history.append((epoch, seconds, loss, compare(results, self.exact)))
        self.spent_measuring += time.process_time() - started

    def seconds_to(self, goal: float) -> float:
        """Seconds after which the error of Var x_1 stays below the goal; infinite if it does not."""
        reached = float("inf")
        for _, seconds, _, errors in reversed(self.history):
            if variance_error(errors) > goal:
                break
            reached = seconds
        return reached


def variance_error(errors: dict[str, Any]) -> float:
    """Mean over time of the relative error of the variance, averaged over coordinates."""
    return float(np.mean(errors["variance_error"]))


def measured(config: Config, exact: dict[str, Any], every: int) -> Watch:
    """Train once."""
    state = new_state(config, World())
    watch = Watch(config, state, exact, every)
    nothing = Hooks(record=lambda entry: None, progress=watch.progress, save=lambda: None)
    train(config, state, World(), StopRequest(None), nothing)
    return watch


def line(label: str, numbers: list[float]) -> str:
    """One row of the table: seconds, then errors."""
    seconds = " | ".join(f"{x:.1f}" for x in numbers[:4])
    errors = " | ".join(f"{x:.2e}" for x in numbers[4:])
    return f"| {label} | {seconds} | {errors} |"


def main() -> None:
    """Read the command line, train, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("input", type=Path)
    parser.add_argument("--seeds", type=int, default=5, help="how many")
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--every", type=int, default=5, help="epochs between measurements")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a key")
    parser.add_argument("--samples", type=int, default=40960)
    parser.add_argument("--times", type=int, default=21, help="times at which errors are measured")
    parser.add_argument("--history", action="store_true", help="print every measurement")
    args = parser.parse_args()
    data = tomllib.loads(args.input.read_text())
    data.setdefault("evaluation", {})["samples"] = args.samples
    data.setdefault("time", {})["save"] = args.times
    data = with_settings(data, args.set)
    exact = dict(evolve(parse_config(data)).groups)
    goals = " | ".join(f"s to {100 * goal:g} %" for goal in GOALS)
    print(f"| seed | s in all | {goals} | Var mean | max | floor | density mean | max | floor |")
    print("|---" * 11 + "|")
    rows = []
    for seed in range(args.first, args.first + args.seeds):
        watch = measured(parse_config({**data, "seed": seed}), exact, args.every)
        if args.history:
            for epoch, seconds, loss, errors in watch.history:
                print(f"{epoch} {seconds:.1f} s, loss {loss:.2e}, Var {variance_error(errors):.2e}")
        _, seconds, _, errors = watch.history[-1]
        rows.append(
            [
                seconds,
                *(watch.seconds_to(goal) for goal in GOALS),
                variance_error(errors),
                float(np.max(errors["variance_error"])),
                float(np.mean(errors["variance_error_floor"])),
                float(np.mean(errors["density_l1"])),
                float(np.max(errors["density_l1"])),
                float(np.mean(errors["density_l1_floor"])),
            ]
        )
        print(line(str(seed), rows[-1]), flush=True)
    print(line("median", np.median(rows, axis=0).tolist()))
    print(line("largest", np.max(rows, axis=0).tolist()))
    print(f"torch threads: {torch.get_num_threads()}")


if __name__ == "__main__":
    main()
