"""Files beside the code that must stay true: scripts, README, versions."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

import dsmsim
from dsmsim.cli import app

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted([*ROOT.glob("slurm/*.sh"), ROOT / ".ci" / "run"])


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_shell_scripts_parse_and_can_be_executed(script: Path) -> None:
    subprocess.run(["bash", "-n", script], check=True)
    assert script.stat().st_mode & 0o111
    assert "set -euo pipefail" in script.read_text()


def test_the_readme_starts_with_the_two_commands() -> None:
    first_screen = (ROOT / "README.md").read_text().splitlines()[:12]
    assert any(line.startswith("make demo") for line in first_screen)
    assert any(line.startswith("make test") for line in first_screen)


def test_the_readme_names_only_commands_that_exist() -> None:
    text = (ROOT / "README.md").read_text() + (ROOT / "slurm" / "README.md").read_text()
    known = {command.callback.__name__ for command in app.registered_commands if command.callback}
    named = set(re.findall(r"dsmsim ([a-z]+) (?:my_input|runs/|split_step)", text))
    assert named
    assert named <= known
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"make ([a-z]+)", text)) <= targets


def test_every_file_that_the_readme_names_is_there() -> None:
    text = (ROOT / "README.md").read_text()
    names = re.findall(r"(?<![\w/])((?:docs|tests|tools|inputs|slurm)/[\w./]+\.\w+)", text)
    assert names
    assert [name for name in names if not (ROOT / name).exists()] == []


def test_versions_agree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == dsmsim.__version__
    assert f"version: {dsmsim.__version__}\n" in (ROOT / "CITATION.cff").read_text()
