"""`dsmsim info`: one page on a run, a baseline, samples, or a run that has no results yet."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from commands import call
from run_files import finished_run
from tiny import tiny_config, write_input

from dsmsim.methods.info import check_lines, error_lines
from dsmsim.store import RunDirectory, StoredResults, read_results, update_results


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished_run(tmp_path_factory.mktemp("finished"))


def words_of(path: Path) -> str:
    """What `info` prints, with single spaces."""
    outcome = call("info", path)
    assert outcome.code == 0, outcome.err
    return " ".join(outcome.out.split())


def test_a_finished_run(finished: Path) -> None:
    text = words_of(finished)
    for words in (
        "Two bosons in one dimension, hbar = 0.5, mass = 1",
        "harmonic force between pairs, g = 0.3",
        "network u: ",
        "samples 240",
        'network.kind = "mlp" (default "potential")',
        "train.epochs = 6 (default 1000)",
        "1 rank on ",
        "dsmsim ",
        "closed_form: Var x ",
        "time 5, x 16",
        "density ±",
        "training",
    ):
        assert words in text
    assert "density_stderr" not in text
    assert "system.particles" not in text  # the physics stands above


def test_a_file_says_the_same_as_its_directory(finished: Path) -> None:
    assert words_of(finished / "results.h5") == words_of(finished)


def test_every_group_of_the_file_is_listed(finished: Path) -> None:
    text = words_of(finished)
    for group in read_results(finished / "results.h5").results:
        assert f"│ {group} │" in text


def test_a_run_without_results(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    run.resolved.write_text(tiny_config().to_toml())
    text = words_of(tmp_path)
    for words in ("Two bosons in one dimension", "results none yet", "stage starting", "state stopped"):
        assert words in text


def test_a_baseline(tmp_path: Path) -> None:
    given = write_input(tmp_path / "input.toml")
    assert call("baseline", "exact", given, "--out", tmp_path / "exact").code == 0
    text = words_of(tmp_path / "exact")
    for words in ("Two bosons in one dimension", "method ", "error_estimate", "observables"):
        assert words in text
    assert "checks" not in text


def test_checks_that_failed_are_named(finished: Path, tmp_path: Path) -> None:
    stored = read_results(finished / "results.h5")
    checks = dict(stored.results["checks"])
    checks["passed"] = np.ones_like(checks["passed"])
    assert check_lines(StoredResults({"checks": checks}, {})) == [
        f"[green]all {len(checks['passed'])} passed[/green]"
    ]
    checks["passed"][1] = 0
    first, second = check_lines(StoredResults({"checks": checks}, {}))
    assert f"1 of {len(checks['passed'])} failed" in first
    assert second.startswith(f"{checks['check'][1]}: deviation ")
    assert check_lines(StoredResults({}, {})) == []


def test_a_reference_that_is_not_converged_says_so(finished: Path) -> None:
    errors = {"density_l1_mean": np.asarray(0.25), "density_l1_floor": np.asarray(0.125)}
    errors["reference_converged"] = np.asarray(0)
    assert error_lines(StoredResults({"errors/mine": errors}, {})) == [
        "mine: density L1 0.25 (sampling 0.12), the reference is not converged"
    ]


def test_names_are_no_markup(tmp_path: Path, finished: Path) -> None:
    copy = tmp_path / "results.h5"
    shutil.copyfile(finished / "results.h5", copy)
    update_results(copy, {}, {"provenance": {"command": "dsmsim run [bold]x[/bold]", "title": "[red]T"}})
    text = words_of(copy)
    assert "[bold]x[/bold]" in text
    assert "[red]T" in text


@pytest.mark.parametrize("name", ["nothing", "empty", "text.h5"])
def test_what_is_nothing_of_dsmsim(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.h5").write_text("text")
    outcome = call("info", tmp_path / name)
    assert outcome.code == 4
    assert outcome.err.startswith("dsmsim: ")
    assert "Traceback" not in outcome.err
