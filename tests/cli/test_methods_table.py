"""The table of all methods: what is missing is run, what is there is kept, what is refused is said."""

from __future__ import annotations

import csv
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from tiny import write_input

TOOL = Path(__file__).parents[2] / "tools" / "methods_table.py"


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The tool with one case of its own."""
    spec = importlib.util.spec_from_file_location("methods_table", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "inputs").mkdir()
    write_input(tmp_path / "inputs" / "tiny.toml", {"system.particles": 5})
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "CASES", {"tiny": "a tiny case"})
    return module


def test_the_table_is_made_once(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["methods_table.py", "--out", str(tmp_path / "out"), "--methods", "dsm", "crank_nicolson"]
    monkeypatch.setattr(sys, "argv", command)
    tool.main()
    printed = capsys.readouterr()
    assert printed.err.count("dsmsim run") == 1
    lines = printed.out.splitlines()
    assert lines[0].startswith("| case | method | E_m | E_v |")
    assert lines[2].startswith("| a tiny case | DSM | 0.")
    assert lines[3].startswith("| a tiny case | Crank-Nicolson | - |")
    assert "not applicable: system.particles = 5" in lines[-1]
    assert printed.out == (tmp_path / "out" / "methods.md").read_text()
    with (tmp_path / "out" / "methods.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert float(rows[0]["cpu_seconds"]) > float(rows[0]["solve_cpu_seconds"]) > 0.0
    assert float(rows[0]["E_v_floor"]) > 0.0
    assert rows[1]["reason"].startswith("not applicable")

    before = (tmp_path / "out" / "tiny" / "dsm" / "results.h5").stat().st_mtime_ns
    tool.main()
    printed = capsys.readouterr()
    assert printed.err == ""
    assert (tmp_path / "out" / "tiny" / "dsm" / "results.h5").stat().st_mtime_ns == before


def test_every_case_is_an_input_that_stands() -> None:
    spec = importlib.util.spec_from_file_location("methods_table", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for case in module.CASES:
        assert (TOOL.parents[1] / "inputs" / f"{case}.toml").is_file()
    assert set(module.TITLES) == set(module.METHODS)
