"""The section on physics beyond the sources: its tasks, what is read off results, and what the page shows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.special import ndtr

from dsmsim.config import load_config
from dsmsim.store import StoredResults
from tools.reproduce.chapter import Grid, Picture, RowsTable
from tools.reproduce.found import Found
from tools.reproduce.profile import PROFILES
from tools.reproduce.running import run_all
from tools.reproduce.sections import beyond
from tools.reproduce.sections import beyond_cases as of
from tools.reproduce.sections.beyond_rows import breath, breath_errors, on_the_right, wave
from tools.reproduce.task import ROOT, Task

TRIAL = PROFILES["trial"]
EACH = of.breathing(PROFILES["full"])[0]


def stored(**results: dict[str, np.ndarray]) -> StoredResults:
    return StoredResults(results=results, attributes={})


def loaded(task: Task) -> object:
    settings = [word for word in task.options if word != "--set"]
    return load_config(ROOT / task.input, settings, environment=False)


@pytest.mark.parametrize(("name", "minutes"), [("full", 12.0), ("quick", 3.0), ("trial", 40.0 / 60.0)])
def test_tasks_have_names_of_their_own_and_keep_to_their_time(name: str, minutes: float) -> None:
    tasks = beyond.tasks(PROFILES[name])
    assert len({task.key for task in tasks}) == len(tasks)
    assert sum(task.seconds for task in tasks) <= 60.0 * minutes


@pytest.mark.parametrize("name", list(PROFILES))
def test_inputs_are_right_and_references_solve_the_same_problem(name: str) -> None:
    profile = PROFILES[name]
    cases = [each.case for each in of.breathing(profile)] + [of.tunnelling(profile), *of.plane(profile)]
    for case in cases:
        assert case.reference is not None
        exact = loaded(case.reference)
        for method in case.methods:
            for task in case.tasks(method):
                config = loaded(task)
                assert config.physics_hash() == exact.physics_hash()  # type: ignore[attr-defined]
                assert (config.system.particles, config.train.mode) == (  # type: ignore[attr-defined]
                    case.particles,
                    "march" if method == of.MARCH else "global",
                )
    for task in of.ten(profile).all_tasks():
        assert loaded(task).system.particles == 10  # type: ignore[attr-defined]


def test_the_breathing_of_bosons_that_do_not_interact_has_twice_the_frequency_of_the_trap() -> None:
    """s(t) = s0 cos^2 wt + (hbar/(2 m w))^2/s0 sin^2 wt after the trap was tightened."""
    t, s0, hbar, w = np.linspace(0.0, 5.5, 56), 0.05, 0.1, EACH.omega
    moved = np.maximum(t - EACH.start, 0.0)
    variance = s0 * np.cos(w * moved) ** 2 + hbar**2 / (4.0 * w**2 * s0) * np.sin(w * moved) ** 2
    found = breath(t, variance, EACH)
    assert found is not None
    assert found.frequency == pytest.approx(2.0 * w, rel=1e-5)
    assert found.amplitude == pytest.approx(0.5 * (s0 - hbar**2 / (4.0 * w**2 * s0)), rel=1e-4)
    assert found.damping == pytest.approx(0.0, abs=1e-4)


def test_errors_of_the_breathing_are_those_of_its_trials() -> None:
    """Trials whose frequencies differ by a known spread have that spread over sqrt(trials) as the error."""
    t = np.linspace(0.0, 5.5, 56)
    after = np.maximum(t - EACH.start, 0.0)
    frequencies = np.array([2.0, 2.1, 2.2, 2.3])
    trials = np.array([wave(after, 0.06, 0.03, 0.1, f, 0.2) for f in frequencies])[:, :, None, None]
    error, of_amplitude = breath_errors(stored(observables={"time": t, "variance_by_trial": trials}), EACH)
    assert error == pytest.approx(frequencies.std(ddof=1) / 2.0, rel=1e-4)
    assert of_amplitude == pytest.approx(0.0, abs=1e-6)
    assert breath_errors(stored(observables={"time": t}), EACH) == (None, None)
    assert breath(t[:4], np.ones(4), EACH) is None


def test_the_probability_on_the_right_is_the_integral_of_an_exact_density() -> None:
    x, means = np.linspace(-3.0, 3.0, 81), np.array([-0.4, 0.0, 0.3])
    rows = np.exp(-0.5 * ((x - means[:, None]) / 0.2) ** 2) / (0.2 * np.sqrt(2.0 * np.pi))
    _, right, stderr = on_the_right(stored(density={"time": np.arange(3.0), "x": x, "density": rows}))
    assert right == pytest.approx(ndtr(means / 0.2), abs=1e-6)
    assert stderr is None
    user = {"time": np.arange(2.0), "right": np.array([0.1, 0.2]), "right_stderr": np.array([0.01, 0.01])}
    assert on_the_right(stored(user=user, density={}))[1] == pytest.approx([0.1, 0.2])


def test_a_page_without_results_has_gaps_and_no_pictures(tmp_path: Path) -> None:
    blocks = beyond.chapter(TRIAL, Found(tmp_path)).blocks
    assert not [block for block in blocks if isinstance(block, Picture)]
    rows = [row for block in blocks if isinstance(block, RowsTable) for row in block.rows]
    assert len(rows) > 10
    assert all(row.ours is None for row in rows)
    assert all("-" in cells for block in blocks if isinstance(block, Grid) for cells in block.cells)


def test_one_problem_from_its_tasks_to_its_rows_and_pictures(tmp_path: Path) -> None:
    case = of.tunnelling(TRIAL)
    assert run_all(case.all_tasks(), TRIAL, tmp_path, 2, told=lambda event, task, words: None) == []
    blocks = beyond.chapter(TRIAL, Found(tmp_path)).blocks
    names = [block.name for block in blocks if isinstance(block, Picture)]
    assert names == ["tunnelling_maps", "tunnelling_curves"]
    rows = [row for block in blocks if isinstance(block, RowsTable) for row in block.rows]
    there = [row for row in rows if row.ours is not None]
    assert {row.case for row in there} == {case.title}
    end = there[0]
    assert end.ours is not None
    assert end.exact is not None
    assert end.ours.bar is not None
    # 200 samples: the probability has its error and no more
    assert abs(end.ours.value - end.exact) < 5.0 * end.ours.bar
    assert any("below the barrier" in getattr(block, "markdown", "") for block in blocks)
