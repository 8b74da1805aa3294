"""The model of an epoch on many ranks: its formula, what it counts, and its program."""

from __future__ import annotations

import csv
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from launchers import LIMIT, MPIRUN, clean_environment, needs_mpirun
from tiny import tiny_config, write_input

from dsmsim.parallel import World
from dsmsim.parallel.diagnosis import SumLaw
from dsmsim.training.state import new_state

TOOLS = Path(__file__).parents[2] / "tools"
TOOL = TOOLS / "scaling_model.py"
POTENTIAL = {"network": {"kind": "potential", "width": 4}, "train.optimizer": "gauss_newton"}


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The tool as a module."""
    monkeypatch.syspath_prepend(str(TOOLS))
    spec = importlib.util.spec_from_file_location("scaling_model", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "scaling_model", module)  # where its dataclasses look for their types
    spec.loader.exec_module(module)
    return module


def test_an_epoch_is_compute_sums_and_saving(tool: ModuleType) -> None:
    law = SumLaw(1e-3, 1e6, "gloo")
    sums = {tool.Exchange("sum", 1000): 2.0, tool.Exchange("broadcast", 2000): 0.5}
    work = tool.Work(0.1, 1e-3, sums, save_seconds=0.2, saves=0.05)
    alone = tool.predict(work, law, "strong", 1, 8, 100)
    assert (alone.points, alone.compute, alone.communication) == (800, pytest.approx(0.9), 0.0)
    assert alone.total == pytest.approx(0.91)
    four = tool.predict(work, law, "strong", 4, 8, 100)
    assert four.compute == pytest.approx(0.1 + 200e-3)
    assert four.communication == pytest.approx(2 * (3e-3 + 1.5e-3) + 0.5 * 2 * (1e-3 + 2e-3))
    assert four.efficiency(alone) == pytest.approx(0.91 / (4 * four.total))
    weak = tool.predict(work, law, "weak", 4, 8, 100)
    assert (weak.points, weak.compute) == (3200, pytest.approx(0.9))
    assert weak.efficiency(alone) == pytest.approx(0.91 / weak.total)


def test_ranks_without_a_block_do_not_help(tool: ModuleType) -> None:
    law = SumLaw(1e-9, 1e15, "nccl")
    work = tool.Work(0.0, 1e-3, {})
    times = [tool.predict(work, law, "strong", ranks, 8, 10).compute for ranks in (3, 5, 8, 1024)]
    assert times == pytest.approx([30e-3, 20e-3, 10e-3, 10e-3])


def test_checkpoints_by_the_clock_take_their_share(tool: ModuleType) -> None:
    law = SumLaw(1.0, 1.0, "gloo")
    work = tool.Work(2.0, 0.0, {}, save_seconds=3.0, saves_per_second=1 / 60)
    assert tool.predict(work, law, "weak", 1, 1, 1).saving == pytest.approx(0.1)


def sent(tool: ModuleType, changes: dict[str, Any]) -> tuple[dict[tuple[str, int], float], int]:
    """(kind, bytes) with how often it comes in an epoch, and the number of parameters."""
    config = tiny_config(changes)
    work, _ = tool.measure(config, 1, World())
    parameters = sum(p.numel() for p in new_state(config, World()).fields.parameters())
    assert work.parameters == parameters
    return {(each.kind, each.size): n for each, n in work.exchanges.items()}, parameters


def test_a_first_order_epoch_sends_one_vector_and_the_flags(tool: ModuleType) -> None:
    found, p = sent(tool, {"train.optimizer": "adam"})
    # float64: gradient, three parts of the loss, and four slices of time
    assert found == {("sum", 8 * (p + 3 + 4)): 1.0, ("sum", 16): 1.0}


def test_reused_batches_send_one_number_more(tool: ModuleType) -> None:
    found, _ = sent(tool, {"train.reuse": 1000, "train.staleness": 1e6, "train.optimizer": "adam"})
    # every epoch but the first, which draws: of six
    assert found[("sum", 8)] == pytest.approx(5 / 6)


def test_a_gauss_newton_epoch_sends_its_matrix(tool: ModuleType) -> None:
    found, p = sent(tool, POTENTIAL)
    tries = found.pop(("broadcast", 8 * p))
    assert 1.0 <= tries < 3.0
    assert found == {
        ("sum", 8 * (p + 3 + 4)): 1.0,
        ("sum", 8 * p * p): 1.0,
        ("sum", 16): 2.0,  # the scale of outliers; whether to stop or to save
        ("sum", 24): tries,
    }


def test_the_program_predicts_from_given_numbers(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    doctor = {"gloo": {"latency": 1e-4, "bandwidth": 1e9}, "nccl": {"latency": 1e-5, "bandwidth": 2e10}}
    (tmp_path / "doctor.json").write_text(json.dumps({"sums": doctor}))
    file = write_input(tmp_path / "input.toml")
    command = [str(TOOL), str(file), "--from", str(tmp_path / "doctor.json"), "--turns", "1"]
    command += ["--ranks", "2", "1024", "--seconds-per-point", "1e-3", "--fixed-seconds", "0.5"]
    command += ["--csv", str(tmp_path / "a.csv"), "--figure", str(tmp_path / "a.png")]
    command += ["--set", "train.trajectories=16", "train.points=64"]
    monkeypatch.setattr(sys, "argv", command)
    tool.main()
    printed = capsys.readouterr().out
    assert "nccl: latency, bandwidth" in printed
    assert "64, 8" in printed
    with (tmp_path / "a.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["scaling"], row["ranks"]) for row in rows[:3]] == [
        ("strong", "1"),
        ("strong", "2"),
        ("strong", "1024"),
    ]
    assert float(rows[0]["compute"]) == pytest.approx(0.5 + 64e-3)
    assert float(rows[1]["compute"]) == pytest.approx(0.5 + 32e-3)
    assert float(rows[2]["points"]) == 64
    # nccl's law was taken: gloo's ring would take 1023 steps
    assert 20e-5 < float(rows[5]["communication"]) < 1023e-4
    assert (tmp_path / "a.png").stat().st_size > 1000


def test_one_rank_has_no_network_to_measure(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_input(tmp_path / "input.toml")
    monkeypatch.setattr(sys, "argv", [str(TOOL), str(file)])
    with pytest.raises(SystemExit, match="give --latency and --bandwidth"):
        tool.main()
    (tmp_path / "one.json").write_text(json.dumps({"sums": {}}))
    monkeypatch.setattr(sys, "argv", [str(TOOL), str(file), "--from", str(tmp_path / "one.json")])
    with pytest.raises(SystemExit, match="written by one rank"):
        tool.main()


@needs_mpirun
def test_ranks_hold_the_prediction_against_a_measured_epoch(tmp_path: Path) -> None:
    file = write_input(tmp_path / "input.toml", {"train.trajectories": 16, "train.points": 64})
    command = [*MPIRUN, str(TOOL), str(file), "--turns", "1", "--ranks", "4"]
    done = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("an epoch here on 2 ranks: measured") == 1
    assert done.stdout.count("Weak scaling") == 1
