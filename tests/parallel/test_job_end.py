"""The end of the batch job: from Slurm's variable, from squeue, or from nobody."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from dsmsim.parallel import StopRequest, World
from dsmsim.parallel.job_end import seconds_left

QUEUE = """#!/bin/sh
[ "$SLURM_TIME_FORMAT" = "%s" ] || exit 1
[ "$*" = "--noheader --jobs 17 --format %e" ] || exit 1
{answer}
"""


@pytest.fixture
def job(tmp_path: Path) -> dict[str, str]:
    """The environment of job 17 on a machine with no squeue but the one that a test writes."""
    return {"SLURM_JOB_ID": "17", "PATH": f"{tmp_path}:/bin:/usr/bin"}


def write_squeue(directory: Path, answer: str) -> None:
    script = directory / "squeue"
    script.write_text(QUEUE.format(answer=answer))
    script.chmod(0o755)


def test_variable(job: dict[str, str]) -> None:
    left = seconds_left(job | {"SLURM_JOB_END_TIME": str(int(time.time()) + 600)})
    assert left is not None
    assert 570.0 < left <= 600.0


def test_squeue_is_asked_where_there_is_no_variable(job: dict[str, str], tmp_path: Path) -> None:
    write_squeue(tmp_path, f"echo {int(time.time()) + 600}")
    left = seconds_left(job)
    assert left is not None
    assert 500.0 < left <= 600.0


@pytest.mark.parametrize("answer", ["echo N/A", "echo 0", "echo", "echo lost; exit 1", "exec sleep 60"])
def test_no_answer_is_no_limit(
    answer: str, job: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dsmsim.parallel.job_end._PATIENCE", 1.0)
    write_squeue(tmp_path, answer)
    assert seconds_left(job) is None


def test_without_squeue_there_is_no_limit(job: dict[str, str], tmp_path: Path) -> None:
    assert seconds_left(job | {"PATH": str(tmp_path)}) is None


@pytest.mark.parametrize("variables", [{}, {"SLURM_JOB_END_TIME": "1"}, {"SLURM_JOB_ID": "x"}])
def test_outside_a_job_there_is_no_limit(variables: dict[str, str]) -> None:
    assert seconds_left(variables) is None


def test_stop_request_heeds_the_end_less_the_margin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setenv("SLURM_JOB_END_TIME", str(int(time.time()) + 600))
    now = 0.0
    stop = StopRequest(clock=lambda: now)
    stop.heed_job_end(World(), margin=120.0)
    assert stop.agreed(World()) is None
    now = 440.0
    assert stop.agreed(World()) is None
    assert stop.agreed(World(), ahead=50.0) == "time limit of the batch job"
    now = 481.0
    assert stop.agreed(World()) == "time limit of the batch job"
    stop.ask(10)
    assert stop.agreed_with(World(), True) == ("signal SIGUSR1", True)


def test_a_limit_of_its_own_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setenv("SLURM_JOB_END_TIME", "1")
    stop = StopRequest(1e6)
    stop.heed_job_end(World(), margin=120.0)
    assert not stop.requested
