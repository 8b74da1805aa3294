"""A small loss is no proof: the checks that need no reference see a wrong answer that the loss does not.

Two trained networks for three interacting bosons lie in tests/data (made by
tools/train_networks_for_tests.py): the published sorted network, whose variance is 4 % off, and a plain MLP
of the same size, budget and seed. Both reach losses of a few thousandths.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from dsmsim.config import Config, parse_config
from dsmsim.measure import Check
from dsmsim.parallel import World
from dsmsim.store import read_results
from dsmsim.training.evaluate import evaluate
from dsmsim.training.state import new_state
from dsmsim.training.trained import trained_fields

DATA = Path(__file__).parents[1] / "data"
SAMPLES = 10_000
EXACT_VARIANCE = 0.419046811  # Var x_1 at t = 1, from a grid in relative coordinates, 1e-10


def _checks(kind: str) -> tuple[dict[str, Check], float, float]:
    """Checks, variance of x_1 at the end, and loss of one of the stored networks."""
    stored = read_results(DATA / f"three_bosons_{kind}.h5")
    config, fields = trained_fields(stored)
    config = _with_samples(config)
    state = new_state(config, World())
    state.fields = fields
    torch.set_num_threads(1)
    evaluation = evaluate(config, state, World(), lambda done, total: None)
    variance = float(evaluation.sums.observables()["variance"][-1].mean())
    loss = float(np.mean(stored.results["training"]["loss"][-20:]))
    return {check.name: check for check in evaluation.checks}, variance, loss


def _with_samples(config: Config) -> Config:
    plain = config.to_dict()
    plain["evaluation"] |= {"samples": SAMPLES, "trials": 5}
    return parse_config(plain)


@pytest.fixture(scope="module")
def sorted_network() -> tuple[dict[str, Check], float, float]:
    return _checks("sorted")


@pytest.fixture(scope="module")
def plain_network() -> tuple[dict[str, Check], float, float]:
    return _checks("mlp")


def test_the_sorted_network_is_wrong_with_a_small_loss(
    sorted_network: tuple[dict[str, Check], float, float],
) -> None:
    _, variance, loss = sorted_network
    assert loss < 0.01
    assert abs(variance / EXACT_VARIANCE - 1.0) > 0.03


def test_the_checks_flag_the_sorted_network(sorted_network: tuple[dict[str, Check], float, float]) -> None:
    checks, _, _ = sorted_network
    failed = {name for name, check in checks.items() if not check.passed}
    assert {"score: x", "score: tanh", "score: pair tanh", "energy drift"} <= failed
    assert len(failed) >= 6


def test_the_checks_pass_the_plain_network(plain_network: tuple[dict[str, Check], float, float]) -> None:
    checks, variance, _ = plain_network
    assert abs(variance / EXACT_VARIANCE - 1.0) < 0.02  # 1 % of it is the noise of the samples
    assert [name for name, check in checks.items() if not check.passed] == []


def test_every_identity_is_further_off_for_the_sorted_network(
    sorted_network: tuple[dict[str, Check], float, float],
    plain_network: tuple[dict[str, Check], float, float],
) -> None:
    for name in ("score: x", "score: tanh", "score: pair tanh", "continuity: pair contact", "energy drift"):
        assert sorted_network[0][name].deviation > 3.0 * plain_network[0][name].deviation
