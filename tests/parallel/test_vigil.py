"""The watch of the ranks: who is named when contact is lost, and that all leave together.

The ranks are objects of one process here, each with a thread and a connection of its own; what really happens
to processes is tested in `tests/faults/test_dying.py`.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from typing import NoReturn

import pytest
from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined,unused-ignore]

from dsmsim.errors import LaunchError
from dsmsim.parallel.vigil import Vigil

HOSTS = ["alpha", "beta", "beta"]
LIMIT = 30.0  # s

# the test's exit raises SystemExit, which ends a thread
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")


class Ranks:
    """Three ranks that share a store, and the codes with which their threads wanted to end the process."""

    def __init__(self, timeout: float) -> None:
        self.server: TCPStore | None = TCPStore("127.0.0.1", 0, None, True, wait_for_workers=False)
        port = self.server.port
        self.vigils = [
            Vigil(
                PrefixStore("test/", TCPStore("127.0.0.1", port, wait_for_workers=False)),
                None,
                rank,
                HOSTS,
                timeout,
            )
            for rank in range(len(HOSTS))
        ]
        self.codes: list[int] = []

    def exit(self, code: int) -> NoReturn:
        self.codes.append(code)
        raise SystemExit  # ends the thread that calls

    def wait_for_codes(self, count: int) -> list[int]:
        end = time.monotonic() + LIMIT
        while len(self.codes) < count and time.monotonic() < end:
            time.sleep(0.05)
        return self.codes


@pytest.fixture
def ranks(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ranks]:
    three = Ranks(timeout=1.0)
    monkeypatch.setattr(os, "_exit", three.exit)
    yield three
    for vigil in three.vigils:
        vigil._over.set()
        vigil._thread.join(LIMIT)


def test_rank_that_does_not_come_is_named_and_shows_where_it_is(
    ranks: Ranks, capfd: pytest.CaptureFixture[str]
) -> None:
    for rank in (0, 2):
        ranks.vigils[rank].begins("sum_")
    verdict = ranks.vigils[0].decide("sum_ failed", 5, lost_contact=True)
    assert (verdict.rank, verdict.code, verdict.late, verdict.silent) == (0, 5, (1,), ())
    assert verdict.cause.startswith("rank 1 on beta did not come to sum_")
    assert verdict.cause.endswith("; sum_ failed")
    assert ranks.wait_for_codes(2) == [5, 5]
    errors = capfd.readouterr().err
    assert errors.count("did not come to a collective") == 1
    assert "rank 1 of 3 on beta" in errors
    assert "test_rank_that_does_not_come" in errors  # the stack of the thread that made it


def test_rank_without_a_sign_of_life_is_named(ranks: Ranks) -> None:
    ranks.vigils[2]._over.set()
    ranks.vigils[2]._thread.join()
    verdict = ranks.vigils[0].decide("sum_ failed", 5, lost_contact=True)
    assert (verdict.late, verdict.silent) == ((), (2,))
    assert verdict.cause == "no sign of life from rank 2 on beta: killed, crashed or stopped; sum_ failed"
    assert ranks.wait_for_codes(1) == [5]


def test_the_first_verdict_stands(ranks: Ranks) -> None:
    first = ranks.vigils[1].decide("RuntimeError: a fault", 1, lost_contact=False)
    second = ranks.vigils[0].decide("sum_ failed", 5, lost_contact=True)
    assert first == second
    assert (first.rank, first.cause, first.code) == (1, "RuntimeError: a fault", 1)
    assert ranks.wait_for_codes(1) == [1]  # rank 2; the main threads of the others end them


def test_store_that_is_gone_ends_the_ranks(ranks: Ranks, capfd: pytest.CaptureFixture[str]) -> None:
    ranks.server = None
    verdict = ranks.vigils[1].decide("sum_ failed", 5, lost_contact=True)
    assert verdict.cause == "rank 0 on alpha, which holds the ranks' store, does not answer; sum_ failed"
    assert ranks.wait_for_codes(2) == [LaunchError.exit_code] * 2
    assert "rank 2 of 3 on beta ends: rank 0 on alpha" in capfd.readouterr().err


def test_all_leave_together(ranks: Ranks) -> None:
    left: list[int] = []

    def leave(rank: int) -> None:
        ranks.vigils[rank].leave()
        left.append(rank)

    threads = [threading.Thread(target=leave, args=(rank,)) for rank in range(3)]
    for thread in threads[:2]:
        thread.start()
    time.sleep(0.3)
    assert left == []
    threads[2].start()
    for thread in threads:
        thread.join(LIMIT)
    assert sorted(left) == [0, 1, 2]
    ranks.server = None  # nobody watches it any more
    time.sleep(1.5)
    assert ranks.codes == []


def test_rank_that_does_not_leave_is_an_error(ranks: Ranks) -> None:
    with pytest.raises(LaunchError, match=r"not all ranks came to the end of the world within 1 s"):
        ranks.vigils[0].leave()


def test_nobody_leaves_a_store_that_is_gone(ranks: Ranks) -> None:
    ranks.server = None
    with pytest.raises(LaunchError, match="rank 0 on alpha, which holds the ranks' store, does not answer"):
        ranks.vigils[1].leave()
