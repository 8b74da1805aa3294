"""A run that is stopped or killed while it samples, not while it trains, ends where it would have ended."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from commands import call
from kills import wait_for
from launchers import LIMIT, begin_dsmsim, mpirun, needs_mpirun
from run_files import assert_close_run, assert_same_run, finished_run
from slow_evaluation import SAMPLES
from tiny import write_input

from dsmsim.store import RunDirectory, read_trajectories

BLOCKS = 6
PAUSE = "0.15"  # s, twice for each of five saved times: a block takes 1.5 s
SLOW = {
    "system.terms.slow": {"kind": "python", "target": "slow_evaluation:still"},
    "compare.with": [],
    "evaluation.samples": BLOCKS * SAMPLES,
    "evaluation.trials": BLOCKS,
    "output.trajectories": BLOCKS * SAMPLES,
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the run that nothing disturbs."""
    return finished_run(tmp_path_factory.mktemp("whole"), SLOW)


@contextmanager
def sampling_run(
    directory: Path, launcher: list[str] | None = None, changes: dict[str, object] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """`dsmsim run` with its training done and saved, and most of its evaluation to come."""
    file, out = write_input(directory / "input.toml", SLOW | (changes or {})), directory / "run"
    with begin_dsmsim("run", file, "--out", out, launcher=launcher, DSMSIM_TEST_PAUSE=PAUSE) as process:
        try:
            end = time.monotonic() + LIMIT
            while not list(out.glob("trajectories/.rank-*.tmp")):  # these are made between the two
                assert process.poll() is None
                assert time.monotonic() < end, "waited in vain"
                time.sleep(0.02)
            yield process
            process.communicate(timeout=LIMIT)
        finally:
            process.kill()


def assert_nothing_came_of_it(run: Path) -> None:
    places = RunDirectory(run)
    assert not places.results.exists()
    assert not list(places.trajectories.glob("[!.]*"))
    assert (places.checkpoints / "ckpt-000006.h5").is_file()


def files_of_trajectories(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in RunDirectory(run).trajectories.iterdir()}


def test_signal_in_the_evaluation_stops_and_the_run_can_be_resumed(whole: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with sampling_run(tmp_path) as process:
        process.send_signal(signal.SIGUSR1)
        _, errors = process.communicate(timeout=LIMIT)
    assert process.returncode == 75, errors
    assert f"of {BLOCKS} blocks of samples (signal SIGUSR1); what is done is saved" in errors
    assert "Traceback" not in errors
    assert_nothing_came_of_it(run)
    assert list(RunDirectory(run).trajectories.iterdir()) == []
    outcome = call("resume", run)
    assert outcome.code == 0, outcome.err
    assert "ckpt-000006.h5 at epoch 6" in outcome.err
    assert re.search(rf"the evaluation goes on after [1-5] of {BLOCKS} blocks", outcome.err)
    assert not (RunDirectory(run).checkpoints / "samples.h5").exists()
    assert_same_run(run, whole)
    assert files_of_trajectories(run) == files_of_trajectories(whole)


def test_run_killed_in_the_evaluation_goes_on_from_its_last_save(whole: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with sampling_run(tmp_path, changes={"output.checkpoint_every": "1 s"}) as process:
        wait_for((RunDirectory(run).checkpoints / "samples.h5").is_file)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=LIMIT)
    assert_nothing_came_of_it(run)
    outcome = call("resume", run)
    assert outcome.code == 0, outcome.err
    assert re.search(rf"the evaluation goes on after [1-5] of {BLOCKS} blocks", outcome.err)
    assert_same_run(run, whole)
    assert files_of_trajectories(run) == files_of_trajectories(whole)


def test_run_killed_before_it_has_saved_any_samples_repeats_them(whole: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with sampling_run(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=LIMIT)
    assert_nothing_came_of_it(run)
    outcome = call("resume", run)
    assert outcome.code == 0, outcome.err
    assert_same_run(run, whole)
    assert files_of_trajectories(run) == files_of_trajectories(whole)


@needs_mpirun
def test_signal_in_the_evaluation_stops_all_ranks(whole: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with sampling_run(tmp_path, mpirun(2)) as process:
        process.send_signal(signal.SIGUSR1)
        _, errors = process.communicate(timeout=LIMIT)
    assert process.returncode == 75, errors
    assert errors.count("blocks of samples (signal SIGUSR1)") == 1
    assert "ends the run" not in errors
    assert_nothing_came_of_it(run)
    outcome = call("resume", run)
    assert outcome.code == 0, outcome.err
    assert_close_run(run, whole)
    found, expected = (read_trajectories(each)["position"] for each in (run, whole))
    np.testing.assert_allclose(found, expected, rtol=0.0, atol=1e-9)
