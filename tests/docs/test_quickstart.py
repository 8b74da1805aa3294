"""The quick start, as it is written: its files, its commands, in its order; with fewer samples.

What it says that happens if the input is wrong happens, too.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from commands import call
from documented import DOCS, EXAMPLES, listings

from dsmsim.store import read_results

PAGE = DOCS / "quickstart.md"


def shell_lines(name: str) -> list[list[str]]:
    """Words of the commands in the listing of this name."""
    text = next(text for kind, text in listings(PAGE) if kind.startswith("{code-block}") and name in text)
    return [shlex.split(line.removeprefix("$ ")) for line in text.splitlines() if line.startswith("$ ")]


def reader_directory(directory: Path) -> Path:
    """Where the reader has written what the page shows, with fewer samples and times."""
    smaller = {"samples = 20480": "samples = 2000\nbins = 40", "end = 1.5": "end = 1.5\nsave = 21"}
    for file in (EXAMPLES / "well.toml", EXAMPLES / "plot_density.py"):
        text = file.read_text(encoding="utf-8")
        for long, short in smaller.items():
            text = text.replace(long, short)
        (directory / file.name).write_text(text, encoding="utf-8")
    return directory


def test_every_command_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(reader_directory(tmp_path))
    for program, *words in shell_lines(":name: run"):
        assert program == "dsmsim"
        outcome = call(*words)
        assert outcome.code == 0, outcome.err
    assert "all 15 checks passed" in outcome.out
    found = read_results("runs/well/results.h5").results
    assert float(found["errors/exact"]["variance_error_mean"]) < 0.02
    assert np.all(np.isfinite(found["density"]["density_smooth"]))
    assert Path("runs/well/figures/density.png").stat().st_size > 10_000
    for program, *words in shell_lines(":name: picture"):
        assert program == "python"
        subprocess.run([sys.executable, *words], check=True, timeout=100)
    assert Path("density.png").stat().st_size > 10_000


def test_the_mistake_that_the_page_proposes_is_explained(tmp_path: Path) -> None:
    text = (EXAMPLES / "well.toml").read_text(encoding="utf-8")
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(text.replace('kind = "expression"\n', 'kind = "expression"\nomega = 1.0\n'))
    outcome = call("check", wrong)
    assert outcome.code == 2
    assert "system.trap.omega" in outcome.err


def test_the_install_commands_name_extras_that_exist() -> None:
    project = tomllib.loads((DOCS.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (words,) = [words for words in shell_lines(":name: install") if "-e" in words]
    extras = words[-1].removeprefix("dsmsim[").removesuffix("]").split(",")
    assert set(extras) <= set(project["optional-dependencies"])
