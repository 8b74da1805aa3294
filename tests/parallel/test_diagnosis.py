"""What is found out about a world: the law of sums, the MPI library, copies that do not know each other."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from launchers import LIMIT, clean_environment
from ranks import ThreadWorld, run_ranks

from dsmsim.parallel import LaunchEnvironment, World
from dsmsim.parallel.diagnosis import (
    SIZES,
    Backend,
    SumLaw,
    SumTime,
    fit_sums,
    launcher_variables,
    measure_sums,
    mpi_library,
    product_rate,
    rank_facts,
    sums_are_right,
)


def test_the_law_between_two_ranks_is_latency_and_bandwidth() -> None:
    for backend in ("gloo", "nccl"):
        assert SumLaw(1e-5, 1e9, backend).seconds(1e6, 2) == pytest.approx(1e-5 + 1e-3)
        assert SumLaw(1e-5, 1e9, backend).seconds(1e6, 1) == 0.0


def test_latency_grows_round_a_ring_or_up_a_tree() -> None:
    ring, tree = SumLaw(1e-5, 1e9, "gloo"), SumLaw(1e-5, 1e9, "nccl")
    assert ring.seconds(0, 1024) == pytest.approx(1023e-5)
    assert tree.seconds(0, 1024) == pytest.approx(10e-5)
    assert tree.steps(5) == 3
    assert tree.broadcast_seconds(1e9, 8) == pytest.approx(3 * (1e-5 + 1.0))
    assert tree.broadcast_seconds(1e9, 1) == 0.0
    # every byte passes a rank's link twice, however many ranks there are
    assert ring.seconds(1e9, 1024) - ring.seconds(0, 1024) == pytest.approx(2.0, rel=1e-3)


@pytest.mark.parametrize("backend", ["gloo", "nccl"])
@pytest.mark.parametrize("ranks", [2, 3, 8])
def test_the_fit_finds_latency_and_bandwidth_in_noise(backend: Backend, ranks: int) -> None:
    law, rng = SumLaw(2e-5, 3e9, backend), np.random.default_rng(1)
    noise = np.exp(0.05 * rng.standard_normal(len(SIZES)))
    times = [
        SumTime(size, law.seconds(size, ranks) * factor, 0.1)
        for size, factor in zip(SIZES, noise, strict=True)
    ]
    times[2] = SumTime(SIZES[2], 5.0 * times[2].seconds, 1.0)  # something else ran then
    found = fit_sums(times, ranks, backend)
    assert found.latency == pytest.approx(law.latency, rel=0.1)
    assert found.bandwidth == pytest.approx(law.bandwidth, rel=0.1)


def test_measured_sums_are_the_same_numbers_on_every_rank() -> None:
    found = run_ranks(2, lambda world: measure_sums(world, world.device, (16, 4096)))
    assert found[0] == found[1]
    assert [each.size for each in found[0]] == [16, 4096]
    assert all(each.seconds > 0.0 <= each.spread for each in found[0])
    assert measure_sums(World(), torch.device("cpu")) == []


def test_sums_that_are_wrong_on_one_rank_are_found_on_all(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_ranks(3, sums_are_right) == [True, True, True]
    right = ThreadWorld.sum_

    def wrong(world: ThreadWorld, tensor: torch.Tensor) -> torch.Tensor:
        right(world, tensor)
        if world.rank == 1 and len(tensor) > 1000:
            tensor[77] += 1.0
        return tensor

    monkeypatch.setattr(ThreadWorld, "sum_", wrong)
    assert run_ranks(3, sums_are_right) == [False, False, False]


def test_facts_of_this_process() -> None:
    facts = rank_facts(World())
    assert facts.cores == tuple(sorted(os.sched_getaffinity(0)))
    assert facts.threads == torch.get_num_threads()
    assert facts.versions["torch"] == torch.__version__
    assert (Path(facts.source) / "parallel" / "diagnosis.py").is_file()
    assert product_rate(torch.device("cpu")) > 1e6


def test_only_variables_of_launchers_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"PMI_RANK": "1", "SLURM_STEP_ID": "0", "FLUX_JOB_SIZE": "4", "PATH_TO": "x"}.items():
        monkeypatch.setenv(name, value)
    found = launcher_variables()
    assert (found["PMI_RANK"], found["SLURM_STEP_ID"], found["FLUX_JOB_SIZE"]) == ("1", "0", "4")
    assert "PATH_TO" not in found


def test_an_mpi_library_that_cannot_be_loaded_is_described(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mpi4py")
    environment = LaunchEnvironment()
    assert not mpi_library(environment).startswith("(")
    (tmp_path / "mpi4py.py").write_text("raise ImportError('libmpi.so is missing')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert mpi_library(environment) == "(mpi4py cannot be loaded: ImportError: libmpi.so is missing)"


COUNT = """
import sys
from dsmsim.parallel.diagnosis import copies_on_this_host
print("ready", flush=True)
sys.stdin.readline()
print(copies_on_this_host(), flush=True)
sys.stdin.readline()
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="there is no /proc")
def test_copies_that_do_not_know_of_each_other_are_counted(tmp_path: Path) -> None:
    script = tmp_path / "count.py"
    script.write_text(COUNT)
    pipe, commands = subprocess.PIPE, [[sys.executable, str(script)]] * 2
    commands.append([sys.executable, str(script), "of another kind"])
    processes = [
        subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=tmp_path, env=clean_environment())
        for command in commands
    ]
    try:
        assert [_line(process) for process in processes] == ["ready"] * len(processes)
        assert [_line(process, "count") for process in processes] == ["2", "2", "1"]
    finally:
        for process in processes:
            process.communicate("\n", timeout=LIMIT)


def _line(process: subprocess.Popen[str], say: str = "") -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    if say:
        process.stdin.write(f"{say}\n")
        process.stdin.flush()
    return process.stdout.readline().strip()
