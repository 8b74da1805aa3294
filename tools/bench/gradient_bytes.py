"""Bytes that ranks exchange in a training step, dense against tensor trains, and the time this takes.

    OMP_NUM_THREADS=1 mpirun -n 2 python -m tools.bench.gradient_bytes [--widths 512 1024] [--rank 16]
    OMP_NUM_THREADS=1 torchrun --standalone --nproc-per-node 2 -m tools.bench.gradient_bytes

The bytes are counted in a real step (`tools.reproduce.measurements.gradient_bytes`). Then vectors of these
lengths are summed in turns; times are medians. With one rank there is nothing to sum, and the time is that of
a call that does nothing.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence

import torch

from dsmsim.parallel import World, start
from tools.reproduce.measurements.gradient_bytes import DENSE, config_of, step_bytes

TURNS = 40


def seconds_of_sums(sizes: Sequence[int], world: World) -> list[float]:
    """Median time (s) of one sum of a float32 vector of each size (bytes), measured in turns."""
    vectors = [torch.zeros(size // 4) for size in sizes]
    times: list[list[float]] = [[] for _ in sizes]
    for _ in range(TURNS):
        for vector, own in zip(vectors, times, strict=True):
            world.barrier()
            begin = time.perf_counter()
            world.sum_(vector)
            own.append(time.perf_counter() - begin)
    return [statistics.median(own) for own in times]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--widths", type=int, nargs="+", default=[512, 1024])
    parser.add_argument("--rank", type=int, default=16)
    arguments = parser.parse_args()
    with start("cpu", timeout=120.0) as world:
        names, rows = [], []
        for width in arguments.widths:
            for name, tensor in (("dense", DENSE), (f"TT rank {arguments.rank}", {"rank": arguments.rank})):
                names.append(f"{width}, {name}")
                rows.append(step_bytes(config_of(width, tensor), world))
        times = seconds_of_sums([row.summed for row in rows], world)
        if world.rank == 0:
            print(f"{world.size} rank{'s' if world.size > 1 else ''}, float32\n")
            print("| width, layers | parameters | all-reduced per step (MB) | all-reduce (ms) |")
            print("|---|---:|---:|---:|")
            for name, row, seconds in zip(names, rows, times, strict=True):
                print(f"| {name} | {row.parameters:,} | {row.summed / 1e6:.3f} | {1e3 * seconds:.2f} |")


if __name__ == "__main__":
    main()
