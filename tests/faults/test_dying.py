"""A rank that is killed, fails, hangs or is stopped takes its world with it, in time and with its name told.

All runs of this file are started by one fixture, because most of their time is waiting.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from dying import BOUND, Fate, assert_all_gone, begin_run, end, pids_of, still_there, wait_until
from launchers import LIMIT, needs_mpirun

from dsmsim.store import RunDirectory, load_checkpoint

AT_ONCE = 3  # worlds, on two cores: more would need longer to start than ranks wait for each other


@dataclass(frozen=True)
class Scene:
    """What happens where: a launcher, its ranks, and the fate of one of them."""

    launcher: str
    ranks: int
    fate: Fate

    def __str__(self) -> str:
        fate = self.fate
        return f"{self.launcher}-{self.ranks}-{fate.deed}-rank{fate.rank}-{fate.place}"


@dataclass(frozen=True)
class Ending:
    """What a run left: exit codes of the processes that were started, what they said, its directory."""

    codes: list[int]
    said: str
    directory: Path
    seconds: float


# those that wait for the timeout first
SCENES = [
    Scene("mpirun", 3, Fate("hang", 0, "saving")),
    Scene("mpirun", 2, Fate("hang", 1)),
    Scene("torchrun", 2, Fate("hang", 1)),
    Scene("slurm", 2, Fate("hang", 0, "saving")),
    Scene("mpirun", 2, Fate("stop", 0)),
    Scene("mpirun", 3, Fate("kill", 1)),
    Scene("mpirun", 2, Fate("kill", 0, "saving")),
    Scene("torchrun", 2, Fate("kill", 0, "saving")),
    Scene("slurm", 2, Fate("kill", 1)),
    Scene("slurm", 2, Fate("kill", 0, "saving")),
    Scene("mpirun", 3, Fate("raise", 2)),
    Scene("mpirun", 2, Fate("raise", 0, "saving")),
    Scene("torchrun", 2, Fate("raise", 1)),
    Scene("slurm", 2, Fate("raise", 0, "saving")),
]


def play(scene: Scene, directory: Path) -> Ending:
    """Run the scene to its end."""
    processes = begin_run(scene.launcher, scene.ranks, scene.fate, directory)
    try:
        struck = directory / "pids" / "struck"
        wait_until(lambda: struck.exists() or processes[0].poll() is not None, 2.0 * LIMIT)
        seconds = assert_all_gone(directory / "pids", scene.ranks)
        said = ["".join(process.communicate(timeout=LIMIT)) for process in processes]
    finally:
        end(processes, directory)
    return Ending([process.returncode for process in processes], "".join(said), directory, seconds)


@pytest.fixture(scope="module")
def endings(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[Scene, Future[Ending]]]:
    """The scenes that are asked for, on their way."""
    place = tmp_path_factory.mktemp("scenes")
    names = {item.name for item in request.session.items}
    scenes = [scene for scene in SCENES if any(f"[{scene}]" in name for name in names)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {scene: pool.submit(play, scene, place / str(scene)) for scene in scenes}
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize(
    "scene",
    [pytest.param(s, id=str(s), marks=needs_mpirun if s.launcher == "mpirun" else ()) for s in SCENES],
)
def test_no_rank_outlives_its_world_and_the_guilty_one_is_named(
    scene: Scene, endings: dict[Scene, Future[Ending]]
) -> None:
    ending = endings[scene].result()
    assert all(code != 0 for code in ending.codes), ending.codes
    assert ending.seconds < BOUND
    fate, host = scene.fate, socket.gethostname()
    if scene.launcher == "mpirun" and fate.deed == "kill":
        # MPICH ends the other ranks, often before they can speak, and names any of its processes
        expected = [f"RUNNING AT {host}", "Killed (signal 9)"]
    else:
        keeper = fate.rank == 0 and scene.launcher != "torchrun"
        expected = fate.words(host, keeper)
    for words in expected:
        assert words in ending.said, ending.said
    # a checkpoint in the making may be lost, none before it
    checkpoint = load_checkpoint(RunDirectory(ending.directory / "run").checkpoints)
    assert checkpoint.epoch >= fate.epoch - 1


def test_ranks_do_not_outlive_their_launcher(tmp_path: Path) -> None:
    directory = tmp_path / "scene"
    processes = begin_run("torchrun", 2, Fate("none", 0), directory)
    try:
        log = RunDirectory(directory / "run").log
        assert wait_until(lambda: log.is_file() and log.read_bytes().count(b"\n") > 2, LIMIT)
        pids = pids_of(directory / "pids")
        processes[0].kill()
        said = processes[0].communicate(timeout=BOUND)[1]
        assert wait_until(lambda: not still_there(pids), BOUND)
    finally:
        end(processes, directory)
    assert f"on {socket.gethostname()} ends: torchrun, which holds the ranks' store, is gone" in said
