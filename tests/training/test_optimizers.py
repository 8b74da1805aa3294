"""Learning rates by epoch and by kind of parameter."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from cases import GAUSS_NEWTON, LBFGS, POTENTIAL, config_of, losses_of_training

from dsmsim.config import TrainTable
from dsmsim.parallel import World
from dsmsim.training.optimizers import (
    CORE_RATES,
    FirstOrder,
    build_torch_optimizer,
    learning_rate,
    set_learning_rate,
)
from dsmsim.training.state import TrainState, new_state

TT = {"network.tensor": {"rank": 2}}
ADAM = {"train.optimizer": "adam"}


def table(**values: Any) -> TrainTable:
    return config_of({f"train.{name}": value for name, value in values.items()}).train


def rates(train: TrainTable) -> list[float]:
    return [learning_rate(train, epoch) for epoch in range(train.epochs)]


def test_constant_schedule() -> None:
    train = table(epochs=5, warmup=0, learning_rate=0.3, schedule="constant")
    assert rates(train) == [0.3] * 5


def test_cosine_schedule_falls_from_the_full_rate_towards_zero() -> None:
    found = rates(table(epochs=8, warmup=0, learning_rate=0.4, schedule="cosine"))
    assert found[0] == 0.4
    assert found[4] == pytest.approx(0.2, rel=1e-15)
    assert found[2] == pytest.approx(0.2 * (1.0 + math.sqrt(0.5)), rel=1e-14)
    assert found[7] == pytest.approx(0.2 * (1.0 - math.cos(math.pi / 8)), rel=1e-12)
    assert all(later < earlier for earlier, later in itertools.pairwise(found))


def test_trapezoid_schedule_falls_at_the_end() -> None:
    found = rates(table(epochs=10, warmup=0, learning_rate=0.6, schedule="trapezoid"))
    assert found == pytest.approx([0.6] * 8 + [0.4, 0.2])


def test_exponential_schedule_falls_to_a_hundredth() -> None:
    found = rates(table(epochs=8, warmup=0, learning_rate=0.4, schedule="exponential"))
    assert found[0] == 0.4
    assert found[4] == pytest.approx(0.04, rel=1e-14)
    assert found[7] * found[1] == pytest.approx(0.004 * 0.4, rel=1e-13)
    ratios = [later / earlier for earlier, later in itertools.pairwise(found)]
    assert ratios == pytest.approx([0.01**0.125] * 7, rel=1e-13)


def test_warm_up_is_linear_and_reaches_the_full_rate_in_its_last_epoch() -> None:
    found = rates(table(epochs=8, warmup=4, learning_rate=1.0, schedule="constant"))
    assert found == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0]


def test_warm_up_multiplies_the_schedule() -> None:
    plain = rates(table(epochs=8, warmup=0, schedule="cosine"))
    warm = rates(table(epochs=8, warmup=4, schedule="cosine"))
    factors = [0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0]
    assert warm == pytest.approx([a * b for a, b in zip(plain, factors, strict=True)], rel=1e-14)


def cores_and_others(state: TrainState) -> tuple[list[torch.nn.Parameter], list[torch.nn.Parameter]]:
    named = list(state.fields.named_parameters())
    return [p for name, p in named if ".cores." in name], [p for name, p in named if ".cores." not in name]


@pytest.mark.parametrize(("optimizer", "rate"), [("adam", CORE_RATES["adam"]), ("soap", 1.0)])
def test_cores_have_a_group_of_their_own_and_nothing_is_forgotten(optimizer: str, rate: float) -> None:
    state = new_state(config_of(TT | {"train.optimizer": optimizer}), World())
    cores, others = cores_and_others(state)
    assert isinstance(state.optimizer, FirstOrder)
    groups = state.optimizer.torch.param_groups
    assert len(cores) == 8  # two networks, two hidden layers each, two cores a layer
    assert [[id(p) for p in group["params"]] for group in groups] == [
        [id(p) for p in others],
        [id(p) for p in cores],
    ]
    set_learning_rate(state.optimizer.torch, 0.01)
    assert [group["lr"] for group in groups] == [0.01, 0.01 * rate]


def test_dense_networks_have_one_group() -> None:
    state = new_state(config_of({}), World())
    assert isinstance(state.optimizer, FirstOrder)
    set_learning_rate(state.optimizer.torch, 0.01)
    assert [group["lr"] for group in state.optimizer.torch.param_groups] == [0.01]


def test_first_adam_step_has_the_length_of_the_learning_rate() -> None:
    """Adam's first step is lr * sign(gradient): the rate that a parameter really gets can be read off."""
    config = config_of(TT | ADAM)
    state = new_state(config, World())
    optimizer = build_torch_optimizer(state.fields, config.train)
    cores, others = cores_and_others(state)
    before = {id(p): p.detach().clone() for p in [*cores, *others]}
    for parameter in [*cores, *others]:
        parameter.grad = torch.ones_like(parameter)
    set_learning_rate(optimizer, 0.01)
    optimizer.step()
    for parameters, rate in ((others, 0.01), (cores, 0.01 * CORE_RATES["adam"])):
        for parameter in parameters:
            moved = before[id(parameter)] - parameter.detach()
            torch.testing.assert_close(moved, torch.full_like(moved, rate), rtol=1e-6, atol=0.0)


@pytest.mark.parametrize(
    ("changes", "epochs", "level"),
    [
        (ADAM | {"train.learning_rate": 3e-3}, 100, 0.1),
        ({}, 100, 0.06),
        ({"train.schedule": "exponential"}, 100, 0.06),
        (LBFGS, 5, 0.08),
        (GAUSS_NEWTON, 20, 0.02),
        (GAUSS_NEWTON | {"train.precision": "float32"}, 20, 0.02),
        (GAUSS_NEWTON | POTENTIAL, 20, 0.01),
        (GAUSS_NEWTON | {"network.initial": "learned"}, 20, 0.06),
    ],
    ids=[
        *("adam", "soap", "soap exponential", "lbfgs", "gauss_newton", "gauss_newton 32"),
        *("gauss_newton potential", "gauss_newton learned"),
    ],
)
def test_every_optimiser_reaches_its_level_on_the_tiny_problem(
    changes: dict[str, Any], epochs: int, level: float
) -> None:
    losses = losses_of_training(config_of(changes | {"train.epochs": epochs}))
    assert losses[0] > 0.2
    assert sum(losses[-4:]) / 4 < level
