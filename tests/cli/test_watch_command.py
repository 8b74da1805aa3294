"""`dsmsim watch`: the stage of a run from its files alone, and none of them changed by looking."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from commands import call
from rich.console import Console
from run_files import finished_run
from tiny import tiny_config

from dsmsim.methods import watch as watching
from dsmsim.methods.watch import Watcher, frame, sparkline
from dsmsim.store import RunDirectory, locked

MARCH = {"train.mode": "march"}
POLISH = {"train.mode": "march", "train.polish": True}
EPOCHS = 6  # of the tiny input


def epoch(number: int, loss: float = 0.1, seconds: float | None = None) -> dict[str, Any]:
    return {
        "epoch": number,
        "loss": loss,
        "loss_newton": 0.75 * loss,
        "loss_score": 0.25 * loss,
        "loss_initial": 0.0,
        "learning_rate": 0.01,
        "gradient_norm": 2.0,
        "seconds": float(number) if seconds is None else seconds,
    }


def step(number: int, time: float) -> dict[str, Any]:
    return {
        "step": number,
        "time": time,
        "residual": 0.01 * (number + 1),
        "energy": 2.0 + 0.01 * number,
        "effective_fraction": 0.7,
        "rank": 12,
    }


def run_of(
    path: Path, records: list[dict[str, Any]], changes: Mapping[str, Any] | None = None, lock: str = ""
) -> RunDirectory:
    """What a run of the tiny input has left so far."""
    run = RunDirectory(path)
    path.mkdir()
    run.resolved.write_text(tiny_config(changes).to_toml())
    run.log.write_text("".join(json.dumps(record) + "\n" for record in records))
    (path / ".lock").write_text(lock)
    return run


def alive() -> str:
    return holder(os.getpid(), socket.gethostname())


def holder(process: int, host: str) -> str:
    return f"process {process} on {host} since 2026-01-01T00:00:00+00:00\n"


def gone() -> str:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return holder(process.pid, socket.gethostname())


def shown(run: RunDirectory) -> str:
    outcome = call("watch", run.path, "--once")
    assert outcome.code == 0, outcome.err
    return outcome.out


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished_run(tmp_path_factory.mktemp("finished"))


@pytest.mark.parametrize(
    ("changes", "records", "stage"),
    [
        ({}, [], "starting"),
        ({}, [epoch(1)], "training"),
        ({}, [epoch(number) for number in range(1, EPOCHS + 1)], "sampling"),
        (MARCH, [], "starting"),
        (MARCH, [step(0, 0.0), step(1, 0.5)], "marching"),
        (MARCH, [step(0, 0.0), step(1, 1.0)], "sampling"),
        (POLISH, [step(0, 0.0), step(1, 1.0)], "sampling"),
        (POLISH, [step(0, 0.0), step(1, 1.0), epoch(1)], "training"),
        (POLISH, [step(0, 0.0), step(1, 1.0), epoch(EPOCHS)], "sampling"),
    ],
)
def test_stages(changes: dict[str, Any], records: list[Any], stage: str, tmp_path: Path) -> None:
    look = Watcher(run_of(tmp_path / "run", records, changes, alive()).path).look()
    assert (look.stage, look.state) == (stage, "running")


def test_networks_learn_marched_fields_once_these_are_measured(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", [step(0, 0.0), step(1, 1.0)], POLISH, alive())
    run.march.write_bytes(b"")
    assert Watcher(run.path).look().stage == "learning"


def test_training_with_rate_and_time_left(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", [epoch(1, 1.0), epoch(2, 0.1), epoch(4, 0.01)], lock=alive())
    look = Watcher(run.path).look()
    assert look.progress == (4.0, 6.0, "epochs")
    assert look.rate == pytest.approx(1.0)
    assert look.seconds_left == pytest.approx(2.0, abs=1.0)
    text = shown(run)
    words = ("epoch 4 of 6", "1 epochs a second", "left (at about", "0.01", "newton 0.0075", "gradient 2")
    for word in (*words, f"process {os.getpid()} on {socket.gethostname()}", "tiny", "█▅▁"):
        assert word in text


def test_marching(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", [step(0, 0.0), step(1, 0.25)], MARCH, alive())
    text = shown(run)
    for word in ("t = 0.25 of 1", "▁█ 0.02", "+0.500 % since the start", "70 % effective, step 1"):
        assert word in text
    assert "rate" not in text  # these records have no seconds


def test_marching_with_times(tmp_path: Path) -> None:
    steps = [step(k, 0.1 * k) | {"seconds": 2.0 * k} for k in range(6)]
    run = run_of(tmp_path / "run", steps, MARCH, alive())
    look = Watcher(run.path).look()
    assert look.rate == pytest.approx(0.05)
    assert look.seconds_left == pytest.approx(10.0, abs=1.0)
    assert "0.05 of t a second, 10 s left" in shown(run) or "9 s left" in shown(run)


def test_a_stopped_run(tmp_path: Path) -> None:
    text = shown(run_of(tmp_path / "run", [epoch(1)]))
    assert f"stopped; `dsmsim resume {tmp_path / 'run'}`" in " ".join(text.split())
    assert "left" not in text


def test_a_dead_run(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", [epoch(1), epoch(2)], lock=gone())
    assert "dead, process" in shown(run)


@pytest.mark.parametrize(("age", "state"), [(60.0, "running"), (100_000.0, "silent")])
def test_a_run_of_another_host_is_judged_by_its_files(age: float, state: str, tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", [epoch(1), epoch(2)], lock=holder(1, "far-away"))
    for file in (run.log, run.resolved):
        os.utime(file, (time.time() - age,) * 2)
    look = Watcher(run.path).look()
    assert (look.state, look.where) == (state, "process 1 on far-away")
    assert ("silent, process 1 on far-away" in shown(run)) == (state == "silent")


def test_losses_that_are_no_numbers(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", [epoch(1), epoch(2) | {"loss": None, "loss_newton": None}], lock=alive())
    assert "not finite" in shown(run)


def test_a_finished_run_shows_checks_and_errors(finished: Path) -> None:
    text = shown(RunDirectory(finished))
    assert "finished" in text
    assert re.search(r"checks +(\d+ of \d+ failed|all \d+ passed)", text)
    assert "closed_form: Var x" in text


def test_looking_changes_nothing(finished: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(finished, copy)

    def state() -> list[tuple[str, int, int]]:
        files = sorted(copy.rglob("*"))
        return [(str(file), file.stat().st_mtime_ns, file.stat().st_size) for file in [copy, *files]]

    before = state()
    with locked(copy):  # it does not wait for a lock either
        during = state()
        shown(RunDirectory(copy))
        assert state() == during
    (copy / ".lock").unlink()
    os.utime(copy, ns=(before[0][1],) * 2)
    shown(RunDirectory(copy))
    assert [entry for entry in before if ".lock" not in entry[0]] == state()


def test_watching_until_the_end(finished: Path, tmp_path: Path) -> None:
    """A run that trains, is resumed from an earlier checkpoint, and finishes."""
    run = run_of(tmp_path / "run", [epoch(1), epoch(2), epoch(3)], lock=alive())
    console = Console(force_terminal=True, width=100, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    deeds: list[Callable[[], None]] = [
        lambda: None,
        lambda: run.log.write_text(json.dumps(epoch(1)) + "\n"),
        lambda: None,
        lambda: _finish(run, finished),
    ]
    frames: list[str] = []

    def sleep(seconds: float) -> None:
        frames.append(console.export_text())
        deeds.pop(0)()

    watching.watch(run.path, False, console, sleep)
    frames.append(console.export_text())
    assert "epoch 3 of 6" in frames[0]
    assert any("epoch 1 of 6" in text for text in frames[2:4])
    assert "finished" in frames[-1]
    assert deeds == []


def _finish(run: RunDirectory, finished: Path) -> None:
    (run.path / ".lock").write_text("")
    shutil.copyfile(finished / "results.h5", run.results)
    for file in (run.log, run.resolved, run.results):
        os.utime(file, (time.time() - 3600.0,) * 2)


def test_no_run_is_an_error(tmp_path: Path) -> None:
    outcome = call("watch", tmp_path)
    assert outcome.code == 4
    assert "holds no run" in outcome.err


def test_results_that_cannot_be_read(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", [epoch(EPOCHS)])
    run.results.write_bytes(b"no HDF5")
    assert "finished" in shown(run)


@pytest.mark.parametrize(
    ("values", "width", "bars"),
    [
        ([], 10, ""),
        ([None, 0.0, -1.0, float("inf")], 10, ""),
        ([1.0], 10, "▁"),
        ([1.0, 10.0, 100.0], 10, "▁▅█"),
        ([100.0, 100.0, 100.0, 1.0, 1.0, 1.0], 2, "█▁"),
        ([float(10**k) for k in range(8)], 8, "▁▂▃▄▅▆▇█"),
    ],
)
def test_sparkline(values: list[float | None], width: int, bars: str) -> None:
    assert sparkline(values, width) == bars


def test_a_terminal_without_unicode(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", [epoch(1, 1.0), epoch(2, 0.1)], lock=alive())
    console = Console(width=60)
    rows = dict(watching._rows(Watcher(run.path).look(), True, 20))
    assert rows["loss"].isascii()
    assert frame(Watcher(run.path).look(), console) is not None
