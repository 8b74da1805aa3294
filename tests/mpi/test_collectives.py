"""Every collective on really separate ranks, against what each rank can work out alone."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch

from dsmsim.errors import ConfigError, StoppedEarly, StoreError
from dsmsim.parallel import World, blocks_of_rank, random_stream, start

pytestmark = pytest.mark.mpi(min_size=2)


def test_sum_in_place_for_types_shapes_and_layouts(world: World) -> None:
    ranks = world.size * (world.size + 1) // 2
    for dtype in (torch.float32, torch.float64, torch.int64):
        tensor = torch.full((2, 3), world.rank + 1, dtype=dtype)
        assert world.sum_(tensor) is tensor
        assert tensor.tolist() == [[ranks] * 3] * 2
    base = torch.arange(6.0).reshape(2, 3)
    world.sum_(base.t())  # not contiguous: its storage must still receive the sum
    assert base.tolist() == (torch.arange(6.0).reshape(2, 3) * world.size).tolist()
    number = torch.tensor(0.5, dtype=torch.float64)
    assert world.sum_(number).item() == 0.5 * world.size


def test_maximum(world: World) -> None:
    tensor = torch.tensor([float(world.rank), -float(world.rank)])
    assert world.max_(tensor).tolist() == [world.size - 1.0, 0.0]


def test_broadcast_from_any_root_into_parameters(world: World) -> None:
    for root in range(world.size):
        parameter = torch.nn.Parameter(torch.full((4,), float(world.rank)))
        world.broadcast_(parameter, root=root)
        assert parameter.tolist() == [float(root)] * 4


def test_cores_of_the_host_are_known_to_its_ranks(world: World) -> None:
    facts = world.broadcast_object(world.gather((world.host, os.sched_getaffinity(0))))
    assert world.host_cores == set().union(*(cores for host, cores in facts if host == world.host))


def test_objects(world: World) -> None:
    gathered = world.gather({"rank": world.rank, "data": np.arange(world.rank)})
    if world.rank == 0:
        assert gathered is not None
        assert [entry["rank"] for entry in gathered] == list(range(world.size))
        assert [entry["data"].size for entry in gathered] == list(range(world.size))
    else:
        assert gathered is None
    assert world.broadcast_object(f"from {world.rank}") == "from 0"


def test_any_is_the_same_on_all_ranks(world: World) -> None:
    assert not world.any(False)
    for rank in range(world.size):
        assert world.any(world.rank == rank)


def test_work_of_rank_zero_is_done_once(world: World) -> None:
    done: list[int] = []

    def work() -> str:
        done.append(world.rank)
        return "result"

    assert world.on_root(work) == "result"
    assert done == ([0] if world.rank == 0 else [])


def test_blocks_draw_the_same_numbers_whoever_owns_them(world: World) -> None:
    blocks = 7
    mine = torch.zeros(blocks, dtype=torch.float64)
    for block in blocks_of_rank(blocks, world.rank, world.size):
        mine[block] = random_stream(1, "test", block).standard_normal()
    alone = [random_stream(1, "test", block).standard_normal() for block in range(blocks)]
    assert world.sum_(mine).tolist() == alone


def test_agreed_stop_leaves_in_order_and_the_ranks_can_meet_again() -> None:
    def run_until_a_rank_wants_to_stop() -> None:
        with start("cpu", timeout=60.0) as world:
            for step in range(5):
                if world.any(world.rank == world.size - 1 and step == 3):
                    raise StoppedEarly(f"at step {step}")

    with pytest.raises(StoppedEarly, match="at step 3"):
        run_until_a_rank_wants_to_stop()
    with start("cpu", timeout=60.0) as world:
        world.barrier()


def test_error_of_rank_zero_is_raised_by_all() -> None:
    def refuse() -> None:
        raise ConfigError("no such thing", key="run.device")

    with pytest.raises(ConfigError, match="no such thing") as caught, start("cpu", timeout=60.0) as world:
        world.on_root(refuse)
    assert caught.value.key == "run.device"


def test_marked_error_leaves_in_order() -> None:
    with pytest.raises(StoreError), start("cpu", timeout=60.0) as world:
        raise world.agreed(StoreError("every rank finds this"))
