"""Runs of which one rank dies, fails, hangs or is stopped: how to start them, and what must be left of them.

The fate is done by the potential `fated` of this very module, which is told by environment variables which
rank it is to strike, how, when and where. Every rank first writes its process number into a directory, so
that a test can see whether all processes are really gone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from launchers import clean_environment
from torch import Tensor

from dsmsim.parallel import launch_environment

TIMEOUT = 10.0  # [run] timeout (s): also how far the starts of the ranks may lie apart on a busy machine
BOUND = TIMEOUT + 10.0  # s from the deed to the end of the last process
POINTS = 48  # residual points of the tiny input over all ranks: an epoch evaluates them once

CHANGES: dict[str, Any] = {
    "train.epochs": 1000,  # far more than the fated rank lives
    "system.terms.fated": {"kind": "python", "target": "dying:fated"},
    "output.checkpoint_every": "1 epochs",
    "compare.with": [],
    "run.timeout": f"{TIMEOUT:g} s",
}


@dataclass(frozen=True)
class Fate:
    """What happens to one rank.

    Attributes:
        deed: "kill" (SIGKILL), "raise" (an exception), "hang" (sleeps for ever) or "stop" (SIGSTOP).
        rank: whom it strikes.
        place: "step", while it computes the loss, or "saving", while it writes a checkpoint (rank 0).
        epoch: in which epoch, from 1.
    """

    deed: str
    rank: int
    place: str = "step"
    epoch: int = 3

    def variables(self, directory: Path) -> dict[str, str]:
        """The environment of a run that is to meet this fate; processes write their numbers to `directory`."""
        directory.mkdir(parents=True, exist_ok=True)
        paths = os.pathsep.join([clean_environment()["PYTHONPATH"], *map(str, _HERE)])
        return {
            "PYTHONPATH": paths,
            "DSMSIM_TEST_FATE": f"{self.deed} {self.rank} {self.place} {self.epoch}",
            "DSMSIM_TEST_PIDS": str(directory),
        }


_HERE = [Path(__file__).parent, Path(__file__).parents[1]]
_epochs = 0


def fated(r: Tensor, t: Tensor) -> Tensor:
    """A potential that is zero at r (B, N, D), on a rank that may not live for long."""
    global _epochs
    environment = launch_environment()
    if "DSMSIM_TEST_FATE" in os.environ and len(r) == POINTS // environment.size:
        deed, rank, place, epoch = os.environ["DSMSIM_TEST_FATE"].split()
        _epochs += 1
        if _epochs == 1:
            name = Path(os.environ["DSMSIM_TEST_PIDS"]) / f"rank-{environment.rank}"
            name.write_text(str(os.getpid()))
        if _epochs == int(epoch) and environment.rank == int(rank):
            if place == "step":
                _strike(deed)
            _strike_while_saving(deed)
    return 0.0 * r[..., 0]


def _strike(deed: str) -> None:
    (Path(os.environ["DSMSIM_TEST_PIDS"]) / "struck").write_text(repr(time.time()))
    if deed == "raise":
        raise RuntimeError("a fault of one rank")
    if deed == "hang":
        _hang()
    os.kill(os.getpid(), {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}[deed])


def _hang() -> NoReturn:
    while True:
        time.sleep(3600.0)


def _strike_while_saving(deed: str) -> None:
    """Let the next file that is synchronised in a folder of checkpoints be the last."""
    sync = os.fsync

    def last_sync(descriptor: int) -> None:
        if "checkpoints" in os.readlink(f"/proc/self/fd/{int(descriptor)}"):
            _strike(deed)
        sync(descriptor)

    os.fsync = last_sync  # type: ignore[assignment]


def wait_until(condition: Callable[[], bool], limit: float) -> bool:
    """Whether the condition came true within `limit` seconds."""
    end = time.monotonic() + limit
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def pids_of(directory: Path) -> dict[int, int]:
    """Rank and process number of every rank that reached the training."""
    return {int(file.name[5:]): int(file.read_text()) for file in directory.glob("rank-*")}


def still_there(pids: Mapping[int, int]) -> dict[int, int]:
    """Those that live; a process that nobody has waited for yet does not."""
    return {rank: pid for rank, pid in pids.items() if _state(pid) not in ("", "Z", "X")}


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def assert_all_gone(directory: Path, ranks: int) -> float:
    """All ranks have trained and are gone within BOUND seconds of the deed; how many it took."""
    pids = pids_of(directory)
    assert set(pids) == set(range(ranks)), "not all ranks came to the training"
    struck = float((directory / "struck").read_text())
    try:
        assert wait_until(lambda: not still_there(pids), struck + BOUND - time.time()), still_there(pids)
    finally:
        kill(still_there(pids).values())
    return time.time() - struck


def kill(pids: Iterable[int]) -> None:
    """End these processes."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
