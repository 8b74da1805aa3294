"""March, distil, polish: errors and processor time of each stage, beside global training alone.

    OMP_NUM_THREADS=1 python tools/bench/polish.py inputs/three_bosons.toml [--seeds 3] [--teacher march]
                      [--epochs 8 16] [--alone 20 40 120] [--samples 20480] [--set network.width=24 ...]

For each seed: the march of the input; its fields, distilled into [network]; the same, trained globally for
`--epochs` epochs more; and [network] trained globally from the start for each of `--alone`, all with the
schedule stretched over their own epochs. A line for each shows

    seconds   processor time spent on it so far, the march included and evaluation not
    Var       mean and largest error over time of the variance of x_1, relative, against the exact solution
    density   mean and largest L1 distance over time, and its sampling floor
    loss      of the last epoch

and a table of medians over the seeds ends the output.
`--teacher tvmc` takes the t-VMC of `baselines` in place of the march.
"""

from __future__ import annotations

import argparse
import time
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from baselines.exact import evolve as exact_evolve
from baselines.tvmc import Evolution, build_ansatz
from baselines.tvmc import evolve as tvmc_evolve
from baselines.wave.wave_function import Local, velocities
from dsmsim.analysis import compare
from dsmsim.config import Config, parse_config, with_settings
from dsmsim.networks import Fields
from dsmsim.parallel import StopRequest, World
from dsmsim.system import build_system
from dsmsim.training.distill import Teacher, distill
from dsmsim.training.evaluate import evaluate
from dsmsim.training.loop import Hooks, train
from dsmsim.training.marching import march_to_the_end, marched_fields, new_march
from dsmsim.training.state import TrainState, new_state
from dsmsim.training.work import Solved

SILENT = Hooks(lambda entry: None, lambda epoch, loss: None, lambda: None)


class WaveFunctionTeacher:
    """A wave function of `baselines` as a teacher."""

    def __init__(self, evolution: Evolution, config: Config) -> None:
        self.evolution, self.hbar, self.mass = evolution, config.system.hbar, config.system.mass

    def __call__(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        u, v = velocities(self._local(x, t), self.hbar, self.mass)
        return torch.from_numpy(u), torch.from_numpy(v)

    def log_psi(self, x: Tensor, t: Tensor) -> Tensor:
        found = self._local(x, t).log_psi
        return torch.from_numpy(np.stack([found.real, found.imag], -1))

    def _local(self, x: Tensor, t: Tensor) -> Local:
        return self.evolution.local(np.ascontiguousarray(x.double().numpy()), float(t[0]))


def taught_by(name: str, config: Config) -> Teacher:
    """The fields to learn."""
    if name == "tvmc":
        return WaveFunctionTeacher(tvmc_evolve(config, build_ansatz(config)), config)
    march = new_march(config, World())
    march_to_the_end(config, march, World(), StopRequest(), SILENT)
    return marched_fields(config, march)


class Table:
    """The lines of the output, and what they are made of."""

    def __init__(self, exact: dict[str, Any]) -> None:
        self.exact = exact
        self.rows: dict[str, list[list[float]]] = {}

    def add(self, stage: str, seed: int, config: Config, state: Any, seconds: float, loss: float) -> None:
        """Measure and print."""
        sums = evaluate(config, state, World(), lambda done, total: None).sums
        errors = compare({"observables": sums.observables(), "density": sums.density()}, self.exact)
        variance, density = (np.asarray(errors[name]) for name in ("variance_error", "density_l1"))
        floor = float(np.mean(errors["density_l1_floor"]))
        row = [
            seconds,
            float(variance.mean()),
            float(variance.mean(-1).max() if variance.ndim > 1 else variance.max()),
            *(float(density.mean()), float(density.max()), floor, loss),
        ]
        self.rows.setdefault(stage, []).append(row)
        print(_line(f"{stage}, seed {seed}", row), flush=True)

    def medians(self) -> None:
        """The table of medians."""
        print("\n| stage | s | Var mean | max | density mean | max | floor | loss |")
        print("|---" * 8 + "|")
        for stage, rows in self.rows.items():
            print(_line(stage, np.median(rows, axis=0).tolist()))


def _line(label: str, row: list[float]) -> str:
    seconds, mean, most, density, worst, floor, loss = row
    return (
        f"| {label} | {seconds:.1f} | {mean:.1e} | {most:.1e} | {density:.4f} | {worst:.4f} "
        f"| {floor:.4f} | {loss:.1e} |"
    )


def trained(config: Config, state: TrainState) -> tuple[float, float]:
    """Processor seconds of all epochs, and the last loss."""
    losses: list[float] = []
    hooks = Hooks(lambda entry: None, lambda epoch, loss: losses.append(loss), lambda: None)
    begin = time.process_time()
    train(config, state, World(), StopRequest(), hooks)
    return time.process_time() - begin, losses[-1]


def one_seed(args: argparse.Namespace, data: dict[str, Any], seed: int, table: Table) -> None:
    """All stages with one seed."""

    def config_of(epochs: int, settings: list[str]) -> Config:
        return parse_config(with_settings({**data, "seed": seed}, [*settings, f"train.epochs={epochs}"]))

    base = parse_config(with_settings({**data, "seed": seed}, args.set))
    for epochs in args.alone:
        config = config_of(epochs, args.set)
        state = new_state(config, World())
        seconds, loss = trained(config, state)
        table.add(f"alone, {epochs}", seed, config, state, seconds, loss)
    begin = time.process_time()
    teacher = taught_by(args.teacher, base)
    marched = time.process_time() - begin
    if isinstance(teacher, Fields):
        found = Solved(build_system(base), teacher.initial, teacher, {})
        table.add("march", seed, base, found, marched, np.nan)
    begin = time.process_time()
    state = new_state(base, World())
    loss = distill(base, state, teacher, World()).loss
    distilled = marched + time.process_time() - begin
    table.add("distilled", seed, base, state, distilled, loss)
    start = state.arrays()
    for epochs in args.epochs:
        config = config_of(epochs, [*args.set, f'train.schedule="{args.schedule}"'])
        polished = new_state(config, World())
        restore(polished, start)
        seconds, loss = trained(config, polished)
        table.add(f"polished, {epochs}", seed, config, polished, distilled + seconds, loss)


@torch.no_grad()
def restore(state: TrainState, arrays: dict[str, NDArray[Any]]) -> None:
    """Parameters and optimiser as another state of the same input has them."""
    for name, parameter in state.fields.named_parameters():
        parameter.copy_(torch.as_tensor(arrays[f"model/{name}"]))
    prefix = "optimizer/"
    kept = {name.removeprefix(prefix): each for name, each in arrays.items() if name.startswith(prefix)}
    state.optimizer.load(kept)


def main() -> None:
    """Read the command line, run, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("input", type=Path)
    parser.add_argument("--seeds", type=int, default=3, help="how many")
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--teacher", choices=("march", "tvmc"), default="march")
    parser.add_argument("--epochs", type=int, nargs="*", default=[8, 16], help="epochs of polish")
    parser.add_argument("--alone", type=int, nargs="*", default=[], help="epochs of global training alone")
    parser.add_argument("--schedule", default="trapezoid", help="of the polish")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a key")
    parser.add_argument("--samples", type=int, default=20480)
    parser.add_argument("--times", type=int, default=11, help="times at which errors are measured")
    args = parser.parse_args()
    data = tomllib.loads(args.input.read_text())
    data.setdefault("evaluation", {})["samples"] = args.samples
    data.setdefault("time", {})["save"] = args.times
    data.pop("compare", None)
    table = Table(dict(exact_evolve(parse_config(with_settings(dict(data), args.set))).groups))
    for seed in range(args.first, args.first + args.seeds):
        one_seed(args, data, seed, table)
    table.medians()
    print(f"torch threads: {torch.get_num_threads()}")


if __name__ == "__main__":
    main()
