"""Tasks are run once, kept, gone on with, refused with a reason, and never replaced unasked."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from tiny import write_input

from tools.reproduce import running, task
from tools.reproduce.columns import read_columns, write_columns
from tools.reproduce.found import Found
from tools.reproduce.profile import PROFILES
from tools.reproduce.running import Unfinished, locked, run_all, share
from tools.reproduce.task import Task, toml

TRIAL = PROFILES["trial"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root with one input, in place of the project's."""
    (tmp_path / "inputs").mkdir()
    write_input(tmp_path / "inputs" / "tiny.toml", {})
    monkeypatch.setattr(task, "ROOT", tmp_path)
    monkeypatch.setattr(running, "ROOT", tmp_path)
    return tmp_path


def tiny_task(**changes: object) -> Task:
    return Task("bosons", "tiny", "run", "inputs/tiny.toml", changes={"train.epochs": 2, **changes})


def scripted(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    """Every task runs a small program in its directory, which stands in argv."""

    def command(task: Task, profile: object, out: Path, *, anew: bool) -> list[str]:
        return [sys.executable, "-c", program, str(out / task.section / task.name), str(anew)]

    monkeypatch.setattr(running, "command_of", command)


def test_a_task_is_run_once_and_again_only_if_it_changed(place: Path) -> None:
    out, first = place / "out", tiny_task()
    told: list[str] = []
    missing = run_all([first], TRIAL, out, 1, told=lambda event, task, words: told.append(event))
    assert missing == []
    found = Found(out)
    stored = found.results(first)
    assert stored is not None
    config = found.config(first)
    assert config is not None
    assert config.train.epochs == 2
    entry = found.entry(first, None)
    assert entry is not None
    assert float(entry.errors["E_v"]) > 0.0
    before = found.file(first).stat().st_mtime_ns
    run_all([first], TRIAL, out, 1, told=lambda event, task, words: told.append(event))
    assert told == ["begin", "done", "kept"]
    assert found.file(first).stat().st_mtime_ns == before

    other = tiny_task(seed=5)
    assert found.state(other) == "stale"
    (line,) = run_all([other], TRIAL, out, 1)
    assert "--refresh" in line
    assert found.file(first).stat().st_mtime_ns == before
    assert run_all([other], TRIAL, out, 1, refresh=True) == []
    config = found.config(other)
    assert config is not None
    assert config.seed == 5


def test_the_text_of_the_input_counts_but_not_its_comments(place: Path) -> None:
    file = place / "inputs" / "tiny.toml"
    before = tiny_task().signature()
    file.write_text("# another comment\n" + file.read_text())
    assert tiny_task().signature() == before
    file.write_text(file.read_text().replace("epochs = 6", "epochs = 7"))
    assert tiny_task().signature() != before


@pytest.mark.parametrize(("code", "word"), [(2, "not applicable: too big"), (3, "diverged: too big")])
def test_what_would_end_the_same_way_again_is_not_tried_again(
    place: Path, monkeypatch: pytest.MonkeyPatch, code: int, word: str
) -> None:
    scripted(monkeypatch, f"import sys; print('dsmsim: too big'); sys.exit({code})")
    found = Found(place / "out")
    assert run_all([tiny_task()], TRIAL, found.out, 1) == []
    assert found.state(tiny_task()) == "refused"
    assert found.reason(tiny_task()) == word
    told: list[tuple[str, str]] = []
    run_all([tiny_task()], TRIAL, found.out, 1, told=lambda event, task, words: told.append((event, words)))
    assert told == [("kept", word)]


def test_a_failure_names_the_task_its_last_words_and_where_the_others_are(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, "import sys; print('dsmsim: no space left'); sys.exit(4)")
    (line,) = run_all([tiny_task()], TRIAL, place / "out", 1)
    assert line.startswith("bosons/tiny: ended with code 4: no space left")
    assert "said.txt" in line
    assert Found(place / "out").state(tiny_task()) == "missing"


def test_a_signal_is_handed_on_and_what_was_stopped_is_missing(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = (
        "import pathlib, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *ignored: sys.exit(75))\n"
        "pathlib.Path(sys.argv[1], 'begun').touch()\n"
        "time.sleep(60)"
    )
    scripted(monkeypatch, program)
    begun = place / "out" / "bosons" / "tiny" / "begun"

    def interrupt() -> None:
        while not begun.is_file():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=interrupt, daemon=True).start()
    lines = run_all([tiny_task(), replace(tiny_task(), name="other", seconds=1.0)], TRIAL, place / "out", 1)
    assert sorted(lines)[0].startswith("bosons/other: stopped before it began")
    assert sorted(lines)[1].startswith("bosons/tiny: stopped; the same command goes on")


def test_what_was_interrupted_goes_on_from_its_checkpoints(place: Path) -> None:
    out, directory = place / "out", place / "out" / "bosons" / "tiny"
    assert running.command_of(tiny_task(), TRIAL, out, anew=False)[-1] == "--overwrite"
    (directory / "checkpoints").mkdir(parents=True)
    (directory / "checkpoints" / "ckpt-000001.h5").touch()
    assert running.command_of(tiny_task(), TRIAL, out, anew=False)[-1] == "--resume"
    assert running.command_of(tiny_task(), TRIAL, out, anew=True)[-1] == "--overwrite"
    exact = replace(tiny_task(), method="exact")
    assert running.command_of(exact, TRIAL, out, anew=False)[-1] == "--overwrite"


def test_checkpoints_of_another_input_are_not_gone_on_with(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, "import pathlib, sys; pathlib.Path(sys.argv[1], 'anew').write_text(sys.argv[2])")
    anew = place / "out" / "bosons" / "tiny" / "anew"
    run_all([tiny_task()], TRIAL, place / "out", 1)  # leaves no results: interrupted
    assert anew.read_text() == "False"
    run_all([tiny_task()], TRIAL, place / "out", 1)
    assert anew.read_text() == "False"
    run_all([tiny_task(seed=2)], TRIAL, place / "out", 1)
    assert anew.read_text() == "True"


def test_two_programs_leave_each_others_tasks_alone(place: Path) -> None:
    directory = place / "out" / "bosons" / "tiny"
    directory.mkdir(parents=True)
    with locked(directory / running.LOCK):
        (line,) = run_all([tiny_task()], TRIAL, place / "out", 1)
        assert "another process" in line
        with pytest.raises(Unfinished, match="another process"), locked(directory / running.LOCK):
            pass
    with locked(directory / running.LOCK):
        pass


def test_shares_are_disjoint_complete_and_even() -> None:
    tasks = [Task("bosons", f"task-{k}", "run", seconds=1.0 + k % 7) for k in range(40)]
    parts = [share(tasks, index, 3) for index in (1, 2, 3)]
    assert sorted(task.name for part in parts for task in part) == sorted(task.name for task in tasks)
    loads = [sum(task.seconds for task in part) for part in parts]
    assert max(loads) - min(loads) <= 7.0


def test_commands_can_be_typed() -> None:
    changes = {"system.interaction.g": 0.5, "train.mode": "march", "compare.with": ["exact"], "a.b": True}
    task = Task("bosons", "two", "tvmc", "inputs/two_bosons.toml", changes=changes)
    assert task.command == (
        "dsmsim baseline tvmc inputs/two_bosons.toml --set system.interaction.g=0.5 "
        "--set train.mode=march --set 'compare.with=[\"exact\"]' --set a.b=true"
    )
    assert [toml(value) for value in (1, 1e-5, "a b", [0.5, 1])] == ["1", "1e-05", '"a b"', "[0.5, 1]"]
    assert toml("true") == '"true"'  # text, not a truth


def test_columns_come_back_as_they_were(tmp_path: Path) -> None:
    file = tmp_path / "measurement.h5"
    write_columns(
        file, {"d": [1, 2], "time": [[0.5], [1.5]], "name": ["a", "ä"]}, {"host": "h"}, {"time": "s"}
    )
    columns = read_columns(file)
    assert columns["d"].tolist() == [1, 2]
    assert columns["time"].tolist() == [[0.5], [1.5]]
    assert columns["name"].tolist() == ["a", "ä"]
    assert list(tmp_path.iterdir()) == [file]
