"""The chapter of interacting bosons: its tasks are right inputs, and its tables say what the files say."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from dsmsim.config import load_config
from tools.reproduce.chapter import Chapter, Grid, Picture, RowsTable, Words
from tools.reproduce.found import REASON, Found
from tools.reproduce.profile import PROFILES, Profile
from tools.reproduce.rows import DSM, Row
from tools.reproduce.running import command_of
from tools.reproduce.sections import bosons
from tools.reproduce.sections.bosons_cases import GRID, TVMC, cases, entrants, reference
from tools.reproduce.task import ROOT, Task
from tools.reproduce.wording import shown

FULL, TRIAL = PROFILES["full"], PROFILES["trial"]


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_tasks_are_inputs_with_names_of_their_own(profile: Profile) -> None:
    tasks = bosons.tasks(profile)
    assert len({task.name for task in tasks}) == len(tasks)
    for case in cases(profile):
        for entrant in entrants(case):
            for task in entrant.tasks:
                config = load_config(ROOT / task.input, task.options[1::2])
                assert config.system.particles == case.particles
                assert config.system.interaction is not None
                assert (config.system.interaction.g, config.system.interaction.s2) == (case.g, 0.1)
                assert config.time.end == 1.0


def test_every_method_of_the_comparison_takes_part() -> None:
    for case in cases(FULL):
        methods = {each.method for each in entrants(case)}
        assert methods >= {*DSM, "t-VMC", "PINN", "exact"}
        assert any(name.startswith(GRID) for name in methods)
        for each in entrants(case):
            assert len(each.tasks) == (3 if each.method in (*DSM, TVMC) else 1)
    assert sum(task.seconds for task in bosons.tasks(FULL)) <= 30 * 60
    assert sum(task.seconds for task in bosons.tasks(PROFILES["quick"])) <= 10 * 60


def test_without_results_there_are_tables_of_what_was_published(tmp_path: Path) -> None:
    chapter = bosons.chapter(FULL, Found(tmp_path))
    assert not [block for block in chapter.blocks if isinstance(block, Picture)]
    rows = rows_of(chapter)
    assert all(row.ours is None for row in rows)
    assert {(row.method, row.published.value) for row in rows if row.published} >= {
        ("DSM", 0.225),
        ("t-VMC", 0.27),
        ("PINN", 0.045),
    }
    (grid,) = [row for row in rows if row.published and row.published.seconds and "at t" in row.metric]
    assert (grid.case, grid.published and grid.published.seconds) == ("3 bosons, g = 1", 20.4)


def test_a_refusal_is_told(tmp_path: Path) -> None:
    five = next(case for case in cases(FULL) if case.particles == 5)
    (task,) = [each.tasks[0] for each in entrants(five) if each.method == GRID]
    directory = Found(tmp_path).directory(task)
    directory.mkdir(parents=True)
    (directory / REASON).write_text("not applicable: four coordinates", encoding="utf-8")
    chapter = bosons.chapter(FULL, Found(tmp_path))
    (row,) = [row for row in rows_of(chapter) if row.task == task and row.note]
    assert row.note == "not applicable: four coordinates"
    lines = [line for block in chapter.blocks if isinstance(block, Grid) for line in block.cells]
    assert [line[-1] for line in lines if line[:2] == ["5, 1", GRID]] == ["not applicable: four coordinates"]


def test_rows_and_pictures_are_what_the_files_say(tmp_path: Path) -> None:
    found, two = Found(tmp_path), cases(TRIAL)[0]
    (sampled,) = [each.tasks[0] for each in entrants(two) if each.method == TVMC]
    for task in (reference(two), sampled):
        solve(task, tmp_path)
    chapter = bosons.chapter(TRIAL, found)
    rows = {row.metric: row for row in rows_of(chapter) if row.task == sampled}
    mine, truth = found.results(sampled), found.results(reference(two))
    assert mine is not None
    assert truth is not None
    variance, exact = (each.results["observables"]["variance"].mean((1, 2)) for each in (mine, truth))

    end = rows["Var x1 at t = 1"]
    assert end.ours is not None
    assert end.ours.value == pytest.approx(variance[-1], rel=1e-12)
    assert end.exact == pytest.approx(exact[-1], rel=1e-12)
    assert end.exact == pytest.approx(0.2274, abs=2e-3)
    trials = mine.results["observables"]["variance_by_trial"][:, -1].mean((1, 2))
    assert end.ours.bar == pytest.approx(np.std(trials, ddof=1) / np.sqrt(len(trials)))
    assert end.published is not None
    assert end.published.value == 0.27

    per_boson = mine.results["observables"]["variance"] / truth.results["observables"]["variance"] - 1.0
    relative = rows["Var x1, mean relative error"].ours
    assert relative is not None
    assert relative.value == pytest.approx(np.abs(per_boson).mean(), rel=1e-9)
    assert set(rows) == {end.metric, *(metric.title for metric in bosons.METRICS)}

    glance, _ = [block for block in chapter.blocks if isinstance(block, Grid)]
    (line,) = [line for line in glance.cells if line[1] == TVMC and line[2] != "-"]
    assert line[2].startswith(f"{100.0 * relative.value:.2g} % (")
    assert line[-1].endswith(" of 17")
    names = {block.name for block in chapter.blocks if isinstance(block, Picture)}
    assert names == {"two_bosons_g1_maps", "two_bosons_moments", "bosons_densities", "bosons_cost"}
    assert not [b for b in chapter.blocks if isinstance(b, Words) and "differ by" in b.markdown]


def test_any_subset_of_results_is_shown(tmp_path: Path) -> None:
    (grid,) = [task for task in bosons.tasks(TRIAL) if task.name == "three_bosons-grid_20"]
    for task in (reference(cases(TRIAL)[1]), grid):
        solve(task, tmp_path)
    chapter = bosons.chapter(TRIAL, Found(tmp_path))
    names = {block.name for block in chapter.blocks if isinstance(block, Picture)}
    assert names == {"bosons_grids"}
    entry = Found(tmp_path).entry(grid, reference(cases(TRIAL)[1]))
    assert entry is not None
    own = entry.stored.attributes["observables"]["error_density"]
    far = float(entry.errors["density_l1_max"])
    assert far > 0.05  # it is coarse
    lines = [line for block in chapter.blocks if isinstance(block, Grid) for line in block.cells]
    (line,) = [line for line in lines if "20 points" in line[1]]
    assert (line[2], line[4], line[5], line[6]) == ("20 points", shown(own), f"{far:.2g}", "no")


def solve(task: Task, out: Path) -> None:
    """Run a task as the program does."""
    subprocess.run(
        command_of(task, TRIAL, out, anew=True),
        check=True,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
    )


def rows_of(chapter: Chapter) -> list[Row]:
    """All rows of its tables."""
    return [row for block in chapter.blocks if isinstance(block, RowsTable) for row in block.rows]
