"""How a world of two ranks ends: at once when one rank fails, in order when all agree."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest
from launchers import LIMIT, MPIRUN, needs_mpirun

Begin = Callable[..., "subprocess.Popen[str]"]


@needs_mpirun
@pytest.mark.parametrize(
    ("mode", "code", "words"),
    [("crash", 1, "RuntimeError: a fault of one rank"), ("refuse", 2, "ConfigError: a refusal of one rank")],
)
def test_error_of_one_rank_ends_the_world(begin: Begin, mode: str, code: int, words: str) -> None:
    process = begin(
        MPIRUN, mode, timeout=300.0
    )  # the other rank waits in a collective, for longer than LIMIT
    _, errors = process.communicate(timeout=LIMIT)
    assert process.returncode == code, errors
    assert "rank 1 of 2" in errors
    assert words in errors


@needs_mpirun
def test_agreed_stop_keeps_its_exit_code_and_is_told_once(begin: Begin) -> None:
    process = begin(MPIRUN, "stop")
    _, errors = process.communicate(timeout=LIMIT)
    assert process.returncode == 75, errors
    assert errors.count("StoppedEarly: all ranks stop") == 1
    assert "ends the run" not in errors
