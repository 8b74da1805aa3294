"""The section on tensor networks: counts, digits, bytes, and what the page says of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dsmsim.analysis import Entry
from dsmsim.store import StoredResults
from tools.reproduce.chapter import Grid, Picture, Words
from tools.reproduce.found import SIGNATURE, Found
from tools.reproduce.measurements.digits_table import accuracies
from tools.reproduce.measurements.gradient_bytes import bytes_table
from tools.reproduce.measurements.layers_table import SHARE, TIMES, Count, all_counts
from tools.reproduce.measuring import measure
from tools.reproduce.profile import PROFILES
from tools.reproduce.rows import Value
from tools.reproduce.sections import tensors
from tools.reproduce.sections.tensor_bosons import Problem, Trained, boson_blocks, boson_sentence
from tools.reproduce.sections.tensor_digits import digit_blocks, narrow_of
from tools.reproduce.task import Task


def test_layers_have_the_published_counts() -> None:
    """All but those that do not follow from one rank at all bonds, and one published as "about"."""
    counts = [count for count in all_counts() if count.published]
    missed = {(count.layer.split()[0], count.rank) for count in counts if count.met == "no"}
    assert len(counts) == 15
    assert missed == {("ring", "16"), ("the", "4")}
    gru = next(count for count in counts if count.layer.startswith("TT-GRU"))
    assert (gru.dense, gru.ours) == (44_236_800, 3232)
    assert replace(gru, ours=3233).met == "no"


@pytest.mark.parametrize(
    ("dense", "ours", "what", "published", "met"),
    [
        (938, 10, TIMES, "93", "yes"),  # cut off
        (938, 10, TIMES, "94", "yes"),  # rounded
        (938, 10, TIMES, "95", "no"),
        (93816, 1000, TIMES, "93.8", "yes"),
        (93851, 1000, TIMES, "93.8", "no"),
        (10000, 5, SHARE, "0.0005", "yes"),
        (10000, 4, SHARE, "0.0005", "no"),
        (10000, 4, SHARE, "", ""),
    ],
)
def test_a_published_figure_is_met_to_its_last_digit(
    dense: int, ours: int, what: str, published: str, met: str
) -> None:
    assert Count("", "", "", "", dense, ours, what, published).met == met


def test_digits_are_counted_as_published(tmp_path: Path) -> None:
    """The share leaves biases out; accuracies have a row for every rank and a column for every seed."""
    found = accuracies(tmp_path, format="tt", ranks=(2, 4), seeds=(0, 1), epochs=1).values
    np.testing.assert_array_equal(found["weights"], [480, 1760])
    np.testing.assert_allclose(np.asarray(found["share"]), np.array([480, 1760]) / 203264)
    np.testing.assert_array_equal(found["parameters"], [480 + 266, 1760 + 266])
    accuracy = np.asarray(found["accuracy"])
    assert accuracy.shape == (2, 2)
    assert accuracy.min() > 0.2  # one epoch: twice of guessing
    assert len(set(accuracy.ravel().tolist())) > 1
    dense = accuracies(tmp_path, format="dense", ranks=(1, 3), seeds=(0,), epochs=1).values
    np.testing.assert_array_equal(dense["weights"], [794, 3 * 794])


def test_the_narrow_rival_has_no_fewer_numbers() -> None:
    dense = {
        "rank": np.array([1, 2, 4]),
        "parameters": np.array([805, 1600, 3190]),
        "accuracy": np.array([[0.3], [0.6], [0.87]]),
    }
    assert narrow_of(dense, 805) == ("805 (1 unit)", Value(30.0))
    assert narrow_of(dense, 806) == ("1,600 (2 units)", Value(60.0))
    assert narrow_of(dense, 4000) is None
    assert narrow_of(None, 4000) is None


def test_bytes_of_a_step_are_those_of_the_parameters(tmp_path: Path) -> None:
    """Single precision, with a few numbers of the loss."""
    found = bytes_table(tmp_path, widths=(64,), formats=("dense", "tt", "tr"), rank=4).values
    rank, bytes_, parameters = (np.asarray(found[name]) for name in ("rank", "bytes", "parameters"))
    assert rank.tolist() == [0, 4, 2]
    assert np.all((bytes_ - 4 * parameters >= 0) & (bytes_ - 4 * parameters < 100))
    assert parameters[1] == parameters[2]
    assert parameters[0] - parameters[1] == 3 * (64 * 64 - 2 * 8 * 8 * 4)


@pytest.mark.parametrize(("name", "minutes"), [("full", 20.0), ("quick", 5.0), ("trial", 0.7)])
def test_tasks_stay_within_their_time(name: str, minutes: float) -> None:
    tasks = tensors.tasks(PROFILES[name])
    assert len({task.key for task in tasks}) == len(tasks)
    assert sum(task.seconds for task in tasks) <= 60.0 * minutes
    json.dumps([task.signature() for task in tasks])


def measured(task: Task, found: Found) -> None:
    """Run a measurement in this process."""
    directory = found.directory(task)
    directory.mkdir(parents=True)
    (directory / SIGNATURE).write_text(json.dumps(task.signature()), encoding="utf-8")
    measure(task, directory)


def test_a_chapter_shows_what_there_is(tmp_path: Path) -> None:
    """Without results: only what is published and not run. Then the counts, from their file."""
    profile, found = PROFILES["trial"], Found(tmp_path)
    empty = tensors.chapter(profile, found)
    assert [type(block) for block in empty.blocks] == [Words, Grid]
    measured(tensors.layers(), found)
    words, counts, *rest = tensors.chapter(profile, found).blocks
    assert isinstance(words, Words)
    assert "11 of 15 published figures are met to their last digit" in words.markdown
    assert isinstance(counts, Grid)
    gru = next(cells for cells in counts.cells if cells[0].startswith("TT-GRU"))
    assert gru[3:8] == ["44,236,800", "3,232", "3,232", "3,232 numbers", "yes"]
    assert len(rest) == 2


def trained(
    label: str, format: str, parameters: int, density: float, bar: float | None, seconds: float
) -> Trained:
    """A network with errors of one's own choice."""
    value = Value(density, bar, 2 if bar else 1)
    own = Trained(label, format, parameters, 4 * parameters, Value(10.0 * density), value)
    return replace(own, floor=0.008, seconds=seconds + 5.0, training=seconds)


def entry(density: float, seconds: float) -> Entry:
    """A finished run of a network of two parts."""
    attributes: dict[str, dict[str, Any]] = {
        "model/u": {"parameters": 300},
        "model/u/hidden/0": {"format": "tt"},
        "model/v": {"parameters": 324},
        "training": {"gradient_bytes": 2496},
        "provenance": {"cpu_seconds": seconds, "solve_cpu_seconds": seconds - 4.0},
    }
    errors = {
        "variance_error_mean": np.array(0.002),
        "density_l1_mean": np.array(density),
        "density_l1_floor": np.array(0.009),
        "E_u": np.array(0.05),
        "E_u_stderr": np.array(0.01),
    }
    return Entry("run", StoredResults({}, attributes, 2), errors)


def test_networks_are_told_from_their_results() -> None:
    one = Trained.of("low rank", "lowrank", [entry(0.010, 20.0), None])
    assert (one.parameters, one.gradient_bytes) == (624, 2496)
    assert one.variance == Value(0.2)
    assert one.u == Value(0.05, 0.01)
    assert one.v is None
    assert (one.floor, one.seconds, one.training) == (0.009, 20.0, 16.0)
    two = Trained.of("low rank", "lowrank", [entry(0.010, 20.0), entry(0.012, 30.0)])
    assert two.density is not None
    assert two.density.count == 2
    assert two.density.value == pytest.approx(0.011)
    assert two.density.bar == pytest.approx(0.002 / 2**0.5)
    assert two.seconds == 25.0
    assert Trained.of("low rank", "lowrank", [None]) == Trained("low rank", "lowrank")


def test_what_is_said_of_bosons_comes_from_the_numbers() -> None:
    networks = [
        trained("dense, width 19", "dense", 1387, 0.012, 0.0006, 40.0),
        trained("dense, width 12", "dense", 624, 0.015, None, 20.0),
        trained("ring, rank 2", "tr", 1440, 0.009, None, 60.0),
        trained("tensor train, rank 4", "tt", 1440, 0.006, 0.0006, 50.0),
        trained("low rank 16", "lowrank", 9000, 0.006, None, 50.0),  # nobody has as many numbers
        Trained("low rank 4", "lowrank"),  # not run
    ]
    text = boson_sentence(networks)
    assert "ring, rank 2 against dense, width 19: 0.75 in density, 0.75 in Var x₁, at 1.5 times" in text
    assert "tensor train, rank 4 against dense, width 19: 0.50 ± 0.06 in density" in text
    assert "low rank" not in text
    assert boson_sentence(networks[:2]) == ""
    example = Task("tensors", "two-dense12-seed1", "run", "inputs/two_bosons.toml", {"seed": 1})
    blocks = boson_blocks([Problem("Two bosons", example, networks)])
    (picture,) = [block for block in blocks if isinstance(block, Picture)]
    assert len(picture.figure.axes) == 3
    (grid,) = [block for block in blocks if isinstance(block, Grid)]
    assert [cells[1] for cells in grid.cells] == ["-", "624", "1,387", "1,440", "1,440", "9,000"]


def test_digits_are_drawn_and_put_in_words() -> None:
    def columns(ranks: list[int], sizes: list[int], means: list[float]) -> dict[str, np.ndarray]:
        return {
            "rank": np.array(ranks),
            "parameters": np.array(sizes) + 266,
            "weights": np.array(sizes),
            "share": np.array(sizes) / 203264,
            "accuracy": np.array(means)[:, None] + np.array([-0.01, 0.01]),
            "seconds": np.ones(len(ranks)),
        }

    images = {
        "tt": columns([4], [1760], [0.98]),
        "dense": columns([3, 256], [2382, 203264], [0.78, 0.99]),
        "cp": None,
    }
    _, grid, words, picture = digit_blocks(images, None)
    assert isinstance(grid, Grid)
    assert grid.cells[0][4] == "98.0 ± 1.4"
    assert grid.cells[0][6:] == ["2,648 (3 units)", "78.0 ± 1.4"]
    assert isinstance(words, Words)
    assert words.markdown == (
        "Below one hundredth of the weights the best is tensor train of 1,760 weights: 98.0 %, where a dense "
        "network of 2,648 (3 units) has 78.0 % and the dense network of 256 units 99.0 %."
    )
    assert isinstance(picture, Picture)
    assert digit_blocks({"tt": None, "dense": None}, None) == []
