"""What rows say of themselves: as good as published, cheaper, best, tied."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from tools.reproduce.judging import competitions, summary_lines, tied
from tools.reproduce.rows import Published, Row, Value, best, over_seeds
from tools.reproduce.task import Task

TASK = Task("bosons", "two", "run", "inputs/two_bosons.toml")
ROW = Row("two bosons", "DSM", "Var", TASK, Value(0.2270, 0.0002), Published(0.225, seconds=3600.0), 0.2274)


def test_the_nearer_to_the_exact_value_is_as_good_as_published() -> None:
    assert ROW.as_good is True
    assert replace(ROW, ours=Value(0.2299)).as_good is False  # 0.0025 above, 0.0024 below was published
    assert replace(ROW, ours=Value(0.2297)).as_good is True
    assert replace(ROW, exact=None).as_good is False  # an error: the smaller the better
    assert replace(ROW, published=None).as_good is None
    assert replace(ROW, published=Published(words="figure")).as_good is None
    assert replace(ROW, ours=None).as_good is None


def test_times_are_compared_where_both_are_known() -> None:
    assert replace(ROW, seconds=36.0).speedup == pytest.approx(100.0)
    assert ROW.speedup is None
    assert replace(ROW, seconds=36.0, published=Published(0.225)).speedup is None


def test_values_over_seeds() -> None:
    value = over_seeds([1.0, 2.0, 3.0], bar=0.3)
    assert value == Value(2.0, 1.0, 3)
    assert over_seeds([2.0], bar=0.3) == Value(2.0, 0.3, 1)
    assert over_seeds([2.0, math.nan]) == Value(2.0, None, 1)
    assert over_seeds([]) is None


def test_references_do_not_compete() -> None:
    grid = replace(ROW, method="Crank-Nicolson", ours=Value(0.2274), reference=True)
    tvmc = replace(ROW, method="t-VMC", ours=Value(0.2271))
    assert best([ROW, grid, tvmc]) is tvmc
    assert best([grid]) is None
    assert list(competitions([ROW, grid])) == []
    assert list(competitions([ROW, grid, tvmc])) == [(ROW, tvmc)]


def test_errors_below_the_floor_or_within_their_bars_are_equal() -> None:
    error = replace(ROW, exact=None, ours=Value(0.010), floor=0.012)
    assert tied(error, replace(error, ours=Value(0.002)))
    assert not tied(error, replace(error, ours=Value(0.002), floor=None))
    assert not tied(error, replace(error, ours=Value(0.002), floor=0.001))
    assert tied(replace(error, ours=Value(0.0143)), error)  # a fifth above is the scatter of the floor itself
    assert not tied(replace(error, ours=Value(0.0145)), error)
    assert tied(replace(error, ours=Value(0.0145, 0.003)), error)
    assert tied(replace(error, floor=None, ours=Value(0.010, 0.006)), replace(error, ours=Value(0.005)))


def test_the_summary_counts_and_names_what_is_missed() -> None:
    good = replace(ROW, seconds=36.0)
    bad = replace(ROW, case="three bosons", ours=Value(0.3), seconds=1800.0)
    rival = replace(bad, method="t-VMC", ours=Value(0.2274, 0.0001), published=None)
    text = "\n".join(summary_lines([good, bad, rival]))
    assert "in 1 of 2 rows" in text
    assert "  - Not in: three bosons, DSM, Var." in text
    assert "the smallest factor is 2" in text
    assert "in 0 of 1 comparisons" in text
    assert "t-VMC 0.22740 ± 0.00010, DSM 0.3" in text
    assert "in all 1 rows" in "\n".join(summary_lines([good]))
