"""A march as the work of a run: its log, checkpoints, stops, results, and what is read back from them."""

from __future__ import annotations

import math
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import call
from run_files import finished_run, log_of
from tiny import tiny_config, write_input

from dsmsim.config import Config
from dsmsim.errors import DivergedError, StoppedEarly, StoreError
from dsmsim.march.evolution import March
from dsmsim.parallel import StopRequest, World
from dsmsim.store import Checkpoint, RunDirectory, checkpoint_files, load_checkpoint, read_results
from dsmsim.training import keeping
from dsmsim.training.keeping import Keeper
from dsmsim.training.loop import Hooks
from dsmsim.training.marching import march_to_the_end, marched_fields, new_march, stored_fields
from dsmsim.training.sampling import SavedSums
from dsmsim.training.trained import MARCHED, trained_fields
from dsmsim.training.work import PREFIX

MARCH = {
    **{"train.mode": "march", "march.walkers": 128, "march.block": 32, "march.dt": 0.05, "time.end": 0.2},
    **{"initial.phase": -0.8, "compare.with": [], "output.checkpoint_every": "1 h"},
}
NETWORK = {"march.ansatz": "network", "network.width": 3, "march.cutoff": 1e-4}
KINDS: dict[str, dict[str, Any]] = {
    "cluster": {**MARCH, "march.integrator": "adaptive"},
    "potential": {**MARCH, **NETWORK, "network.kind": "potential", "march.cutoff": 1e-3},
    "velocities": {**MARCH, **NETWORK},
}
# what has no meaning at the first state, with equal steps, or without a density
MISSING = {
    "cluster": {"acceptance", "step_error"},
    "potential": {"acceptance", "step_error"},
    "velocities": {"acceptance", "step_error", "energy_deviation"},
}


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def run(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    return finished_run(tmp_path_factory.mktemp(kind), KINDS[kind])


@pytest.fixture(scope="module")
def march(kind: str) -> March:
    """The march of that run, made here."""
    return marched(KINDS[kind])[1]


@torch.no_grad()
def marched(changes: dict[str, Any]) -> tuple[Config, March]:
    config = tiny_config(changes)
    march = new_march(config, World())
    while not march.records or not march.done:
        march.advance()
    return config, march


def arrays_of(checkpoint: Checkpoint) -> dict[str, Any]:
    """Those of its march."""
    return {name.removeprefix(PREFIX): values for name, values in checkpoint.arrays.items()}


# -- what a run leaves ---------------------------------------------------------------------------------------


def test_log_has_a_line_for_every_step(kind: str, run: Path, march: March) -> None:
    log = log_of(run)
    assert [entry["step"] for entry in log] == list(range(march.number + 1))
    assert log[0]["time"] == 0.0
    assert log[-1]["time"] == 0.2
    for entry, before in zip(log[1:], log, strict=False):
        assert entry["time"] == pytest.approx(before["time"] + entry["dt"])
    for entry in log:
        missing = {name for name, value in entry.items() if value is None or not math.isfinite(value)}
        assert missing <= MISSING[kind]
        assert not {"spectrum", "snr"} & entry.keys()
    assert log[-1]["acceptance"] > 0.5
    assert (log[-1]["step_error"] is not None) == (kind == "cluster")


def test_results_hold_the_march(kind: str, run: Path, march: March) -> None:
    stored = read_results(RunDirectory(run).results)
    group, attributes = stored.results["march"], stored.attributes
    assert attributes["observables"]["method"] == MARCHED
    assert attributes["observables"]["steps_of_march"] == march.number
    assert attributes["march"] == {
        "ansatz": march.config.march.ansatz,
        "parameters": len(march.model.names),
        "walkers": 128,
        "integrator": march.config.march.integrator,
        "evaluations": march.stepper.evaluations,
    }
    assert [str(name) for name in group["parameter"]] == list(march.model.names)
    np.testing.assert_array_equal(group["theta_re"], march.history.theta.real)
    assert ("theta_im" in group) == (kind == "cluster")
    if kind == "cluster":
        np.testing.assert_array_equal(group["theta_im"], march.history.theta.imag)
    np.testing.assert_array_equal(group["step_time"], march.history.times)
    for name in ("energy", "residual", "spectrum", "rank"):
        np.testing.assert_array_equal(group[name], [record[name] for record in march.records])


def test_fields_are_read_back(run: Path, march: March) -> None:
    config, found = trained_fields(read_results(RunDirectory(run).results))
    expected = marched_fields(march.config, march)
    assert config.physics_hash() == march.config.physics_hash()
    x = torch.from_numpy(march.initial.sample(np.random.default_rng(5), 6))
    earlier: torch.Tensor | None = None
    for t in (0.0, 0.03, 0.1, 0.17, 0.2):
        clock = x.new_full((6, 1), t)
        for one, other in zip(found(x, clock), expected(x, clock), strict=True):
            assert torch.equal(one, other)
        v = found(x, clock)[1]
        assert earlier is None or float((v - earlier).abs().max()) > 1e-3  # times matter
        earlier = v


def test_results_of_other_parameters_are_refused(run: Path) -> None:
    stored = read_results(RunDirectory(run).results)
    group, arrays = dict(stored.results["march"]), stored.results.get("model/march", {})
    config, _ = trained_fields(stored)
    stored_fields(config, group, arrays)
    group["parameter"] = np.array([*group["parameter"][1:], "another"])
    with pytest.raises(StoreError, match="the march of other parameters than their input describes"):
        stored_fields(config, group, arrays)


def test_last_checkpoint_is_the_march(run: Path, march: March) -> None:
    checkpoint = load_checkpoint(RunDirectory(run).checkpoints)
    expected = march.arrays()
    assert expected is not None
    assert checkpoint.epoch == march.number
    found = arrays_of(checkpoint)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if name != "seconds":
            assert found[name].tobytes() == np.asarray(value).tobytes(), name
    assert found["seconds"] > 0.0


def test_sums_of_an_evaluation_belong_to_one_march(kind: str, march: March, tmp_path: Path) -> None:
    def key(config: Config, march: March) -> str:
        return SavedSums.of_run(config, marched_fields(config, march), tmp_path, print).key

    own = key(march.config, march)
    assert key(*marched(KINDS[kind])) == own
    for other in ({"march.walkers": 96}, {"seed": 2}, {"march.nu": 0.5}, {"evaluation.bins": 8}):
        assert key(*marched({**KINDS[kind], **other})) != own, other


# -- the loop ------------------------------------------------------------------------------------------------


class Recorder:
    """What a march tells while it runs."""

    def __init__(self, march: March) -> None:
        self.march = march
        self.entries: list[dict[str, Any]] = []
        self.saved: list[int] = []
        self.reached: list[tuple[float, float]] = []
        self.hooks = Hooks(self.entries.append, lambda *_: None, self._save, marched=self._marched)

    def _save(self) -> None:
        self.saved.append(self.march.number)

    def _marched(self, time: float, end: float, residual: float) -> None:
        self.reached.append((time, end))


def told(changes: dict[str, Any], stop: StopRequest | None = None) -> Recorder:
    config = tiny_config({**MARCH, **changes})
    recorder = Recorder(new_march(config, World()))
    march_to_the_end(config, recorder.march, World(), stop or StopRequest(), recorder.hooks)
    return recorder


@pytest.mark.parametrize(
    ("every", "saved"), [("1 h", [4]), ("3 epochs", [3, 4]), ("2 epochs", [2, 4]), ("1 epochs", [1, 2, 3, 4])]
)
def test_checkpoints_and_the_log_of_a_march(every: str, saved: list[int]) -> None:
    recorder = told({"output.checkpoint_every": every})
    assert recorder.saved == saved
    assert [entry["step"] for entry in recorder.entries] == [0, 1, 2, 3, 4]
    assert recorder.reached == [(entry["time"], 0.2) for entry in recorder.entries]
    assert recorder.march.seconds > 0.0


def test_a_march_stops_when_it_is_asked_to() -> None:
    stop = StopRequest()
    stop.ask(signal.SIGUSR1)
    config = tiny_config(MARCH)
    recorder = Recorder(new_march(config, World()))
    for number in (1, 2, 3):
        words = rf"stopped at t = 0\.{5 * number:02d}".removesuffix("0") + r" of 0\.2 \(signal SIGUSR1\); the"
        with pytest.raises(StoppedEarly, match=words):
            march_to_the_end(config, recorder.march, World(), stop, recorder.hooks)
        assert recorder.march.number == number
        assert recorder.saved[-1] == number
    march_to_the_end(config, recorder.march, World(), stop, recorder.hooks)  # the last step is not stopped
    assert recorder.saved == [1, 2, 3, 4]
    assert [entry["step"] for entry in recorder.entries] == [0, 1, 2, 3, 4]
    assert recorder.march.done


def test_a_march_that_cannot_go_on_is_saved_first(monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny_config(MARCH)
    recorder = Recorder(new_march(config, World()))
    monkeypatch.setattr(
        recorder.march.model,
        "fault",
        lambda theta, farthest: "psi has burst" if recorder.march.number == 3 else None,
    )
    with pytest.raises(DivergedError, match=r"at t = 0\.15 psi has burst"):
        march_to_the_end(config, recorder.march, World(), StopRequest(), recorder.hooks)
    assert recorder.saved == [2]
    assert recorder.march.time == 0.1


def test_a_run_that_cannot_go_on(tmp_path: Path) -> None:
    """Exit code 3, one sentence, and a checkpoint to go on from with another input."""
    euler = {"march.integrator": "euler", "march.dt": 0.6, "time.end": 6.0, "initial.mean": 3.0}
    changes = {**MARCH, **euler, "system.particles": 1, "system.interaction": None}
    outcome = call("run", write_input(tmp_path / "input.toml", changes), "--out", tmp_path / "run")
    assert outcome.code == 3
    assert "march: " in outcome.err
    assert " at t = " in outcome.err
    assert "march.dt" in outcome.err
    assert "Traceback" not in outcome.err
    run = RunDirectory(tmp_path / "run")
    assert not run.results.exists()
    checkpoint = load_checkpoint(run.checkpoints)
    assert not checkpoint.warnings
    log = log_of(run.path)
    assert checkpoint.epoch == log[-1]["step"] == int(arrays_of(checkpoint)["counts"][0])
    config = tiny_config(changes)
    march = new_march(config, World())
    march.load(arrays_of(checkpoint))
    assert march.time == log[-1]["time"]
    assert np.isfinite(march.theta).all()
    again = call("resume", run.path)  # with the same input it ends in the same way
    assert again.code == 3
    assert [file.name for file in checkpoint_files(run.checkpoints)][-1] == checkpoint.path.name


# -- when to save --------------------------------------------------------------------------------------------


class Clock:
    """Seconds that pass when the test says so."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


def kept(every: str, monkeypatch: pytest.MonkeyPatch, done: int = 0) -> tuple[Keeper, list[float], Clock]:
    clock, saved = Clock(), list[float]()
    monkeypatch.setattr(keeping, "time", clock)
    config = tiny_config({"output.checkpoint_every": every})
    stop = StopRequest(100.0, clock=clock.monotonic)
    keeper = Keeper(config, World(), stop, lambda: saved.append(clock.now - 1000.0), done)
    return keeper, saved, clock


def test_keeper_counts_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    keeper, saved, clock = kept("3 epochs", monkeypatch, done=4)
    for step in range(5, 12):
        clock.now = 1000.0 + step
        keeper.after_step(step, finished=step == 11, where=str)
    assert saved == [7.0, 10.0, 11.0]
    assert keeper.elapsed == 11.0


def test_keeper_watches_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    keeper, saved, clock = kept("5 s", monkeypatch)
    for step in range(1, 9):
        clock.now += 2.0
        keeper.after_step(step, finished=step == 8, where=str)
    assert saved == [6.0, 12.0, 16.0]


def test_keeper_does_not_save_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    keeper, saved, _ = kept("1 epochs", monkeypatch, done=3)
    keeper.after_step(3, finished=True, where=str)
    assert saved == []


def test_keeper_stops_before_a_step_that_would_take_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    keeper, saved, clock = kept("1 h", monkeypatch)
    clock.now += 40.0
    keeper.after_step(1, finished=False, where=str)
    clock.now += 10.0
    keeper.after_step(2, finished=False, where=str)
    clock.now += 11.0  # the longest took 40 s, and 39 s are left
    with pytest.raises(
        StoppedEarly, match=r"stopped in the middle \(time limit of 100 s\); the state is saved"
    ):
        keeper.after_step(3, finished=False, where=lambda: "in the middle")
    assert saved == [61.0]
