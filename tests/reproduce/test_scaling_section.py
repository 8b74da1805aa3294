"""The chapter on scaling: its measurements on problems with known answers, and what it says of its files."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from dsmsim.system import build_initial, closed_form
from tools.reproduce.chapter import Grid, Picture, Words
from tools.reproduce.columns import write_columns
from tools.reproduce.found import SIGNATURE, Found
from tools.reproduce.measurements import epoch_time, epochs_to_error, memory_use
from tools.reproduce.measurements.scaling_problems import METHODS, config_of
from tools.reproduce.profile import PROFILES
from tools.reproduce.sections import scaling
from tools.reproduce.sections.scaling_chapter import duration, size
from tools.reproduce.sections.scaling_results import (
    Curve,
    epoch_times,
    exact_solutions,
    fitted_slope,
    grids,
    memories,
    solutions,
    stays_below,
)
from tools.reproduce.task import Task

FULL = PROFILES["full"]


def task_of(name: str) -> Task:
    """A task of the full profile whose name begins so."""
    return next(task for task in scaling.tasks(FULL) if task.name.startswith(name))


def put(found: Found, task: Task, columns: Mapping[str, Any]) -> None:
    """Results of a measurement."""
    write_columns(found.file(task), columns, {}, {})
    signature = json.dumps(task.signature())
    (found.directory(task) / SIGNATURE).write_text(signature, encoding="utf-8")


def test_exact_velocities_give_the_exact_growth_of_the_variance() -> None:
    """Low-discrepancy starts that move with the closed form's v: eight steps of order four see no more."""
    config = config_of("free", 3)
    exact = closed_form(config)
    assert exact is not None

    def velocity(x: Tensor, t: float) -> Tensor:
        return exact.v(x, x.new_full((len(x), 1), t))

    starts = epochs_to_error.low_discrepancy(build_initial(config), 64, seed=1)
    found = epochs_to_error.growth_of_variance(velocity, starts, config.time.end)
    times = np.linspace(0.0, config.time.end, len(found))
    np.testing.assert_allclose(found, epochs_to_error.exact_growth(config, times), rtol=1e-4)
    at_rest = epochs_to_error.growth_of_variance(lambda x, t: torch.zeros_like(x), starts, config.time.end)
    np.testing.assert_array_equal(at_rest, np.ones(len(found)))


@pytest.mark.parametrize("method", ["potential", "pinn"])
def test_training_comes_nearer_to_the_exact_growth(method: str, tmp_path: Path) -> None:
    columns = epochs_to_error.measure(
        tmp_path, problem="free", method=method, particles=[2], at=[2, 20], samples=64, seed=1
    ).values
    variance, exact = np.asarray(columns["variance"])[0], np.asarray(columns["exact"])[0]
    errors = np.abs(variance / exact - 1.0)[:, 1:].mean(1)
    assert errors[1] < min(0.05, errors[0])
    assert 0.0 < np.asarray(columns["seconds"])[0, 0] < np.asarray(columns["seconds"])[0, 1]
    still = config_of("interacting", 3)
    assert np.isnan(epochs_to_error.exact_growth(still, np.zeros(2))).all()


def test_interaction_weakens_with_the_number_of_bosons() -> None:
    for d in (2, 5, 21):
        interaction = config_of("interacting", d).system.interaction
        assert interaction is not None
        assert interaction.g == pytest.approx(1.0 / (d - 1))
    assert config_of("free", 7).system.interaction is None


def test_every_method_has_an_epoch(tmp_path: Path) -> None:
    columns = epoch_time.measure(
        tmp_path, problem="interacting", particles=[2], most=dict.fromkeys(METHODS, 2), points=64, turns=2
    ).values
    assert list(np.asarray(columns["method"])) == list(METHODS)
    assert np.asarray(columns["seconds"]).shape == (len(METHODS), 2)
    assert (np.asarray(columns["seconds"]) > 0.0).all()


def test_a_child_counts_what_it_allocates() -> None:
    amount = 60_000_000
    measured, predicted = memory_use.in_a_child(allocate, amount)
    assert predicted == amount
    assert 0.97 * amount < measured < 1.1 * amount  # the kernel counts pages with a delay
    with pytest.raises(RuntimeError, match="ended with code"):
        memory_use.in_a_child(allocate, -1)


def allocate(amount: int) -> tuple[int, int]:
    """The peak of so many bytes that are written to."""
    return memory_use.above_the_program(lambda: np.ones(amount, dtype=np.uint8).sum()), amount


def test_grids_beyond_the_solver_go_on_with_as_many_points() -> None:
    found = memory_use.predicted_grids("interacting", [3, 4, 5, 6], 1e-2)
    assert list(found["grid_own"]) == [1, 1, 0, 0]
    points = np.asarray(found["grid_points"])
    assert points[1] == points[2] == points[3]
    memory, seconds = np.asarray(found["grid_memory"]), np.asarray(found["grid_seconds"])
    assert memory[3] / memory[2] == pytest.approx(points[1])
    assert seconds[3] / seconds[1] == pytest.approx(points[1] ** 2 * 6.0 / 4.0)


def test_slopes_are_powers() -> None:
    d = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
    found = Curve("free", "mlp", d, np.maximum(3.0 * d**1.5, 24.0)).slope
    assert found is not None
    assert found.value == pytest.approx(1.5)
    assert found.bar == pytest.approx(0.0, abs=1e-9)
    noisy = fitted_slope(d, d * np.array([1.0, 1.1, 0.9, 1.1, 1.0]))
    assert noisy is not None
    assert noisy.bar is not None
    assert abs(noisy.value - 1.0) < 3.0 * noisy.bar
    assert fitted_slope(d[:1], d[:1]) is None


def test_an_error_must_stay_below_the_goal() -> None:
    assert stays_below(np.array([0.5, 0.005, 0.02, 0.008, 0.009]), 0.01) == 3
    assert stays_below(np.array([0.001, 0.002]), 0.01) == 0
    assert stays_below(np.array([0.001, math.nan]), 0.01) is None


def test_the_profiles_fit_their_time() -> None:
    for name, minutes in (("full", 20.0), ("quick", 5.0), ("trial", 1.0)):
        tasks = scaling.tasks(PROFILES[name])
        assert len({task.name for task in tasks}) == len(tasks)
        assert sum(task.seconds for task in tasks) < 60.0 * minutes
    for profile in PROFILES.values():
        for task in scaling.tasks(profile):
            last = task.settings.get("at", [1, 2])
            assert sorted(set(last)) == list(last)


def test_an_empty_directory_makes_a_chapter(tmp_path: Path) -> None:
    blocks = scaling.chapter(FULL, Found(tmp_path)).blocks
    assert len(blocks) == 1
    assert isinstance(blocks[0], Words)


def test_a_chapter_of_made_up_files(tmp_path: Path) -> None:
    """An epoch that grows like d and one like d^2; a training that arrives and one that does not."""
    found = Found(tmp_path)
    d = np.array([1, 10, 100])
    times = {
        "method": ["mlp"] * 3 + ["pinn"] * 3,
        "d": np.tile(d, 2),
        "parameters": np.ones(6),
        "seconds": np.outer(np.concatenate([0.01 * d, 0.001 * d**2]), [0.9, 1.0, 1.2]),
    }
    put(found, task_of("epoch_time-free"), times)
    of_grids = memory_use.predicted_grids("free", [1, 2], 1e-2)
    memory = {"method": ["mlp"] * 3, "d": d, "measured": 1e6 * d, "predicted": 2e6 * d}
    put(found, task_of("memory-free"), memory | of_grids)
    for method, errors in (("potential", [0.5, 0.3]), ("pinn", [0.5, 0.004])):
        task = task_of(f"training-free-{method}-d1")
        put(found, task, training_of(task, errors))
    tasks = scaling.tasks(FULL)

    assert len(epoch_times(tasks, found)) == 2
    assert len(memories(tasks, found)) == 1
    assert [grid.d for grid in grids(tasks, found)] == [1, 2]
    solved = {(each.method, each.d): each for each in solutions(tasks, found)}
    assert solved["pinn", 100].epochs == 8
    assert solved["pinn", 100].seconds == 4.0
    assert solved["potential", 100].epochs == math.inf
    assert not solved["potential", 100].reached
    assert solved["potential", 100].error == pytest.approx(0.3)

    blocks = scaling.chapter(FULL, found).blocks
    said = "\n".join(block.markdown for block in blocks if isinstance(block, Words))
    assert "an epoch grows no faster than d for DSM (u and v)" in said
    assert "not confirmed" not in said
    assert "At d = 100, without interaction, PINN needs the fewest CPU seconds" in said
    assert "no form of DSM reaches the goal" in said
    tables = [block for block in blocks if isinstance(block, Grid)]
    assert [row[5].split(" ")[0].rstrip(")") for row in tables[0].cells] == ["d^(1", "d^(2"]
    assert any("not in 8 (4 s; 30 %)" in cell for row in tables[1].cells for cell in row)
    pictures = [block for block in blocks if isinstance(block, Picture)]
    assert [picture.name for picture in pictures] == ["scaling_costs", "scaling_goal"]
    for picture in pictures:
        picture.figure.savefig(tmp_path / f"{picture.name}.png", dpi=50)


def training_of(task: Task, errors: list[float]) -> dict[str, Any]:
    """Columns of a training whose growth of the variance is wrong by these shares after 2 and 8 epochs."""
    sizes = list(task.settings["particles"])
    exact = exact_solutions([task], Found(Path("nowhere")))
    grown = [[exact["free", size] * (1.0 + error * shape()) for error in errors] for size in sizes]
    return {
        "d": sizes,
        "parameters": [1] * len(sizes),
        "epoch": [2, 8],
        "seconds": [[1.0, 4.0]] * len(sizes),
        "variance": grown,
        "time": np.linspace(0.0, 1.0, 9),
        "exact": [exact["free", size] for size in sizes],
    }


def shape() -> Any:
    """One but at the start, where the variance is known."""
    return np.concatenate([[0.0], np.ones(8)])


def test_amounts_are_readable() -> None:
    assert size(25_407_756_632) == "25.4 GB"
    assert size(512.0) == "0.512 kB"
    assert duration(7200.0) == "2 h"
    assert duration(0.25) == "0.25 s"
    assert duration(3.156e8) == "10 years"
