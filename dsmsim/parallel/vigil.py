"""The watch that ranks keep over each other, so that none outlives its world and the guilty one is named.

A rank that fails would leave the others waiting in a collective, computing for minutes, or hanging for ever;
and a rank that hangs does not notice SIGTERM, for which a run has a handler. So a thread on every rank looks
into the store that the ranks share, every second:

| key          | written by                   | says                                                         |
|--------------|------------------------------|--------------------------------------------------------------|
| `sign/RANK`  | each rank, every second      | a counter that stands still when the process does, and the   |
|              |                              | number of collectives begun, which is behind on a hung rank  |
| `asking`     | a rank that lost contact     | somebody compares the signs, twice                           |
| `verdict`    | the first rank that fails    | who ends the world, why, with which code, and who was late   |
| `heard`      | every rank that read it      | a count, for which the failing rank waits before it exits    |
| `left`       | a rank that leaves in order  | a count; all leave together                                  |
| `gone/RANK`  | each rank, when it is ready  | the store may go                                             |

A rank whose thread finds a verdict, or no store, ends its own process. The thread needs Python's lock, so it
waits behind a library that holds it for long; then only the launcher can end the process.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple, NoReturn

from dsmsim.errors import LaunchError

_FRAMES = 12  # of the stack of a rank that hangs: the end of it tells where
_GRACE = 1.0  # s that other ranks leave to the one that failed, to go first: launchers report the first


@dataclass(frozen=True)
class Verdict:
    """Why the world ends.

    Attributes:
        rank: the rank that ends it.
        cause: in words.
        code: exit code of every rank.
        late: ranks that are alive and did not come to a collective.
        silent: ranks that gave no sign of life.
    """

    rank: int
    cause: str
    code: int
    late: tuple[int, ...] = ()
    silent: tuple[int, ...] = ()


class _Sign(NamedTuple):
    """What a rank last said of itself: a counter, and the collectives that it has begun."""

    beat: int
    calls: int


class Vigil:
    """The watch of one rank of a world of several; its thread starts at once.

    Args:
        store: a connection to the ranks' store that nobody else uses, with keys of this world alone.
        keeper: the launcher in whose process the store lives; None for rank 0.
        rank: this rank.
        hosts: the host of every rank.
        timeout: seconds that a rank waits for the others.
    """

    def __init__(
        self, store: Any, keeper: str | None, rank: int, hosts: Sequence[str], timeout: float
    ) -> None:
        self._store = store
        self._rank, self._hosts, self._timeout = rank, hosts, timeout
        self._keeper = f"{keeper or self.name(0)}, which holds the ranks' store,"
        # one store serves all ranks: a thousand of them ask it a thousand times a second
        self._period = 1.0 + len(hosts) / 1024
        self._beat = self._calls = 0
        self._doing = "the start"
        self._stands_back = False  # the main thread ends the process itself
        self._mute = False  # the store does not answer
        self._heard: Verdict | None = None  # by the thread
        self._over = threading.Event()
        self._main = threading.get_ident()
        self._thread = threading.Thread(target=self._watch, name="dsmsim vigil", daemon=True)
        self._sign()
        self._thread.start()

    def begins(self, collective: str) -> None:
        """The main thread begins a collective."""
        self._calls += 1
        self._doing = collective

    def name(self, rank: int) -> str:
        """A rank and its host."""
        return f"rank {rank} on {self._hosts[rank]}"

    def decide(self, cause: str, code: int, lost_contact: bool) -> Verdict:
        """The verdict that ends the world; another rank's where that came first.

        Takes a few seconds when contact was lost, to find out which rank is gone or late.

        Args:
            cause: what failed on this rank.
            code: exit code.
            lost_contact: whether this rank only finds others missing.
        """
        self._stands_back = True
        if self._heard is not None:
            return self._heard
        mine = Verdict(self._rank, cause, code)
        if _within(2.0 * self._period, self._asked):
            verdict: Verdict | None = _within(6.0 * self._period, lambda: self._decide(mine, lost_contact))
            if verdict is not None:
                return verdict
        self._mute = True
        return replace(mine, cause=f"{self._keeper} does not answer; {cause}") if lost_contact else mine

    def wait_until_heard(self, verdict: Verdict) -> None:
        """Give the other ranks the time to read the verdict; on these, give its author the time to leave."""
        if verdict.rank != self._rank:
            if self._heard is None:
                _within(self._period, lambda: self._store.add("heard", 1))
            time.sleep(_GRACE)
        elif not self._mute:
            listeners = len(self._hosts) - 1 - len(verdict.silent)
            limit = 2.0 * self._period
            _within(limit, lambda: self._until(lambda: self._store.add("heard", 0) >= listeners, limit))

    def leave(self) -> None:
        """Leave in order: wait for all ranks to do so, then end the watch.

        Raises:
            LaunchError: not all ranks came within the timeout, or the store is gone.
        """
        self.begins("the end")
        everyone = range(len(self._hosts))

        def meet() -> bool:
            self._store.add("left", 1)
            return self._until(lambda: self._store.add("left", 0) >= len(everyone), self._timeout)

        met = _within(self._timeout + 2.0 * self._period, meet)
        if met is None:
            raise LaunchError(f"{self._keeper} does not answer")
        if not met:
            raise LaunchError(f"not all ranks came to the end of the world within {self._timeout:g} s")
        self._over.set()
        self._thread.join()
        with suppress(RuntimeError):
            # set() awaits no answer, so nobody asks a store that is about to go
            self._store.set(f"gone/{self._rank}", "")
            if self._rank == 0:
                self._until(lambda: self._store.check([f"gone/{rank}" for rank in everyone]), self._timeout)

    def _watch(self) -> None:
        while not self._over.wait(self._period):
            try:
                self._sign()
                verdict = self._verdict()
            except RuntimeError as error:
                time.sleep(2.0 * _GRACE)  # the main thread may find out as well, and knows more
                if self._stands_back:
                    return
                _say(f"{self._myself()} ends: {self._keeper} is gone ({_first_line(error)})")
                os._exit(LaunchError.exit_code)
            if verdict is not None and not self._stands_back:
                self._obey(verdict)

    def _obey(self, verdict: Verdict) -> NoReturn:
        """End this process, whatever its main thread does."""
        self._heard = verdict
        if self._rank in verdict.late:
            frame = sys._current_frames().get(self._main)
            stack = "".join(traceback.format_stack(frame, _FRAMES)).rstrip()
            _say(f"{self._myself()} did not come to a collective. It is here, after {self._doing}:\n{stack}")
        with suppress(RuntimeError):
            self._store.add("heard", 1)
        time.sleep(_GRACE)
        os._exit(verdict.code)

    def _decide(self, mine: Verdict, lost_contact: bool) -> Verdict:
        if not lost_contact:
            return self._first(mine)
        if self._store.add("asking", 1) > 1:  # one rank asks for all
            self._until(lambda: self._verdict() is not None, 4.0 * self._period)
            return self._first(mine)
        before = self._signs()
        time.sleep(_GRACE)  # the rank that failed may say why itself
        verdict = self._verdict()
        if verdict is None:
            time.sleep(1.5 * self._period)
            verdict = self._first(self._found(mine, before, self._signs()))
        return verdict

    def _asked(self) -> bool:
        """True, once the store has answered."""
        return self._store.check(["verdict"]) or True

    def _first(self, mine: Verdict) -> Verdict:
        """This verdict, or the one that was there before."""
        return _read(self._store.compare_set("verdict", "", json.dumps(asdict(mine))))

    def _found(self, mine: Verdict, before: dict[int, _Sign], now: dict[int, _Sign]) -> Verdict:
        """The verdict with what the signs of all other ranks tell: who stands still, and who is behind."""
        silent = [rank for rank, sign in now.items() if sign.beat == before[rank].beat]
        late = [rank for rank, sign in now.items() if sign.calls < self._calls and rank not in silent]
        found = []
        if silent:
            found.append(f"no sign of life from {self._names(silent)}: killed, crashed or stopped")
        if late:
            found.append(
                f"{self._names(late)} did not come to {self._doing}: hanging, or busy for longer than "
                f"[run] timeout = {self._timeout:g} s"
            )
        cause = "; ".join([*found, mine.cause])
        return replace(mine, cause=cause, late=tuple(late), silent=tuple(silent))

    def _names(self, ranks: list[int]) -> str:
        more = f" and {len(ranks) - 8} more" if len(ranks) > 8 else ""
        return ", ".join(map(self.name, ranks[:8])) + more

    def _until(self, condition: Callable[[], bool], limit: float) -> bool:
        """Ask again and again, after longer and longer waits, until it is true; False after `limit` s."""
        end, pause = time.monotonic() + limit, 0.002
        while not condition():
            if time.monotonic() > end:
                return False
            time.sleep(pause)
            pause = min(2.0 * pause, 0.2 * self._period)
        return True

    def _sign(self) -> None:
        self._beat += 1
        self._store.set(f"sign/{self._rank}", f"{self._beat} {self._calls}")

    def _signs(self) -> dict[int, _Sign]:
        """Of all other ranks; those that never gave one count as standing still at the start."""
        signs = {}
        for rank in range(len(self._hosts)):
            if rank != self._rank:
                key = f"sign/{rank}"
                words = self._store.get(key).split() if self._store.check([key]) else (0, 0)
                signs[rank] = _Sign(int(words[0]), int(words[1]))
        return signs

    def _verdict(self) -> Verdict | None:
        return _read(self._store.get("verdict")) if self._store.check(["verdict"]) else None

    def _myself(self) -> str:
        return f"rank {self._rank} of {len(self._hosts)} on {self._hosts[self._rank]}"


def _read(text: bytes) -> Verdict:
    data = json.loads(text)
    return Verdict(**data | {name: tuple(data[name]) for name in ("late", "silent")})


def _within(seconds: float, work: Callable[[], Any]) -> Any:
    """The result of `work`, or None if it fails or takes longer: a store that is stopped never answers."""
    results: list[Any] = []

    def run() -> None:
        with suppress(RuntimeError):
            results.append(work())

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    return results[0] if results else None


def _say(text: str) -> None:
    """Write past Python's own stream, whose lock the main thread may hold."""
    with suppress(OSError):
        os.write(2, f"dsmsim: {text}\n".encode())


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n", 1)[0]
