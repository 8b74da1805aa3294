"""Causal weights: late times wait for the early ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from cases import config_of, flat, trained_on

from dsmsim.parallel import StopRequest, World
from dsmsim.training.causal import causal_weights
from dsmsim.training.loop import Hooks, train
from dsmsim.training.state import new_state

LIKE = torch.zeros(0, dtype=torch.float64)


def test_a_slice_is_weighed_by_the_losses_before_it() -> None:
    found = causal_weights([2.0, 0.5, 1.0], 0.3, 3, LIKE)
    assert found.tolist() == pytest.approx([1.0, math.exp(-0.6), math.exp(-0.75)], rel=1e-15)
    assert causal_weights([2.0, 0.5, 1.0], 0.3, 3, LIKE.float()).dtype == torch.float32


@pytest.mark.parametrize(("losses", "epsilon"), [([], 0.3), ([9.0, 9.0], 0.3), ([9.0, 9.0, 9.0], 0.0)])
def test_without_losses_or_epsilon_all_slices_count_alike(losses: list[float], epsilon: float) -> None:
    assert causal_weights(losses, epsilon, 3, LIKE).tolist() == [1.0, 1.0, 1.0]


def test_weights_are_those_of_the_epoch_before_over_all_ranks() -> None:
    """Training in order: the first epoch is as without weights, and the second is not."""
    strict, plain = (config_of({"train.causal": epsilon, "train.epochs": 3}) for epsilon in (5.0, 0.0))
    (alone,) = trained_on(1, strict)
    for state in trained_on(3, strict):
        np.testing.assert_allclose(state.slice_losses, alone.slice_losses, rtol=1e-11)
        torch.testing.assert_close(flat(state), flat(alone), rtol=0.0, atol=1e-10)

    after: dict[float, list[torch.Tensor]] = {}
    for config in (strict, plain):
        state, seen = new_state(config, World()), after.setdefault(config.train.causal, [])

        def keep(epoch: int, loss: float, state=state, seen=seen) -> None:  # type: ignore[no-untyped-def]
            seen.append(flat(state).clone())

        train(config, state, World(), StopRequest(), Hooks(lambda entry: None, keep, lambda: None))
    assert torch.equal(after[5.0][0], after[0.0][0])
    assert (after[5.0][1] - after[0.0][1]).abs().max() > 1e-5


def test_causal_training_learns_early_times_first() -> None:
    """The weights act: compared with plain training, the first slice gains on the last one."""
    ratios = {}
    for epsilon in (0.0, 20.0):
        (state,) = trained_on(1, config_of({"train.causal": epsilon, "train.epochs": 40}))
        ratios[epsilon] = state.slice_losses[0] / state.slice_losses[-1]
    assert ratios[20.0] < 0.7 * ratios[0.0]
