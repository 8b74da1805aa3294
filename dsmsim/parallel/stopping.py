"""Stopping on purpose: by signal or by the clock.

Batch systems send SIGUSR1 or SIGTERM before the time is up. The signal handler only raises a flag. The ranks
ask each other between two steps, `stop.agreed(world)`, and save together. The clock is watched as well,
because signals do not reach every rank under every launcher.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

from dsmsim.parallel.job_end import seconds_left

if TYPE_CHECKING:
    from dsmsim.parallel.world import World

SIGNALS = (signal.SIGUSR1, signal.SIGTERM)

# What ranks tell each other: nothing, the clock, or the number of a signal added to the last.
_GO_ON, _TIME_IS_UP, _SIGNAL = 0, 1, 1


class StopRequest:
    """While the context is open, SIGUSR1 and SIGTERM ask to stop instead of ending the process.

    Enter it in the main thread (as Python requires for signal handlers), before anything takes long: a signal
    that comes earlier ends the process. The earlier handlers come back on leaving.

    Args:
        deadline: seconds from now after which `requested` becomes true; None for no limit.
    """

    def __init__(self, deadline: float | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._limit = "" if deadline is None else f"time limit of {deadline:g} s"
        self._end = None if deadline is None else clock() + deadline
        self._signal: signal.Signals | None = None
        self._earlier: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopRequest:
        for number in SIGNALS:
            self._earlier[number] = signal.signal(number, self.ask)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._earlier.items():
            # None stands for a handler that Python did not install and so cannot put back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._earlier.clear()

    def ask(self, number: int, frame: FrameType | None = None) -> None:
        """Ask to stop because of this signal; the handler."""
        self._signal = signal.Signals(number)

    def heed_job_end(self, world: World, margin: float) -> None:
        """Without a deadline of its own, stop before the batch job ends; called by all ranks.

        Rank 0 finds out when that is (`job_end.py`). Nothing changes outside a job and where nobody can tell.

        Args:
            margin: seconds to be left for saving.
        """
        left = world.broadcast_object(seconds_left() if self._end is None and world.rank == 0 else None)
        if left is not None:
            self._end, self._limit = self._clock() + left - margin, "time limit of the batch job"

    @property
    def requested(self) -> bool:
        """True once a signal has come to this rank or the deadline has passed."""
        return self.reason is not None

    @property
    def reason(self) -> str | None:
        """Why this rank is to stop, in words for the log; None while there is no reason."""
        return self._words(self._code(0.0))

    def agreed(self, world: World, *, ahead: float = 0.0) -> str | None:
        """Why all ranks are to stop now, the same words on every rank; None if they are to go on.

        Called by all ranks at the same place; one small all-reduce.

        Args:
            ahead: seconds that the next piece of work may take: it is not begun if it would end too late.
        """
        return self.agreed_with(world, False, ahead=ahead)[0]

    def agreed_with(self, world: World, flag: bool, *, ahead: float = 0.0) -> tuple[str | None, bool]:
        """The same, and whether `flag` is true on any rank, in one all-reduce."""
        import torch

        # on the device of the rank: between GPUs that is far quicker than over their hosts
        told = world.max_(
            torch.tensor([self._code(ahead), int(flag)], dtype=torch.int64, device=world.device)
        )
        return self._words(int(told[0])), bool(told[1])

    def _code(self, ahead: float) -> int:
        if self._signal is not None:
            return _SIGNAL + self._signal
        if self._end is not None and self._clock() + ahead >= self._end:
            return _TIME_IS_UP
        return _GO_ON

    def _words(self, code: int) -> str | None:
        if code == _GO_ON:
            return None
        return self._limit if code == _TIME_IS_UP else f"signal {signal.Signals(code - _SIGNAL).name}"
