"""References: which there are, what is refused before anything is trained, and what is computed only once."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commands import call
from plugins import Plugin
from tiny import tiny_config, write_input

from dsmsim.config import Config
from dsmsim.errors import ConfigError
from dsmsim.methods.references import choose_references, shown_seconds
from dsmsim.store import read_results

Install = Callable[..., Plugin]
NO_CLOSED_FORM = {"system.interaction": {"kind": "gaussian", "g": 1.0, "s2": 0.1}}
TOY = NO_CLOSED_FORM | {"compare.with": ["toy"]}


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """`install(name, **settings)` makes a method that can be found until the test ends."""
    # the current directory comes first on the path of a command, and a checkout has methods of its own
    monkeypatch.chdir(tmp_path)

    def make(name: str = "toy", **settings: Any) -> Plugin:
        plugin = Plugin(tmp_path / f"installed_{name}", name, **settings)
        monkeypatch.syspath_prepend(plugin.directory)
        return plugin

    return make


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test's own."""
    monkeypatch.setenv("DSMSIM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def config(**changes: Any) -> Config:
    return tiny_config(NO_CLOSED_FORM | {key.replace("__", "."): value for key, value in changes.items()})


def test_auto_is_the_closed_form_where_there_is_one(install: Install) -> None:
    plugin = install("exact")
    chosen = choose_references(tiny_config())
    assert (chosen.names, chosen.note) == (["closed_form"], "")
    assert plugin.calls() == []


def test_auto_is_the_exact_solver_where_it_is_cheap(install: Install) -> None:
    install("exact", seconds=60.0)
    chosen = choose_references(config())
    assert chosen.names == ["exact"]
    assert chosen.rows == [("exact", "toy, order 1", "7 points", "1 kB", "about 60 s")]
    assert chosen.notes == ["exact: A toy says nothing true."]
    assert chosen.summary == "after training: exact (toy, order 1, about 60 s)"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"seconds": 61.0}, "toy, order 1 (7 points) would take about 61 s and 1 kB"),
        ({"seconds": None}, "an unknown time"),
        ({"memory": 2 * 10**9}, "less than 1 s and 2 GB"),
    ],
)
def test_auto_says_what_it_did_not_do(settings: dict[str, Any], words: str, install: Install) -> None:
    install("exact", **settings)
    chosen = choose_references(config(baselines__memory="1 GB"))
    assert chosen.names == []
    assert words in chosen.note
    assert '[compare] with = ["exact"]' in chosen.note


def test_auto_goes_on_where_no_solver_can_treat_the_problem(install: Install) -> None:
    install("exact", refuses="nine particles are too many")
    chosen = choose_references(config())
    assert chosen.names == []
    assert chosen.note == "no reference: nine particles are too many"


def test_what_is_named_is_taken_whatever_it_costs(install: Install) -> None:
    install(seconds=1e5)
    chosen = choose_references(config(compare__with=["toy"]))
    assert chosen.names == ["toy"]
    assert chosen.rows[0][4] == "about 28 h"
    assert choose_references(config(compare__with=[])).names == []


def test_what_is_named_must_fit_and_be_possible(install: Install) -> None:
    plugin = install(memory=2 * 10**9)
    with pytest.raises(ConfigError, match=r'baselines\.memory = "1 GB": .*"toy" needs about 2 GB'):
        choose_references(config(compare__with=["toy"], baselines__memory="1 GB"))
    (plugin.directory / "settings.json").unlink()
    install("other", refuses="cannot be done")
    with pytest.raises(ConfigError, match=r'compare\.with = "other": cannot be done'):
        choose_references(config(compare__with=["other"]))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "an unknown time"), (0.2, "less than 1 s"), (42.0, "about 42 s"), (600.0, "about 10 min")],
)
def test_times_in_words(seconds: float | None, text: str) -> None:
    assert shown_seconds(seconds) == text


def test_check_prints_what_references_cost(install: Install, tmp_path: Path) -> None:
    install()
    outcome = call("check", write_input(tmp_path / "input.toml", TOY))
    assert (outcome.code, outcome.err) == (0, "")
    lines = [" ".join(line.replace("│", " ").split()) for line in outcome.out.splitlines()]
    assert "toy toy, order 1 7 points 1 kB less than 1 s" in lines
    assert "toy: A toy says nothing true." in lines


@pytest.mark.parametrize("command", ["check", "run"])
@pytest.mark.parametrize(
    ("settings", "words"),
    [({"refuses": "cannot be done"}, "cannot be done"), ({"memory": 10**15}, "1e+03 TB")],
)
def test_refused_before_anything_is_done(
    command: str, settings: dict[str, Any], words: str, install: Install, tmp_path: Path
) -> None:
    install(**settings)
    file = write_input(tmp_path / "input.toml", TOY)
    outcome = call(command, file, "--out", tmp_path / "out")
    assert (outcome.code, outcome.out) == (2, "")
    assert words in outcome.err
    assert not (tmp_path / "out").exists()


def test_a_baseline_is_refused_too(install: Install, tmp_path: Path) -> None:
    install(memory=10**15)
    file = write_input(tmp_path / "input.toml", NO_CLOSED_FORM)
    outcome = call("baseline", "toy", file, "--out", tmp_path / "out")
    assert outcome.code == 2
    assert "baselines.memory" in outcome.err
    assert not (tmp_path / "out").exists()


def test_a_baseline_prints_progress_and_what_it_is_worth(install: Install, tmp_path: Path) -> None:
    install(converged=False)
    file = write_input(tmp_path / "input.toml", NO_CLOSED_FORM)
    outcome = call("baseline", "toy", file, "--out", tmp_path / "out")
    assert outcome.code == 0, outcome.err
    assert outcome.err == "toy: 7 points: change 0.5\n"
    for words in ("Solution by toy", "toy, order 1", "error estimate", "not converged: it is a toy"):
        assert words in outcome.out
    assert outcome.out.endswith(f"results   {tmp_path / 'out' / 'results.h5'}\n")


def test_help_names_what_is_installed(install: Install) -> None:
    install()
    out = call("baseline", "--help").out
    assert "toy" in out.split("Installed baselines:")[1]
    assert "split_step" in out.split("Installed baselines:")[1]


def test_our_own_method_is_no_reference(tmp_path: Path) -> None:
    outcome = call("check", write_input(tmp_path / "input.toml", {"compare.with": ["dsm"]}))
    assert outcome.code == 2
    assert '"dsm" is not installed' in outcome.err


def test_a_run_computes_its_references_after_training(install: Install, tmp_path: Path) -> None:
    plugin = install()
    file, run = write_input(tmp_path / "input.toml", TOY), tmp_path / "run"
    outcome = call("run", file, "--out", run)
    assert outcome.code == 0, outcome.err
    assert plugin.calls() == ["predict", "solve"]
    assert "reference toy: 7 points: change 0.5\n" in outcome.err
    assert "after training: toy (toy, order 1, less than 1 s)\n" in outcome.err
    assert outcome.err.index("training 6/6") < outcome.err.index("reference toy")
    assert "Errors against toy" in outcome.out
    assert "errors/toy" in read_results(run / "results.h5").results


def test_a_note_says_that_there_is_no_reference(install: Install, tmp_path: Path) -> None:
    install("exact", seconds=1e4)
    outcome = call("run", write_input(tmp_path / "input.toml", NO_CLOSED_FORM), "--out", tmp_path / "run")
    assert outcome.code == 0
    assert "no reference: toy, order 1 (7 points) would take about 2.8 h" in outcome.err
    assert "Errors against" not in outcome.out


def test_a_reference_that_fails_does_not_take_the_report_with_it(install: Install, tmp_path: Path) -> None:
    install(fails="the grid is not enough")
    changes = TOY | {"compare.with": ["toy", "split_step"]}
    outcome = call("run", write_input(tmp_path / "input.toml", changes), "--out", tmp_path / "run")
    assert outcome.code == 2
    assert "no comparison with toy: the grid is not enough" in outcome.out
    assert "Errors against split_step" in outcome.out
    assert "Checks without a reference" in outcome.out
    assert outcome.err.endswith("dsmsim: the grid is not enough\n")


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_a_signal_while_a_reference_is_computed(
    number: signal.Signals, install: Install, tmp_path: Path
) -> None:
    plugin = install(is_stopped=int(number))
    handlers = [signal.getsignal(each) for each in (signal.SIGUSR1, signal.SIGTERM)]
    run = tmp_path / "run"
    outcome = call("run", write_input(tmp_path / "input.toml", TOY), "--out", run)
    assert outcome.code == 75
    assert f"signal {number.name}: training is complete" in outcome.err
    assert f"dsmsim resume {run}" in outcome.err
    assert [signal.getsignal(each) for each in (signal.SIGUSR1, signal.SIGTERM)] == handlers
    assert "observables" in read_results(run / "results.h5").results
    settings = plugin.directory / "settings.json"
    settings.write_text(settings.read_text().replace(f'"is_stopped": {int(number)}', '"is_stopped": 0'))
    for name in [name for name in sys.modules if name.startswith("toy_method")]:
        del sys.modules[name]
    outcome = call("resume", run)
    assert outcome.code == 0, outcome.err
    assert "errors/toy" in read_results(run / "results.h5").results


def toy_file(run: Path) -> Path:
    return run / "references" / "toy" / "results.h5"


def run_with(tmp_path: Path, name: str, **changes: Any) -> str:
    """A run in the directory `name`; what it said."""
    file = write_input(
        tmp_path / "input.toml", TOY | {key.replace("__", "."): v for key, v in changes.items()}
    )
    outcome = call("run", file, "--out", tmp_path / name)
    assert outcome.code == 0, outcome.err
    return outcome.err


def test_a_resumed_run_has_its_reference_already(install: Install, tmp_path: Path) -> None:
    plugin = install()
    run_with(tmp_path, "run")
    assert call("resume", tmp_path / "run").code == 0
    assert plugin.calls().count("solve") == 1
    toy_file(tmp_path / "run").write_bytes(b"torn")
    assert call("resume", tmp_path / "run").code == 0
    assert plugin.calls().count("solve") == 2


# what another package's method reads of the input is not known, so its key holds all of the input; the tests
# of ours are in test_reference_cache.py
def test_runs_of_the_same_problem_share_a_reference(install: Install, cache: Path, tmp_path: Path) -> None:
    plugin = install()
    run_with(tmp_path, "first")
    said = run_with(tmp_path, "second")
    assert plugin.calls().count("solve") == 1
    assert f"reference toy: taken from {cache / 'references' / 'toy-'}" in said
    assert toy_file(tmp_path / "first").read_bytes() == toy_file(tmp_path / "second").read_bytes()
    run_with(tmp_path, "third", system__hbar=0.4)
    assert plugin.calls().count("solve") == 2


def test_without_a_cache_nothing_is_shared(install: Install, tmp_path: Path) -> None:
    plugin = install()
    for name in ("first", "second"):
        run_with(tmp_path, name)
    assert plugin.calls().count("solve") == 2


def test_what_is_not_converged_is_not_kept(install: Install, cache: Path, tmp_path: Path) -> None:
    plugin = install(converged=False)
    for name in ("first", "second"):
        run_with(tmp_path, name)
    assert plugin.calls().count("solve") == 2
    assert not cache.exists()


@pytest.mark.parametrize("damage", ["torn", "flipped", "no checksum", "no results"])
def test_a_damaged_entry_is_computed_again(
    damage: str, install: Install, cache: Path, tmp_path: Path
) -> None:
    plugin = install()
    run_with(tmp_path, "first")
    (entry,) = (cache / "references").iterdir()
    file, checksum = entry / "results.h5", entry / "results.h5.sha256"
    data = file.read_bytes()
    if damage == "torn":
        file.write_bytes(data[:1000])
    elif damage == "flipped":
        file.write_bytes(data[:3000] + bytes([data[3000] ^ 1]) + data[3001:])
    else:
        (checksum if damage == "no checksum" else file).unlink()
    said = run_with(tmp_path, "second")
    assert "computing it again" in said
    assert plugin.calls().count("solve") == 2
    assert "taken from" in run_with(tmp_path, "third")  # the entry was put right
    assert [path.name for path in (cache / "references").iterdir()] == [entry.name]


def test_a_cache_that_cannot_be_written_is_no_error(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install()
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DSMSIM_CACHE", str(tmp_path / "file"))
    assert "reference toy: not kept in " in run_with(tmp_path, "run")
