"""Which optimiser reaches the smallest loss and error in the same time.

    OMP_NUM_THREADS=1 python tools/bench/optimizers.py [inputs/two_bosons.toml] [--kind potential]
                      [--methods adam soap lbfgs gauss_newton] [--seconds 20] [--seeds 5]
                      [--set train.trajectories=32] [--set soap:train.reuse=4 ...]

Every method trains the same input with its own defaults, seed by seed and method by method in turns, for
about the same processor time: its epochs are chosen from the time that its first ones take, so that its
schedule ends with the time. A setting `METHOD:KEY=VALUE` holds for one method, and methods under names such
as `soap@4` are soap with settings of their own. Printed are medians and ranges over the seeds of

    the seconds until the mean loss of the last tenth of the time so far is below each level
    the loss, mean over the last tenth of the time
    the mean relative error of Var x_1 over t, from the flow without noise against the exact solution

Losses of different networks are not comparable; those of the same network are.
"""

from __future__ import annotations

import argparse
import statistics
import time
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
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
from dsmsim.training.state import new_state

LEVELS = (1e-1, 1e-2, 1e-3)
TRIAL = {"adam": 20, "soap": 20, "lbfgs": 2, "gauss_newton": 4}  # epochs whose time is measured
EVALUATION = {"samples": 8000, "trials": 2, "nu": 0.0, "draws": "antithetic", "control_variates": True}


@dataclass(frozen=True)
class Run:
    """One training: processor seconds and loss after every epoch, and the error of Var x_1."""

    seconds: list[float]
    losses: list[float]
    error: float

    def mean_loss(self, upto: float) -> float:
        """Mean loss of the last tenth of the time until `upto`."""
        pairs = zip(self.seconds, self.losses, strict=True)
        return statistics.fmean([loss for s, loss in pairs if 0.9 * upto <= s <= upto] or [float("inf")])

    def seconds_to(self, level: float) -> float:
        """Seconds until the mean loss is below the level; infinite if it never is."""
        return next((s for s in self.seconds if self.mean_loss(s) < level), float("inf"))


def changed(data: dict[str, Any], settings: list[str], method: str) -> dict[str, Any]:
    """A copy of the input with the settings of a method, each `[METHOD:]KEY=VALUE`."""
    chosen = [f"train.optimizer={method.partition('@')[0]}"]
    for setting in settings:
        key, equals, value = setting.partition("=")
        owner, _, key = key.rpartition(":")
        if owner in ("", method):
            chosen.append(key + equals + value)
    return with_settings(data, chosen)


def trained(config: Config, exact: Mapping[str, Any] | None) -> Run:
    """Train once; measure if there is something to compare with."""
    state = new_state(config, World())
    seconds: list[float] = []
    losses: list[float] = []
    begin = time.process_time()

    def progress(epoch: int, loss: float) -> None:
        seconds.append(time.process_time() - begin)
        losses.append(loss)

    train(config, state, World(), StopRequest(), Hooks(lambda entry: None, progress, lambda: None))
    if exact is None:
        return Run(seconds, losses, float("nan"))
    sums = evaluate(config, state, World(), lambda done, total: None).sums
    errors = compare({"observables": sums.observables(), "density": sums.density()}, exact)
    return Run(seconds, losses, float(np.mean(errors["variance_error"])))


def epochs_for(data: dict[str, Any], seconds: float) -> int:
    """Epochs that fit into the time."""
    count = TRIAL[data["train"]["optimizer"]]
    short = {**data, "train": data["train"] | {"epochs": count, "warmup": 0}}
    run = trained(parse_config(short), None)
    # the first epoch warms caches up
    per_epoch = (run.seconds[-1] - run.seconds[0]) / (count - 1)
    return max(2, round(seconds / per_epoch))


def summary(numbers: list[float]) -> str:
    """Median and range."""
    return f"{statistics.median(numbers):.3g} ({min(numbers):.3g} to {max(numbers):.3g})"


def main() -> None:
    """Read the command line, train, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("input", type=Path, nargs="?", default=Path("inputs/two_bosons.toml"))
    parser.add_argument("--kind", default=None, help="network.kind; absent: that of the input")
    parser.add_argument("--methods", nargs="+", default=list(TRIAL))
    parser.add_argument("--seconds", type=float, default=20.0, help="processor time of a training")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--set", action="append", default=[], metavar="[METHOD:]KEY=VALUE")
    args = parser.parse_args()
    data = tomllib.loads(args.input.read_text())
    data["evaluation"] = EVALUATION
    data["time"] = {**data["time"], "save": 21}
    data.pop("train", None)
    if args.kind is not None:
        data["network"] = {**data.get("network", {}), "kind": args.kind}
    exact = evolve(parse_config(data)).groups
    inputs = {method: changed(data, args.set, method) for method in args.methods}
    for table in inputs.values():
        table["train"]["epochs"] = epochs_for(table, args.seconds)
        if table["train"].get("warmup", 50) >= table["train"]["epochs"]:
            table["train"]["warmup"] = 0
    runs: dict[str, list[Run]] = {method: [] for method in args.methods}
    for seed in range(1, args.seeds + 1):
        for method, table in inputs.items():
            run = trained(parse_config({**table, "seed": seed}), exact)
            runs[method].append(run)
            print(
                f"seed {seed} {method}: {run.seconds[-1]:.1f} s, {len(run.losses)} epochs, "
                f"loss {run.mean_loss(run.seconds[-1]):.3g}, Var {run.error:.2e}",
                flush=True,
            )
    levels = " | ".join(f"s to {level:g}" for level in LEVELS)
    print(f"| method | epochs | s | {levels} | loss | error of Var x_1 |")
    print("|---" * (5 + len(LEVELS)) + "|")
    for method, found in runs.items():
        reached = [summary([run.seconds_to(level) for run in found]) for level in LEVELS]
        columns = [
            str(len(found[0].losses)),
            summary([run.seconds[-1] for run in found]),
            *reached,
            summary([run.mean_loss(run.seconds[-1]) for run in found]),
            summary([run.error for run in found]),
        ]
        print(f"| {method} | " + " | ".join(columns) + " |")
    print(f"torch threads: {torch.get_num_threads()}")


if __name__ == "__main__":
    main()
