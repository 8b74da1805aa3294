"""The page: numbers with their bars, tables, pictures, gaps; no number of ours is written by hand."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
from matplotlib.figure import Figure
from rich.console import Console

from tools.reproduce import page
from tools.reproduce.chapter import Chapter, Grid, Picture, RowsTable, Words
from tools.reproduce.found import Found
from tools.reproduce.page import made, once, rows_markdown, write_page
from tools.reproduce.profile import PROFILES
from tools.reproduce.rows import Published, Row, Value
from tools.reproduce.task import Task
from tools.reproduce.wording import number, published_time, table, task_input

CHANGES = {"system.interaction.g": 0.5, "seed": 1, "output.trajectories": 12}
TASK = Task("bosons", "two-g0.5", "run", "inputs/two_bosons.toml", CHANGES)
ROWS = [
    Row("two bosons", "DSM", "Var", TASK, Value(0.2270, 0.0002), Published(0.225, seconds=3600.0), 0.2274),
    Row("two bosons", "t-VMC", "Var", TASK, Value(0.2273), Published(0.27), 0.2274, seconds=0.4, solving=0.1),
    Row("two bosons", "Fock", "Var", TASK, Value(0.2274), None, 0.2274, reference=True, note="very exact"),
    Row("two bosons", "DSM", "energy drift", TASK, None),
]


def test_numbers_have_the_digits_that_mean_something() -> None:
    assert number(Value(0.123456, 0.0123)) == "0.123 ± 0.012"
    assert number(Value(0.14261234, 4.8e-6)) == "0.1426123 ± 0.0000048"
    assert number(Value(12345.6, 120.0)) == "12346 ± 120"
    assert number(Value(1.234e-5, 2.2e-6)) == "1.23e-05 ± 2.2e-06"
    assert number(Value(0.5)) == "0.5"
    assert number(Value(0.5, 0.0)) == "0.5"
    assert number(Value(0.117373), 6) == "0.117373"
    assert number(None) == "-"


def test_times_and_inputs() -> None:
    row = ROWS[0]
    assert published_time(row) == "1 h 00 min"
    assert (
        published_time(Row("a", "DSM", "b", TASK, None, Published(seconds=364.0), seconds=18.2))
        == "6 min (x 20)"
    )
    assert published_time(Row("a", "DSM", "b", TASK, None, Published(seconds=20.4))) == "20.4 s"
    assert published_time(ROWS[2]) == "-"
    assert task_input(TASK) == "`two_bosons.toml`, g = 0.5"


def test_columns_without_anything_are_left_out() -> None:
    text = table(("a", "b", "c"), [["1", "-", "2"], ["3", "", "-"]])
    assert text.splitlines() == ["| a | c |", "| --- | --- |", "| 1 | 2 |", "| 3 | - |"]


def test_a_case_says_who_is_best() -> None:
    title, text, verdict, notes = rows_markdown("two bosons", ROWS)
    assert title == "### two bosons"
    lines = text.splitlines()
    assert (
        lines[2]
        == "| Var | DSM | 0.225 | 0.22700 ± 0.00020 | 0.2274 | - | 1 h 00 min | `two_bosons.toml`, g = 0.5 |"
    )
    assert "**0.2273**" in lines[3]
    assert "0.4 (0.1)" in lines[3]
    assert lines[5].startswith("| energy drift | DSM | - | - |")
    assert verdict == "Var: t-VMC, not DSM, is best (0.4 CPU s against -)."
    assert notes == "Fock: very exact."


def test_seeds_share_a_line_unless_one_failed() -> None:
    lines = [["a-seed1", "run a --set g=1 --set seed=1", ""], ["a-seed2", "run a --set g=1 --set seed=2", ""]]
    assert once(lines) == lines[:1]
    assert once([["b-seed1", "--only b-seed1", ""], ["b-seed2", "--only b-seed2", ""]])[0][0] == "b-seed1"
    lines[1][2] = "diverged"
    assert once(lines) == lines
    assert len(once([["a", "run a --set g=1", ""], ["b", "run a --set g=2", ""]])) == 2


def test_who_made_it_and_at_what_cost() -> None:
    one = {"finished": "2026-05-01T10:00:00", "cpu_seconds": 90.0, "dsmsim_version": "0.1.0"}
    one |= {"torch_version": "2.13.0", "numpy_version": "2.4"}
    (line,) = made([one, one | {"finished": "2026-05-03T10:00:00", "torch_version": "2.12.0"}])
    assert line == (
        "- Made on 2026-05-01 to 2026-05-03 by dsmsim 0.1.0, torch 2.12.0, 2.13.0, numpy 2.4, in 3 CPU "
        "minutes altogether."
    )
    assert made([]) == []


def test_the_page_is_written_from_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figure = Figure(figsize=(2.0, 1.0))
    figure.subplots().plot([0.0, 1.0])
    blocks = [
        Words("Some words."),
        RowsTable(ROWS),
        Grid(("d",), [["1"]]),
        Picture("line", "A line.", figure),
    ]
    module = ModuleType("bosons")
    module.tasks = lambda profile: [TASK]  # type: ignore[attr-defined]
    module.chapter = lambda profile, found: Chapter("Bosons", blocks)  # type: ignore[attr-defined]
    monkeypatch.setattr(page, "section", lambda name: module)
    console = Console(width=200, record=True, quiet=False, file=(tmp_path / "terminal.txt").open("w"))
    rows = write_page(PROFILES["full"], ["bosons"], Found(tmp_path), tmp_path, console)
    assert len(rows) == 2
    text = (tmp_path / "published.md").read_text()
    assert text.startswith("# Published results, reproduced")
    assert "in all 1 rows where a number was published" in text
    assert "- 0 of 1 tasks stand behind this page; of the other 1" in text
    assert "\n## Bosons\n\nSome words.\n\n### two bosons\n" in text
    assert "![line](published/line.webp)\n\n*A line.*" in text
    assert (tmp_path / "published" / "line.webp").stat().st_size > 100
    assert "| `bosons/two-g0.5` | `dsmsim run inputs/two_bosons.toml --set system.interaction.g=0.5" in text
    assert "missing: not run" in text
    printed = console.export_text()
    assert "0.22700 ± 0.00020" in printed
    assert str(tmp_path / "published.md") in printed.replace("\n", "")
