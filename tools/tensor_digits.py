"""Handwritten digits: accuracy against parameters for every tensor format, and for narrow dense networks.

    python tools/tensor_digits.py [--seeds 5] [--formats tt tr lowrank cp tucker blockterm]

About four minutes on one core. Network and data: `digits_tasks`, 784 -> 256 -> 10. Both matrices have the
format and the rank; the dense network has 203,264 weights, of which "share" is counted as it is published
(Gao et al. 2020: biases left out). "Narrow dense" is a dense network with fewer hidden units, the fewest that
have no fewer parameters, biases included. Every seed draws the images to test with (500 of 1797), the first
weights and the order of the images; rows of one seed see the same images. Accuracies: median over seeds
(lowest to highest) at the end of the training, no network picked on the way; all networks are trained alike.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import cache, partial

import torch
from digits_tasks import (
    DIGITS,
    MODES_DIGITS,
    MODES_PIXELS,
    MODES_WIDTH,
    PIXELS,
    WIDTH,
    classifier,
    load_digits_task,
    train_classifier,
)
from torch import nn

from dsmsim.tensor import tensor_linear

# ranks whose shares are about 0.003, 0.009 and 0.03
RANKS: dict[str, tuple[int, ...]] = {
    "tt": (2, 4, 8),
    "tr": (2, 3, 7),
    "lowrank": (1, 2, 5),
    "cp": (4, 12, 48),
    "tucker": (3, 5, 8),
    "blockterm": (2, 4, 6),
}
BLOCKS = 2
DENSE_WEIGHTS = PIXELS * WIDTH + WIDTH * DIGITS
TITLES = (
    *("format", "rank", "weights", "share", "accuracy, %", "CPU s"),
    *("narrow dense units", "its parameters", "its accuracy, %"),
)

Make = Callable[[], nn.Module]


def tensor_network(format: str, rank: int) -> nn.Module:
    """Both matrices in one format."""

    def layer(modes_in: tuple[int, ...], modes_out: tuple[int, ...], inputs: int, outputs: int) -> nn.Module:
        modes = () if format == "lowrank" else (modes_in, modes_out)  # low rank has none
        blocks = BLOCKS if format == "blockterm" else 1
        return tensor_linear(format, inputs, outputs, *modes, rank=rank, blocks=blocks)

    hidden, head = partial(layer, MODES_PIXELS, MODES_WIDTH), partial(layer, MODES_WIDTH, MODES_DIGITS)
    return classifier(hidden, head)


def parameters(model: nn.Module) -> int:
    """All of them, biases included."""
    return sum(parameter.numel() for parameter in model.parameters())


def weights(model: nn.Module) -> int:
    """Those that are not biases."""
    named = model.named_parameters()
    return sum(parameter.numel() for name, parameter in named if not name.endswith("bias"))


def accuracies(make: Make, seeds: int) -> list[float]:
    """Test accuracies, one network for every seed."""
    found = []
    for seed in range(seeds):
        torch.manual_seed(seed)
        found.append(train_classifier(make(), load_digits_task(seed), seed=seed))
    return found


@cache
def narrow(width: int, seeds: int) -> list[float]:
    """The same for a dense network of so many hidden units."""
    return accuracies(partial(classifier, nn.Linear, width=width), seeds)


def shown(found: list[float]) -> str:
    """Median and range in per cent."""
    low, middle, high = (100.0 * value for value in (min(found), statistics.median(found), max(found)))
    return f"{middle:.1f} ({low:.1f} to {high:.1f})"


def row(format: str, rank: int, seeds: int) -> str:
    """One line of the table."""
    model = tensor_network(format, rank)
    width = -(-(parameters(model) - DIGITS) // (PIXELS + 1 + DIGITS))
    start = time.process_time()
    found = accuracies(partial(tensor_network, format, rank), seeds)
    seconds = (time.process_time() - start) / seeds
    cells = (
        format,
        f"{rank}" + (f", {BLOCKS} blocks" if format == "blockterm" else ""),
        f"{weights(model):,}",
        f"{weights(model) / DENSE_WEIGHTS:.4f}",
        shown(found),
        f"{seconds:.1f}",
        f"{width}",
        f"{parameters(classifier(nn.Linear, width=width)):,}",
        shown(narrow(width, seeds)),
    )
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5, help="networks of every kind")
    parser.add_argument("--formats", nargs="+", choices=RANKS, default=list(RANKS))
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(f"| {' | '.join(TITLES)} |\n|{' --- |' * len(TITLES)}")
    dense = shown(narrow(WIDTH, args.seeds))
    print(f"| dense | - | {DENSE_WEIGHTS:,} | 1 | {dense} | - | - | - | - |", flush=True)
    for format in args.formats:
        for rank in RANKS[format]:
            print(row(format, rank, args.seeds), flush=True)


if __name__ == "__main__":
    main()
