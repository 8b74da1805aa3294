"""Residual points: which numbers they come from, in which order, and who shares a time."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from cases import config_of

from dsmsim.config import Config
from dsmsim.parallel import World
from dsmsim.training.batch import Batch, block_count, slice_count, training_points
from dsmsim.training.state import TrainState, new_state

CLOSE = {"rtol": 1e-11, "atol": 1e-12}


def start(grouped: bool, frame: str = "lab") -> tuple[Config, TrainState]:
    """Three blocks of four trajectories with four points each."""
    config = config_of({"network.frame": frame, "train.block": 4})
    state = new_state(config, World())
    object.__setattr__(state.fields, "grouped", grouped)
    return config, state


def points(config: Config, state: TrainState, blocks: Sequence[int], epoch: int = 7) -> Batch:
    return training_points(config, state.system, state.initial, state.fields, epoch, blocks)


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("frame", ["lab", "comoving"])
def test_points_of_a_block_do_not_depend_on_the_other_blocks(frame: str, grouped: bool) -> None:
    """So they are the same on any number of ranks, and follow each other block by block."""
    config, state = start(grouped, frame)
    assert block_count(config) == 3
    assert slice_count(config) == 4
    whole = points(config, state, [0, 1, 2])
    assert whole.x.shape == (48, 2)
    for block in range(3):
        alone = points(config, state, [block])
        here = slice(16 * block, 16 * block + 16)
        torch.testing.assert_close(alone.x, whole.x[here], **CLOSE)
        torch.testing.assert_close(alone.t, whole.t[here], rtol=1e-15, atol=0.0)
        assert torch.equal(alone.slices, whole.slices[here])
        assert torch.equal(alone.x0, whole.x0[4 * block : 4 * block + 4])


@pytest.mark.parametrize("grouped", [False, True])
def test_points_lie_in_the_slice_that_they_say(grouped: bool) -> None:
    config, state = start(grouped)
    batch = points(config, state, range(3))
    clock = state.fields.frame.clock(batch.t).squeeze(-1)
    assert torch.equal(torch.floor(4.0 * clock).long(), batch.slices)
    assert batch.slices.tolist() == [k for _ in range(3) for k in range(4) for _ in range(4)]


def test_trajectories_of_a_block_share_their_times_only_where_residuals_are_grouped() -> None:
    config, state = start(grouped=True)
    batch = points(config, state, range(3))
    assert batch.group == 4
    times = batch.t.reshape(12, 4)
    assert torch.equal(times, times[:, :1].expand(12, 4))
    assert len(times[:, 0].unique()) == 12  # blocks have their own

    config, state = start(grouped=False)
    batch = points(config, state, range(3))
    assert batch.group == 1
    assert len(batch.t.unique()) == 48


def test_points_follow_their_trajectory() -> None:
    """Without noise and forces, a boson keeps the velocity that the starting fields give it."""
    config, state = start(grouped=False)
    config = config.model_copy(update={"sampler": config.sampler.model_copy(update={"nu": 0.0})})
    for parameter in state.fields.parameters():
        parameter.data.zero_()
    batch = points(config, state, range(3))
    assert torch.equal(state.initial.v(batch.x0), torch.zeros_like(batch.x0))
    by_trajectory = batch.x.reshape(3, 4, 4, 2).transpose(1, 2).reshape(12, 4, 2)
    assert torch.equal(by_trajectory, batch.x0[:, None].expand(12, 4, 2))


@pytest.mark.parametrize("grouped", [False, True])
def test_epochs_seeds_and_blocks_have_their_own_points(grouped: bool) -> None:
    config, state = start(grouped)
    other = config.model_copy(update={"seed": 2})
    first, again = (points(config, state, [0], epoch=0) for _ in range(2))
    assert torch.equal(first.x, again.x)
    assert torch.equal(first.t, again.t)
    for changed, epoch, block in ((config, 1, 0), (config, 0, 1), (other, 0, 0)):
        others = points(changed, state, [block], epoch)
        assert not torch.isclose(first.x, others.x).any()
        assert not torch.isclose(first.t, others.t).any()


@pytest.mark.parametrize("grouped", [False, True])
def test_a_rank_without_blocks_has_no_points(grouped: bool) -> None:
    config, state = start(grouped)
    batch = points(config, state, [])
    assert [tuple(part.shape) for part in (batch.x, batch.t, batch.slices, batch.x0)] == [
        *((0, 2), (0, 1), (0,), (0, 2))
    ]
