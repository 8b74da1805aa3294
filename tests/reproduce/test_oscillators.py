"""The chapter of single particles: its tasks are right inputs, and it says what the files say."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from dsmsim.config import load_config
from tools.reproduce.chapter import Chapter, Grid, Picture, RowsTable, Words
from tools.reproduce.found import Found
from tools.reproduce.measurements.exact_sampling import PLAIN, measure
from tools.reproduce.profile import PROFILES
from tools.reproduce.rows import Row
from tools.reproduce.running import command_of
from tools.reproduce.sections import oscillators
from tools.reproduce.sections.oscillator_cases import CASES, DSM, MARCH, of_method
from tools.reproduce.task import ROOT

TRIAL = PROFILES["trial"]


@pytest.mark.parametrize("name", PROFILES)
def test_tasks_are_inputs_with_names_of_their_own(name: str) -> None:
    tasks = oscillators.tasks(PROFILES[name])
    assert len({task.name for task in tasks}) == len(tasks)
    for task in tasks:
        options = task.settings["settings"] if task.method == "measure" else task.options[1::2]
        config = load_config(ROOT / task.input, options)
        assert config.evaluation.trials == 10


def test_the_full_profile_samples_as_published_with_three_seeds() -> None:
    full = PROFILES["full"]
    for case in CASES:
        for method in (DSM, MARCH):
            tasks = of_method(case, method, full)
            assert len(tasks) == 3
            assert load_config(ROOT / tasks[0].input, tasks[0].options[1::2]).evaluation.samples == 100_000


def test_without_results_there_are_tables_of_what_was_published(tmp_path: Path) -> None:
    chapter = oscillators.chapter(TRIAL, Found(tmp_path))
    assert not [block for block in chapter.blocks if isinstance(block, Picture)]
    found = list(rows_of(chapter))
    assert all(row.ours is None for row in found)
    assert {row.published.value for row in found if row.published} >= {0.10772, 2.80891}


def test_the_curve_of_the_singular_notebook_is_said_to_be_another_one(tmp_path: Path) -> None:
    words = [
        block.markdown
        for block in oscillators.chapter(TRIAL, Found(tmp_path)).blocks
        if isinstance(block, Words)
    ]
    (said,) = [text for text in words if "Brownian" in text]
    # 1e-4 + (0.01 / 2)^2 / 1e-4 at t = 1
    assert "0.2501" in said
    assert "variance 0.0001" in said


def test_a_march_is_measured_and_drawn(tmp_path: Path) -> None:
    found = Found(tmp_path)
    (task,) = of_method(CASES[0], MARCH, TRIAL)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(
        command_of(task, TRIAL, tmp_path, anew=True),
        check=True,
        cwd=ROOT,
        env=environment,
        capture_output=True,
    )
    chapter = oscillators.chapter(TRIAL, found)
    (row,) = [row for row in rows_of(chapter) if row.ours is not None and row.metric == "E_v"]
    assert (row.case, row.method) == (CASES[0].title, MARCH)
    stored = found.results(task)
    assert stored is not None
    observables = stored.results["observables"]
    true = 0.1 * np.cos(observables["time"]) ** 2 + 2.5e-5 / 0.1 * np.sin(observables["time"]) ** 2
    distance = np.linalg.norm(observables["variance_by_trial"][:, :, 0, 0] - true, axis=1) / np.linalg.norm(
        true
    )
    assert row.ours is not None
    assert row.ours.value == pytest.approx(distance.mean(), rel=1e-6)
    assert {block.name for block in chapter.blocks if isinstance(block, Picture)} == {
        f"oscillator_zero_phase_{name}" for name in ("moments", "densities", "maps")
    }
    fields = [block for block in chapter.blocks if isinstance(block, Grid) and "E_u" in block.header]
    assert [line[:2] for line in fields[0].cells] == [[CASES[0].title, MARCH]]


def test_exact_fields_show_the_noise_of_the_samples_and_nothing_else(tmp_path: Path) -> None:
    settings = ["time.save=6", "evaluation.steps=20", "evaluation.samples=4000"]
    columns = measure(tmp_path, "inputs/oscillator_zero_phase.toml", settings)
    found = {name: float(np.asarray(column)) for name, column in columns.values.items()}
    # plain samples: the noise that is expected of so many; corrected: that of the integrator
    assert found[f"{PLAIN}E_v"] == pytest.approx(found[f"{PLAIN}E_v_floor"], rel=0.5)
    assert found[f"{PLAIN}E_v_floor"] == pytest.approx(np.sqrt(2.0 / 400), rel=0.15)
    assert found["E_v"] < 0.01 * found[f"{PLAIN}E_v"]


def rows_of(chapter: Chapter) -> Iterator[Row]:
    """All rows of its tables."""
    return (row for block in chapter.blocks if isinstance(block, RowsTable) for row in block.rows)
