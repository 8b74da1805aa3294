"""A disk that fills up during a run: exit code 4, nothing earlier is lost, and with space the run goes on.

A limit on the size of files decides which file does not fit any more: inputs are chosen so that one kind of
file is the largest. Where a small file system can be mounted, it is really full.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from commands import call
from launchers import mpirun, needs_mpirun, run_dsmsim
from run_files import assert_close_run, assert_same_run, finished_run, interrupted_copy

from dsmsim.store import RunDirectory, read_results, read_trajectories

KB = 1000
NO_REFERENCE: dict[str, Any] = {"compare.with": []}
MANY_PATHS = NO_REFERENCE | {
    "time.save": 21,
    "output.trajectories": 480,
    "evaluation.samples": 480,
    "evaluation.bins": 8,
}
MANY_BINS = NO_REFERENCE | {"evaluation.bins": 2000, "output.trajectories": 40}
LONG_LOG = NO_REFERENCE | {"train.epochs": 100, "output.checkpoint_every": "1 h"}
REFERENCE = {"compare.with": ["exact"], "system.particles": 1, "system.interaction": None}


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file of this process, or of one that it starts, may grow beyond `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def contents(run: Path) -> dict[str, bytes]:
    """Every file of a run but its lock."""
    files = [path for path in run.rglob("*") if path.is_file() and path.name != ".lock"]
    return {str(path.relative_to(run)): path.read_bytes() for path in files}


def assert_nothing_lost(run: Path, before: Mapping[str, bytes], epoch: int) -> None:
    """Earlier files are as they were, the log up to the checkpoint; what is new is complete."""
    after = contents(run)
    for name, content in before.items():
        if name == "log.jsonl":
            lines = content.splitlines(keepends=True)[:epoch]
            assert after[name].startswith(b"".join(lines))
        else:
            assert after[name] == content, name
    assert not [name for name in after if name.endswith(".tmp")]


def assert_ends_as(run: Path, whole: Path) -> None:
    """Everything that a finished run holds, to the last bit."""
    assert_same_run(run, whole)
    found, expected = contents(run), contents(whole)
    assert found.keys() == expected.keys()
    for name, content in expected.items():
        if name.startswith("trajectories/"):
            assert found[name] == content, name
    left, right = (read_results(RunDirectory(each).results).results for each in (run, whole))
    assert left.keys() == right.keys()


@pytest.mark.parametrize(
    ("changes", "epoch", "size", "file"),
    [
        (NO_REFERENCE, 2, 40 * KB, "checkpoints/ckpt-000004.h5"),
        (LONG_LOG, 0, 20 * KB, "log.jsonl"),
        (MANY_PATHS, 4, 130 * KB, "trajectories/rank-0000.h5"),
        (MANY_BINS, 4, 150 * KB, "results.h5"),
        (REFERENCE, 4, 300 * KB, "references/exact/results.h5"),
    ],
    ids=["checkpoint", "log", "trajectories", "results", "reference"],
)
def test_file_that_does_not_fit(
    changes: dict[str, Any], epoch: int, size: int, file: str, tmp_path: Path
) -> None:
    whole = finished_run(tmp_path, changes)
    run = interrupted_copy(whole, tmp_path / "again", epoch)
    shutil.rmtree(RunDirectory(run).references, ignore_errors=True)
    before = contents(run)
    with largest_file(size):
        outcome = call("resume", run)
    assert outcome.code == 4, outcome.err
    assert f"cannot write {run / file}" in outcome.err
    assert "limit on file sizes (`ulimit -f`)" in outcome.err
    assert_nothing_lost(run, before, epoch)

    outcome = call("resume", run)
    assert outcome.code == 0, outcome.err
    assert_ends_as(run, whole)


@pytest.mark.parametrize(
    ("size", "file"), [(1 * KB, "resolved.toml"), (10 * KB, "checkpoints/ckpt-000000.h5")]
)
def test_new_run_that_does_not_fit(size: int, file: str, tmp_path: Path) -> None:
    whole = finished_run(tmp_path, NO_REFERENCE)
    run = tmp_path / "again"
    with largest_file(size):
        outcome = call("run", tmp_path / "input.toml", "--out", run)
    assert outcome.code == 4, outcome.err
    assert f"cannot write {run / file}" in outcome.err
    assert not [name for name in contents(run) if name.endswith(".tmp")]

    outcome = call("run", tmp_path / "input.toml", "--out", run, "--resume")
    assert outcome.code == 0, outcome.err
    assert_ends_as(run, whole)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount a small file system")
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("no file system can be mounted here")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


@contextmanager
def full_but_for(disk: Path, size: int) -> Iterator[None]:
    """All but `size` bytes of the file system are taken."""
    filler = disk / "filler"
    filler.write_bytes(bytes(shutil.disk_usage(disk).free - size))
    try:
        yield
    finally:
        filler.unlink()


@pytest.fixture(scope="module")
def many_paths(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run whose trajectories are its largest file, beside its input."""
    return finished_run(tmp_path_factory.mktemp("many_paths"), MANY_PATHS)


@pytest.mark.parametrize(
    ("free", "file"),
    [
        (60 * KB, "checkpoints/ckpt-000002.h5"),
        (400 * KB, "trajectories/rank-0000.h5"),
        (510 * KB, "results.h5"),
    ],
)
def test_full_disk(free: int, file: str, disk: Path, many_paths: Path) -> None:
    run = disk / "run"
    with full_but_for(disk, free):
        outcome = call("run", many_paths.parent / "input.toml", "--out", run)
        left = contents(run)
    assert outcome.code == 4, outcome.err
    assert f"cannot write {run / file}: No space left on device; the disk is full" in outcome.err
    assert not [name for name in left if name.endswith(".tmp")]

    outcome = call("resume", run)
    assert outcome.code == 0, outcome.err
    assert_ends_as(run, many_paths)


@needs_mpirun
def test_full_disk_for_one_of_two_ranks(disk: Path, many_paths: Path) -> None:
    """There is space for the trajectories of one rank, not for those of both."""
    run = disk / "run"
    with full_but_for(disk, 430 * KB):
        done = run_dsmsim("run", many_paths.parent / "input.toml", "--out", run, launcher=mpirun(2))
        left = contents(run)
    assert done.returncode == 4, done.stderr
    assert done.stderr.count("No space left on device; the disk is full: free some space") == 1
    assert f"cannot write {run}/trajectories/rank-000" in done.stderr
    assert "ends the run" not in done.stderr  # all ranks left in order
    assert not [name for name in left if name.startswith("trajectories/")]

    done = run_dsmsim("resume", run, launcher=mpirun(2))
    assert done.returncode == 0, done.stderr
    assert_close_run(run, many_paths)
    found, expected = (read_trajectories(each)["position"] for each in (run, many_paths))
    assert found == pytest.approx(expected, rel=0.0, abs=1e-9)
