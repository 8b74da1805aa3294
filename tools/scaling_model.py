"""Time of an epoch on many ranks, from what one rank measures and two numbers of the network.

    python tools/scaling_model.py inputs/five_bosons.toml --latency 20e-6 --bandwidth 1e9
    python tools/scaling_model.py inputs/five_bosons.toml --from doctor.json --set train.block=2
    mpirun -n 2 python tools/scaling_model.py inputs/five_bosons.toml       # measures the network, too

An epoch on P ranks takes

    fixed + per_point * (points of the busiest rank) + all its sums and broadcasts + its share of checkpoints.

Epochs of the input are really trained, in this process, with a few sizes of the batch: that gives the first
two numbers, and every sum and broadcast is counted on the way. How long they take on P ranks follows from
latency and bandwidth (`dsmsim/parallel/diagnosis.py`), which `dsmsim doctor` prints for two or more ranks of
the user's machine. With --seconds-per-point and --fixed-seconds, of a GPU say, nothing is timed here but only
counted.

Strong scaling shares the input's points out; a rank has whole blocks, so that more ranks than blocks do not
help. Weak scaling gives every rank the input's points. Not in the model: ranks that wait for a slower one.

Started on ranks, all measure at the same time, the network is measured as well, and the time of an epoch on
these ranks is held against the prediction. docs/scaling.md has results and how far off they were.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import math
import statistics
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from scipy.optimize import nnls

from dsmsim.config import Config, parse_config, with_settings
from dsmsim.parallel import StopRequest, World, start
from dsmsim.parallel.diagnosis import Backend, SumLaw, backends_of, fit_sums, measure_sums
from dsmsim.training.batch import block_count
from dsmsim.training.loop import Hooks, train
from dsmsim.training.state import TrainState, new_state, save_state

BATCHES = (1, 2, 4)  # blocks of the batches that are measured
EPOCHS = 3  # in a row; the first is not counted
RANKS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)

Kind = Literal["sum", "broadcast"]


@dataclass(frozen=True)
class Exchange:
    """A kind of collective: what it does, and its bytes."""

    kind: Kind
    size: int


@dataclass
class CountingWorld(World):
    """A world of one rank that counts what many would send."""

    seen: Counter[Exchange] = field(default_factory=Counter)

    def sum_(self, tensor: torch.Tensor) -> torch.Tensor:
        self._count("sum", tensor)
        return tensor

    def max_(self, tensor: torch.Tensor) -> torch.Tensor:
        self._count("sum", tensor)
        return tensor

    def broadcast_(self, tensor: torch.Tensor, root: int = 0) -> torch.Tensor:
        self._count("broadcast", tensor)
        return tensor

    def _count(self, kind: Kind, tensor: torch.Tensor) -> None:
        self.seen[Exchange(kind, tensor.numel() * tensor.element_size())] += 1


@dataclass(frozen=True)
class Work:
    """What an epoch of an input takes on one rank, and what it would send.

    Attributes:
        fixed, per_point: s, and s per point of the rank.
        exchanges: number of each kind in an epoch, on average.
        save_seconds: time of a checkpoint.
        saves: checkpoints per epoch, or 0 where they follow the clock; then `saves_per_second`.
        parameters: of all networks.
    """

    fixed: float = 0.0
    per_point: float = 0.0
    exchanges: dict[Exchange, float] = field(default_factory=dict)
    save_seconds: float = 0.0
    saves: float = 0.0
    saves_per_second: float = 0.0
    parameters: int = 0


@dataclass(frozen=True)
class Prediction:
    """An epoch on so many ranks; times in s."""

    scaling: str
    ranks: int
    points: int
    compute: float
    communication: float
    saving: float

    @property
    def total(self) -> float:
        """Of the epoch."""
        return self.compute + self.communication + self.saving

    def efficiency(self, alone: Prediction) -> float:
        """Points per time and rank, over those of one rank."""
        return (self.points / self.total) / (alone.points / alone.total) / self.ranks


def exchange_seconds(exchange: Exchange, law: SumLaw, ranks: int) -> float:
    """Time of one collective."""
    seconds = law.seconds if exchange.kind == "sum" else law.broadcast_seconds
    return seconds(exchange.size, ranks)


def predict(work: Work, law: SumLaw, scaling: str, ranks: int, blocks: int, block: int) -> Prediction:
    """An epoch of an input with so many blocks of so many points."""
    busiest = blocks if scaling == "weak" else math.ceil(blocks / ranks)
    points = block * blocks * (ranks if scaling == "weak" else 1)
    compute = work.fixed + work.per_point * block * busiest
    sums = sum(count * exchange_seconds(exchange, law, ranks) for exchange, count in work.exchanges.items())
    without = compute + sums + work.saves * work.save_seconds
    saving = work.saves * work.save_seconds + without * work.saves_per_second * work.save_seconds
    return Prediction(scaling, ranks, points, compute, sums, saving)


def with_blocks(config: Config, blocks: int) -> Config:
    """The same input with so many blocks of trajectories."""
    train, per_trajectory = config.train, config.train.points // config.train.trajectories
    trajectories = blocks * train.block
    changes = {"trajectories": trajectories, "points": trajectories * per_trajectory, "target_loss": None}
    return config.model_copy(update={"train": train.model_copy(update=changes)})


def epoch_seconds(cases: Sequence[tuple[Config, World]], turns: int) -> list[float]:
    """Median time (s) of an epoch of each case, measured in turns; none of it is for files."""
    states = [new_state(config, world) for config, world in cases]
    times: list[list[float]] = [[] for _ in cases]
    for turn in range(turns + 1):
        for (config, world), state, own in zip(cases, states, times, strict=True):
            found = few_epochs(config, world, state)
            own += found if turn > 0 else []  # the first turn warms up
    return [statistics.median(own) if own else 0.0 for own in times]


def few_epochs(config: Config, world: World, state: TrainState) -> list[float]:
    """Times (s) of all but the first of the next epochs."""
    marks: list[float] = []
    until = config.train.model_copy(update={"epochs": state.epoch + EPOCHS})
    hooks = Hooks(lambda entry: None, lambda epoch, loss: marks.append(time.perf_counter()), lambda: None)
    train(config.model_copy(update={"train": until}), state, world, StopRequest(), hooks)
    return [after - before for before, after in itertools.pairwise(marks)]


def measure(config: Config, turns: int, world: World) -> tuple[Work, float]:
    """Train with batches of several sizes, every rank alone, and with the whole input on all ranks.

    Args:
        turns: times that every size is measured; 0: nothing is timed, the smallest batch is only counted.

    Returns:
        The work, of the slowest rank; and the time (s) of an epoch of the input on these ranks. Times are 0
        where there were no turns.
    """
    counting = CountingWorld(device=world.device)
    batches = BATCHES if turns > 0 else BATCHES[:1]
    cases: list[tuple[Config, World]] = [(with_blocks(config, blocks), counting) for blocks in batches]
    if turns > 0:
        cases.append((with_blocks(config, block_count(config)), world))
    times = epoch_seconds(cases, turns)
    work = counted(config, counting, len(batches), turns)
    if turns == 0:
        return work, 0.0
    *alone, whole = world.max_(torch.tensor(times, dtype=torch.float64)).tolist()
    block = config.train.points // block_count(config)
    columns = np.array([[1.0, block * blocks] for blocks in batches]) / np.array(alone)[:, None]
    (fixed, per_point), _ = nnls(columns, np.ones(len(alone)))  # relative errors count
    return replace(work, fixed=float(fixed), per_point=float(per_point)), whole


def counted(config: Config, counting: CountingWorld, batches: int, turns: int) -> Work:
    """What the epochs of some sizes of the batch sent, per epoch, and what a checkpoint takes."""
    state = new_state(config, World(device=counting.device))
    with tempfile.TemporaryDirectory(prefix="dsmsim-scaling-") as place:
        began = time.perf_counter()
        save_state(config, state, Path(place), 0.0)
        saved = time.perf_counter() - began
    # parameters are sent once, at the beginning, and not in every epoch
    sizes = [parameter.numel() * parameter.element_size() for parameter in state.fields.parameters()]
    for size in sizes:
        counting.seen[Exchange("broadcast", size)] -= batches
    trained = batches * (turns + 1) * EPOCHS
    every = config.output.cadence
    by_epochs = every.unit == "epochs"
    return Work(
        exchanges={kind: count / trained for kind, count in counting.seen.items() if count > 0},
        save_seconds=saved,
        saves=1.0 / every.number if by_epochs else 0.0,
        saves_per_second=0.0 if by_epochs else 1.0 / every.number,
        parameters=sum(parameter.numel() for parameter in state.fields.parameters()),
    )


def law_of(arguments: argparse.Namespace, world: World) -> SumLaw | None:
    """The law that was given, nccl's before gloo's, or that of the ranks at hand; None without either."""
    laws: dict[Backend, SumLaw] = {}
    if arguments.doctor is not None:
        for backend, law in json.loads(arguments.doctor.read_text())["sums"].items():
            laws[backend] = SumLaw(law["latency"], law["bandwidth"], backend)
        if not laws:
            raise SystemExit(f"{arguments.doctor}: was written by one rank, which sends nothing; start two")
    elif arguments.latency is not None and arguments.bandwidth is not None:
        laws[arguments.backend] = SumLaw(arguments.latency, arguments.bandwidth, arguments.backend)
    else:
        for backend, device in backends_of(world).items():
            times = measure_sums(world, device)
            if times:
                laws[backend] = fit_sums(times, world.size, backend)
    return laws.get("nccl", laws.get("gloo"))


def work_table(config: Config, work: Work, law: SumLaw) -> Table:
    """What was measured and given."""
    table = Table(title=config.title or "The input", title_justify="left", show_header=False)
    table.add_column("what")
    table.add_column("value", justify="right")
    train = config.train
    table.add_row("parameters, optimiser", f"{work.parameters:,}, {train.optimizer}")
    table.add_row("points, blocks of an epoch", f"{train.points:,}, {block_count(config):,}")
    table.add_row("fixed time of an epoch", f"{1e3 * work.fixed:.2f} ms")
    table.add_row("time of a point", f"{1e6 * work.per_point:.2f} us")
    table.add_row("a checkpoint", f"{1e3 * work.save_seconds:.1f} ms")
    numbers = f"{1e6 * law.latency:.1f} us, {law.bandwidth / 1e9:.3g} GB/s"
    table.add_row(f"{law.backend}: latency, bandwidth", numbers)
    for exchange, count in sorted(work.exchanges.items(), key=lambda pair: pair[0].size):
        table.add_row(f"{exchange.kind} of {exchange.size:,} bytes", f"{count:.3g} an epoch")
    return table


def scaling_table(predictions: Sequence[Prediction]) -> Table:
    """Time and efficiency against ranks; the first is one rank."""
    table = Table(title=f"{predictions[0].scaling.capitalize()} scaling", title_justify="left")
    names = ("ranks", "points", "epoch (ms)", "compute (ms)", "sums (ms)", "saving (ms)", "efficiency")
    for name in (*names, "share of sums"):
        table.add_column(name, justify="right")
    for each in predictions:
        times = (each.total, each.compute, each.communication, each.saving)
        table.add_row(
            *(f"{each.ranks:,}", f"{each.points:,}", *(f"{1e3 * seconds:.2f}" for seconds in times)),
            *(f"{each.efficiency(predictions[0]):.1%}", f"{each.communication / each.total:.1%}"),
        )
    return table


def write_csv(file: Path, predictions: Sequence[Prediction]) -> None:
    """One line for each prediction; times in s."""
    alone = {each.scaling: each for each in predictions if each.ranks == 1}
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        names = ("scaling", "ranks", "points", "epoch", "compute", "communication", "saving", "efficiency")
        writer.writerow(names)
        for each in predictions:
            place = each.scaling, each.ranks, each.points
            times = each.total, each.compute, each.communication, each.saving
            writer.writerow((*place, *times, each.efficiency(alone[each.scaling])))


def draw(file: Path, predictions: Sequence[Prediction]) -> None:
    """Efficiency against ranks."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(5, 3.5), layout="constrained")
    for scaling, marker in (("strong", "o"), ("weak", "s")):
        line = [each for each in predictions if each.scaling == scaling]
        values = [each.efficiency(line[0]) for each in line]
        axes.semilogx(
            [each.ranks for each in line], values, base=2, marker=marker, label=f"{scaling} scaling"
        )
    axes.set(xlabel="ranks", ylabel="efficiency", ylim=(0.0, 1.05))
    axes.legend()
    figure.savefig(file)
    plt.close(figure)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("input", type=Path, help="input file (TOML)")
    add("--set", nargs="+", default=[], metavar="KEY=VALUE", help="change the input, e.g. train.block=2")
    add("--from", dest="doctor", type=Path, metavar="DOCTOR.json", help="what `dsmsim doctor --json` wrote")
    add("--latency", type=float, help="s, of a small sum between two ranks")
    add("--bandwidth", type=float, help="bytes/s, of a large one")
    add("--backend", choices=("gloo", "nccl"), default="gloo", help="of these two numbers [gloo]")
    add("--seconds-per-point", type=float, help="instead of what is measured here, e.g. of a GPU")
    add("--fixed-seconds", type=float, help="the same for an epoch without points")
    add("--turns", type=int, default=5, help="times that every size of the batch is measured [5]")
    add("--ranks", type=int, nargs="+", default=list(RANKS), help="numbers of ranks; 1 is added")
    add("--csv", type=Path, help="write the predictions to this file")
    add("--figure", type=Path, help="draw them into this file")
    return parser.parse_args(arguments)


def main() -> None:
    """Measure, predict, print."""
    arguments = parse(sys.argv[1:])
    data: dict[str, Any] = with_settings(tomllib.loads(arguments.input.read_text()), arguments.set)
    config = parse_config(data, environment=False)
    with start(config.run.device, config.run.timeout_seconds) as world:
        law = law_of(arguments, world)
        if law is None:
            raise SystemExit("give --latency and --bandwidth, or --from doctor.json, or start two ranks")
        per_point, fixed = arguments.seconds_per_point, arguments.fixed_seconds
        if (per_point is None) != (fixed is None):
            raise SystemExit("give --seconds-per-point and --fixed-seconds together, or neither")
        work, whole = measure(config, arguments.turns if fixed is None else 0, world)
        if fixed is not None:
            work = replace(work, per_point=per_point, fixed=fixed)
        if world.rank != 0:
            return
        report(arguments, config, work, law, world.size, whole)


def report(
    arguments: argparse.Namespace, config: Config, work: Work, law: SumLaw, size: int, whole: float
) -> None:
    """Print and write everything; `whole` is the measured time of an epoch on `size` ranks."""
    console = Console(width=None if sys.stdout.isatty() else 110)
    blocks, block = block_count(config), config.train.points // block_count(config)
    console.print(work_table(config, work, law))
    if whole > 0.0:
        bare = Work(work.fixed, work.per_point, work.exchanges)  # no file was written in that time
        expected = predict(bare, law, "strong", size, blocks, block).total
        console.print(
            f"an epoch here on {size} rank{'s' if size > 1 else ''}: measured {1e3 * whole:.2f} ms, "
            f"predicted {1e3 * expected:.2f} ms ({expected / whole - 1.0:+.0%})"
        )
    numbers = sorted({1, *arguments.ranks})
    found = [
        [predict(work, law, scaling, ranks, blocks, block) for ranks in numbers]
        for scaling in ("strong", "weak")
    ]
    for predictions in found:
        console.print(scaling_table(predictions))
    if arguments.csv is not None:
        write_csv(arguments.csv, [*found[0], *found[1]])
    if arguments.figure is not None:
        draw(arguments.figure, [*found[0], *found[1]])


if __name__ == "__main__":
    main()
