"""What is read of a run that somebody else works in: its log, grown or cut, and who holds the lock."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from dsmsim.store import JsonLines, RunDirectory, locked
from dsmsim.store.signs import Holder, LogTail, holder_of, last_sign, newest_checkpoint


def epochs(tail: LogTail) -> list[int]:
    tail.read()
    return [record["epoch"] for record in tail.records]


def test_a_log_is_read_as_it_grows(tmp_path: Path) -> None:
    tail = LogTail(tmp_path / "log.jsonl")
    assert epochs(tail) == []  # not there yet
    with JsonLines(tail.path) as log:
        for epoch in range(1, 40):
            log.write({"epoch": epoch, "loss": 1.0 / epoch})
            assert epochs(tail) == list(range(1, epoch + 1))
        assert epochs(tail) == list(range(1, 40))


@pytest.mark.parametrize("news", [[], [3], [3, 4, 5, 6, 7, 8, 9]])
def test_a_log_that_was_cut_is_read_again(news: list[int], tmp_path: Path) -> None:
    """Shorter than before, as long with other lines, or longer: a resumed run writes other numbers."""
    tail = LogTail(tmp_path / "log.jsonl")
    with JsonLines(tail.path) as log:
        for epoch in (1, 2):
            log.write({"epoch": epoch, "seconds": 0.5})
        kept = log.sync()
        for epoch in (3, 4):
            log.write({"epoch": epoch, "seconds": 0.5})
        assert epochs(tail) == [1, 2, 3, 4]
        log.cut(kept)
        for epoch in news:
            log.write({"epoch": epoch, "seconds": 0.25})
        assert epochs(tail) == [1, 2, *news]
        assert [record["seconds"] for record in tail.records] == [0.5, 0.5, *(0.25 for _ in news)]


def test_half_a_line_and_a_broken_one_do_no_harm(tmp_path: Path) -> None:
    tail = LogTail(tmp_path / "log.jsonl")
    tail.path.write_bytes(b'{"epoch": 1}\nrubbish\n[1]\n{"epo')
    assert epochs(tail) == [1]
    with open(tail.path, "ab") as file:
        file.write(b'ch": 2}\n')
    assert epochs(tail) == [1, 2]


def test_who_works_in_a_directory(tmp_path: Path) -> None:
    assert holder_of(tmp_path) is None
    with locked(tmp_path):
        holder = holder_of(tmp_path)
        assert holder is not None
        assert (holder.process, holder.host, holder.is_alive) == (os.getpid(), socket.gethostname(), True)
    assert holder_of(tmp_path) is None


@pytest.mark.parametrize("text", ["", "somebody", "process 12 on host since yesterday"])
def test_a_lock_that_says_nothing(text: str, tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text(text)
    assert holder_of(tmp_path) is None


def test_a_process_that_is_gone_and_one_elsewhere() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    assert Holder(process.pid, socket.gethostname(), 0.0).is_alive is False
    assert Holder(process.pid, "another-host", 0.0).is_alive is None
    assert Holder(1, socket.gethostname(), 0.0).is_alive is True


def test_signs_of_life(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    assert last_sign(run) is None
    assert newest_checkpoint(run) is None
    run.log.write_text(json.dumps({}))
    os.utime(run.log, (100.0, 100.0))
    assert last_sign(run) == 100.0
    run.checkpoints.mkdir()
    for number, time in ((3, 300.0), (12, 200.0)):  # a run that went back to an earlier epoch
        file = run.checkpoints / f"ckpt-{number:06d}.h5"
        file.write_bytes(b"")
        os.utime(file, (time, time))
    os.utime(run.checkpoints, (150.0, 150.0))
    assert last_sign(run) == 150.0
    newest = newest_checkpoint(run)
    assert newest is not None
    assert newest.name == "ckpt-000003.h5"
