"""Ranks that find themselves against the best fixed rank and the narrow dense network of equal parameters.

    python -m tools.rank_table [--tasks digits field] [--seeds 5] [--tolerance 0.2]

About 15 minutes on one core; prints one table in markdown.

    digits   handwritten digits, 784 -> 256 -> 10 (`digits_task`); error: share of wrong ones in the test
    field    a velocity of 8 particles that permutes with them, x ~ N(0, 1),
                 v_i = -x_i + 2 sum_j (x_i - x_j) exp(-2 |x_i - x_j|^2)
             by a residual network h <- h + tanh(W h + b), two layers of width 144 = 12 x 12;
             error: |v_net - v| / |v|

Fixed ranks are trained at every rank of a list; "fixed" is their median error over the seeds, interpolated in
the logarithms of parameters and error to the parameters of the adapter's result. Adapters start from rank 64
(field) or 16 (digits), growth from 4, and adapt 20 times; all else is the same for everybody, the narrow
dense network included: Adam at 1.6e-2, falling along a half cosine to zero.

Shapes: B samples, N particles.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from dsmsim.tensor import TTLinear
from dsmsim.tensor.adaptation import ADAPTERS, DEFAULT_TOLERANCE, RankRule
from tools.reproduce.measurements.digits_task import (
    MODES_DIGITS,
    MODES_PIXELS,
    MODES_WIDTH,
    accuracy,
    classifier,
    load_digits_task,
    new_optimizer,
)

Batches = Iterator[tuple[Tensor, Tensor]]
PARTICLES, WIDTH, MODES = 8, 144, (12, 12)
BATCH = {"digits": 64, "field": 256}
STEPS = {"digits": 840, "field": 3000}
RANKS = {"digits": (1, 2, 3, 4, 6, 8, 12), "field": (2, 4, 6, 8, 12, 16, 24, 32)}
MOST = {"digits": 16, "field": 64}
LEAST = 4
ADAPTATIONS = 20
RATE = 1.6e-2  # in the field, best of 4e-3, 8e-3 and this for trains of rank 12 and for as small dense ones


def velocity(x: Tensor) -> Tensor:
    """v (B, N) of particles at x (B, N)."""
    apart = x.unsqueeze(-1) - x.unsqueeze(-2)
    return 2.0 * (apart * torch.exp(-2.0 * apart.square())).sum(-1) - x


class ResidualNetwork(nn.Module):
    """x (B, N) -> h (B, width), twice h <- h + tanh(W h + b), -> v (B, N)."""

    def __init__(self, make: Callable[[int, int], nn.Module], width: int) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(PARTICLES, width), nn.Linear(width, PARTICLES)
        self.hidden = nn.ModuleList(make(width, width) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.first(x))
        for layer in self.hidden:
            h = h + torch.tanh(layer(h))
        out: Tensor = self.last(h)
        return out


def tensor_model(task: str, rank: int, seed: int) -> nn.Module:
    """The network with TT layers of this rank."""
    torch.manual_seed(seed)
    if task == "field":
        return ResidualNetwork(lambda into, out: TTLinear(into, out, MODES, MODES, rank), WIDTH)
    return classifier(
        lambda into, out: TTLinear(into, out, MODES_PIXELS, MODES_WIDTH, rank),
        lambda into, out: TTLinear(into, out, MODES_WIDTH, MODES_DIGITS, rank),
    )


def dense_model(task: str, parameters: int, seed: int) -> nn.Module:
    """The dense network of the width whose parameters come closest."""

    def model(width: int) -> nn.Module:
        return ResidualNetwork(nn.Linear, width) if task == "field" else classifier(nn.Linear, width=width)

    width = min(range(1, WIDTH + 1), key=lambda width: abs(size(model(width)) - parameters))
    torch.manual_seed(seed)
    return model(width)


def size(model: nn.Module) -> int:
    """Number of parameters."""
    return sum(p.numel() for p in model.parameters())


def batches(task: str, seed: int) -> Batches:
    """Batches without an end."""
    generator = torch.Generator().manual_seed(1000 + seed)
    if task == "field":
        while True:
            x = torch.randn(BATCH[task], PARTICLES, generator=generator)
            yield x, velocity(x)
    data = load_digits_task(seed)
    while True:
        for chosen in torch.split(torch.randperm(len(data.train_y), generator=generator), BATCH[task]):
            yield data.train_x[chosen], data.train_y[chosen]


def error(task: str, model: nn.Module, seed: int) -> float:
    """On data that the training did not see."""
    if task == "digits":
        data = load_digits_task(seed)
        return 1.0 - accuracy(model, data.test_x, data.test_y)
    x = torch.randn(8192, PARTICLES, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return float(torch.linalg.vector_norm(model(x) - velocity(x)) / torch.linalg.vector_norm(velocity(x)))


def trained(
    task: str, model: nn.Module, seed: int, adapter: str | None = None, tolerance: float = 0.0
) -> tuple[int, float]:
    """Parameters and error after the training, which an adapter may follow."""
    steps = STEPS[task]
    found = adapter and ADAPTERS[adapter](model, RankRule(tolerance, steps // ADAPTATIONS, MOST[task]))
    measure = nn.functional.mse_loss if task == "field" else nn.functional.cross_entropy
    optimizer = new_optimizer(model, RATE)
    for step, (x, y) in zip(range(1, steps + 1), batches(task, seed), strict=False):
        for group in optimizer.param_groups:
            first = group.setdefault("first_lr", group["lr"])
            group["lr"] = first * 0.5 * (1.0 + math.cos(math.pi * (step - 1) / steps))
        optimizer.zero_grad()
        measure(model(x), y).backward()  # type: ignore[no-untyped-call]
        if found:
            found.observe(step)
        optimizer.step()
        if found and found.adapt(step, steps):
            state, optimizer = optimizer.state, new_optimizer(model, RATE)
            kept = [p for p in model.parameters() if p in state]
            optimizer.state.update({p: state[p] for p in kept})
    return size(model), error(task, model, seed)


@dataclass(frozen=True)
class Row:
    """Median parameters and errors of one adapter on one task."""

    task: str
    adapter: str
    parameters: int
    own: float
    fixed: float
    dense: float

    def cells(self) -> list[str]:
        errors = [f"{value:.4f}" for value in (self.own, self.fixed, self.dense)]
        return [self.task, self.adapter, str(self.parameters), *errors, f"{self.own / self.fixed:.2f}"]


def interpolated(points: Sequence[tuple[int, float]], parameters: float) -> float:
    """The error at this many parameters on the line through the points in a log-log plot."""
    logs = [(math.log(count), math.log(value)) for count, value in sorted(points)]
    at = min(max(math.log(parameters), logs[0][0]), logs[-1][0])
    low, high = next(pair for pair in pairwise(logs) if at <= pair[1][0])
    return math.exp(low[1] + (high[1] - low[1]) * (at - low[0]) / (high[0] - low[0]))


def rows(task: str, seeds: Sequence[int], tolerance: float) -> Iterator[Row]:
    """One row for each adapter, and the fixed ranks on the way."""
    fixed = []
    for rank in RANKS[task]:
        results = [trained(task, tensor_model(task, rank, seed), seed) for seed in seeds]
        fixed.append((results[0][0], statistics.median(result[1] for result in results)))
    for name, adapter in ADAPTERS.items():
        rank = LEAST if adapter.start == "least" else MOST[task]
        results = [trained(task, tensor_model(task, rank, s), s, name, tolerance) for s in seeds]
        parameters = round(statistics.median(result[0] for result in results))
        own = statistics.median(result[1] for result in results)
        dense = [trained(task, dense_model(task, parameters, seed), seed)[1] for seed in seeds]
        yield Row(task, name, parameters, own, interpolated(fixed, parameters), statistics.median(dense))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tasks", nargs="+", choices=list(STEPS), default=list(STEPS))
    parser.add_argument("--seeds", type=int, default=5, help="the median is over so many")
    parser.add_argument("--tolerance", type=float, default=DEFAULT_TOLERANCE, help="of the rounding")
    args = parser.parse_args()
    torch.set_num_threads(1)
    print("| task | ranks | parameters | error | fixed rank | narrow dense | error / fixed |")
    print("|---|---|---|---|---|---|---|")
    for task in args.tasks:
        for row in rows(task, range(args.seeds), args.tolerance):
            print("| " + " | ".join(row.cells()) + " |", flush=True)


if __name__ == "__main__":
    main()
