"""Runs in processes of their own that are killed without warning, and what must be true of what they leave.

Children come from a server process that has torch loaded already, so a run starts within a tenth of a second.
"""

from __future__ import annotations

import builtins
import contextlib
import functools
import multiprocessing
import multiprocessing.context
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dsmsim.store import (
    RunDirectory,
    checkpoint_files,
    load_checkpoint,
    read_jsonlines,
    read_results,
    read_trajectories,
)

LIMIT = 60.0  # s, for a run of the tiny input


@functools.cache
def _children() -> multiprocessing.context.ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["kills", "dsmsim.cli", "dsmsim.methods.runs", "dsmsim.training.dsm"])
    return context


class Child:
    """`dsmsim ARGUMENTS` in another process; what it prints is in `output`."""

    def __init__(self, output: Path, arguments: list[object], death: int | None = None) -> None:
        """Begin.

        Args:
            death: the process kills itself at this point of its input and output, see `_die_at`.
        """
        self.output = output
        texts = [str(argument) for argument in arguments]
        self._process = _children().Process(target=_run, args=(str(output), texts, death))
        self._process.start()

    def kill_after(self, seconds: float) -> bool:
        """SIGKILL after this time; False if the process had ended before."""
        self._process.join(seconds)
        if self._process.exitcode is not None:
            return False
        self._process.kill()
        return self.wait() == -signal.SIGKILL

    def wait(self) -> int:
        """The exit code, negative for a signal."""
        self._process.join(LIMIT)
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join()
            raise AssertionError(f"did not end within {LIMIT:g} s: {self.output.read_text()}")
        return self._process.exitcode


def _run(output: str, arguments: list[str], death: int | None) -> None:
    """What a child does: the command line with its streams in a file; exits with the command's code."""
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ["DSMSIM_CACHE"] = "off"
    from dsmsim.cli import main

    with open(output, "a", buffering=1) as stream:
        sys.argv = ["dsmsim", *arguments]
        points = _die_at(death)
        with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
            try:
                main()
                code = 0
            except SystemExit as leaving:
                code = int(leaving.code or 0)
            print(f"points of input and output: {points()}")
    os._exit(code)


def _die_at(death: int | None) -> Callable[[], int]:
    """Count the points at which files change, and kill this process at one of them.

    A point lies before and after every fsync and every rename, and in the middle of every file written.

    Args:
        death: number of the point, from 1; None: never.

    Returns:
        A function that tells how many points have been passed.
    """
    passed = 0

    def point() -> None:
        nonlocal passed
        passed += 1
        if passed == death:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any) -> Any:
            point()
            result = function(*arguments)
            point()
            return result

        return wrapped

    os.fsync, os.replace = around(os.fsync), around(os.replace)
    import dsmsim.store.files as files

    def open_in_halves(path: Path, mode: str) -> Any:
        file = builtins.open(path, mode)  # noqa: SIM115 (the caller closes it)
        whole = file.write

        def write(data: memoryview) -> int:
            half = len(data) // 2
            whole(data[:half])
            file.flush()
            point()
            return half + whole(data[half:])

        file.write = write
        return file

    files.open = open_in_halves  # type: ignore[attr-defined]  # found before the built-in one
    return lambda: passed


def points_of(output: Path) -> int:
    """How many points of input and output a child has passed."""
    (line,) = [line for line in output.read_text().splitlines() if line.startswith("points of input")]
    return int(line.split(":")[1])


def require_readable(directory: Path, interval: int) -> None:
    """Every file of a killed run can be read, and no more than the epochs since the last checkpoint are lost.

    Args:
        interval: epochs between checkpoints.
    """
    run = RunDirectory(directory)
    epochs = [0]
    if run.log.exists():
        epochs += [record["epoch"] for record in read_jsonlines(run.log)]
    assert epochs == list(range(len(epochs)))
    if checkpoint_files(run.checkpoints):
        newest = load_checkpoint(run.checkpoints)
        assert newest.warnings == []
        assert newest.epoch >= epochs[-1] - interval
    else:
        assert epochs == [0]
    if run.results.exists():  # written last: what they speak of is there
        read_results(run.results)
        read_trajectories(directory)


def ranks_with(mark: str) -> dict[int, int]:
    """Process number of every rank of an mpirun whose environment has DSMSIM_TEST_MARK = `mark`, by rank."""
    found = {}
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            entries = (place / "environ").read_bytes().split(b"\0")
            values = dict(entry.split(b"=", 1) for entry in entries if b"=" in entry)
            if values.get(b"DSMSIM_TEST_MARK") == mark.encode() and b"PMI_RANK" in values:
                found[int(values[b"PMI_RANK"])] = int(place.name)
    return found


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until `condition()`; an AssertionError after LIMIT."""
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)
