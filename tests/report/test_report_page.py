"""The page without a browser: what it says, what it escapes, and that it refers to nothing outside."""

from __future__ import annotations

import base64
import importlib.util
import json
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects
import pytest
from commands import call
from run_files import finished_run
from whole_results import TITLE, moving_bosons, run_of, whole_results

from dsmsim.analysis import write_report
from dsmsim.analysis.loading import load_run
from dsmsim.analysis.profiles import Profile
from dsmsim.analysis.report import content
from dsmsim.analysis.report.blocks import state_blocks
from dsmsim.analysis.report.charts import Chart
from dsmsim.analysis.report.history import history_blocks
from dsmsim.analysis.report.moving import profile_block
from dsmsim.errors import ConfigError, StoreError
from dsmsim.measure.identities import TOLERANCES
from dsmsim.store import RunDirectory, update_results, write_results

INPUT = '# <b>an input</b> & more\ntitle = "x"\n[system]\nparticles = 2\n'


class Page(HTMLParser):
    """Text and tags of a page; what scripts and styles hold is no text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._inside: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self._inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style"):
            self._inside.pop()

    def handle_data(self, data: str) -> None:
        if not self._inside:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def count(self, tag: str, **wanted: str) -> int:
        return sum(
            name == tag and all(attributes.get(key.strip("_")) == value for key, value in wanted.items())
            for name, attributes in self.tags
        )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    config = moving_bosons()
    results = whole_results(config, np.random.default_rng(1))
    return run_of(tmp_path_factory.mktemp("report") / "run", config, results, INPUT)


@pytest.fixture(scope="module")
def page(run: RunDirectory) -> Page:
    assert write_report(run.path) == run.report
    return Page(run.report)


def test_nothing_lies_outside_of_the_page(page: Page) -> None:
    for tag, attributes in page.tags:
        for name in ("src", "srcset", "href", "action", "data", "poster"):
            where = attributes.get(name) or ""
            assert where.startswith(("#", "data:,")) or not where, (tag, name, where)
        assert tag not in ("iframe", "img", "object", "embed", "base")
    policies = [a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert len(policies) == 1
    assert str(policies[0]).startswith("default-src 'none'")


def test_all_that_is_known_is_there(page: Page) -> None:
    assert page.count("section", class_="verdict passed") == 1
    for heading in (
        "All 3 checks passed",
        "The problem",
        "How it was solved",
        "Errors against closed_form",
        "Density",
        "Mean and variance",
        "Energy and centre of mass",
        "Current",
        "Pairs",
        "Coherence",
        "Natural occupations",
        "Distance of two particles",
        "Centre of mass",
        "Momentum",
        "Quantiles and escape",
        "Single shots",
        "Averages of your own",
        "Checks that need no reference",
        "The march",
        "The propagation",
        "The training",
        "All settings",
        "Where this comes from",
    ):
        assert f" {heading} " in page.text, heading
    assert page.count("math") >= 5
    # density, current, pairs, coherence, distance, centre of mass, momentum, shots
    assert page.count("input", type="range") == 8


@pytest.mark.parametrize("dimensions", [1, 2])
def test_drawings_are_what_plotly_understands(dimensions: int, tmp_path: Path) -> None:
    config = moving_bosons(dimensions)
    found = load_run(run_of(tmp_path, config, whole_results(config, np.random.default_rng(1))).results)
    blocks = [*state_blocks(found), *history_blocks(found)]
    for block in blocks:
        for chart in block.charts:
            plotly.graph_objects.Figure(chart.figure)  # raises where it knows no such property
            shown = json.loads(chart.json)
            assert len(shown.get("frames", [])) == len(block.times)
            assert chart.figure["data"]
    assert sum(len(block.charts) for block in blocks) > 30


def test_packed_numbers_are_the_numbers() -> None:
    values = np.arange(6.0).reshape(2, 3) / 7.0
    packed = json.loads(Chart("", {"data": [{"z": values}]}).json)["data"][0]["z"]
    assert packed["shape"] == "2, 3"
    unpacked = np.frombuffer(base64.b64decode(packed["bdata"]), dtype=packed["dtype"]).reshape(2, 3)
    np.testing.assert_allclose(unpacked, values, rtol=1e-7)


def test_numbers_without_a_known_value_are_left_white(tmp_path: Path) -> None:
    config = moving_bosons()
    results = whole_results(config, np.random.default_rng(1))
    stderr = np.full_like(results["correlations"]["g2"], 0.1)
    stderr[:, 20, 20] = 0.3
    results["correlations"]["g2_stderr"] = stderr
    blocks = state_blocks(load_run(run_of(tmp_path, config, results).results))
    pairs = next(block for block in blocks if block.title == "Pairs")
    shown = next(chart.figure["data"][0]["z"] for chart in pairs.charts if "correlation" in chart.caption)
    assert np.isnan(shown[20, 20])
    assert np.isfinite(shown[20, 19])


def test_a_reference_that_knows_a_few_times() -> None:
    config = moving_bosons()
    results = whole_results(config, np.random.default_rng(1))
    time, x, mine = (results["density"][name] for name in ("time", "x", "density"))
    for times in ([0, 1], [0]):
        true = np.full_like(mine, np.nan)
        true[times] = mine[times] + 0.1
        known = Profile(time, x, mine, None, "fock", true)
        charts = profile_block("", "", known, "density", "x").charts
        assert len(charts) == 1 + len(times)
        if len(times) > 1:
            np.testing.assert_allclose(charts[2].figure["data"][0]["z"], -0.1)


def test_the_verdict_has_numbers(page: Page) -> None:
    assert (
        "Against closed_form: mean relative error of the variance 0.08 % (sampling alone: 0.06 %), "
        "mean L1 distance of the densities 0.011 (sampling alone: 0.01)." in page.text
    )
    assert "variance, relative L2 over time E_v 0.002 ± 0.0004" in page.text
    assert "kohn: mean 2e-05 ± 0.0001 0 0.002 0.03 passed" in page.text


def test_settings_that_differ_come_first(page: Page) -> None:
    chosen, rest = page.text.split("Settings that differ from the defaults ")[1].split(" All settings ")
    assert "train.epochs 40 120 optimiser steps" in chosen
    assert "train.points" not in chosen
    assert "train.points 1024" in rest
    assert page.count("tr", class_="chosen") == 2  # time.save, train.epochs


def test_text_of_the_user_is_only_text(page: Page) -> None:
    assert page.count("title") == 1
    assert TITLE in page.text
    assert "# <b>an input</b> & more" in page.text
    assert page.count("b") == page.count("in") == 0


def test_provenance(page: Page) -> None:
    origin = page.text.split(" Where this comes from ")[1]
    for words in ("hosts node1 ", "seed 1 ", "python 3.", "sha256 of the physics "):
        assert words in origin


def test_a_failure_is_said_first(run: RunDirectory, tmp_path: Path) -> None:
    config = moving_bosons()
    results = whole_results(config, np.random.default_rng(1))
    results["checks"]["passed"] = np.array([1, 0, 1])
    results["errors/fock"] = {"reference_error": np.array(0.02), "reference_converged": np.array(0)}
    failed = Page(write_report(run_of(tmp_path, config, results).path))
    assert failed.count("section", class_="verdict failed") == 1
    assert " 1 of 3 checks failed " in failed.text
    assert "say: kohn: mean. Raise train.epochs, then train.points or network.width." in failed.text
    assert "The reference is NOT converged: its own error estimate is 0.02" in failed.text
    assert failed.text.index("NOT converged") < failed.text.index("The problem")


@pytest.mark.parametrize(
    ("attributes", "outcome", "headline"),
    [
        ({}, "unchecked", "No checks were made"),
        ({"converged": True, "error_estimate": 3e-5}, "passed", "Converged"),
        (
            {"converged": False, "warning": "too few points"},
            "failed",
            "Not converged: do not trust this result",
        ),
    ],
)
def test_solutions_without_checks(attributes: dict[str, Any], outcome: str, headline: str) -> None:
    found = content.verdict({}, {"observables": attributes})
    assert (found.outcome, found.headline) == (outcome, headline)
    assert len(found.sentences) == sum(name in attributes for name in ("error_estimate", "warning"))


def test_every_check_is_explained() -> None:
    families = {name.partition(":")[0] for name in TOLERANCES}
    assert families == set(content.CHECKS_IN_WORDS)


def test_results_alone_and_another_place(tmp_path: Path) -> None:
    """A file without an input, or with next to nothing in it, has a page too."""
    results = whole_results(moving_bosons(), np.random.default_rng(1))
    file = tmp_path / "mine.h5"
    write_results(file, {"density": results["density"]})
    outcome = call("report", file, "--out", tmp_path / "there.html")
    assert (outcome.code, outcome.out) == (0, f"report    {tmp_path / 'there.html'}\n")
    assert not (tmp_path / "report.html").exists()
    bare = Page(tmp_path / "there.html")
    assert " Density " in bare.text
    assert "Mean and variance" not in bare.text
    write_results(file, {})
    assert write_report(file) == tmp_path / "report.html"


def test_two_dimensions_and_many_times(tmp_path: Path) -> None:
    config = moving_bosons(2)
    results = whole_results(config, np.random.default_rng(1))
    times = np.linspace(0.0, 1.0, 1001)
    results["density"] = {"time": times, "x": np.arange(3.0), "density": np.ones((1001, 3))}
    wide = Page(write_report(run_of(tmp_path, config, results).path))
    assert "variance of y" in wide.text
    ranges = [attributes for tag, attributes in wide.tags if attributes.get("type") == "range"]
    assert ranges[0]["max"] == "200"


def test_the_march_before_a_training(tmp_path: Path) -> None:
    config = moving_bosons()
    results = whole_results(config, np.random.default_rng(1))
    run = run_of(tmp_path / "run", config, results)
    write_results(run.march, {"errors/closed_form": results["errors/closed_form"]})
    page = Page(write_report(run.path))
    assert " Errors against closed_form, of the march before training " in page.text
    # of another file in the directory the march is not the past
    shutil.copy(run.results, run.path / "copy.h5")
    alone = Page(write_report(run.path / "copy.h5"))
    assert "of the march before" not in alone.text


def test_a_single_time(tmp_path: Path) -> None:
    density = {"time": np.zeros(1), "x": np.linspace(0.0, 1.0, 9), "density": np.ones((1, 9))}
    write_results(tmp_path / "one.h5", {"density": density})
    page = Page(write_report(tmp_path / "one.h5"))
    assert page.count("input") == 0
    assert page.count("figure") == 1
    assert page.text.startswith("one one ")  # its title


def test_errors_say_what_is_wrong(run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StoreError):
        write_report(tmp_path)
    with pytest.raises(StoreError):
        write_report(run.path, tmp_path / "missing" / "report.html")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"plotly, jinja2, latex2mathml: pip install 'dsmsim\[report\]'"):
        write_report(run.path)


def test_a_run_writes_its_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = finished_run(tmp_path, {"output.report": True})
    page = Page(directory / "report.html")
    assert " The training " in page.text
    # a later one replaces it, and without the libraries a run is still a run
    update_results(directory / "results.h5", {"user": {"time": np.arange(3.0), "mine": np.arange(3.0)}})
    assert call("report", directory).code == 0
    assert "Averages of your own" in Page(directory / "report.html").text
    (directory / "report.html").unlink()
    monkeypatch.setattr("dsmsim.analysis.report.page.NEEDED", ("plotly", "no_such_library"))
    outcome = call("resume", directory)
    assert outcome.code == 0, outcome.err
    assert "no report: the report needs no_such_library" in outcome.out
    assert not (directory / "report.html").exists()
