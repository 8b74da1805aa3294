"""Devices and threads from the facts of all ranks, for machines that are not here."""

from __future__ import annotations

import pytest

from dsmsim.errors import LaunchError
from dsmsim.parallel.devices import Facts, choose_devices, choose_threads

ALL = frozenset(range(8))


def node(ranks: range, host: str, gpus: tuple[str, ...] = (), cores: frozenset[int] = ALL) -> list[Facts]:
    return [Facts(rank, host, cores, gpus) for rank in ranks]


def test_without_gpus_the_processor_is_used() -> None:
    assert choose_devices("auto", node(range(2), "a")) == ["cpu", "cpu"]


def test_each_rank_gets_its_own_gpu_on_every_host() -> None:
    facts = node(range(2), "a", ("A", "B")) + node(range(2, 4), "b", ("C", "D"))
    assert choose_devices("auto", facts) == ["cuda:0", "cuda:1", "cuda:0", "cuda:1"]
    assert choose_devices("cpu", facts) == ["cpu"] * 4


def test_gpus_bound_by_the_batch_system_are_each_ranks_first() -> None:
    facts = node(range(1), "a", ("A",)) + node(range(1, 2), "a", ("B",))
    assert choose_devices("cuda", facts) == ["cuda:0", "cuda:0"]


@pytest.mark.parametrize(
    ("request_", "facts", "words"),
    [
        ("auto", node(range(3), "a", ("A", "B")), "3 ranks on a share 2 GPU"),
        ("cuda", node(range(1), "a"), "rank 0 on a sees no CUDA device"),
        ("auto", node(range(1), "a", ("A",)) + node(range(1, 2), "b"), "rank 1 on b sees no CUDA device"),
        ("gpu", node(range(1), "a"), "'auto', 'cpu' or 'cuda'"),
    ],
)
def test_refusals(request_: str, facts: list[Facts], words: str) -> None:
    with pytest.raises(LaunchError, match=words):
        choose_devices(request_, facts)


def test_threads_share_the_cores_of_a_host() -> None:
    facts = node(range(4), "a") + node(range(4, 5), "b")
    assert [choose_threads(facts, rank) for rank in range(5)] == [2, 2, 2, 2, 8]


def test_bound_ranks_keep_their_own_cores() -> None:
    facts = [Facts(rank, "a", frozenset(range(4 * rank, 4 * rank + 4)), ()) for rank in range(2)]
    assert [choose_threads(facts, rank) for rank in range(2)] == [4, 4]


def test_more_ranks_than_cores_get_one_thread() -> None:
    assert choose_threads(node(range(20), "a"), 7) == 1
