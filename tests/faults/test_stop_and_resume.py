"""Runs that are stopped, killed or damaged end where the uninterrupted run ends, to the last bit."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from commands import call
from kills import wait_for
from launchers import LIMIT, begin_dsmsim, mpirun, needs_mpirun
from run_files import assert_close_run, assert_same_run, finished_run, interrupted_copy, losses_of
from tiny import write_input

from dsmsim.store import RunDirectory, checkpoint_files

EPOCHS = 30
PAUSE = "0.2"  # s that an epoch takes in a run that is to be stopped: EPOCHS of them leave 6 s
SLOW = {
    "train.epochs": EPOCHS,
    "system.terms.slow": {"kind": "python", "target": "slow_potential:still"},
    "compare.with": [],
    "output.checkpoint_every": "1 h",
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the run that nothing disturbs."""
    return finished_run(tmp_path_factory.mktemp("whole"), SLOW)


@contextmanager
def slow_run(
    directory: Path, launcher: list[str] | None = None, **changes: object
) -> Iterator[subprocess.Popen[str]]:
    """`dsmsim run` in its third epoch or later, with most of the others to come."""
    file = write_input(directory / "input.toml", SLOW | changes)
    out = directory / "run"
    with begin_dsmsim("run", file, "--out", out, launcher=launcher, DSMSIM_TEST_PAUSE=PAUSE) as process:
        try:
            wait_for(lambda: process.poll() is not None or epochs_done(out) >= 3)
            yield process
            process.communicate(timeout=LIMIT)
        finally:
            process.kill()


def epochs_done(run: Path) -> int:
    log = RunDirectory(run).log
    return log.read_bytes().count(b"\n") if log.is_file() else 0


def resume(run: Path) -> str:
    """Resume until the end, as a batch script does, and return what the first resume said."""
    first = call("resume", run)
    outcome = first
    for _ in range(EPOCHS):
        if outcome.code != 75:
            break
        outcome = call("resume", run)
    assert outcome.code == 0, outcome.err
    return first.err


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_signal_stops_and_the_run_can_be_resumed(number: signal.Signals, whole: Path, tmp_path: Path) -> None:
    with slow_run(tmp_path) as process:
        process.send_signal(number)
        _, errors = process.communicate(timeout=LIMIT)
    assert process.returncode == 75, errors
    done = epochs_done(tmp_path / "run")
    assert 3 <= done < EPOCHS
    assert f"stopped after epoch {done} of {EPOCHS} (signal {number.name}); the state is saved" in errors
    assert "Traceback" not in errors
    assert not (tmp_path / "run" / "results.h5").exists()
    assert f"ckpt-{done:06d}.h5 at epoch {done}" in resume(tmp_path / "run")
    assert_same_run(tmp_path / "run", whole)


@needs_mpirun
def test_signal_to_mpirun_stops_all_ranks(whole: Path, tmp_path: Path) -> None:
    with slow_run(tmp_path, mpirun(2)) as process:
        process.send_signal(signal.SIGUSR1)
        _, errors = process.communicate(timeout=LIMIT)
    assert process.returncode == 75, errors
    assert errors.count("the state is saved") == 1
    assert "ends the run" not in errors
    resume(tmp_path / "run")
    assert_close_run(tmp_path / "run", whole)


def test_time_limit_stops_and_the_run_can_be_resumed(whole: Path, tmp_path: Path) -> None:
    with slow_run(tmp_path, **{"run.time_limit": "1.5 s"}) as process:
        _, errors = process.communicate(timeout=LIMIT)
    assert process.returncode == 75, errors
    assert "(time limit of 1.5 s); the state is saved" in errors
    assert 3 <= epochs_done(tmp_path / "run") < EPOCHS
    resume(tmp_path / "run")
    assert_same_run(tmp_path / "run", whole)


def test_killed_run_goes_on_from_its_last_checkpoint(whole: Path, tmp_path: Path) -> None:
    with slow_run(tmp_path, **{"output.checkpoint_every": "2 epochs"}) as process:
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=LIMIT)
    assert process.returncode == -signal.SIGKILL
    assert len(losses_of(tmp_path / "run")) < EPOCHS
    resume(tmp_path / "run")
    assert_same_run(tmp_path / "run", whole)


def flip(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with checkpoints after 2, 4 and 6 epochs."""
    return finished_run(tmp_path_factory.mktemp("quick"))


@pytest.mark.parametrize("damage", [flip, lambda content: content[:-100], lambda content: b""])
def test_damaged_checkpoint_is_passed_over(
    damage: Callable[[bytes], bytes], quick: Path, tmp_path: Path
) -> None:
    run = interrupted_copy(quick, tmp_path / "run", 4)
    newest = checkpoint_files(RunDirectory(run).checkpoints)[-1]
    newest.write_bytes(damage(newest.read_bytes()))
    outcome = call("resume", run)
    assert outcome.code == 0, outcome.err
    assert f"{newest} is damaged" in outcome.err
    assert "ckpt-000002.h5 at epoch 2" in outcome.err
    assert_same_run(run, quick)


def test_without_a_valid_checkpoint_nothing_is_touched(quick: Path, tmp_path: Path) -> None:
    run = interrupted_copy(quick, tmp_path / "run", 4)
    for file in checkpoint_files(RunDirectory(run).checkpoints):
        file.write_bytes(flip(file.read_bytes()))
    before = contents(run)
    outcome = call("resume", run)
    assert outcome.code == 4
    assert "none of the 3 checkpoints" in outcome.err
    assert contents(run) == before


def test_checkpoint_of_another_network_is_refused(quick: Path, tmp_path: Path) -> None:
    run = RunDirectory(interrupted_copy(quick, tmp_path / "run", 4))
    run.resolved.write_text(run.resolved.read_text().replace("width = 8", "width = 9"))
    outcome = call("resume", run.path)
    assert outcome.code == 2
    assert "has other networks or another optimiser than " in outcome.err
    assert "ckpt-000004.h5:\n  network.width: 8 -> 9\n" in outcome.err


def test_checkpoint_of_another_physics_is_refused(quick: Path, tmp_path: Path) -> None:
    run = RunDirectory(interrupted_copy(quick, tmp_path / "run", 4))
    run.resolved.write_text(run.resolved.read_text().replace("hbar = 0.5", "hbar = 0.6"))
    before = contents(run.path)
    outcome = call("resume", run.path)
    assert outcome.code == 2
    assert "another physical problem" in outcome.err
    assert "\n  system.hbar: 0.5 -> 0.6\n" in outcome.err
    assert contents(run.path) == before


def test_finished_run_can_be_resumed_again(quick: Path, tmp_path: Path) -> None:
    run = interrupted_copy(quick, tmp_path / "run", 6)
    assert call("resume", run).code == 0
    assert_same_run(run, quick)


def contents(directory: Path) -> dict[str, bytes]:
    """Every file below a directory."""
    files = [path for path in sorted(directory.rglob("*")) if path.is_file()]
    return {str(path.relative_to(directory)): path.read_bytes() for path in files}


def test_directory_with_results_is_refused_until_overwriting_is_asked_for(
    quick: Path, tmp_path: Path
) -> None:
    run = interrupted_copy(quick, tmp_path / "run", 6)
    (run / "results.h5").write_bytes((quick / "results.h5").read_bytes())
    (run / "notes.txt").write_text("mine")
    before = contents(run)
    file = write_input(tmp_path / "input.toml", {"seed": 5})
    outcome = call("run", file, "--out", run)
    assert outcome.code == 2
    assert "--overwrite" in outcome.err
    assert f"dsmsim resume {run}" in outcome.err
    assert contents(run) == before

    bad = write_input(tmp_path / "bad.toml", {"train.points": 49})
    assert call("run", bad, "--out", run, "--overwrite").code == 2
    assert contents(run) == before

    assert call("run", file, "--out", run, "--overwrite").code == 0
    assert (run / "notes.txt").read_text() == "mine"
    assert len(losses_of(run)) == 6
    assert losses_of(run) != losses_of(quick)


def test_directory_of_a_killed_run_is_refused_too(quick: Path, tmp_path: Path) -> None:
    run = interrupted_copy(quick, tmp_path / "run", 4)
    before = contents(run)
    outcome = call("run", write_input(tmp_path / "input.toml"), "--out", run)
    assert outcome.code == 2
    assert "dsmsim resume" in outcome.err
    assert contents(run) == before


def test_a_signal_before_there_is_anything_to_save_means_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While modules are loaded: nothing is lost, and a batch script tries again."""
    module = "import os, signal\nos.kill(os.getpid(), signal.SIGUSR1)\nstill = lambda r, t: 0.0 * r[..., 0]\n"
    (tmp_path / "impatient.py").write_text(module)
    monkeypatch.syspath_prepend(str(tmp_path))
    term = {"system.terms.slow": {"kind": "python", "target": "impatient:still"}}
    before = signal.getsignal(signal.SIGUSR1)
    outcome = call("run", write_input(tmp_path / "input.toml", term), "--out", tmp_path / "run")
    assert outcome.code == 75
    assert not (tmp_path / "run").exists()
    assert signal.getsignal(signal.SIGUSR1) is before
