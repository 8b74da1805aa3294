"""A stop request is raised by signals and by the clock, and leaves the process's handlers as they were."""

from __future__ import annotations

import os
import signal

import pytest

from dsmsim.parallel import StopRequest


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_signal_asks_to_stop_and_does_not_end_the_process(number: signal.Signals) -> None:
    with StopRequest() as stop:
        before = stop.requested
        os.kill(os.getpid(), number)
        assert (before, stop.requested) == (False, True)
        assert stop.reason == f"signal {number.name}"


def test_earlier_handlers_come_back() -> None:
    seen: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: seen.append(number))
    try:
        with StopRequest() as stop:
            os.kill(os.getpid(), signal.SIGUSR1)
        assert stop.requested
        assert seen == []
        os.kill(os.getpid(), signal.SIGUSR1)
        assert seen == [signal.SIGUSR1]
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_deadline() -> None:
    now = 100.0
    with StopRequest(deadline=5.0, clock=lambda: now) as stop:
        now = 104.9
        before = stop.requested
        now = 105.0
        assert (before, stop.requested) == (False, True)
        assert stop.reason == "time limit of 5 s"
