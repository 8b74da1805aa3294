"""What tensor layers cost next to `nn.Linear` of the same width, in processor time on one thread.

    OMP_NUM_THREADS=1 python tools/bench/tensor_layers.py strategies [--widths 512 1024] [--cores 2 3]
                      [--ranks 1 2 4 8 16 32] [--rows 256 1024 4096 16384] [--format tt] [--forward]
    OMP_NUM_THREADS=1 python tools/bench/tensor_layers.py peers [--widths 512] [--ranks 2 8 16] [--rows 4096]

Layers are square and have no bias. All variants of one case take turns in one process, in a new order every
round; a ratio is the median over the rounds of (variant / dense in the same round), printed with its
quartiles. Forward and backward, with respect to input and parameters, unless `--forward` is given.

`strategies`: rebuild, the best sequential plan and what "auto" picks; then the largest of auto / the better
of the two, which is noise where it is the same one, and of auto / dense. A sequential variant that the plan
expects to take over `--slowest` times the dense one is not run.

`peers`: the same matrix by other libraries, where they can be imported: tensorly-torch (`FactorizedLinear`,
block TT, both of its implementations), torchTT (`LinearLayerTT`), and the way of t3nsor: per core one einsum
that broadcasts it on the matrix made so far, then a dense product.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from dsmsim.tensor import TensorLinear, TTLinear, tensor_linear
from dsmsim.tensor_shapes import balanced_modes

Run = Callable[[Tensor], Tensor]


def seconds(run: Run, x: Tensor, upstream: Tensor | None) -> float:
    """Processor seconds of one application, with a backward pass if there is an upstream gradient."""
    start = time.process_time()
    if upstream is None:
        with torch.no_grad():
            run(x)
    else:
        run(x).backward(upstream)
    return time.process_time() - start


def ratios(
    runs: dict[str, Run], x: Tensor, upstream: Tensor | None, budget: float
) -> dict[str, tuple[float, float, float]]:
    """Median and quartiles of every variant's time over that of "dense", round by round.

    Args:
        runs: variants by name.
        x, upstream: input (B, I) and gradient of the output (B, O).
        budget: seconds for all rounds; at least 5 of them are done, at most 101.
    """
    once = sum(min(seconds(run, x, upstream) for _ in range(2)) for run in runs.values())
    found: dict[str, list[float]] = {name: [] for name in runs}
    order = list(runs)
    for _ in range(min(101, max(5, int(budget / once)))):
        random.shuffle(order)
        times = {name: seconds(runs[name], x, upstream) for name in order}
        for name, value in times.items():
            found[name].append(value / times["dense"])
    quartiles = {name: statistics.quantiles(values, n=4) for name, values in found.items()}
    return {name: (low, middle, high) for name, (low, middle, high) in quartiles.items()}


def show(value: tuple[float, float, float] | None) -> str:
    """Median and quartiles in a fixed width."""
    return " " * 17 if value is None else f"{value[1]:5.2f} ({value[0]:4.2f},{value[2]:5.2f})"


def data(width: int, rows: int, forward: bool) -> tuple[Tensor, Tensor | None]:
    """Input (B, n) and gradient of the output (B, n)."""
    x = torch.randn(rows, width, requires_grad=not forward)
    return x, None if forward else torch.randn(rows, width)


def cases(arguments: argparse.Namespace) -> Iterator[tuple[int, int, int, int]]:
    """(width, number of cores, rank, rows)."""
    for width in arguments.widths:
        for cores in arguments.cores:
            for rank in arguments.ranks:
                for rows in arguments.rows:
                    yield width, cores, rank, rows


def strategies(arguments: argparse.Namespace) -> None:
    """The table of the strategies, and the largest of the ratios that matter."""
    print("  n   d  rank   rows    rebuild          sequential        auto              auto is")
    worst = {"auto / better": (0.0, ""), "auto / dense": (0.0, "")}
    for width, cores, rank, rows in cases(arguments):
        modes = balanced_modes(width, cores)
        shape = {} if arguments.format == "lowrank" else {"modes_in": modes, "modes_out": modes}
        layer = tensor_linear(arguments.format, width, width, rank=rank, bias=False, **shape)
        x, upstream = data(width, rows, arguments.forward)
        chosen, slow = (layer.plan(rows, not arguments.forward, kind) for kind in ("auto", "sequential"))
        runs: dict[str, Run] = {"dense": nn.Linear(width, width, bias=False)}
        runs |= {"rebuild": as_strategy(layer, "rebuild"), "auto": as_strategy(layer, "auto")}
        if slow.time < arguments.slowest:
            runs["sequential"] = as_strategy(layer, "sequential")
        found = ratios(runs, x, upstream, arguments.budget)
        better = min(found[name][1] for name in ("rebuild", "sequential") if name in found)
        name = f"n = {width}, d = {cores}, rank {rank}, {rows} rows"
        for key, value in (("auto / better", found["auto"][1] / better), ("auto / dense", found["auto"][1])):
            worst[key] = max(worst[key], (value, name))
        columns = "  ".join(show(found.get(key)) for key in ("rebuild", "sequential", "auto"))
        parts = "" if chosen.kind == "rebuild" else f" {chosen.grouping} {chosen.direction}"
        expected = f"expected {chosen.time:.2f}, sequential {slow.time:.2f}"
        columns += f"  {chosen.kind}{parts}"
        print(
            f"{width:5d} {cores}  {rank:3d} {rows:7d}  {columns}, {expected}",
            flush=True,
        )
    for key, (value, name) in worst.items():
        print(f"largest {key}: {value:.2f} ({name})")


def as_strategy(layer: TensorLinear, choice: str) -> Run:
    """The layer's `forward` with its strategy set to this one."""

    def run(x: Tensor) -> Tensor:
        layer.strategy = choice  # type: ignore[assignment]
        y: Tensor = layer(x)
        return y

    return run


class Broadcast(nn.Module):
    """A TT matrix rebuilt at every use, one einsum a core, as t3nsor does it."""

    def __init__(self, cores: Sequence[Tensor]) -> None:
        super().__init__()
        self.cores = nn.ParameterList(cores)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, I) to (B, O)."""
        full = self.cores[0]
        for core in list(self.cores)[1:]:
            full = torch.einsum("aoib,bmnc->aominc", full, core)
            full = full.reshape(1, full.shape[1] * full.shape[2], full.shape[3] * full.shape[4], -1)
        return x @ full.squeeze(0).squeeze(-1).T


def peer_layers(width: int, modes: Sequence[int], rank: int) -> Iterator[tuple[str, Run]]:
    """Layers of other libraries, of the same modes and rank."""
    yield "rebuilt by broadcast", Broadcast(list(TTLinear(width, width, modes, modes, rank).cores))
    warnings.simplefilter("ignore")  # torchTT warns that it runs without its C++ part
    try:
        from tltorch import FactorizedLinear

        for way in ("factorized", "reconstructed"):
            yield (
                f"tensorly-torch, {way}",
                FactorizedLinear(
                    tuple(modes),
                    tuple(modes),
                    bias=False,
                    factorization="blocktt",
                    rank=[1, *[rank] * (len(modes) - 1), 1],
                    implementation=way,
                ),
            )
    except ImportError as error:
        print(f"(no tensorly-torch: {error})")
    try:
        from torchtt.nn import LinearLayerTT
    except ImportError as error:
        print(f"(no torchTT: {error})")
        return
    chain = LinearLayerTT(list(modes), list(modes), [1, *[rank] * (len(modes) - 1), 1])
    yield "torchTT", lambda x: chain(x.reshape(-1, *modes)).reshape(-1, width)


def peers(arguments: argparse.Namespace) -> None:
    """The table of other libraries."""
    for width, cores, rank, rows in cases(arguments):
        modes = balanced_modes(width, cores)
        x, upstream = data(width, rows, arguments.forward)
        runs: dict[str, Run] = {"dense": nn.Linear(width, width, bias=False)}
        runs["this one"] = TTLinear(width, width, modes, modes, rank, bias=False)
        for name, run in peer_layers(width, modes, rank):
            try:
                seconds(run, x, upstream)
            except (RuntimeError, TypeError, ValueError, AttributeError) as error:
                print(f"({name} failed: {error})")
            else:
                runs[name] = run
        found = ratios(runs, x, upstream, arguments.budget)
        print(f"n = {width}, modes {modes}, rank {rank}, {rows} rows")
        for name, value in found.items():
            print(f"  {name:32s} {show(value)}", flush=True)


def main() -> None:
    """Read the arguments and print a table."""
    summary, _, details = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=details, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", choices=("strategies", "peers"))
    parser.add_argument("--widths", type=int, nargs="+", default=None)
    parser.add_argument("--cores", type=int, nargs="+", default=[2, 3])
    parser.add_argument("--ranks", type=int, nargs="+", default=None)
    parser.add_argument("--rows", type=int, nargs="+", default=None)
    parser.add_argument("--format", default="tt", help="of the table of strategies")
    parser.add_argument("--forward", action="store_true", help="without the backward pass")
    parser.add_argument("--slowest", type=float, default=3.0)
    parser.add_argument("--budget", type=float, default=2.0, help="seconds for a case")
    arguments = parser.parse_args()
    whole = arguments.table == "strategies"
    arguments.widths = arguments.widths or ([512, 1024] if whole else [512])
    arguments.ranks = arguments.ranks or ([1, 2, 4, 8, 16, 32] if whole else [2, 8, 16])
    arguments.rows = arguments.rows or ([256, 1024, 4096, 16384] if whole else [4096])
    torch.set_num_threads(1)
    torch.manual_seed(0)
    (strategies if whole else peers)(arguments)


if __name__ == "__main__":
    main()
