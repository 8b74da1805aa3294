"""A run that was killed goes on from its checkpoint, on the same number of ranks or another one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from commands import call
from launchers import mpirun, needs_mpirun, run_dsmsim
from run_files import assert_close_run, assert_same_run, finished_run, interrupted_copy
from tiny import write_input

from dsmsim.store import read_trajectories

KILLED_AFTER = 2  # epochs, of six


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of an uninterrupted run on one rank."""
    return finished_run(tmp_path_factory.mktemp("one"))


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same on two ranks."""
    directory = tmp_path_factory.mktemp("two")
    file = write_input(directory / "input.toml")
    done = run_dsmsim("run", file, "--out", directory / "run", launcher=mpirun(2))
    assert done.returncode == 0, done.stderr
    return directory / "run"


def resume_alone(directory: Path) -> None:
    outcome = call("resume", directory)
    assert outcome.code == 0, outcome.err
    assert f"ckpt-{KILLED_AFTER:06d}.h5 at epoch {KILLED_AFTER}" in outcome.err


def resume_on_two(directory: Path) -> None:
    done = run_dsmsim("resume", directory, launcher=mpirun(2))
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(f"ckpt-{KILLED_AFTER:06d}.h5 at epoch {KILLED_AFTER}") == 1


def test_one_rank_goes_on_bit_by_bit(one: Path, tmp_path: Path) -> None:
    again = interrupted_copy(one, tmp_path / "run", KILLED_AFTER)
    resume_alone(again)
    assert_same_run(again, one)


@needs_mpirun
def test_two_ranks_go_on_bit_by_bit(two: Path, tmp_path: Path) -> None:
    again = interrupted_copy(two, tmp_path / "run", KILLED_AFTER)
    resume_on_two(again)
    assert_same_run(again, two)


@needs_mpirun
def test_from_one_rank_to_two(one: Path, tmp_path: Path) -> None:
    again = interrupted_copy(one, tmp_path / "run", KILLED_AFTER)
    resume_on_two(again)
    assert_close_run(again, one)


@needs_mpirun
def test_from_two_ranks_to_one(one: Path, two: Path, tmp_path: Path) -> None:
    again = interrupted_copy(two, tmp_path / "run", KILLED_AFTER)
    resume_alone(again)
    assert_close_run(again, one)


@needs_mpirun
def test_from_four_ranks_to_two_to_three(tmp_path: Path) -> None:
    """Each attempt leaves trajectories of its own number of ranks; only those of the last one count."""
    changes = {"output.trajectories": 240, "compare.with": []}
    whole, run = finished_run(tmp_path, changes), tmp_path / "on_4"
    on_ranks(4, "run", tmp_path / "input.toml", "--out", run)
    for ranks, epoch in ((2, 2), (3, 4)):
        run = interrupted_copy(run, tmp_path / f"on_{ranks}", epoch)
        errors = on_ranks(ranks, "resume", run)
        assert f"ckpt-{epoch:06d}.h5 at epoch {epoch}" in errors
        assert len(list((run / "trajectories").glob("rank-*.h5"))) == ranks
        assert_close_run(run, whole)
        found, expected = (read_trajectories(each)["position"] for each in (run, whole))
        np.testing.assert_allclose(found, expected, rtol=0.0, atol=1e-9)


def on_ranks(ranks: int, *arguments: object) -> str:
    """What a command that succeeds writes to standard error."""
    done = run_dsmsim(*arguments, launcher=mpirun(ranks))
    assert done.returncode == 0, done.stderr
    return done.stderr
