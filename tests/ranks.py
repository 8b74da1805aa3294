"""Several ranks inside one process: one thread each, with collectives that meet at a barrier.

Only one of them computes at a time, because forward-mode derivatives of torch are not made for threads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import torch

from dsmsim.parallel import World

Result = TypeVar("Result")
PATIENCE = 60.0  # s that a rank waits for the others


class ThreadWorld(World):
    """A rank of `run_ranks`."""

    table: list[Any]
    barrier_of_all: threading.Barrier
    turn: threading.Lock

    def _exchange(self, value: Any) -> list[Any]:
        self._meet()
        self.table[self.rank] = value
        self._meet()
        return list(self.table)

    def _meet(self) -> None:
        self.turn.release()
        try:
            self.barrier_of_all.wait()
        finally:
            self.turn.acquire()

    def _fold(self, tensor: torch.Tensor, combine: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        everyone = torch.stack(self._exchange(tensor.detach().clone()))
        tensor.detach().copy_(combine(everyone))
        return tensor

    def sum_(self, tensor: torch.Tensor) -> torch.Tensor:
        return self._fold(tensor, lambda everyone: everyone.sum(0))

    def max_(self, tensor: torch.Tensor) -> torch.Tensor:
        return self._fold(tensor, lambda everyone: everyone.amax(0))

    def broadcast_(self, tensor: torch.Tensor, root: int = 0) -> torch.Tensor:
        return self._fold(tensor, lambda everyone: everyone[root])

    def gather(self, value: Any) -> list[Any] | None:
        everyone = self._exchange(value)
        return everyone if self.rank == 0 else None

    def broadcast_object(self, value: Any) -> Any:
        return self._exchange(value)[0]


def run_ranks(size: int, work: Callable[[World], Result]) -> list[Result]:
    """`work(world)` on `size` ranks at once; the results in order of rank, or the first error."""
    table: list[Any] = [None] * size
    barrier, turn = threading.Barrier(size, timeout=PATIENCE), threading.Lock()

    def rank(number: int) -> Result:
        world = ThreadWorld(number, size)
        world.table, world.barrier_of_all, world.turn = table, barrier, turn
        try:
            with turn:
                return work(world)
        except BaseException:
            barrier.abort()
            raise

    with ThreadPoolExecutor(size) as pool:
        return _results([pool.submit(rank, number) for number in range(size)])


def _results(futures: Iterable[Any]) -> list[Any]:
    errors = [error for future in futures if (error := future.exception()) is not None]
    for error in errors:
        if not isinstance(error, threading.BrokenBarrierError):
            raise error
    return [future.result() for future in futures]
