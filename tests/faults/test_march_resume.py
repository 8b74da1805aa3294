"""Marches that are stopped in any phase end where the undisturbed ones end, to the last bit."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import call
from kills import wait_for
from launchers import LIMIT, begin_dsmsim, mpirun, needs_mpirun, run_dsmsim
from run_files import finished_run, log_of
from tiny import write_input

from dsmsim.march.evolution import March
from dsmsim.store import RunDirectory, checkpoint_files, load_checkpoint, read_results
from dsmsim.training import distill as distillation
from dsmsim.training.state import TrainState
from dsmsim.training.trained import MARCHED, POLISHED

STEPS, EPOCHS, DISTILLATION = 8, 6, 4
MARCH = {
    **{"train.mode": "march", "march.walkers": 128, "march.block": 32, "march.pair_functions": 2},
    **{"time.end": 0.2, "march.dt": 0.2 / STEPS, "initial.phase": -0.8, "compare.with": []},
    **{"network.kind": "potential", "network.width": 3, "network.initial": "exact"},
    **{"train.epochs": EPOCHS, "output.checkpoint_every": "1 h"},
}
POLISH = {**MARCH, "train.polish": True}


@pytest.fixture(scope="module")
def quick_distillation() -> Any:
    """Few epochs, which say as much."""
    with pytest.MonkeyPatch.context() as patch:
        epochs = dict.fromkeys(distillation.EPOCHS, DISTILLATION)
        patch.setattr(distillation, "EPOCHS", epochs)
        yield


@pytest.fixture(scope="module")
def marched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The march that nothing disturbs."""
    return finished_run(tmp_path_factory.mktemp("marched"), MARCH)


@pytest.fixture(scope="module")
def polished(tmp_path_factory: pytest.TempPathFactory, quick_distillation: None) -> Path:
    """The same with a network that is trained afterwards."""
    return finished_run(tmp_path_factory.mktemp("polished"), POLISH)


def assert_same(found: Path, expected: Path) -> None:
    """Log, last checkpoint and every array of the results, to the last bit."""
    assert log_of(found) == log_of(expected)
    pairs = [tuple(load_checkpoint(RunDirectory(run).checkpoints).arrays for run in (found, expected))]
    results = [read_results(RunDirectory(run).results) for run in (found, expected)]
    assert results[0].results.keys() == results[1].results.keys()
    pairs += [(results[0].results[group], values) for group, values in results[1].results.items()]
    for one, other in pairs:
        assert one.keys() == other.keys()
        for name, value in other.items():
            if not name.endswith("seconds"):
                assert np.asarray(one[name]).tobytes() == np.asarray(value).tobytes(), name
    for group in ("observables", "march"):
        assert results[0].attributes[group] == results[1].attributes[group]


def signal_after(calls: int, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, after whose so-many-th call this process gets SIGUSR1."""
    done = 0

    def counted(*args: Any, **options: Any) -> Any:
        nonlocal done
        found = function(*args, **options)
        done += 1
        if done == calls:
            os.kill(os.getpid(), signal.SIGUSR1)
        return found

    return counted


# -- one process ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [0, 1, 5, STEPS - 1])
def test_a_signal_between_steps(
    step: int, marched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, out = write_input(tmp_path / "input.toml", MARCH), tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(March, "advance", signal_after(step + 1, March.advance))
        stopped = call("run", file, "--out", out)
    assert stopped.code == 75
    assert "of 0.2 (signal SIGUSR1); the state is saved" in stopped.err
    assert not RunDirectory(out).results.exists()
    first = max(1, step)  # the first state is looked at before the first step, in one
    assert checkpoint_files(RunDirectory(out).checkpoints)[-1].name == f"ckpt-{first:06d}.h5"
    outcome = call("resume", out)
    assert outcome.code == 0, outcome.err
    assert_same(out, marched)


def test_a_time_limit_after_every_step(marched: Path, tmp_path: Path) -> None:
    """Each of many short jobs does one step; nothing is done twice."""
    changes = {**MARCH, "run.time_limit": "0.001 s"}
    outcome = call("run", write_input(tmp_path / "input.toml", changes), "--out", tmp_path / "run")
    sessions = 1
    while outcome.code == 75 and sessions < 4 * STEPS:
        outcome = call("resume", tmp_path / "run")
        sessions += 1
    assert outcome.code == 0, outcome.err
    assert sessions >= STEPS
    assert_same(tmp_path / "run", marched)


def test_a_killed_march_goes_on_from_its_last_checkpoint(marched: Path, tmp_path: Path) -> None:
    """The log is ahead of the checkpoint, and the lines after it are written again."""
    changes = {**MARCH, "output.checkpoint_every": "3 epochs"}
    whole = finished_run(tmp_path, changes)
    copy = tmp_path / "copy"
    shutil.copytree(whole, copy)
    RunDirectory(copy).results.unlink()
    files = checkpoint_files(RunDirectory(copy).checkpoints)
    assert [file.name[5:11] for file in files] == ["000000", "000003", "000006", "000008"]
    for file in files[2:]:
        file.unlink()
    outcome = call("resume", copy)
    assert outcome.code == 0, outcome.err
    assert "ckpt-000003.h5" in outcome.err
    assert_same(copy, whole)
    assert_same(copy, marched)


PHASES: dict[str, tuple[Any, str, int, str]] = {
    "march": (March, "advance", 4, "of 0.2 (signal SIGUSR1); the state is saved"),
    "last step of the march": (March, "advance", STEPS + 1, "stopped during the evaluation"),
    "distillation": (distillation, "_batches", 1, "stopped while [network] learnt the fields"),
    "training": (TrainState, "advance", 2, f"stopped after epoch 2 of {EPOCHS} (signal SIGUSR1)"),
    "last epoch of training": (TrainState, "advance", EPOCHS, "stopped"),
}


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.usefixtures("quick_distillation")
def test_a_signal_while_it_is_polished(
    phase: str, polished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, name, calls, words = PHASES[phase]
    file, out = write_input(tmp_path / "input.toml", POLISH), tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, signal_after(calls, getattr(owner, name)))
        stopped = call("run", file, "--out", out)
    assert stopped.code == 75
    assert words in stopped.err
    assert "Traceback" not in stopped.err
    outcome = call("resume", out)
    assert outcome.code == 0, outcome.err
    assert_same(out, polished)


@pytest.mark.usefixtures("quick_distillation")
def test_polish_that_was_killed(polished: Path, tmp_path: Path) -> None:
    """From the checkpoint of any phase that is there."""
    whole = finished_run(tmp_path, {**POLISH, "output.checkpoint_every": "4 epochs"})
    assert_same(whole, polished)
    files = checkpoint_files(RunDirectory(whole).checkpoints)
    assert [int(file.name[5:11]) for file in files] == [
        0,
        4,
        STEPS,
        STEPS + 1,  # the network has learnt what was found
        STEPS + 5,
        STEPS + 1 + EPOCHS,
    ]
    for kept in (3, 4, 5):
        copy = tmp_path / f"copy-{kept}"
        shutil.copytree(whole, copy)
        RunDirectory(copy).results.unlink()
        for file in checkpoint_files(RunDirectory(copy).checkpoints)[kept:]:
            file.unlink()
        outcome = call("resume", copy)
        assert outcome.code == 0, outcome.err
        assert_same(copy, polished)


@pytest.mark.usefixtures("quick_distillation")
def test_a_march_that_is_polished_later(marched: Path, polished: Path, tmp_path: Path) -> None:
    shutil.copytree(marched, tmp_path / "run")
    file = write_input(tmp_path / "input.toml", POLISH)
    outcome = call("run", file, "--out", tmp_path / "run", "--resume")
    assert outcome.code == 0, outcome.err
    assert_same(tmp_path / "run", polished)
    changes = read_results(RunDirectory(tmp_path / "run").results).attributes["provenance"]["changes"]
    assert changes == ["from epoch 0: train.polish: false -> true"]


def test_what_polished_results_hold(marched: Path, polished: Path) -> None:
    plain, both = (read_results(RunDirectory(run).results) for run in (marched, polished))
    assert plain.attributes["observables"]["method"] == MARCHED
    assert both.attributes["observables"]["method"] == POLISHED
    assert both.attributes["observables"]["steps_of_march"] == STEPS
    assert both.attributes["observables"]["epoch"] == EPOCHS
    assert both.results.keys() - plain.results.keys() == {"training", "model/potential"}
    np.testing.assert_array_equal(both.results["march"]["theta_re"], plain.results["march"]["theta_re"])
    np.testing.assert_array_equal(both.results["training"]["epoch"], np.arange(1, EPOCHS + 1))
    kinds = ["step" if "step" in entry else "epoch" for entry in log_of(polished)]
    assert kinds == ["step"] * (STEPS + 1) + ["epoch"] * EPOCHS


# -- really separate processes -------------------------------------------------------------------------------


def test_a_signal_from_outside(tmp_path: Path) -> None:
    """Steps are many and short here, so that it comes while they are made."""
    changes = {**MARCH, "march.dt": 1e-5, "march.integrator": "euler", "march.substeps": 1}
    file, out = write_input(tmp_path / "input.toml", changes), tmp_path / "run"
    with begin_dsmsim("run", file, "--out", out) as process:
        try:
            wait_for(lambda: process.poll() is not None or lines_of(out) >= 3)
            process.send_signal(signal.SIGUSR1)
            _, errors = process.communicate(timeout=LIMIT)
        finally:
            process.kill()
    assert process.returncode == 75, errors
    assert errors.count("of 0.2 (signal SIGUSR1); the state is saved") == 1
    checkpoint = load_checkpoint(RunDirectory(out).checkpoints)
    log = log_of(out)
    assert checkpoint.epoch == log[-1]["step"]
    assert [entry["step"] for entry in log] == list(range(checkpoint.epoch + 1))
    assert 3 <= len(log) < 20_000


@needs_mpirun
def test_two_ranks_stop_and_one_goes_on(marched: Path, tmp_path: Path) -> None:
    file = write_input(tmp_path / "input.toml", {**MARCH, "run.time_limit": "0.001 s"})
    out = tmp_path / "run"
    stopped = run_dsmsim("run", file, "--out", out, launcher=mpirun(2))
    assert stopped.returncode == 75, stopped.stderr
    assert stopped.stderr.count("of 0.2 (time limit of 0.001 s); the state is saved") == 1
    assert [entry["step"] for entry in log_of(out)] == [0, 1]
    outcome = call("run", write_input(tmp_path / "input.toml", MARCH), "--out", out, "--resume")
    assert outcome.code == 0, outcome.err
    found, expected = (read_results(RunDirectory(run).results).results for run in (out, marched))
    for group in ("march", "observables", "density"):
        for name, value in expected[group].items():
            if name in ("parameter", "snr", "residual"):  # words, and differences of far larger numbers
                continue
            scale = float(np.nanmax(np.abs(value), initial=0.0)) or 1.0
            np.testing.assert_allclose(found[group][name], value, rtol=0, atol=1e-9 * scale, err_msg=name)


def lines_of(run: Path) -> int:
    log = RunDirectory(run).log
    return log.read_bytes().count(b"\n") if log.is_file() else 0
