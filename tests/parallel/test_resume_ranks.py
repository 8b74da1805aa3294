"""A run that was killed goes on from its checkpoint, on the same number of ranks or another one."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import call
from launchers import mpirun, needs_mpirun, run_dsmsim
from run_files import assert_close_run, assert_same_run, finished_run, interrupted_copy
from tiny import write_input

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
