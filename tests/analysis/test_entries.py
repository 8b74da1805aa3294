"""Several results in one table and one figure."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread
from rich.console import Console
from synthetic import TIMES, exact_results, moving_gaussian, sampled_results

from dsmsim.analysis import Entry, compare, entries_table, plot_entries
from dsmsim.errors import StoreError
from dsmsim.store import StoredResults

CHECKS = {"check": np.array(["a", "b", "c"]), "passed": np.array([1, 0, 1])}


def entries() -> tuple[list[Entry], dict[str, Any]]:
    """A sampled result with all that can be said, and the exact one, of which little is known."""
    config = moving_gaussian(2)
    truth = exact_results(config)
    run = sampled_results(config, 600, 3, np.random.default_rng(1))
    attributes = {
        "observables": {"method": "tvmc"},
        "provenance": {"cpu_seconds": 12.345, "solve_cpu_seconds": 10.0},
    }
    first = StoredResults({**run, "checks": CHECKS}, attributes)  # type: ignore[arg-type]
    second = StoredResults({"observables": truth["observables"]}, {})
    return [
        Entry("mine", first, compare(run, truth)),
        Entry("plain", second, compare(second.results, truth)),
    ], truth


def test_a_row_says_errors_floors_costs_and_checks() -> None:
    (mine, plain), _ = entries()
    cells = mine.cells()
    assert cells["result"] == ["mine"]
    assert cells["method"] == ["tvmc"]
    value, spread, floor, together = cells["E_v"]
    assert value == f"{float(mine.errors['E_v']):.3g}"
    assert spread == f"± {float(mine.errors['E_v_std']):.2g}"
    assert floor == f"floor {float(mine.errors['E_v_floor']):.2g}"
    assert together == f"all {float(mine.errors['E_v_all']):.3g}"
    assert cells["density L1\nmean"][1] == f"floor {float(mine.errors['density_l1_floor']):.2g}"
    assert cells["energy\ndrift"][1].startswith("± ")
    assert cells["CPU s"] == ["12.3", "solving 10"]
    assert cells["checks"] == ["2/3"]
    cells = plain.cells()
    assert (cells["method"], cells["CPU s"], cells["checks"]) == (["-"], ["-"], ["-"])
    assert cells["density L1\nmean"] == ["-"]
    assert "(absolute)" not in cells["E_m"]


def test_a_mean_of_zero_is_marked() -> None:
    still = exact_results(moving_gaussian(mean=0.0, phase=0.0))
    entry = Entry("still", StoredResults(still, {}), compare(still, still))
    assert entry.cells()["E_m"] == ["0", "(absolute)"]


def test_the_table_has_a_row_for_each() -> None:
    table = entries_table(entries()[0], reference="[exact]")
    console = Console(file=io.StringIO(), width=120)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "Errors against [exact]" in text
    for word in ("mine", "plain", "tvmc", "floor", "solving 10", "2/3"):
        assert word in text


def test_the_figure_is_drawn_with_and_without_costs_and_densities(tmp_path: Path) -> None:
    both, truth = entries()
    config = moving_gaussian(2)
    file = plot_entries(both, truth, "exact", tmp_path / "new" / "methods.png", config)
    assert len(np.unique(imread(file)[::5, ::5].reshape(-1, 4), axis=0)) > 50
    later = {"observables": exact_results(config, TIMES[:7])["observables"]}
    assert plot_entries(both[1:], later, "exact", file, None) == file
    (tmp_path / "taken").write_text("")
    with pytest.raises(StoreError, match="cannot write the figure"):
        plot_entries(both, truth, "exact", tmp_path / "taken" / "methods.png", config)
