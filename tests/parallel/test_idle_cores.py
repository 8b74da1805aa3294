"""After training: rank 0 with the cores that all ranks of its host had."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import pytest
import torch
from launchers import mpirun, needs_mpirun, run_dsmsim, torchrun
from plugins import Plugin
from tiny import write_input

from dsmsim.parallel import World, announce_cores, cores_of_this_host
from dsmsim.parallel.idle_cores import threads_of_this_host

HERE = frozenset(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("cores", "ranks", "wanted", "threads"),
    [
        (8, 4, None, 8),
        (8, 4, "1", 4),
        (8, 4, "2", 8),
        (8, 4, "16", 8),
        (8, 4, "2,1", 8),
        (8, 4, "", 8),
        (8, 4, "0", 8),
        (0, 1, None, 1),
    ],
)
def test_threads_of_all_ranks_together(cores: int, ranks: int, wanted: str | None, threads: int) -> None:
    world = World(0, ranks, local_size=ranks, host_cores=frozenset(range(cores)))
    assert threads_of_this_host(world, wanted) == threads


def test_one_rank_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    before = torch.get_num_threads()
    with cores_of_this_host(World(host_cores=HERE)) as threads:
        assert threads == 1
        assert os.environ["OMP_NUM_THREADS"] == "1"
        assert torch.get_num_threads() == before


@pytest.mark.skipif(len(HERE) < 2, reason="there is one core")
@pytest.mark.parametrize("variable", ["1", None])
def test_a_bound_rank_gets_all_cores_and_gives_them_back(
    variable: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    if variable is None:
        monkeypatch.delenv("OMP_NUM_THREADS")
    bound, before = {min(HERE)}, torch.get_num_threads()
    seen: list[set[int]] = []
    ready, done = threading.Event(), threading.Event()

    def idle() -> None:
        ready.set()
        done.wait()
        seen.append(os.sched_getaffinity(0))

    os.sched_setaffinity(0, bound)
    try:
        thread = threading.Thread(target=idle)
        thread.start()
        ready.wait()
        with cores_of_this_host(World(0, 2, local_size=2, host_cores=HERE)) as threads:
            assert threads == (2 if variable else len(HERE))
            assert os.sched_getaffinity(0) == HERE
            assert os.environ["OMP_NUM_THREADS"] == str(threads)
            assert torch.get_num_threads() == threads
            done.set()
            thread.join()
        assert seen == [HERE]  # threads that were there already may use them as well
        assert os.sched_getaffinity(0) == bound
        assert os.environ.get("OMP_NUM_THREADS") == variable
        assert torch.get_num_threads() == before
    finally:
        done.set()
        os.sched_setaffinity(0, HERE)


def test_numba_is_told_before_it_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_NUM_THREADS", "")
    monkeypatch.delenv("NUMBA_NUM_THREADS")
    monkeypatch.setitem(sys.modules, "numba", None)  # type: ignore[arg-type]
    world = World(0, 2, local_size=2, host_cores=frozenset(range(6)))
    announce_cores(world)
    assert "NUMBA_NUM_THREADS" not in os.environ
    monkeypatch.delitem(sys.modules, "numba")
    announce_cores(World(host_cores=frozenset(range(6))))
    assert "NUMBA_NUM_THREADS" not in os.environ
    announce_cores(world)
    assert os.environ["NUMBA_NUM_THREADS"] == "2"  # OMP_NUM_THREADS is 1 in all tests
    monkeypatch.delenv("NUMBA_NUM_THREADS")
    monkeypatch.delenv("OMP_NUM_THREADS")
    announce_cores(world)
    assert os.environ["NUMBA_NUM_THREADS"] == "6"


@needs_mpirun
@pytest.mark.skipif(len(HERE) < 2, reason="there is one core")
@pytest.mark.parametrize("launcher", [[*mpirun(2)[:3], "-bind-to", "core", sys.executable], torchrun(2)])
def test_a_reference_has_the_cores_of_both_ranks(launcher: list[str], tmp_path: Path) -> None:
    """Predicted on one rank before training, solved on one rank after it, with the cores of both."""
    plugin = Plugin(tmp_path / "toy")
    changes = {"compare.with": ["toy"], "system.interaction": {"kind": "gaussian", "g": 1.0, "s2": 0.1}}
    file = write_input(tmp_path / "input.toml", changes)
    source = str(Path(__file__).parents[2])
    path = os.pathsep.join([str(plugin.directory), source])
    done = run_dsmsim("run", file, "--out", tmp_path / "run", launcher=launcher, PYTHONPATH=path)
    assert done.returncode == 0, done.stderr
    assert plugin.calls() == ["predict", "solve"]
    assert "reference toy: 7 points: change 0.5" in done.stderr
    threads, cores, _ = plugin.resources()["solve"]
    assert int(threads) == min(2, len(HERE))
    assert int(cores) in (2, len(HERE))  # of two bound ranks; of two that share all cores


@needs_mpirun
def test_a_refused_reference_is_told_once(tmp_path: Path) -> None:
    plugin = Plugin(tmp_path / "toy", refuses="cannot be done")
    file = write_input(tmp_path / "input.toml", {"compare.with": ["toy"]})
    path = os.pathsep.join([str(plugin.directory), str(Path(__file__).parents[2])])
    done = run_dsmsim("run", file, "--out", tmp_path / "run", launcher=mpirun(2), PYTHONPATH=path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == 'dsmsim: compare.with = "toy": cannot be done\n'
    assert plugin.calls() == ["predict"]
    assert not (tmp_path / "run").exists()
