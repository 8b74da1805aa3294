"""`slurm/reproduce.sh`: what it submits, how it stops, and what it leaves on a real Slurm of two nodes."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from slurm_cluster import Cluster, wait_until
from slurm_runs import READY, log, on_path
from stand_ins import Shell

from tools.reproduce.__main__ import tasks_of
from tools.reproduce.found import Found
from tools.reproduce.profile import PROFILES
from tools.reproduce.task import Task

SCRIPT = READY / "reproduce.sh"
TEXT = SCRIPT.read_text()
SHARE = {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "3"}


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def test_it_submits_the_shares_and_then_the_page(shell: Shell) -> None:
    process = shell.start(TEXT, "4", "--profile", "quick", "--refresh", ENVIRONMENT="")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert out.split() == ["2", "3"]
    checked, array, page = shell.calls.splitlines()
    # nothing is run here, but options that do not exist are refused at once
    assert checked == ("python -m tools.reproduce run --index 10000 --of 10000 --profile quick --refresh")
    given = f"{shell.directory}/script.sh 4 --profile quick --refresh"
    assert array == f"sbatch --parsable --array=1-4 {given}"
    assert page.startswith("sbatch --parsable --dependency=afterany:2 ")
    assert page.endswith(given)


@pytest.mark.parametrize("shares", [[], ["0"], ["--profile"], ["4x"]])
def test_it_wants_the_number_of_shares(shares: list[str], shell: Shell) -> None:
    process = shell.start(TEXT, *shares, ENVIRONMENT="")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "usage: bash slurm/reproduce.sh SHARES" in err
    assert shell.calls == ""


def test_nothing_is_submitted_with_wrong_options(shell: Shell) -> None:
    assert shell.code(TEXT, "4", "--porfile", "quick", ENVIRONMENT="", RANKS_DO="2") == 2
    assert "sbatch" not in shell.calls


@pytest.mark.parametrize("code", [0, 1])
def test_a_task_of_the_array_does_its_share(code: int, shell: Shell) -> None:
    given = SHARE | {"RANKS_DO": str(code), "SLURM_CPUS_PER_TASK": "2"}
    assert shell.code(TEXT, "8", "--only", "bosons", **given) == code
    assert shell.calls == "python -m tools.reproduce run --index 3 --of 8 --jobs 2 --only bosons\n"


def test_the_job_behind_the_array_writes_the_page(shell: Shell) -> None:
    assert shell.code(TEXT, "8", "--profile", "quick", "--refresh", "--out", "my runs") == 0
    assert shell.calls == "python -m tools.reproduce page --profile quick --out my runs\n"


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
@pytest.mark.parametrize(("state", "again"), [("RUNNING", True), ("COMPLETING", False)])
def test_stopped_by_the_time_limit_it_comes_back(number: int, state: str, again: bool, shell: Shell) -> None:
    given = SHARE | {"RANKS_DO": "die", "JOB_STATE": state}
    assert shell.code_after_signal(TEXT, number, "8", **given) == 75
    assert ("scontrol requeue 7_3\n" in shell.calls) == again


def few_tasks() -> list[Task]:
    """The cheapest runs of the smallest section, of the profile in which numbers mean nothing."""
    by_section: dict[str, list[Task]] = {}
    for task in tasks_of(PROFILES["trial"], None):
        if task.method == "run":
            by_section.setdefault(task.section, []).append(task)
    cheapest = [sorted(tasks, key=lambda task: task.seconds)[:2] for tasks in by_section.values()]
    return min(cheapest, key=lambda tasks: sum(task.seconds for task in tasks))


@pytest.mark.timeout(600)  # a very slow machine
def test_shares_that_are_requeued_end_with_all_results_and_the_page(jobs: Cluster, tmp_path: Path) -> None:
    tasks, out = few_tasks(), tmp_path / "results"
    found = Found(out)
    options = ["--profile", "trial", "--out", out, *(w for task in tasks for w in ("--only", task.key))]
    told = jobs.command("bash", SCRIPT, len(tasks), *options, cwd=tmp_path, **on_path())
    array, page = told.split()

    def begun() -> bool:
        return all((found.directory(task) / "said.txt").exists() for task in tasks)

    wait_until(begun, 120, lambda: log(tmp_path))
    # as after the failure of a node: one share begins again, wherever it was
    jobs.command("scontrol", "requeue", f"{array}_1")
    assert jobs.wait(array) == ["COMPLETED"] * len(tasks), log(tmp_path)
    assert int(jobs.job(f"{array}_1")["Restarts"]) == 1
    assert [found.state(task) for task in tasks] == ["done"] * len(tasks), log(tmp_path)
    assert jobs.wait(page) == ["COMPLETED"], log(tmp_path)
    ends = [jobs.job(f"{array}_{share}")["EndTime"] for share in range(1, len(tasks) + 1)]
    assert jobs.job(page)["StartTime"] >= max(ends)
    assert all(task.name in (out / "published.md").read_text() for task in tasks)
