"""The trajectories that a run keeps, `output.trajectories`: every rank writes those of its own blocks.

They are the first ones in the order of the blocks of an evaluation, so which they are does not depend on the
number of ranks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from dsmsim.config import Config
from dsmsim.errors import DsmsimError
from dsmsim.parallel import World, blocks_of_rank
from dsmsim.store import RunDirectory, ShardWriter, remove_shards, write_manifest
from dsmsim.training.draws import SampleBlock, sample_blocks

Result = TypeVar("Result")


def kept_of(blocks: Sequence[SampleBlock], count: int) -> dict[SampleBlock, range]:
    """Which of the first `count` trajectories each block holds; blocks that hold none are left out."""
    found, first = {}, 0
    for block in blocks:
        if first >= count:
            break
        found[block] = range(first, min(first + block.size, count))
        first += block.size
    return found


class TrajectoryFiles:
    """The files of an evaluation, one for each rank that has trajectories to keep; see `store/shards.py`.

    Making one and `commit` are for all ranks together. Without `commit` no file changes.

    Raises:
        StoreError: the file of a rank cannot be made or written; all ranks raise it, as agreed.
    """

    def __init__(self, config: Config, world: World, run: RunDirectory) -> None:
        self._world, self._directory = world, run.trajectories
        blocks, system = sample_blocks(config), config.system
        kept = kept_of(blocks, config.output.trajectories)
        mine = [blocks[k] for k in blocks_of_rank(len(blocks), world.rank, world.size)]
        numbers = [number for block in mine for number in kept.get(block, ())]
        coordinates = {
            "time": np.asarray(config.time.save_times),
            "trajectory": np.asarray(numbers),
            "particle": np.arange(system.particles),
            "axis": np.arange(system.dimensions),
        }
        self._about = {
            "physics_hash": config.physics_hash(),
            "time": list(config.time.save_times),
            "particles": system.particles,
            "dimensions": system.dimensions,
        }
        facts = {"rank": world.rank, "ranks": world.size, "physics_hash": config.physics_hash()}
        self._stack = ExitStack()

        def writer() -> ShardWriter | None:
            if not numbers:
                return None
            return self._stack.enter_context(ShardWriter(self._directory, world.rank, coordinates, facts))

        try:
            self._writer = on_all(world, writer)
        except BaseException:
            self._stack.close()
            raise

    def add(self, first: int, index: int, positions: npt.NDArray[np.float64]) -> None:
        """Write trajectories of this rank from number `first` on at one saved time; as `ShardWriter.add`."""
        assert self._writer is not None
        self._writer.add(first, index, positions)

    def commit(self) -> dict[str, Any]:
        """Put all files into place once every rank has its own complete on the disk.

        Returns:
            Attributes for the group "trajectories" of results.h5; empty where no trajectories are kept.
        """
        world, writer, directory = self._world, self._writer, self._directory
        shard = on_all(world, lambda: None if writer is None else writer.finish())
        shards = [found for found in world.gather(shard) or [] if found is not None]
        # never a manifest beside files that it does not describe
        world.on_root(lambda: remove_shards(directory))
        on_all(world, lambda: None if writer is None else writer.publish())
        return world.on_root(lambda: write_manifest(directory, shards, self._about))

    def __enter__(self) -> TrajectoryFiles:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()


def on_all(world: World, work: Callable[[], Result]) -> Result:
    """Do `work` on every rank. A DsmsimError of any rank is raised on all of them, as agreed.

    Returns:
        What this rank's `work` returned.
    """
    try:
        result, failure = work(), None
    except DsmsimError as error:
        failure = error
    raise_first(world, failure)
    return result


def raise_first(world: World, failure: DsmsimError | None) -> None:
    """Raise on all ranks, as agreed, what the first rank brings that has failed; nothing if none has."""
    if world.size == 1:
        first = failure
    else:
        first = world.broadcast_object(next((e for e in world.gather(failure) or [] if e is not None), None))
    if first is not None:
        raise world.agreed(first)
