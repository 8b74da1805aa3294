"""The doctor: what it finds right, what it finds wrong, and the exit code it leaves with."""

from __future__ import annotations

import dataclasses
import errno
import fcntl
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import call
from launchers import LIMIT, MPIRUN, begin_dsmsim, needs_mpirun, run_dsmsim, slurm_step
from ranks import ThreadWorld, run_ranks
from tiny import write_input

from dsmsim.methods import doctor as command
from dsmsim.methods.doctor import ranges
from dsmsim.methods.doctor_checks import Check, Findings, LaunchFacts, all_checks
from dsmsim.methods.doctor_directory import DirectoryFacts, examine_directory
from dsmsim.methods.doctor_training import Agreement, problem, two_step_agreement
from dsmsim.parallel import World
from dsmsim.parallel.diagnosis import SumLaw, SumTime, rank_facts


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current directory of the test's own; other tests of the same command are no ranks of it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "copies_on_this_host", lambda: 1)
    return tmp_path


def test_one_process_is_well(here: Path) -> None:
    done = call("doctor", "--json", "found.json")
    assert done.code == 0, done.out + done.err
    assert "1 rank on 1 host, started without a launcher" in done.out
    assert "fail" not in done.out
    found = json.loads(Path("found.json").read_text())
    assert [check["name"] for check in found["checks"] if check["status"] == "fail"] == []
    assert [each["loss"] for each in found["agreement"]] == [0.0, 0.0]
    assert found["sums"] == {}
    assert found["directory"]["locks"]
    assert [file.name for file in here.iterdir()] == ["found.json"]


def assert_two_ranks_are_well(out: str, file: Path, launcher: str) -> None:
    assert out.count("Checks") == 1
    assert "Sums over 2 ranks by gloo" in out
    found = json.loads(file.read_text())
    assert [rank["rank"] for rank in found["ranks"]] == [0, 1]
    assert found["launch"]["launcher"] == launcher
    assert found["sums"]["gloo"]["latency"] > 0.0 < found["sums"]["gloo"]["bandwidth"]
    assert len(found["sums"]["gloo"]["times"]) == 8
    assert len(found["agreement"]) == 2
    # training really was shared out: the sums have another order
    assert 0.0 < max(each["parameters"] for each in found["agreement"]) <= 1e-10
    blocks = [check for check in found["checks"] if check["name"] == "work for every rank"]
    assert blocks[0]["found"] == "6 blocks of trajectories in an epoch"


@needs_mpirun
def test_mpirun(here: Path) -> None:
    write_input(here / "input.toml")
    done = run_dsmsim("doctor", "input.toml", "--json", "found.json", launcher=MPIRUN, cwd=here)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "as the launcher; it finds 2 ranks" in done.stdout
    assert_two_ranks_are_well(done.stdout, here / "found.json", "mpirun")


def test_slurm_step(here: Path) -> None:
    write_input(here / "input.toml")
    arguments = ("doctor", "input.toml", "--json", "found.json")
    end = {"SLURM_JOB_END_TIME": str(int(time.time()) + 90_000)}
    steps = [slurm_step(rank, os.getpid()) | end for rank in range(2)]
    processes = [begin_dsmsim(*arguments, cwd=here, **step) for step in steps]
    outputs = [process.communicate(timeout=LIMIT) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert outputs[1][0] == ""
    assert "1 day, 0:59:" in outputs[0][0]  # until the job ends
    assert_two_ranks_are_well(outputs[0][0], here / "found.json", "srun")


@needs_mpirun
def test_ranks_that_each_believe_to_be_alone_are_found(here: Path) -> None:
    # a launcher whose variables nobody knows
    unknown = ["env", "-u", "PMI_RANK", "-u", "PMI_SIZE"]
    done = run_dsmsim("doctor", launcher=[*MPIRUN[:-1], *unknown, MPIRUN[-1]], cwd=here)
    assert done.returncode == 5, done.stdout
    assert "2 processes run this command here, each believes to be alone" in " ".join(done.stdout.split())
    assert "doctor: one world" in done.stderr


def test_an_mpirun_of_another_library_is_found(here: Path) -> None:
    done = run_dsmsim("doctor", cwd=here, PMI_RANK="0", PMI_SIZE="2")
    assert done.returncode == 5, done.stdout
    assert "rank 0 of 2" in done.stdout  # said before the ranks try to meet
    assert "the launcher announced 2 ranks, but MPI finds 1" in done.stderr


def test_training_that_differs_from_one_rank_is_code_5(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(world: World, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.mul_(1.0 + 1e-8) if world.host else tensor  # the launcher's world has a host

    monkeypatch.setattr(World, "sum_", wrong)
    done = call("doctor")
    assert done.code == 5, done.out
    assert "doctor: two steps, potential network, gauss_newton" in done.err
    assert "losses differ by 1.0e-08" in " ".join(done.out.split())


def test_wrong_input_and_unwritable_file(here: Path) -> None:
    write_input(here / "input.toml", {"train.points": 47})
    assert call("doctor", "input.toml").code == 2
    done = call("doctor", "--json", "nowhere/found.json")
    assert done.code == 4
    assert "nowhere/found.json" in done.err


def test_two_steps_agree_on_any_ranks_and_not_with_wrong_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    assert problem("velocity networks, adam", 3).train.trajectories == 8
    found = run_ranks(3, two_step_agreement)
    assert found[0] == found[2]
    assert all(each.holds for each in found[0])
    right = ThreadWorld.sum_

    def wrong(world: ThreadWorld, tensor: torch.Tensor) -> torch.Tensor:
        return right(world, tensor).mul_(1.0 + 1e-8)

    monkeypatch.setattr(ThreadWorld, "sum_", wrong)
    assert not any(each.holds for each in run_ranks(2, two_step_agreement)[1])


def test_no_number_is_no_agreement() -> None:
    nan = float("nan")
    for loss, parameters in ((nan, 0.0), (0.0, nan), (2e-10, 0.0), (0.0, 2e-10)):
        assert not Agreement("", loss, parameters, 0, "").holds
    assert Agreement("", 1e-10, 0.0, 0, "").holds


WELL = DirectoryFacts("/runs", "ext4", "", True, True, 1e-3, 1e9, 10**12)
LAUNCH = LaunchFacts("mpirun", 0, 2, "hydra", {"PMI_SIZE": "2"}, "MPICH Version: 5.0", 1, 0)
RANK = dataclasses.replace(
    rank_facts(World(host="n1")), cores=(0, 1), threads=1, unused_gpu=False, device_name=""
)


def findings(**changes: Any) -> Findings:
    """Two ranks on two hosts, all well, but for the changes."""
    ranks = [RANK, dataclasses.replace(RANK, rank=1, host="n2")]
    values: dict[str, Any] = {
        "launch": LAUNCH,
        "ranks": ranks,
        "rates": [1e10, 1e10],
        "sums_right": True,
        "sums": {"gloo": [SumTime(16, 1e-5, 0.1)]},
        "laws": {"gloo": SumLaw(1e-5, 1e9, "gloo")},
        "directory": WELL,
        "agreement": [Agreement("a network", 1e-15, 1e-15, 1, "n2")],
        "blocks": 2,
    }
    return Findings(**(values | changes))


def launch(**changes: Any) -> Findings:
    return findings(launch=dataclasses.replace(LAUNCH, **changes))


def second(**changes: Any) -> Findings:
    return findings(ranks=[RANK, dataclasses.replace(RANK, rank=1, **{"host": "n2"} | changes)])


def directory(**changes: Any) -> Findings:
    return findings(directory=dataclasses.replace(WELL, **changes))


def test_all_is_well() -> None:
    checks = all_checks(findings())
    assert [check.status for check in checks] == ["pass"] * len(checks)
    assert all(check.found and not check.fix for check in checks)


OPEN = "Open MPI v5.0"
ILLS: dict[str, tuple[Findings, str, str, str]] = {
    "copies": (launch(launcher="none", copies=4), "one world", "fail", "4 processes"),
    "flux": (launch(launcher="none", variables={"FLUX_JOB_SIZE": "8"}), "one world", "fail", "FLUX_JOB_SIZE"),
    "no srun": (launch(launcher="none", tasks=8), "one world", "warn", "8 tasks"),
    "other MPI": (launch(mpi=OPEN), "MPI library", "fail", OPEN),
    "no MPI": (launch(mpi="(mpi4py is not installed)"), "MPI library", "fail", "not installed"),
    "torch": (second(versions=RANK.versions | {"torch": "1.0"}), "same program", "fail", "torch"),
    "numpy": (second(versions=RANK.versions | {"numpy": ""}), "same program", "warn", "missing on rank 1"),
    "bound": (second(host="n1", cores=(0,)), "cores of n1", "pass", "2 ranks, 2 threads on 2 cores"),
    "threads": (second(threads=3), "cores of n2", "warn", "3 threads on 2 cores"),
    "one core": (
        findings(ranks=[dataclasses.replace(RANK, rank=k, cores=(5,)) for k in (0, 1)]),
        "cores of n1",
        "warn",
        "2 ranks, 2 threads on 1 core",
    ),
    "GPU": (second(unused_gpu=True), "devices", "warn", "n2 has a GPU"),
    "uneven": (findings(rates=[1e10, 1e9]), "devices", "warn", "rank 1 on n2"),
    "wrong sums": (findings(sums_right=False), "sums over ranks", "fail", "do not add up"),
    "latency": (
        findings(laws={"gloo": SumLaw(0.1, 1e9, "gloo")}),
        "sums over ranks, gloo",
        "warn",
        "100,000.0 us",
    ),
    "slow link": (
        findings(laws={"nccl": SumLaw(1e-5, 1e7, "nccl")}),
        "sums over ranks, nccl",
        "warn",
        "0.01 GB/s",
    ),
    "read only": (directory(error="Read-only"), "directory (ext4)", "fail", "Read-only"),
    "blind": (directory(blind=("n2",)), "directory (ext4)", "fail", "n2 cannot see"),
    "rename": (directory(renames=False), "directory (ext4)", "fail", "renaming"),
    "locks": (directory(locks=False), "directory (ext4)", "warn", "no locks"),
    "slow disk": (directory(fsync_seconds=3.0), "directory (ext4)", "warn", "3e+03 ms"),
    "full": (directory(free=10**6), "directory (ext4)", "warn", "0.001 GB free"),
    "idle": (findings(blocks=1), "work for every rank", "warn", "nothing to train for 1 rank"),
    "training": (
        findings(agreement=[Agreement("a network", 0.0, 1e-3, 1, "n2")]),
        "two steps, a network",
        "fail",
        "rank 1 (n2)",
    ),
}


@pytest.mark.parametrize("case", ILLS)
def test_what_is_ill_is_named_with_its_cure(case: str) -> None:
    ill, name, status, words = ILLS[case]
    checks = all_checks(ill)
    matching = [check for check in checks if (check.name, check.status) == (name, status)]
    assert any(words in check.found for check in matching), checks
    others = [check for check in checks if check.name != name]
    assert all(check.status == "pass" for check in others), others
    assert all(check.fix for check in matching) == (status != "pass")


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    found = run_ranks(2, lambda world: examine_directory(tmp_path / "nowhere", world))
    assert found[0].error == "No such file or directory"
    assert found[0].blind == ()


def refuse(*_: object) -> None:
    raise OSError(errno.ENOLCK, "no locks")


def pretend(*_: object) -> None:
    """Locks that keep nobody out."""


@pytest.mark.parametrize("flock", [refuse, pretend])
def test_locks_that_do_not_work(
    flock: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert examine_directory(tmp_path, World()).locks
    monkeypatch.setattr(fcntl, "flock", flock)
    found = examine_directory(tmp_path, World())
    assert not found.locks
    assert found.renames
    assert list(tmp_path.iterdir()) == []


def test_a_host_that_sees_another_directory(tmp_path: Path) -> None:
    def elsewhere(world: World) -> DirectoryFacts:
        world.host = f"n{world.rank}"
        return examine_directory(tmp_path / str(world.rank), world)

    (tmp_path / "0").mkdir()
    shared = run_ranks(2, lambda world: examine_directory(tmp_path, world))
    assert shared[0].blind == ()
    assert run_ranks(2, elsewhere)[0].blind == ("n1",)


def test_numbers_in_short() -> None:
    assert ranges([0, 1, 2, 3, 8, 10, 11]) == "0-3,8,10-11"
    assert ranges([]) == ""
    assert Check("a", "pass", "b").fix == ""
