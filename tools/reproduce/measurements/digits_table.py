"""Handwritten digits: what networks of few numbers reach, in every tensor format and narrow and dense.

Network and data: `digits_task`, 784 -> 256 -> 10; both matrices have the format and the rank. "Share" is
counted as it is published (Gao et al. 2020): weights over those of the dense network, biases left out.
Every seed draws the images to test with (500 of 1797), the first weights and the order of the images;
networks of one seed see the same images. Accuracies are those at the end of the training, no network is
picked on the way, and all networks are trained alike.

Shapes: R ranks or widths, S seeds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import nn

from dsmsim.tensor import tensor_linear
from tools.reproduce.measurements.digits_task import (
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
from tools.reproduce.measuring import Columns

BLOCKS = 2
DENSE = "dense"
DENSE_WEIGHTS = PIXELS * WIDTH + WIDTH * DIGITS


def accuracies(
    directory: Path, *, format: str, ranks: Sequence[int], seeds: Sequence[int], epochs: int = 40
) -> Columns:
    """Test accuracies of one format.

    Args:
        directory: of the measurement; nothing but what is returned is kept.
        format: of `dsmsim.tensor`, or "dense".
        ranks: of the format; hidden units of a dense network.
        seeds: one network for each.
        epochs: passes over the 1297 images to train on.

    Returns:
        rank (R,), parameters (R,) with biases, weights (R,) and share (R,) without, accuracy (R, S), seconds
        (R,) of one network's training.
    """
    models = [partial(network, format, rank) for rank in ranks]
    found = [[_trained(make, seed, epochs) for seed in seeds] for make in models]
    sizes = [weights(make()) for make in models]
    return Columns(
        {
            "rank": list(ranks),
            "parameters": [parameters(make()) for make in models],
            "weights": sizes,
            "share": [size / DENSE_WEIGHTS for size in sizes],
            "seed": list(seeds),
            "accuracy": [[accuracy for accuracy, _ in row] for row in found],
            "seconds": [sum(seconds for _, seconds in row) / len(seeds) for row in found],
        },
        {"seconds": "CPU s"},
    )


def network(format: str, rank: int) -> nn.Module:
    """Both matrices in one format; "dense": a dense network of `rank` hidden units."""
    if format == DENSE:
        return classifier(nn.Linear, width=rank)

    def layer(modes_in: tuple[int, ...], modes_out: tuple[int, ...], inputs: int, outputs: int) -> nn.Module:
        modes = () if format == "lowrank" else (modes_in, modes_out)  # low rank has none
        blocks = BLOCKS if format == "blockterm" else 1
        return tensor_linear(format, inputs, outputs, *modes, rank=rank, blocks=blocks)

    return classifier(partial(layer, MODES_PIXELS, MODES_WIDTH), partial(layer, MODES_WIDTH, MODES_DIGITS))


def parameters(model: nn.Module) -> int:
    """All of them, biases included."""
    return sum(parameter.numel() for parameter in model.parameters())


def weights(model: nn.Module) -> int:
    """Those that are not biases."""
    named = model.named_parameters()
    return sum(parameter.numel() for name, parameter in named if not name.endswith("bias"))


def _trained(make: Callable[[], nn.Module], seed: int, epochs: int) -> tuple[float, float]:
    """Accuracy, and CPU seconds of the training."""
    torch.manual_seed(seed)
    model, task = make(), load_digits_task(seed)
    began = time.process_time()
    accuracy = train_classifier(model, task, epochs=epochs, seed=seed)
    return accuracy, time.process_time() - began
