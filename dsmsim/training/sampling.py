"""The turns of an evaluation: which rank samples which block, and how far a stopped evaluation had come.

In every turn each rank takes one of its blocks. Then the sums of this turn are added up over the ranks and
added to those of all turns before, in this order always; so the total after a turn is the same number
whether the turns before it were taken in this session or in an earlier one. It is saved now and then.

Shapes: K blocks.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from dsmsim.config import Config
from dsmsim.errors import StoppedEarly, StoreError
from dsmsim.measure import EnsembleSums
from dsmsim.networks import Fields
from dsmsim.parallel import StopRequest, World, blocks_of_rank
from dsmsim.store import load_sums, remove_sums, save_sums
from dsmsim.training.draws import SampleBlock
from dsmsim.training.trajectory_files import raise_first

INTERVAL = 300.0  # s between savings, where checkpoints are counted in epochs


@dataclass
class Shares:
    """Which rank takes which block, and what is done.

    Attributes:
        owner: (K,) rank of each block.
        done: (K,) whether its samples are in the sums.
        ranks: how many ranks there are.
    """

    owner: npt.NDArray[np.int64]
    done: npt.NDArray[np.bool_]
    ranks: int

    @classmethod
    def of_blocks(cls, count: int, ranks: int) -> Shares:
        """All blocks in equal shares, none done."""
        return cls(_owners(count, ranks), np.zeros(count, dtype=bool), ranks)

    def among(self, ranks: int) -> Shares:
        """The same with what is left shared out among `ranks`; unchanged if there were as many before."""
        if ranks == self.ranks:
            return self
        owner = self.owner.copy()
        owner[~self.done] = _owners(int((~self.done).sum()), ranks)
        return Shares(owner, self.done, ranks)

    def left(self, rank: int) -> list[int]:
        """The blocks that this rank still has to take, in order."""
        return [int(k) for k in np.flatnonzero((self.owner == rank) & ~self.done)]

    def turn(self) -> list[int]:
        """The blocks of the next turn, one of every rank that has any left."""
        return [left[0] for left in map(self.left, range(self.ranks)) if left]

    @property
    def turns(self) -> int:
        """Turns that are left."""
        return max(len(self.left(rank)) for rank in range(self.ranks))


def _owners(count: int, ranks: int) -> npt.NDArray[np.int64]:
    return np.repeat(np.arange(ranks), [len(blocks_of_rank(count, rank, ranks)) for rank in range(ranks)])


@dataclass(frozen=True)
class SavedSums:
    """The file of a run in which an evaluation keeps how far it has come; for rank 0.

    Attributes:
        directory: of the run's checkpoints.
        key: what these sums are of; those of anything else are not used.
        interval: seconds between two savings.
        message: called with what the user should know.
    """

    directory: Path
    key: str
    interval: float
    message: Callable[[str], None]

    @classmethod
    def of_run(
        cls, config: Config, fields: Fields, directory: Path, message: Callable[[str], None]
    ) -> SavedSums:
        """Those of the networks as they are, sampled as the input says."""
        whole = config.to_dict()
        said = {name: whole[name] for name in ("seed", "time", "sampler", "evaluation")}
        measured = ("observables", "expressions", "correlation_times")
        said |= {name: whole["output"][name] for name in measured}
        digest = hashlib.sha256(json.dumps([config.physics_hash(), said], sort_keys=True).encode())
        for name, values in fields.state_dict().items():
            digest.update(name.encode() + values.detach().cpu().numpy().tobytes())
        unit, number = config.output.cadence
        return cls(directory, digest.hexdigest(), number if unit == "seconds" else INTERVAL, message)

    def load(self) -> dict[str, npt.NDArray[Any]] | None:
        """What was saved last, None where there is nothing of use."""
        try:
            saved = load_sums(self.directory)
        except StoreError as error:
            self.message(f"{error}: all samples are drawn again")
            return None
        if saved is None or saved.attributes.get("key") != self.key:
            return None
        done = saved.arrays["done"]
        self.message(f"the evaluation goes on after {int(done.sum())} of {len(done)} blocks of samples")
        return saved.arrays

    def save(self, shares: Shares, total: EnsembleSums) -> None:
        """Write the sums so far; StoreError if that cannot be done."""
        arrays = {f"sums/{k:03d}": tensor.cpu().numpy() for k, tensor in enumerate(total.tensors())}
        arrays |= {"owner": shares.owner, "done": shares.done, "ranks": np.asarray(shares.ranks)}
        save_sums(self.directory, arrays, {"key": self.key})

    def remove(self) -> None:
        """The results are written: nobody needs it any more. StoreError if it cannot be removed."""
        remove_sums(self.directory)


@dataclass(frozen=True)
class Turns:
    """An evaluation on all ranks.

    Attributes:
        blocks: (K,) all of them.
        new_sums: makes empty sums.
        visit: samples a block, into these sums unless they are None; StoreError where what is kept of it
            cannot be written.
        kept: blocks of this rank whose trajectories are kept.
        world: all ranks.
        stop: asked between two turns.
        progress: called with (samples done, samples in all) of this rank.
        saved: where to keep how far it has come, the same on all ranks and used by rank 0; None: nowhere.
    """

    blocks: Sequence[SampleBlock]
    new_sums: Callable[[], EnsembleSums]
    visit: Callable[[SampleBlock, EnsembleSums | None], None]
    kept: Sequence[int]
    world: World
    stop: StopRequest
    progress: Callable[[int, int], None]
    saved: SavedSums | None = None

    def take(self) -> EnsembleSums:
        """The sums of all blocks, over all ranks.

        Raises:
            StoppedEarly: it was to stop before the last turn; what is done has been saved.
            StoreError: a file of any rank cannot be written; all ranks raise it, as agreed.
        """
        world, rank = self.world, self.world.rank
        total, part = self.new_sums(), self.new_sums()
        shares = self._resume(total)
        self._keep_again(shares)
        mine = [int(k) for k in np.flatnonzero(shares.owner == rank)]
        in_all = sum(self.blocks[k].size for k in mine)
        done = sum(self.blocks[k].size for k in mine if shares.done[k])
        saved_at, longest, turns = time.monotonic(), 0.0, shares.turns
        for turn in range(1, turns + 1):
            began, failure = time.monotonic(), None
            for k in shares.left(rank)[:1]:
                try:
                    self.visit(self.blocks[k], part)
                except StoreError as error:
                    failure = error
                done += self.blocks[k].size
                self.progress(done, in_all)
            longest = max(longest, time.monotonic() - began)
            reason, failed = self.stop.agreed_with(world, failure is not None, ahead=longest)
            if failed:
                raise_first(world, failure)
            self._add(total, part)
            shares.done[shares.turn()] = True
            stopping = reason is not None and turn < turns
            due = self.saved is not None and time.monotonic() - saved_at >= self.saved.interval
            if stopping or (turn < turns and world.broadcast_object(due)):
                self._save(shares, total)
                saved_at = time.monotonic()
            if stopping:
                raise StoppedEarly(
                    f"stopped during the evaluation, after {int(shares.done.sum())} of {len(self.blocks)} "
                    f"blocks of samples ({reason})" + ("; what is done is saved" if self.saved else "")
                )
        return total

    def _resume(self, total: EnsembleSums) -> Shares:
        """The shares at the beginning, and the sums of what was done before."""
        count, size = len(self.blocks), self.world.size
        saved = self.saved
        found = None if saved is None else self.world.on_root(saved.load)
        if found is None:
            return Shares.of_blocks(count, size)
        for k, tensor in enumerate(total.tensors()):
            tensor.copy_(torch.as_tensor(found[f"sums/{k:03d}"]))
        return Shares(found["owner"], found["done"].astype(bool), int(found["ranks"])).among(size)

    def _keep_again(self, shares: Shares) -> None:
        """Files of trajectories end with their session: write those of blocks that are done, or not ours."""
        failure = None
        for k in self.kept:
            if shares.done[k] or shares.owner[k] != self.world.rank:
                try:
                    self.visit(self.blocks[k], None)
                except StoreError as error:
                    failure = error
                    break
        raise_first(self.world, failure)

    def _add(self, total: EnsembleSums, part: EnsembleSums) -> None:
        """Add the sums of this turn over the ranks and to the total, and empty them."""
        pieces = part.tensors()
        flat = self.world.sum_(torch.cat([piece.reshape(-1) for piece in pieces]))
        news = torch.split(flat, [piece.numel() for piece in pieces])
        for whole, piece, new in zip(total.tensors(), pieces, news, strict=True):
            whole += new.view_as(whole)
            piece.zero_()

    def _save(self, shares: Shares, total: EnsembleSums) -> None:
        saved = self.saved
        if saved is not None:
            self.world.on_root(lambda: saved.save(shares, total))
