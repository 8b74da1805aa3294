"""The handwritten digits of the tables: the task, its training, and what an MPO reaches on it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dsmsim.tensor import TTLinear
from tools.reproduce.measurements.digits_task import (
    BATCH,
    MODES_DIGITS,
    MODES_PIXELS,
    MODES_WIDTH,
    classifier,
    load_digits_task,
    steps_in,
    train_classifier,
)


def mpo(rank: int) -> nn.Module:
    """784 -> 256 -> 10 with both matrices as MPOs, from its own seed."""
    torch.manual_seed(0)
    return classifier(
        lambda inputs, outputs: TTLinear(inputs, outputs, MODES_PIXELS, MODES_WIDTH, rank),
        lambda inputs, outputs: TTLinear(inputs, outputs, MODES_WIDTH, MODES_DIGITS, rank),
    )


def test_images_are_split_by_the_seed() -> None:
    task, again, other = load_digits_task(0), load_digits_task(0), load_digits_task(1)
    assert task.train_x.shape == (1297, 784)
    assert task.test_x.shape == (500, 784)
    assert torch.equal(task.test_x, again.test_x)
    assert not torch.equal(task.test_y, other.test_y)
    torch.testing.assert_close(task.train_x.mean(0), torch.zeros(784), rtol=0.0, atol=1e-6)
    counts = [torch.cat([one.train_y, one.test_y]).bincount() for one in (task, other)]
    assert torch.equal(counts[0], counts[1])


def test_optimizer_may_be_replaced_on_the_way() -> None:
    """One that makes no step, from step 3 on: the parameters stand still, the callback goes on."""
    model, task, seen = mpo(1), load_digits_task(0), []
    kept: list[torch.Tensor] = []

    def after_step(optimizer: torch.optim.Optimizer, step: int) -> torch.optim.Optimizer | None:
        seen.append(step)
        if step != 3:
            return None
        kept.extend(parameter.detach().clone() for parameter in model.parameters())
        return torch.optim.SGD(model.parameters(), lr=0.0)

    train_classifier(model, task, epochs=1, after_step=after_step)
    assert seen == list(range(1, steps_in(task, 1) + 1))
    assert len(seen) == -(-1297 // BATCH)
    assert all(torch.equal(old, new) for old, new in zip(kept, model.parameters(), strict=True))


def test_an_mpo_of_a_hundredth_of_the_parameters_reads_digits() -> None:
    """Medians over five seeds are in the docs; one seed scatters by about 1 %."""
    task, model = load_digits_task(0), mpo(4)
    weights = sum(parameter.numel() for name, parameter in model.named_parameters() if "cores" in name)
    assert weights / (784 * 256 + 256 * 10) == pytest.approx(0.0087, abs=5e-5)
    assert train_classifier(model, task) >= 0.965
    torch.manual_seed(0)
    narrow = classifier(nn.Linear, width=3)
    assert sum(p.numel() for p in narrow.parameters()) > sum(p.numel() for p in model.parameters())
    assert train_classifier(narrow, task) < 0.9
