"""[baselines]: choices left to the solvers or made by the user, and amounts of memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from config_examples import changed, two_bosons

from dsmsim.config import Config, parse_config, shown_size
from dsmsim.config import memory as memory_module
from dsmsim.config.memory import free_memory, parse_size
from dsmsim.errors import ConfigError


def with_baselines(**tables: Any) -> Config:
    return parse_config(two_bosons() | {"baselines": tables})


def test_everything_is_left_to_the_solvers() -> None:
    found = with_baselines().to_dict()["baselines"]
    solvers = {name: table for name, table in found.items() if name not in ("tvmc", "pinn")}
    assert solvers == {
        "memory": "auto",
        "split_step": {"grid": "auto", "extent": "auto", "dt": "auto", "order": "auto", "tolerance": 1e-4},
        "crank_nicolson": {
            "grid": "auto",
            "extent": "auto",
            "dt": "auto",
            "space_order": 4,
            "time_order": "auto",
            "tolerance": 1e-3,
        },
        "relative_grid": {"spacing": "auto", "dt": "auto", "tolerance": 1e-4},
        "fock": {"cutoff": "auto", "basis": "auto", "tolerance": 1e-4},
        "exact": {"tolerance": 1e-4},
    }


def test_numbers_arrive_with_their_types() -> None:
    found = with_baselines(split_step={"grid": 64, "extent": 3, "order": 4}, fock={"cutoff": 30}).baselines
    assert (found.split_step.grid, found.split_step.extent, found.split_step.order) == (64, 3.0, 4)
    assert isinstance(found.split_step.extent, float)
    assert found.fock.cutoff == 30


@pytest.mark.parametrize(
    ("key", "value", "rule", "fix"),
    [
        ("split_step.grid", 4, 'must be "auto", or from 8 to 1000000', "number of points, e.g. 128"),
        ("split_step.grid", 64.0, 'must be "auto" or an integer', "number of points"),
        ("split_step.grid", "64", 'must be "auto" or an integer, without quotes', 'write "auto"'),
        ("split_step.grid", True, 'must be "auto" or an integer', "number of points"),
        ("split_step.extent", 0.0, 'must be "auto", or > 0', "a number > 0"),
        ("split_step.extent", "large", 'must be "auto" or a finite number', "a number > 0"),
        ("split_step.dt", False, 'must be "auto" or a finite number', "a number > 0"),
        ("split_step.order", 3, 'must be one of "auto", 2, 4', 'order = "auto"'),
        ("crank_nicolson.space_order", "auto", "must be one of 4, 2", "space_order = 4"),
        ("crank_nicolson.time_order", 1, 'must be one of "auto", 2, 4', 'time_order = "auto"'),
        ("crank_nicolson.grd", 64, "unknown key", "did you mean baselines.crank_nicolson.grid?"),
        ("relative_grid.spacing", -1, 'must be "auto", or > 0', "a number > 0"),
        ("relative_grid.tolerance", 1.0, "must be < 1", "tolerance = 0.0001"),
        ("fock.cutoff", 0, 'must be "auto", or from 1', "number of quanta, e.g. 40"),
        ("fock.basis", "breathng", '"breathing"', 'did you mean "breathing"?'),
        ("exact.tolerance", "auto", "must be a number, without quotes", "tolerance = 0.0001"),
        ("memory", 4, "must be text in quotes", '"4 GB"'),
        ("memory", "4 GBs", "must be a number and a unit", '"4 GB"'),
        ("memory", "0 GB", "at least one byte", '"4 GB"'),
        ("memory", "much", "is no amount of memory", '"auto"'),
        ("vmc", {}, "unknown key", "Valid keys of [baselines]: memory, split_step"),
    ],
)
def test_mistakes(key: str, value: Any, rule: str, fix: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(changed(two_bosons(), f"baselines.{key}", value))
    for words in (f"baselines.{key}", rule, fix):
        assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "size"),
    [("512 MB", 512 * 10**6), ("4 GB", 4 * 10**9), ("1.5gb", 1_500_000_000), ("2 GiB", 2**31), ("9 B", 9)],
)
def test_amounts_of_memory(text: str, size: int) -> None:
    assert parse_size(text) == size
    assert with_baselines(memory=text).baselines.memory_bytes == size


@pytest.mark.parametrize(
    ("size", "text"), [(999, "999 B"), (1500, "1.5 kB"), (3.2e9, "3.2 GB"), (2e15, "2e+03 TB")]
)
def test_amounts_are_shown_short(size: float, text: str) -> None:
    assert shown_size(size) == text


def test_auto_is_most_of_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_module, "free_memory", lambda: 10 * 10**9)
    assert with_baselines().baselines.memory_bytes == 8 * 10**9
    monkeypatch.setattr(memory_module, "free_memory", lambda: None)
    assert with_baselines().baselines.memory_bytes == 4 * 10**9


def put(root: Path, name: str, text: str) -> None:
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_free_memory_is_what_the_machine_and_the_job_leave(tmp_path: Path) -> None:
    put(tmp_path, "proc/meminfo", "MemTotal:  16000 kB\nMemAvailable:  8000 kB\n")
    assert free_memory(tmp_path) == 8000 * 1024
    put(tmp_path, "proc/self/cgroup", "0::/slurm/job_7/step_0\n")
    assert free_memory(tmp_path) == 8000 * 1024  # no limit is told
    group = "sys/fs/cgroup/slurm/job_7"
    put(tmp_path, f"{group}/step_0/memory.max", "max\n")
    put(tmp_path, f"{group}/step_0/memory.current", "1000\n")
    assert free_memory(tmp_path) == 8000 * 1024
    put(tmp_path, f"{group}/memory.max", "5000000\n")
    put(tmp_path, f"{group}/memory.current", "2000000\n")
    assert free_memory(tmp_path) == 3_000_000


def test_control_groups_of_the_first_version(tmp_path: Path) -> None:
    put(tmp_path, "proc/self/cgroup", "5:cpu:/job\n4:memory:/job\n0::/\n")
    put(tmp_path, "sys/fs/cgroup/memory/job/memory.limit_in_bytes", "5000000\n")
    put(tmp_path, "sys/fs/cgroup/memory/job/memory.usage_in_bytes", "6000000\n")
    assert free_memory(tmp_path) == 0


def test_a_machine_that_tells_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_module, "physical_memory", lambda: 123)
    assert free_memory(tmp_path) == 123
