"""Stopping on purpose: by signal or by the clock.

Batch systems send SIGUSR1 or SIGTERM before the time is up. The signal handler only raises a flag. The ranks
combine their flags at a step boundary, `world.any(stop.requested)`, and save together. The clock is watched
as well, because signals do not reach every rank under every launcher.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGUSR1, signal.SIGTERM)


class StopRequest:
    """While the context is open, SIGUSR1 and SIGTERM ask to stop instead of ending the process.

    Enter it inside `start`, in the main thread (as Python requires for signal handlers). The earlier handlers
    come back on leaving.

    Args:
        deadline: seconds from now after which `requested` becomes true; None for no limit.
    """

    def __init__(self, deadline: float | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._limit = deadline
        self._end = None if deadline is None else clock() + deadline
        self._signal: signal.Signals | None = None
        self._earlier: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopRequest:
        for number in SIGNALS:
            self._earlier[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._earlier.items():
            # None stands for a handler that Python did not install and so cannot put back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._earlier.clear()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._signal = signal.Signals(number)

    @property
    def requested(self) -> bool:
        """True once a signal has come or the deadline has passed."""
        return self.reason is not None

    @property
    def reason(self) -> str | None:
        """Why to stop, in words for the log; None while there is no reason."""
        if self._signal is not None:
            return f"signal {self._signal.name}"
        if self._end is not None and self._clock() >= self._end:
            return f"time limit of {self._limit:g} s"
        return None
