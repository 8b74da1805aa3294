"""Runs of which one rank dies, fails, hangs or is stopped: how to start them, and what must be left of them.

The fate is done by the potential `fated` of this very module, which is told by environment variables which
rank it is to strike, how, when and where. Every rank first writes its process number into a directory, so
that a test can see whether all processes are really gone.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from launchers import begin_dsmsim, mpirun, slurm_step, torchrun
from tiny import write_input
from torch import Tensor

from dsmsim.parallel import launch_environment

TIMEOUT = 15.0  # [run] timeout (s): also how far the starts of the ranks may lie apart on a busy machine
BOUND = TIMEOUT + 10.0  # s from the deed to the end of the last process
POINTS = 48  # residual points of the tiny input over all ranks: an epoch evaluates them once

CHANGES: dict[str, Any] = {
    "train.epochs": 100_000,  # far more than the fated rank lives
    "system.terms.fated": {"kind": "python", "target": "dying:fated"},
    "output.checkpoint_every": "1 epochs",
    "output.keep": 2,
    "compare.with": [],
    "run.timeout": f"{TIMEOUT:g} s",
}


@dataclass(frozen=True)
class Fate:
    """What happens to one rank.

    Attributes:
        deed: "kill" (SIGKILL), "raise" (an exception), "hang" (sleeps for ever), "stop" (SIGSTOP), or
            "none": the processes only write their numbers.
        rank: whom it strikes.
        place: "step", while it computes the loss, or "saving", while it writes a checkpoint (rank 0).
        epoch: in which epoch, from 1.
    """

    deed: str
    rank: int
    place: str = "step"
    epoch: int = 3

    def variables(self, directory: Path) -> dict[str, str]:
        """The environment of a run that meets this fate; its ranks write their numbers to `directory`."""
        directory.mkdir(parents=True, exist_ok=True)
        return {
            "DSMSIM_TEST_FATE": f"{self.deed} {self.rank} {self.place} {self.epoch}",
            "DSMSIM_TEST_PIDS": str(directory),
        }

    def words(self, host: str, keeper: bool) -> list[str]:
        """What the ranks must say on their standard errors, together.

        Args:
            host: of the rank.
            keeper: whether the rank holds the ranks' store: nobody can ask it any more.
        """
        name = f"rank {self.rank} on {host}"
        gone = f"{name}, which holds the ranks' store, does not answer"
        silent = gone if keeper else f"no sign of life from {name}"
        return {
            "raise": [f"on {host} ends the run", "a fault of one rank"],
            "hang": [f"{name} did not come to ", "in _hang"],
            "kill": [silent],
            "stop": [silent],
        }[self.deed]


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
        if deed != "none" and _epochs == int(epoch) and environment.rank == int(rank):
            if place == "saving":
                _strike_while_saving(deed)
            else:
                _strike(deed)
    return 0.0 * r[..., 0]


def _strike(deed: str) -> None:
    directory = Path(os.environ["DSMSIM_TEST_PIDS"])
    (directory / "striking").write_text(repr(time.time()))
    (directory / "striking").rename(directory / "struck")  # so that nobody reads half of it
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


_jobs = itertools.count(1000 * os.getpid())


def begin_run(
    launcher: str, ranks: int, fate: Fate, directory: Path, changes: Mapping[str, Any] = CHANGES
) -> list[subprocess.Popen[str]]:
    """Start a run in `directory`: its input, its results in `run`, its process numbers in `pids`.

    Args:
        launcher: "mpirun", "torchrun", or "slurm": the ranks are started one by one, with the variables of a
            step of two.
    """
    directory.mkdir()
    arguments = ("run", write_input(directory / "input.toml", changes), "--out", directory / "run")
    variables = fate.variables(directory / "pids")
    if launcher == "slurm":
        job = next(_jobs)
        return [begin_dsmsim(*arguments, **variables, **slurm_step(rank, job)) for rank in range(ranks)]
    command = torchrun(ranks) if launcher == "torchrun" else mpirun(ranks)
    return [begin_dsmsim(*arguments, launcher=command, **variables)]


def end(processes: Iterable[subprocess.Popen[str]], directory: Path) -> None:
    """Leave nothing of `begin_run` behind."""
    for process in processes:
        process.kill()
    kill(still_there(pids_of(directory / "pids")).values())


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
    assert (directory / "struck").exists(), "nothing happened to the rank"
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
