"""The files of all ranks together: complete and described by the manifest, or as they were before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kept_paths import KeptPaths
from ranks import run_ranks
from tiny import tiny_config

from dsmsim.config import Config
from dsmsim.errors import StoreError
from dsmsim.parallel import World
from dsmsim.store import RunDirectory, ShardWriter, open_trajectories, read_trajectories, write_results
from dsmsim.training.evaluate import evaluate
from dsmsim.training.state import new_state
from dsmsim.training.trajectory_files import TrajectoryFiles


def config_of(count: int) -> Config:
    """Six blocks of 40 samples, of which the first `count` are stored."""
    return tiny_config({"output.trajectories": count})


def evaluate_and_store(config: Config, world: World, run: Path, kept: KeptPaths) -> dict[str, Any]:
    """One rank's part; the attributes for results.h5."""
    with TrajectoryFiles(config, world, RunDirectory(run)) as files:

        def keep(first: int, index: int, positions: np.ndarray) -> None:
            kept(first, index, positions)
            files.add(first, index, positions)

        evaluate(config, new_state(config, world), world, lambda done, total: None, keep=keep)
        return files.commit()


def evaluated(run: Path, size: int, count: int) -> np.ndarray:
    """Evaluate on `size` ranks; (T, count, n) that should be stored."""
    config = config_of(count)
    kept = KeptPaths(config)
    about = run_ranks(size, lambda world: evaluate_and_store(config, world, run, kept))
    assert all(found == about[0] for found in about)
    write_results(RunDirectory(run).results, {}, {"trajectories": about[0]})
    return kept.positions


def names_in(run: Path) -> set[str]:
    return {path.name for path in RunDirectory(run).trajectories.iterdir()}


def contents(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in RunDirectory(run).trajectories.iterdir()}


@pytest.mark.parametrize(
    ("size", "count", "shares"),
    [(1, 240, [240]), (4, 240, [80, 80, 40, 40]), (4, 100, [80, 20]), (8, 70, [40, 30])],
)
def test_every_rank_writes_its_own(size: int, count: int, shares: list[int], tmp_path: Path) -> None:
    expected = evaluated(tmp_path, size, count)
    stored = open_trajectories(tmp_path)
    assert [(shard.rank, shard.count) for shard in stored.shards] == list(enumerate(shares))
    assert names_in(tmp_path) == {"manifest.json", *(f"rank-{rank:04d}.h5" for rank in range(len(shares)))}
    found = stored.positions()
    assert found.shape == (5, count, 2, 1)
    assert np.array_equal(found.reshape(expected.shape), expected)


def test_files_of_more_ranks_make_room(tmp_path: Path) -> None:
    evaluated(tmp_path, 4, 240)
    expected = evaluated(tmp_path, 2, 240)
    assert names_in(tmp_path) == {"manifest.json", "rank-0000.h5", "rank-0001.h5"}
    assert np.array_equal(read_trajectories(tmp_path)["position"].reshape(expected.shape), expected)
    evaluated(tmp_path, 2, 0)  # asked for no more: none are left that could be taken for those of the run
    assert names_in(tmp_path) == set()
    with pytest.raises(StoreError, match="has no trajectories"):
        open_trajectories(tmp_path)


def failing(name: str) -> Callable[..., Any]:
    """A method of ShardWriter that finds the disk of rank 1 full."""
    whole = getattr(ShardWriter, name)

    def method(self: ShardWriter, *arguments: Any) -> Any:
        rank_of_new = arguments[1] if name == "__init__" else None
        if rank_of_new == 1 or getattr(self, "path", Path()).name == "rank-0001.h5":
            raise StoreError("no space for rank-0001.h5")
        return whole(self, *arguments)

    return method


@pytest.mark.parametrize("name", ["__init__", "add", "finish"])
def test_a_full_disk_of_one_rank_leaves_the_earlier_files(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluated(tmp_path, 3, 240)
    before = contents(tmp_path)
    monkeypatch.setattr(ShardWriter, name, failing(name))
    told: list[str] = []

    config = config_of(240)
    kept = KeptPaths(config)

    def work(world: World) -> None:
        with pytest.raises(StoreError) as caught:
            evaluate_and_store(config, world, tmp_path, kept)
        assert caught.value is world._agreed
        told.append(str(caught.value))

    run_ranks(3, work)
    assert told == ["no space for rank-0001.h5"] * 3
    assert contents(tmp_path) == before
