"""Samples of solved fields, as many as wanted, written while they are drawn.

The samples are those of an evaluation (`evaluate.py`) with a random stream of their own, but nothing is
measured: positions at the wanted times go block by block into the parts of a directory (`store/samples.py`).
Ranks share the parts out. No rank holds more than one block, whatever the number of samples. Between two
blocks all ranks agree whether to go on.

Shapes: B samples of a block, n coordinates, T times, K blocks.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import math
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dsmsim.config import Config, parse_config
from dsmsim.errors import DivergedError, DsmsimError, StoppedEarly
from dsmsim.networks import Fields, standing_still
from dsmsim.parallel import StopRequest, World, blocks_of_rank
from dsmsim.sampler import between, trajectories
from dsmsim.store import SampleDirectory, Shard
from dsmsim.training.draws import SampleBlock, sample_blocks
from dsmsim.training.evaluate import Course, Solution, course_of
from dsmsim.training.trajectory_files import raise_first

Array = npt.NDArray[np.float64]

PURPOSE = "sample"  # of the random streams: not the samples of the run's own evaluation
PARTS = 64  # at least, where there are blocks enough: so many ranks have something to do
LARGEST_PART = 64  # blocks: what a stopped drawing loses on every rank, and a reader can hold


def drawing_config(
    config: Config, count: int, times: Sequence[float], nu: float | None, draws: str | None, seed: int | None
) -> Config:
    """The input of a run with an evaluation that draws these samples.

    Args:
        count: samples.
        times: increasing, from 0 to `time.end`.
        nu, draws, seed: instead of the input's own; None: as there.

    Raises:
        ConfigError: the rules of the input forbid it.
    """
    data = config.to_dict()
    evaluation = data["evaluation"] | {"samples": count, "trials": 1}
    if nu is not None:
        evaluation["nu"] = nu
        evaluation.pop("scheme", None)  # it was chosen for another process
    if draws is not None:
        evaluation["draws"] = draws
    data["evaluation"], data["time"]["save"] = evaluation, list(times)
    data["seed"] = config.seed if seed is None else seed
    data.pop("output")  # nothing is measured
    return parse_config(data, environment=False)


def drawing_key(config: Config, fields: Fields) -> str:
    """The same for drawings of the same samples: of these fields, asked for by this input."""
    whole = config.to_dict()
    said = {name: whole[name] for name in ("seed", "system", "initial", "time", "sampler", "evaluation")}
    digest = hashlib.sha256(json.dumps([PURPOSE, said], sort_keys=True).encode())
    for name, values in fields.state_dict().items():
        digest.update(name.encode() + values.detach().cpu().numpy().tobytes())
    return digest.hexdigest()[:32]


@dataclass(frozen=True)
class Part:
    """Samples that share a file.

    Attributes:
        number: of the part.
        first: number of its first sample.
        blocks: drawn one after the other.
    """

    number: int
    first: int
    blocks: tuple[SampleBlock, ...]

    @property
    def count(self) -> int:
        """How many samples it holds."""
        return sum(block.size for block in self.blocks)


def parts_of(config: Config) -> list[Part]:
    """All parts of a drawing, whatever the ranks."""
    blocks = [replace(block, purpose=PURPOSE) for block in sample_blocks(config)]
    size = min(math.ceil(len(blocks) / PARTS), LARGEST_PART)
    groups = [tuple(blocks[k : k + size]) for k in range(0, len(blocks), size)]
    firsts = itertools.accumulate((sum(block.size for block in group) for group in groups), initial=0)
    return [Part(k, first, group) for k, (group, first) in enumerate(zip(groups, firsts, strict=False))]


@torch.no_grad()
def draw(
    config: Config,
    solution: Solution,
    world: World,
    directory: SampleDirectory,
    done: Sequence[Shard],
    stop: StopRequest,
    progress: Callable[[int, int], None],
    source: Mapping[str, Any] | None = None,
) -> int:
    """Draw the parts that are missing, on all ranks, and complete the directory.

    Args:
        config: from `drawing_config`.
        done: the parts that are there.
        stop: asked between two blocks.
        progress: called with (samples done, samples in all), over all ranks.
        source: what else the manifest is to say, plain values.

    Returns:
        How many samples were drawn now.

    Raises:
        DivergedError: a sample left for infinity.
        StoppedEarly: it was to stop before the last block; complete parts stay.
        StoreError: a file of any rank cannot be written.
        All ranks raise the same.
    """
    parts, course = parts_of(config), course_of(config, solution)
    there = {shard.first for shard in done}
    missing = [part for part in parts if part.first not in there]
    shares = [
        [missing[k] for k in blocks_of_rank(len(missing), rank, world.size)] for rank in range(world.size)
    ]
    total, drawn = sum(part.count for part in parts), sum(part.count for part in missing)
    written: list[Shard] = []
    with standing_still(solution.fields):
        work = _drawn(course, shares[world.rank], directory, written)
        with contextlib.closing(work):
            _in_turns(work, _sizes_of_turns(shares), total - drawn, total, world, stop, progress)
    found = world.gather(written) or []
    shards = sorted(
        [*done, *(shard for several in found for shard in several)], key=lambda shard: shard.first
    )
    about = {
        **(source or {}),
        "physics_hash": config.physics_hash(),
        "time": list(config.time.save_times),
        "particles": config.system.particles,
        "dimensions": config.system.dimensions,
        "seed": config.seed,
        **_facts(course),
    }
    world.on_root(lambda: directory.finish(shards, about))
    return drawn


def _facts(course: Course) -> dict[str, Any]:
    """How the samples were drawn."""
    return {
        "draws": course.config.evaluation.draws,
        "nu": course.process.nu,
        "scheme": course.process.scheme,
        "steps": len(course.grid) - 1,
    }


def _sizes_of_turns(shares: Sequence[Sequence[Part]]) -> list[int]:
    """Samples that all ranks together draw in each turn, one block of every rank."""
    sizes = ([block.size for part in parts for block in part.blocks] for parts in shares)
    return [sum(turn) for turn in itertools.zip_longest(*sizes, fillvalue=0)]


def _in_turns(
    work: Iterator[None],
    sizes: Sequence[int],
    before: int,
    total: int,
    world: World,
    stop: StopRequest,
    progress: Callable[[int, int], None],
) -> None:
    """Take the turns of all ranks; what fails on one of them, or stops it, ends all."""
    done, longest = before, 0.0
    progress(done, total)
    for turn, size in enumerate(sizes, start=1):
        began, failure = time.monotonic(), None
        try:
            next(work, None)
        except DsmsimError as error:
            failure = error
        longest = max(longest, time.monotonic() - began)
        reason, failed = stop.agreed_with(world, failure is not None, ahead=longest)
        if failed:
            raise_first(world, failure)
        done += size
        progress(done, total)
        if reason is not None and turn < len(sizes):
            raise StoppedEarly(
                f"stopped after {done:,} of {total:,} samples ({reason}); complete parts are kept, and the "
                "same command goes on with them"
            )


def _drawn(
    course: Course, parts: Sequence[Part], directory: SampleDirectory, written: list[Shard]
) -> Generator[None]:
    """One step for each block of these parts; a part that is complete is added to `written`."""
    config = course.config
    for part in parts:
        coordinates = {
            "time": np.asarray(config.time.save_times),
            "trajectory": np.arange(part.first, part.first + part.count),
            "particle": np.arange(config.system.particles),
            "axis": np.arange(config.system.dimensions),
        }
        attributes = {"physics_hash": config.physics_hash(), **_facts(course)}
        with directory.part(part.number, coordinates, attributes) as writer:
            first = part.first
            for block in part.blocks:
                for index, x in _positions(course, block):
                    if not bool(torch.isfinite(x).all()):
                        raise DivergedError(
                            f"samples ran to infinity by t = {config.time.save_times[index]:.4g}: the fields "
                            "are no solution there, or the run's time.steps are too few"
                        )
                    writer.add(first, index, x.double().cpu().numpy())
                first += block.size
                if block is part.blocks[-1]:
                    written.append(writer.finish())
                    writer.publish()
                yield


def _positions(course: Course, block: SampleBlock) -> Iterator[tuple[int, Tensor]]:
    """(index of the time, positions (B, n)) for every wanted time; of the fields only the drift is."""
    config, solution, grid = course.config, course.state, course.grid
    fields, like, times = solution.fields, solution.fields.frame.center, config.time.save_times
    start, normals = block.start(config.seed, solution.initial)

    def tensor(values: Array) -> Tensor:
        return torch.as_tensor(values, dtype=like.dtype, device=like.device)

    def flow(x: Tensor, t: float) -> tuple[Tensor, Tensor]:
        clock = x.new_full((len(x), 1), t)
        return x, fields.drift(x, clock, 0.0) if isinstance(fields, Fields) else fields(x, clock)[1]

    x = tensor(start)
    path = trajectories(
        fields, solution.system, course.process, x, tensor(grid[None]), lambda number: tensor(normals(number))
    )
    yield from ((index, x) for index, t in enumerate(times) if t <= grid[0])
    for (low, high), (after, _) in zip(itertools.pairwise(grid.tolist()), path, strict=True):
        inside = [index for index, t in enumerate(times) if low < t < high]
        if inside:  # only the smooth flow without noise has saved times inside its steps
            ends = flow(x, low), flow(after, high)
            length = high - low
            yield from ((k, between(*ends, length, (times[k] - low) / length)) for k in inside)
        yield from ((index, after) for index, t in enumerate(times) if t == high)
        x = after
