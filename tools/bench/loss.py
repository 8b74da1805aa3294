"""How fast the fused residual engine is, as ratios measured in one process.

    python tools/bench/loss.py [--width 500] [--d 2 3 5 10 20] [--points 1000] [--repeats 3] [--device cpu]
                               [--dtype float32] [--threads 1] [--no-onednn] [--tf32] [--memory 15100]

Loss and parameter gradient of the same interacting bosons at the same points, in turns, by

    fused        this project's engine for residual tanh networks
    torch_func   this project's engine for any network, in chunks of 512 points
    graph        torch.autograd as well as it can: one graph, reverse mode for every output, nothing twice
    published    the structure of the published code (Orlova et al., ICML 2024, interacting systems): every
                 term is differentiated from networks evaluated anew, all points in one graph

A network costs F = 4 blocks H^2 operations per point, the fused loss with its gradient (6d + 6) F for each of
the two. Its rate in these operations is compared with the best product of large matrices (torch.mm and
torch.nn.functional.linear, and oneDNN on a CPU), measured in the same turns. With one thread of a CPU times
are those of the processor, since other programs disturb them least; otherwise they are those of the clock.

`--memory N` prints the peak memory of each engine at N points, each in a process of its own; where the graph
of all points would not fit, from the growth between fewer points.
"""

from __future__ import annotations

import argparse
import math
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dsmsim.config import parse_config
from dsmsim.networks import VelocityFields, build_fields
from dsmsim.residuals.fused import FusedLoss, fused_loss
from dsmsim.residuals.loss import residual_loss
from dsmsim.system import System, build_initial, build_system

CHUNK = 512  # points in a graph of torch_func
PEAK_SIZE = {"cpu": 2048, "cuda": 8192}
CHECKED = 64  # points compared with double precision
NAMES = ("fused", "torch_func", "graph", "published")
MEGABYTE = 1 << 20


@dataclass(frozen=True)
class Case:
    """Fields, system and points of one benchmark."""

    fields: VelocityFields
    system: System
    x: Tensor
    t: Tensor

    @property
    def weights(self) -> Tensor:
        """(P,) that make a sum over points a mean over points and coordinates."""
        return torch.full_like(self.t[:, 0], 1.0 / self.x.numel())

    def loss(self, name: str) -> Callable[[], object]:
        """Loss and gradient by the engine of this name."""
        if name == "fused":
            engine: FusedLoss = fused_loss(self.fields, self.system, "gradient")
            weights = self.weights
            return lambda: engine.backward(self.x, self.t, weights, weights)
        if name == "torch_func":
            return self._torch_func
        mean = graph_loss if name == "graph" else published_loss
        return lambda: torch.autograd.backward(mean(self.fields, self.system, self.x, self.t))

    def _torch_func(self) -> None:
        loss = residual_loss(self.fields, self.system, "gradient")
        for first in range(0, len(self.x), CHUNK):
            found = loss(self.x[first : first + CHUNK], self.t[first : first + CHUNK])
            torch.autograd.backward((found.score.sum() + found.newton.sum()) / self.x.numel())


def make_case(options: argparse.Namespace, d: int, points: int) -> Case:
    """Interacting bosons in a harmonic trap, as published."""
    config = parse_config(
        {
            "system": {
                "particles": d,
                "hbar": 0.1,
                "trap": {"kind": "harmonic", "omega": 1.0},
                "interaction": {"kind": "gaussian", "g": 1.0, "s2": 0.1},
            },
            "time": {"end": 1.0},
            "network": {"kind": "mlp", "width": options.width, "blocks": options.blocks},
            "train": {"precision": options.dtype},
        }
    )
    system, initial = build_system(config), build_initial(config)
    fields = build_fields(config, system, initial)
    assert isinstance(fields, VelocityFields)
    fields.to(options.device)
    generator = torch.Generator().manual_seed(0)
    x = math.sqrt(initial.variance[0]) * torch.randn(points, d, generator=generator, dtype=torch.float64)
    t = torch.rand(points, 1, generator=generator, dtype=torch.float64)
    place = {"device": options.device, "dtype": getattr(torch, options.dtype)}
    return Case(fields, system, x.to(**place), t.to(**place))


def rows_of_jacobian(values: Tensor, inputs: Sequence[Tensor]) -> list[tuple[Tensor, ...]]:
    """Gradients of every output in the inputs, by one reverse pass each."""
    return [torch.autograd.grad(column.sum(), inputs, create_graph=True) for column in values.unbind(1)]


def graph_loss(fields: VelocityFields, system: System, x: Tensor, t: Tensor) -> Tensor:
    """Sum of both mean squared residuals, in natural units, from one graph."""
    x, t = x.detach().requires_grad_(True), t.detach().requires_grad_(True)
    values, jacobians, rates, gradients = fields(x, t), [], [], []
    for value in values:
        rows = rows_of_jacobian(value, (x, t))
        jacobians.append(torch.stack([row[0] for row in rows], 1))
        rates.append(torch.cat([row[1] for row in rows], 1))
        divergence = jacobians[-1].diagonal(dim1=1, dim2=2).sum()
        gradients.append(torch.autograd.grad(divergence, x, create_graph=True)[0])

    def product(which: int, value: int) -> Tensor:
        return torch.einsum("bij,bi->bj", jacobians[which], values[value])

    half = system.hbar / (2.0 * system.mass)
    force = system.gradient(x.detach(), t.detach()) / system.mass
    newton = rates[1] + force - product(0, 0) + product(1, 1) - half * gradients[0]
    score = rates[0] + product(0, 1) + product(1, 0) + half * gradients[1]
    unit = fields.frame.acceleration(t.detach())
    return (newton / unit).square().mean() + (score / unit).square().mean()


def published_loss(fields: VelocityFields, system: System, x: Tensor, t: Tensor) -> Tensor:
    """The same by the published structure, in which every derivative starts from a new evaluation."""
    x, t = x.detach().requires_grad_(True), t.detach().requires_grad_(True)

    def jacobian(which: int) -> Tensor:
        return torch.stack([row[0] for row in rows_of_jacobian(velocity(which), (x,))], 1)

    def velocity(which: int) -> Tensor:
        return one_velocity(fields, which, x, t)

    rates, kinetic, gradients = [], [], []
    for which in range(2):
        rates.append(torch.cat([row[0] for row in rows_of_jacobian(velocity(which), (t,))], 1))
        kinetic.append(torch.einsum("bij,bi->bj", jacobian(which), velocity(which)))
        divergence = jacobian(which).diagonal(dim1=1, dim2=2).sum()
        gradients.append(torch.autograd.grad(divergence, x, create_graph=True)[0])
    overlap = (velocity(0) * velocity(1)).sum()
    transport = torch.autograd.grad(overlap, x, create_graph=True)[0]
    half = system.hbar / (2.0 * system.mass)
    force = system.gradient(x.detach(), t.detach()) / system.mass
    newton = rates[1] + force - kinetic[0] + kinetic[1] - half * gradients[0]
    score = rates[0] + transport + half * gradients[1]
    unit = fields.frame.acceleration(t.detach())
    return (newton / unit).square().mean() + (score / unit).square().mean()


def one_velocity(fields: VelocityFields, which: int, x: Tensor, t: Tensor) -> Tensor:
    """u or v alone, in the lab frame with an exact initial condition."""
    frame, net = fields.frame, (fields.u, fields.v)[which]
    start = (fields.initial.u, fields.initial.v)[which](x)
    value: Tensor = net((x - frame.center) / frame.sigma, frame.clock(t))
    return start + frame.gate(t) * frame.velocity * value


def in_turns(options: argparse.Namespace, runs: dict[str, Callable[[], object]]) -> dict[str, list[float]]:
    """Seconds of each run, made in turns; one turn is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    alone = options.device == "cpu" and options.threads == 1
    clock = time.process_time if alone else time.perf_counter
    for turn in range(options.repeats + 1):
        for name, run in runs.items():
            synchronize(options)
            started = clock()
            run()
            synchronize(options)
            if turn:
                seconds[name].append(clock() - started)
    return seconds


def synchronize(options: argparse.Namespace) -> None:
    """Wait for the device."""
    if options.device == "cuda":
        torch.cuda.synchronize()


def products(options: argparse.Namespace) -> dict[str, Callable[[], object]]:
    """Products of large square matrices by every library at hand."""
    size = PEAK_SIZE[options.device]
    dtype = getattr(torch, options.dtype)
    a, b = (torch.randn(size, size, device=options.device, dtype=dtype) for _ in range(2))
    found: dict[str, Callable[[], object]] = {
        "mm": lambda: torch.mm(a, b),
        "linear": lambda: torch.nn.functional.linear(a, b),
    }
    if options.device == "cpu" and dtype == torch.float32 and not options.no_onednn:
        # 1 x 1 convolutions are how torch hands plain tensors to oneDNN in public
        image, kernel = a.t().reshape(1, size, size, 1), b.reshape(size, size, 1, 1)
        image = image.contiguous(memory_format=torch.channels_last)
        found["convolution"] = lambda: torch.nn.functional.conv2d(image, kernel)
    return found


def deviation(options: argparse.Namespace, case: Case, d: int) -> float:
    """Largest relative deviation of the fused gradient from the oracle in double precision."""
    double = make_case(argparse.Namespace(**(vars(options) | {"dtype": "float64", "device": "cpu"})), d, 1)
    double.fields.load_state_dict(case.fields.state_dict())
    few = Case(case.fields, case.system, case.x[:CHECKED], case.t[:CHECKED])
    reference = Case(double.fields, double.system, few.x.double().cpu(), few.t.double().cpu())
    for each, name in ((few, "fused"), (reference, "torch_func")):
        each.fields.zero_grad()
        each.loss(name)()
    pairs = zip(few.fields.parameters(), reference.fields.parameters(), strict=True)
    worst = [
        ((p.grad.double().cpu() - q.grad).norm() / q.grad.norm()).item()
        for p, q in pairs
        if p.grad is not None and q.grad is not None
    ]
    return float(max(worst))


def compare(options: argparse.Namespace, d: int) -> None:
    """One line for each engine."""
    case = make_case(options, d, options.points)
    off = deviation(options, case, d)
    chosen = [name for name in NAMES if name in options.against or name == "fused"]
    runs = {name: case.loss(name) for name in chosen} | products(options)
    seconds = in_turns(options, runs)
    rates = [2.0 * PEAK_SIZE[options.device] ** 3 / statistics.median(seconds[n]) for n in products(options)]
    operations = 2 * options.points * (6 * d + 6) * 4 * options.blocks * options.width**2
    fused = statistics.median(seconds["fused"])
    rate, best = operations / fused, max(rates)
    print(
        f"d={d:<3d} fused {rate / 1e9:.0f} GFLOP/s, {rate / best:.0%} of a product ({best / 1e9:.0f}), "
        f"{1.0 / fused:.3g} steps/s, gradient off by {off:.1e} from float64"
    )
    for name in chosen:
        ratios = sorted(slow / fast for slow, fast in zip(seconds[name], seconds["fused"], strict=True))
        median = statistics.median(seconds[name])
        spread = f"({ratios[0]:.2f} ... {ratios[-1]:.2f})"
        print(f"      {name:<11s}{median:10.4g} s  {statistics.median(ratios):6.2f} times the fused {spread}")
    sys.stdout.flush()


def peak_memory(options: argparse.Namespace, name: str, d: int, points: int) -> float:
    """MB that an engine needs beyond the process before it, measured in a process of its own."""
    arguments = ["--width", options.width, "--blocks", options.blocks, "--dtype", options.dtype]
    arguments += ["--device", options.device, "--threads", options.threads, "--d", d, "--points", points]
    command = [sys.executable, __file__, "--only", name, *map(str, arguments)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def run_only(options: argparse.Namespace) -> None:
    """Print the peak memory (MB) of one loss and gradient."""
    make_case(options, options.d[0], 4).loss(options.only)()  # what any run loads and compiles
    case = make_case(options, options.d[0], options.points)
    if options.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        case.loss(options.only)()
        print((torch.cuda.max_memory_allocated() - before) / MEGABYTE)
        return
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    case.loss(options.only)()
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)


def compare_memory(options: argparse.Namespace, d: int) -> None:
    """Peak memory of every engine at `options.memory` points."""
    for name in NAMES:
        if name in ("fused", "torch_func"):
            print(f"d={d:<3d} {name:<11s}{peak_memory(options, name, d, options.memory):10.0f} MB")
            continue
        few, many = max(100, 1000 // d), max(200, 2000 // d)
        low, high = (peak_memory(options, name, d, points) for points in (few, many))
        slope = (high - low) / (many - few)
        total = high + slope * (options.memory - many)
        print(f"d={d:<3d} {name:<11s}{total:10.0f} MB, extrapolated from {few} and {many} points")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--width", type=int, default=500)
    parser.add_argument("--blocks", type=int, default=1)
    parser.add_argument("--d", type=int, nargs="+", default=[2, 3, 5, 10, 20], help="numbers of bosons")
    parser.add_argument("--points", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    parser.add_argument("--threads", type=int, default=1, help="on a CPU")
    parser.add_argument("--against", choices=NAMES, nargs="*", default=NAMES[1:])
    parser.add_argument("--no-onednn", action="store_true", help="torch.mm and its BLAS alone")
    parser.add_argument("--tf32", action="store_true", help="products in TF32 on a GPU")
    parser.add_argument("--memory", type=int, metavar="N", help="peak memory at N points in place of times")
    parser.add_argument("--only", choices=NAMES, help="print the peak memory (MB) of one engine")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.tf32:
        torch.set_float32_matmul_precision("high")
    if options.no_onednn:
        set_flags: Any = torch.backends.mkldnn.set_flags
        set_flags(_enabled=False)
    if options.only:
        run_only(options)
        return
    for d in options.d:
        (compare_memory if options.memory else compare)(options, d)


if __name__ == "__main__":
    main()
