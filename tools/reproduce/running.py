"""Tasks in child processes: what is finished is kept, what was interrupted goes on, the rest is run.

Every task runs on one thread in a process of its own, so that CPU seconds mean the same for all. Two
programs that are given the same directory (an array of batch jobs) leave each other's tasks alone.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from tools.reproduce.found import REASON, SIGNATURE, Found
from tools.reproduce.profile import Profile
from tools.reproduce.task import ROOT, Task

# references are tasks of their own, and pictures are drawn once, from all results together
QUIET = ("output.figures=false", "output.report=false", "compare.with=[]")
SAID = "said.txt"  # what the child printed
LOCK = "task.lock"
STOPPED = 75  # exit code of work that was stopped and can go on
WRONG, DIVERGED = 2, 3  # exit codes of work that would end the same way again


class Unfinished(Exception):
    """A task that failed, was stopped, or may not be touched; the message says which and what to do."""


@dataclass
class Children:
    """The processes that run, so that a signal can be handed on to them.

    Attributes:
        stopped: set by a signal: nothing new is begun.
    """

    stopped: bool = False
    _running: set[subprocess.Popen[bytes]] = field(default_factory=set)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def run(self, command: Sequence[str], said: Path, lock: int) -> int:
        """Exit code of a command, whose words go to a file.

        Args:
            lock: descriptor of the lock, which the child keeps too: should this process be killed, nobody
                else begins the task while the child lives.

        Raises:
            Unfinished: a signal has come before.
        """
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "DSMSIM_PROGRESS": "lines"}
        with said.open("ab") as file:
            with self._guard:
                if self.stopped:
                    raise Unfinished("stopped before it began")
                child = subprocess.Popen(
                    command,
                    cwd=ROOT,
                    env=environment,
                    stdout=file,
                    stderr=file,
                    pass_fds=(lock,),
                    start_new_session=True,  # Ctrl-C reaches the children through `stop` alone, once
                )
                self._running.add(child)
            code = child.wait()
        with self._guard:
            self._running.discard(child)
        return code

    def stop(self, number: int, frame: FrameType | None) -> None:
        """Signal handler: every run saves and ends."""
        self.stopped = True
        for child in list(self._running):
            child.terminate()


def run_all(
    tasks: Sequence[Task],
    profile: Profile,
    out: Path,
    jobs: int,
    *,
    refresh: bool = False,
    told: Callable[[str, Task, str], None] = lambda event, task, words: None,
) -> list[str]:
    """Have results of all tasks; the longest are begun first.

    Args:
        jobs: how many run side by side.
        refresh: replace results that were made from other inputs or settings.
        told: called with "begin", "done", "refused", "failed" or "kept", the task, and why.

    Returns:
        What is not there in the end, a line each.
    """
    children = Children()
    handlers = {number: signal.signal(number, children.stop) for number in (signal.SIGINT, signal.SIGTERM)}
    missing = []
    try:
        with ThreadPoolExecutor(jobs) as pool:
            ordered = sorted(tasks, key=lambda task: (-task.seconds, task.key))
            futures = {
                pool.submit(finish, task, profile, Found(out), children, refresh, told): task
                for task in ordered
            }
            for future in as_completed(futures):
                task = futures[future]
                try:
                    future.result()
                except Unfinished as error:
                    missing.append(f"{task.key}: {error}")
                    told("failed", task, str(error))
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return missing


def finish(
    task: Task,
    profile: Profile,
    found: Found,
    children: Children,
    refresh: bool,
    told: Callable[[str, Task, str], None],
) -> None:
    """Have the results of one task, or the reason why there are none.

    Raises:
        Unfinished: it failed, was stopped, belongs to another input, or is being run by somebody else.
    """
    directory = found.directory(task)
    directory.mkdir(parents=True, exist_ok=True)
    with locked(directory / LOCK) as lock:
        state = found.state(task)
        if state in ("done", "refused"):
            told("kept", task, found.reason(task) if state == "refused" else "")
            return
        if state == "stale" and not refresh:
            raise Unfinished(
                f"{directory} was made from another input or other settings: keep it by another --out, or "
                "have it made again with --refresh"
            )
        command = command_of(task, profile, found.out, anew=not found.fits(task))
        (directory / SIGNATURE).write_text(json.dumps(task.signature(), indent=1), encoding="utf-8")
        (directory / REASON).unlink(missing_ok=True)
        told("begin", task, "")
        code = children.run(command, directory / SAID, lock)
        last = last_words(directory / SAID)
        if code in (WRONG, DIVERGED) and task.method != "measure":
            words = f"{'not applicable' if code == WRONG else 'diverged'}: {last}"
            (directory / REASON).write_text(words, encoding="utf-8")
            told("refused", task, words)
        elif code == STOPPED or (code != 0 and children.stopped):
            raise Unfinished("stopped; the same command goes on with it")
        elif code != 0 or not found.file(task).is_file():
            raise Unfinished(f"ended with code {code}: {last} (all of it in {directory / SAID})")
        else:
            told("done", task, "")


def command_of(task: Task, profile: Profile, out: Path, *, anew: bool) -> list[str]:
    """What the child runs. A run that was interrupted goes on; a baseline or measurement starts again."""
    directory = out / task.section / task.name
    if task.method == "measure":
        words = ["-m", "tools.reproduce", "measure", task.key, "--profile", profile.name, "--out", str(out)]
        return [sys.executable, *words]
    words = ["run"] if task.method == "run" else ["baseline", task.method]
    words += [task.input, *task.options]
    words += [word for setting in QUIET for word in ("--set", setting)]
    words += ["--out", str(directory)]
    going_on = task.method == "run" and not anew and any(directory.glob("checkpoints/*.h5"))
    return [sys.executable, "-m", "dsmsim", *words, "--resume" if going_on else "--overwrite"]


def last_words(said: Path) -> str:
    """The last line that is not empty."""
    lines = [line.strip() for line in said.read_text(encoding="utf-8", errors="replace").splitlines()]
    return next((line.removeprefix("dsmsim: ") for line in reversed(lines) if line), "no word")


@contextmanager
def locked(file: Path) -> Iterator[int]:
    """Hold a task's directory; the descriptor of the lock.

    Raises:
        Unfinished: somebody else holds it.
    """
    with file.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Unfinished(f"{file.parent} is being worked on by another process") from error
        yield handle.fileno()


def share(tasks: Sequence[Task], index: int, of: int) -> list[Task]:
    """The tasks of one of several jobs, 1 to `of`: the longest go first to who has least to do."""
    loads = [0.0] * of
    mine = []
    for task in sorted(tasks, key=lambda task: (-task.seconds, task.key)):
        least = loads.index(min(loads))
        loads[least] += task.seconds
        if least == index - 1:
            mine.append(task)
    return mine
