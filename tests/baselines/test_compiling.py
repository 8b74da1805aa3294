"""Compiled functions that are kept on disk are made anew when a function that they call changes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

CALLED = """
from baselines.compiling import compiled

@compiled
def called(x):
    return {factor} * x
"""
CALLING = """
from baselines.compiling import compiled
from kept.called import called

@compiled
def calling(x):
    return called(x) + 1.0
"""


def outcome(folder: Path) -> str:
    """What a fresh process computes."""
    path = os.pathsep.join([str(folder), str(ROOT)])
    command = [sys.executable, "-c", "from kept.calling import calling; print(calling(2.0))"]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_a_changed_callee_in_another_file(tmp_path: Path) -> None:
    package = tmp_path / "kept"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "calling.py").write_text(CALLING)
    (package / "called.py").write_text(CALLED.format(factor="3.0"))
    assert outcome(tmp_path) == "7.0"
    kept = set(package.rglob("*.nbi"))
    assert kept
    assert outcome(tmp_path) == "7.0"
    assert set(package.rglob("*.nbi")) == kept
    (package / "called.py").write_text(CALLED.format(factor="5.0"))
    assert outcome(tmp_path) == "11.0"
