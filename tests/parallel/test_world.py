"""A world of one rank: no process group, collectives that change nothing, errors that pass through."""

from __future__ import annotations

import os

import pytest
import torch
import torch.distributed as dist

from dsmsim.errors import ConfigError, LaunchError
from dsmsim.parallel import launch_environment, start
from dsmsim.parallel.bootstrap import require_resolvable, slurm_address

alone = pytest.mark.skipif(launch_environment().size > 1, reason="this process is one of several ranks")


@alone
def test_collectives_of_one_rank_change_nothing_and_need_no_group() -> None:
    with start("cpu") as world:
        assert not dist.is_initialized()
        assert (world.rank, world.size, world.local_rank, world.local_size) == (0, 1, 0, 1)
        assert world.device == torch.device("cpu")
        tensor = torch.tensor([1.5, -2.0])
        for collective in (world.sum_, world.max_, world.broadcast_):
            assert collective(tensor) is tensor
        assert tensor.tolist() == [1.5, -2.0]
        assert world.gather("here") == ["here"]
        assert world.broadcast_object({"a": 1}) == {"a": 1}
        assert world.any(True)
        assert not world.any(False)
        world.barrier()
        assert world.on_root(lambda: 7) == 7
        assert world.total(1.5) == 1.5


@alone
def test_threads_of_one_rank_and_their_return(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        with start("cpu"):
            assert torch.get_num_threads() == len(os.sched_getaffinity(0))
        assert torch.get_num_threads() == 1
        monkeypatch.setenv("OMP_NUM_THREADS", "1")
        with start("cpu"):
            assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


@alone
def test_errors_pass_through_a_world_of_one() -> None:
    with pytest.raises(ConfigError, match="mine"), start("cpu") as world:
        world.on_root(lambda: (_ for _ in ()).throw(ConfigError("mine")))


def test_unknown_device_is_refused() -> None:
    with pytest.raises(LaunchError, match="'auto', 'cpu' or 'cuda'"), start("tpu"):
        pass


@alone
@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_cuda_without_a_gpu_is_refused() -> None:
    with pytest.raises(LaunchError, match="sees no CUDA device"), start("cuda"):
        pass


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU")
@alone
def test_one_rank_takes_the_first_gpu() -> None:
    with start("auto") as world:
        assert world.device == torch.device("cuda:0")
        assert world.sum_(torch.ones(2, device=world.device)).tolist() == [1.0, 1.0]


def test_host_without_an_address_is_refused_at_once() -> None:
    with pytest.raises(LaunchError, match=r"nowhere\.invalid.*MASTER_ADDR"):
        require_resolvable("nowhere.invalid", "MASTER_ADDR")


def test_meeting_point_of_a_slurm_step() -> None:
    step = {"SLURM_JOB_ID": "100", "SLURM_STEP_ID": "2", "SLURM_STEP_NUM_NODES": "2"}
    two_nodes = step | {"SLURM_STEP_NODELIST": "localhost,n2", "SLURM_LAUNCH_NODE_IPADDR": "10.0.0.9"}
    host, port = slurm_address(two_nodes)
    assert host == "localhost"
    assert 20000 <= port < 32000
    assert slurm_address(two_nodes | {"SLURM_STEP_ID": "3"})[1] != port
    # Node names that are no host names: the address of the launching host is the best guess.
    assert slurm_address(two_nodes | {"SLURM_STEP_NODELIST": "x[1-2].invalid"})[0] == "10.0.0.9"
    assert slurm_address(step | {"SLURM_STEP_NUM_NODES": "1"})[0] == "127.0.0.1"
    assert slurm_address(two_nodes | {"MASTER_ADDR": "head", "MASTER_PORT": "5"}) == ("head", 5)
