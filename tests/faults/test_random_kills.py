"""SIGKILL at any moment, again and again: `run --resume` ends where the undisturbed run ends, bit by bit.

    DSMSIM_KILLS=200 python -m pytest tests/faults/test_random_kills.py     # ten times as many as by default

Of all kills half come at random times, a third at random points of input and output (before and after every
fsync and rename, in the middle of every file), and the rest hit one rank of two. `make kills` does 200.
"""

from __future__ import annotations

import os
import signal
import time
import uuid
from pathlib import Path

import numpy as np
import pytest
from commands import call
from kills import Child, points_of, ranks_with, require_readable, wait_for
from launchers import begin_dsmsim, mpirun, needs_mpirun
from run_files import assert_close_run, assert_same_run
from tiny import write_input

from dsmsim.store import RunDirectory, read_results, read_trajectories

KILLS = int(os.environ.get("DSMSIM_KILLS", "24"))
AT_RANDOM_TIMES, AT_RANDOM_POINTS = KILLS // 2, KILLS // 3
OF_ONE_RANK = KILLS - AT_RANDOM_TIMES - AT_RANDOM_POINTS
INTERVAL = 2  # epochs between checkpoints
INPUT = {"train.epochs": 16, "output.checkpoint_every": f"{INTERVAL} epochs", "output.trajectories": 30}
TIMED = {"training": ["seconds"], "provenance": []}
SLOW = {"system.terms.slow": {"kind": "python", "target": "slow_potential:still"}}


class Whole:
    """The run that nobody disturbs: its directory and input, how long it takes, its points of death."""

    def __init__(self, root: Path) -> None:
        self.input = write_input(root / "input.toml", INPUT)
        self.path = root / "run"
        began = time.monotonic()
        child = Child(root / "output", ["run", self.input, "--out", self.path])
        assert child.wait() == 0, child.output.read_text()
        self.seconds = time.monotonic() - began
        self.points = points_of(root / "output")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    root = tmp_path_factory.mktemp("whole")
    Child(root / "first", ["--help"]).wait()  # the server of the children loads torch meanwhile
    return Whole(root)


def assert_same_end(found: Path, whole: Whole) -> None:
    """Log, checkpoint, every array of results.h5 and the trajectories, bit by bit."""
    assert_same_run(found, whole.path)
    left, right = (read_results(RunDirectory(path).results).results for path in (found, whole.path))
    assert left.keys() == right.keys()
    for group, arrays in right.items():
        assert left[group].keys() == arrays.keys()
        for name, value in arrays.items():
            if name not in TIMED.get(group, []):
                assert left[group][name].tobytes() == value.tobytes(), f"{group}/{name}"
    left, right = (read_trajectories(path)["position"] for path in (found, whole.path))
    assert np.array_equal(left, right)
    assert not list(found.rglob("*.tmp"))


def test_kills_at_random_times(whole: Whole, tmp_path: Path) -> None:
    """Runs with one to four kills each. One that comes after the end of its run does not count."""
    rng, done, number = np.random.default_rng(1), 0, 0
    while done < AT_RANDOM_TIMES:
        number += 1
        run, output = tmp_path / f"run{number}", tmp_path / f"output{number}"
        command = ["run", whole.input, "--out", run, "--resume"]
        for _ in range(rng.integers(1, 5)):
            done += Child(output, command).kill_after(rng.uniform(0.0, whole.seconds))
            require_readable(run, INTERVAL)
        last = Child(output, command)
        assert last.wait() == 0, output.read_text()
        assert_same_end(run, whole)


def test_kills_at_points_of_input_and_output(whole: Whole, tmp_path: Path) -> None:
    """The same, at a point of the whole run first, and then at one of what is left of it."""
    assert whole.points > 50
    rng, done, number = np.random.default_rng(2), 0, 0
    while done < AT_RANDOM_POINTS:
        number += 1
        run, output = tmp_path / f"run{number}", tmp_path / f"output{number}"
        command, points = ["run", whole.input, "--out", run, "--resume"], whole.points
        for _ in range(rng.integers(1, 5)):
            code = Child(output, command, int(rng.integers(1, points + 1))).wait()
            assert code == -signal.SIGKILL or (code == 0 and points < whole.points), output.read_text()
            done += code == -signal.SIGKILL
            require_readable(run, INTERVAL)
            points = 12
        assert Child(output, command).wait() == 0, output.read_text()
        assert_same_end(run, whole)


@needs_mpirun
def test_kills_of_one_rank(whole: Whole, tmp_path: Path) -> None:
    """The other rank and mpirun end too; the run is continued on one rank."""
    slow = write_input(tmp_path / "slow.toml", INPUT | SLOW)
    reference = tmp_path / "reference"
    assert call("run", slow, "--out", reference).code == 0
    rng, done, number = np.random.default_rng(3), 0, 0
    while done < OF_ONE_RANK:
        number += 1
        run, mark = tmp_path / f"run{number}", uuid.uuid4().hex
        with begin_dsmsim(
            *("run", slow, "--out", run, "--resume"),
            launcher=mpirun(2),
            DSMSIM_TEST_PAUSE="0.05",
            DSMSIM_TEST_MARK=mark,
        ) as process:
            try:
                wait_for(lambda run=run: (run / "log.jsonl").exists())
                time.sleep(rng.uniform(0.0, 1.5))
                victim = ranks_with(mark).get(int(rng.integers(2)))
                if victim is not None:
                    os.kill(victim, signal.SIGKILL)
                    done += 1
                _, errors = process.communicate(timeout=60.0)
            finally:
                process.kill()
        assert process.returncode != 0 or victim is None, errors
        assert ranks_with(mark) == {}
        require_readable(run, INTERVAL)
        outcome = call("resume", run)
        assert outcome.code == 0, outcome.err
        assert_close_run(run, reference)
