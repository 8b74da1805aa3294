"""The page in a real browser without a window: it loads in silence, moves, and fits a phone and paper."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from whole_results import TITLE, moving_bosons, run_of, whole_results

from dsmsim.analysis import write_report
from dsmsim.store import read_results

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="there is no Chromium: apt-get install chromium")

DESK = {"viewport": {"width": 1280, "height": 900}}
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
CUT = ".block:has(h2#Density) .drawing >> nth=0"
MAP = ".block:has(h2#Density) .drawing >> nth=1"
SLIDER = ".block:has(h2#Density) input[type=range]"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = moving_bosons()
    results = whole_results(config, np.random.default_rng(1))
    return write_report(run_of(tmp_path_factory.mktemp("browser") / "run", config, results).path)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        # a container's root has no sandbox
        running = started.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield running
        running.close()


def opened(browser: Any, report: Path, **screen: Any) -> tuple[Any, list[str]]:
    """The page once everything is drawn, and what went wrong or was asked of the network meanwhile."""
    page, events = browser.new_context(**screen).new_page(), []
    page.set_default_timeout(120_000)
    page.on("console", lambda message: events.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: events.append(f"error: {error}"))
    page.on("request", lambda request: events.append(f"request: {request.url}"))
    page.goto(report.as_uri())
    page.wait_for_selector("html[data-ready]")
    return page, events


@pytest.fixture(scope="module")
def desk(browser: Any, report: Path) -> tuple[Any, list[str]]:
    return opened(browser, report, **DESK)


def numbers(page: Any, drawing: str, curve: str) -> Any:
    """The values of y of a curve of a drawing."""
    found = page.locator(drawing).evaluate(
        "(place, name) => Array.from(place._fullData.find((trace) => trace.name === name).y)", curve
    )
    return np.array(found)


def test_it_loads_without_errors_and_without_a_network(desk: tuple[Any, list[str]], report: Path) -> None:
    page, events = desk
    assert page.title() == TITLE
    drawn = page.locator(".drawing")
    assert drawn.count() > 20
    assert page.locator(".drawing .main-svg").count() >= drawn.count()
    assert events == [f"request: {report.as_uri()}"]


def test_the_slider_moves_the_density(desk: tuple[Any, list[str]], report: Path) -> None:
    page, events = desk
    results = read_results(report.parent / "results.h5").results["density"]
    slider, before = page.locator(SLIDER), len(events)
    last = len(results["time"]) - 1
    assert slider.input_value() == str(last)
    for k, key in ((last, ""), (0, "Home"), (1, "ArrowRight")):
        if key:
            slider.press(key)
        page.wait_for_function(
            "(time) => document.querySelector('.block:has(h2#Density) output').textContent == time",
            arg=f"{results['time'][k]:#.4g}" if k else "0.000",
        )
        page.wait_for_timeout(300)
        np.testing.assert_allclose(numbers(page, CUT, "run"), results["density"][k], rtol=1e-6)
        np.testing.assert_allclose(numbers(page, CUT, "run, smooth"), results["density_smooth"][k], rtol=1e-6)
        marker = page.locator(MAP).evaluate("(place) => place._fullLayout.shapes[0].x0")
        assert marker == pytest.approx(results["time"][k])
    assert events[before:] == []


def test_the_drawn_curve_moves_with_it(desk: tuple[Any, list[str]]) -> None:
    page, _ = desk
    path = page.locator(CUT).locator(".scatterlayer .js-line").nth(1)
    slider = page.locator(SLIDER)
    slider.press("Home")
    page.wait_for_timeout(300)
    first = path.get_attribute("d")
    slider.press("End")
    page.wait_for_timeout(300)
    assert first
    assert path.get_attribute("d") != first


def test_pairs_have_a_slider_of_their_own_times(desk: tuple[Any, list[str]], report: Path) -> None:
    page, _ = desk
    block = page.locator(".block:has(h2#Pairs)")
    block.locator("input").press("Home")
    page.wait_for_timeout(300)
    shown = block.locator(".drawing").first.evaluate(
        "(place) => Array.from(place._fullData[0].z, (row) => [...row])"
    )
    pair = read_results(report.parent / "results.h5").results["correlations"]["pair_density"]
    np.testing.assert_allclose(np.array(shown), pair[0], rtol=1e-6)


def test_hovering_shows_numbers(desk: tuple[Any, list[str]]) -> None:
    page, _ = desk
    page.locator(CUT).scroll_into_view_if_needed()
    page.locator(CUT).hover()
    page.wait_for_selector(".block:has(h2#Density) .hoverlayer text")
    text = page.locator(CUT).locator(".hoverlayer").text_content()
    assert "run" in text
    assert "±" in text


def test_a_phone_needs_no_scrolling_sideways(browser: Any, report: Path) -> None:
    page, events = opened(browser, report, **PHONE)
    assert events == [f"request: {report.as_uri()}"]
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    # nothing sticks out but what scrolls by itself, and nothing is too small to be read
    wide = "(all) => all.filter((e) => e.getBoundingClientRect().right > 391).map((e) => e.className)"
    assert (
        page.locator("main section, table, figure, .drawing, .svg-container, p, h1, h2").evaluate_all(wide)
        == []
    )
    small = (
        "(all) => all.filter((e) => e.textContent.trim() && parseFloat(getComputedStyle(e).fontSize) < 11)"
    )
    assert (
        page.locator("p, li, td, th, figcaption, code").evaluate_all(f"(all) => ({small})(all).length") == 0
    )
    assert page.locator(SLIDER).bounding_box()["height"] >= 24


def test_paper_shows_everything_in_its_width(browser: Any, report: Path, tmp_path: Path) -> None:
    page, _ = opened(browser, report, **DESK)
    page.emulate_media(media="print")
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    page.wait_for_timeout(1000)
    widths = page.locator(".drawing .main-svg").evaluate_all(
        "(all) => all.map((e) => e.getBoundingClientRect().width)"
    )
    assert max(widths) <= 680
    assert page.locator("details.printed[open]").count() == 1
    assert not page.locator(SLIDER).is_visible()
    assert len(page.pdf(format="A4")) > 10_000
