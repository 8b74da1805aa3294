"""The world: all ranks of a run, its collectives, and an end that leaves no rank hanging.

    with start("auto", timeout=300.0) as world:
        total = world.sum_(partial)          # the same on every rank

Every operation that combines numbers works in place and adds up in an order that may depend on the number of
ranks. A world of one rank needs no process group, and its collectives do nothing.

How it ends. An error on one rank would leave the others waiting in a collective, so a rank that leaves
`start` with an error prints its number and the cause and ends the whole world with the error's exit code; the
ranks watch each other to that end (`vigil.py`). Errors that every rank raises alike (`StoppedEarly`,
`DivergedError`, and any marked by `World.agreed`) close the world in order and go on to the caller. All ranks
leave together.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ClassVar, NoReturn, TypeVar

import torch
import torch.distributed as dist

from dsmsim.errors import DivergedError, DsmsimError, LaunchError, StoppedEarly
from dsmsim.parallel.bootstrap import join, mpi_world
from dsmsim.parallel.devices import Facts, check_request, choose_devices, choose_threads, look_around
from dsmsim.parallel.environment import LaunchEnvironment, Launcher, launch_environment
from dsmsim.parallel.stopping import SIGNALS
from dsmsim.parallel.vigil import Verdict, Vigil

Result = TypeVar("Result")
Error = TypeVar("Error", bound=BaseException)

# Time (s) for the launcher to forward a rank's last words; it drops what it has not read when the world ends.
_FORWARDING = 0.3


@dataclass
class World:
    """The ranks that run together, and this process's place among them. Made by `start`.

    Attributes:
        rank, size: this rank, and the number of ranks.
        local_rank, local_size: the same among the ranks of this host.
        device: where this rank computes, "cpu" or "cuda:i".
        launcher: what started the ranks, "none", "mpirun", "srun" or "torchrun".
        host: name of this rank's host.
        host_cores: numbers of the processor cores that the ranks of this host may run on, together.
        agreed_errors: types of error that every rank raises at the same place, and that therefore close the
            world in order.

    Every method except `agreed` must be called by all ranks, in the same order. With more than one rank they
    raise LaunchError when a rank is gone or silent for longer than the timeout.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    launcher: Launcher = "none"
    host: str = ""
    host_cores: frozenset[int] = frozenset()
    agreed_errors: ClassVar[tuple[type[BaseException], ...]] = (StoppedEarly, DivergedError)
    _cuda_group: dist.ProcessGroup | None = None
    _agreed: BaseException | None = None
    _vigil: Vigil | None = field(default=None, repr=False)

    def sum_(self, tensor: torch.Tensor) -> torch.Tensor:
        """Add `tensor` (any shape, CPU or this rank's device) over the ranks, in place; returns it."""
        return self._reduce(tensor, dist.ReduceOp.SUM, "sum_")

    def max_(self, tensor: torch.Tensor) -> torch.Tensor:
        """The elementwise maximum of `tensor` over the ranks, in place; returns it. NaN may get lost."""
        return self._reduce(tensor, dist.ReduceOp.MAX, "max_")

    def total(self, number: float) -> float:
        """The sum of every rank's `number`."""
        return float(self.sum_(torch.tensor([number], dtype=torch.float64)))

    def broadcast_(self, tensor: torch.Tensor, root: int = 0) -> torch.Tensor:
        """Overwrite `tensor` with that of rank `root`, in place; returns it. Shape and dtype must agree."""
        return self._in_place(
            tensor, lambda data, group: dist.broadcast(data, root, group=group), "broadcast_"
        )

    def gather(self, value: Any) -> list[Any] | None:
        """A list of every rank's `value` (anything that pickles) on rank 0; None on the other ranks."""
        if self.size == 1:
            return [value]
        values: list[Any] | None = [None] * self.size if self.rank == 0 else None
        self._call(lambda: dist.gather_object(value, values, dst=0), "gather")
        return values

    def broadcast_object(self, value: Any) -> Any:
        """Rank 0's `value` (anything that pickles) on every rank."""
        if self.size == 1:
            return value
        box = [value]
        self._call(lambda: dist.broadcast_object_list(box, src=0), "broadcast_object")
        return box[0]

    def barrier(self) -> None:
        """Wait until every rank is here."""
        self.sum_(torch.zeros(1))

    def any(self, flag: bool) -> bool:
        """True on every rank if `flag` is true on at least one."""
        return bool(self.max_(torch.tensor([int(flag)], dtype=torch.uint8)).item())

    def on_root(self, work: Callable[[], Result]) -> Result:
        """Do `work` on rank 0 alone and give its result to every rank.

        A DsmsimError of `work` is raised on every rank, as agreed; so files are opened once and refused once.
        Any other error is a fault of rank 0, which ends the world.
        """
        if self.size == 1:
            return work()
        outcome: tuple[bool, Any] = (False, None)
        if self.rank == 0:
            try:
                outcome = (True, work())
            except DsmsimError as error:
                outcome = (False, error)
        done, value = self.broadcast_object(outcome)
        if done:
            result: Result = value
            return result
        raise self.agreed(value)

    def agreed(self, error: Error) -> Error:
        """Mark an error that every rank raises alike, so that `raise world.agreed(error)` ends in order."""
        self._agreed = error
        return error

    def _reduce(self, tensor: torch.Tensor, operation: Any, name: str) -> torch.Tensor:
        return self._in_place(tensor, lambda data, group: dist.all_reduce(data, operation, group=group), name)

    def _in_place(
        self, tensor: torch.Tensor, collective: Callable[[torch.Tensor, Any], object], name: str
    ) -> torch.Tensor:
        if self.size == 1:
            return tensor
        # detach() shares the storage, so that parameters can be broadcast; collectives need contiguous data.
        data = tensor.detach().contiguous()
        group = self._cuda_group if tensor.is_cuda else None
        self._call(lambda: collective(data, group), name)
        if not tensor.is_contiguous():
            tensor.detach().copy_(data)
        return tensor

    def _call(self, collective: Callable[[], object], name: str) -> None:
        if self._vigil is not None:
            self._vigil.begins(name)
        try:
            collective()
        except RuntimeError as error:
            raise LaunchError(f"{name} failed, a rank is gone or hangs: {error}") from error

    def _leaves_in_order(self, error: BaseException) -> bool:
        if isinstance(error, SystemExit) and error.code in (None, 0):
            return True
        return isinstance(error, self.agreed_errors) or error is self._agreed


@contextmanager
def start(device: str = "auto", timeout: float = 300.0) -> Iterator[World]:
    """Join the ranks that the launcher started into one World, for as long as the context is open.

    Sets torch's number of threads (this rank's share of the cores it may use) unless OMP_NUM_THREADS is set,
    and the CUDA device. After an agreed error under srun or torchrun SIGTERM stays ignored: the process is
    expected to exit with the error's code.

    Args:
        device: "auto" (CUDA where every rank has a GPU), "cpu" or "cuda".
        timeout: seconds after which a rank that waits for the others gives up.

    Raises:
        LaunchError: the ranks do not form one world, or there are not enough GPUs.
    """
    check_request(device)
    environment = launch_environment()
    if environment.problem is not None:
        raise LaunchError(environment.problem)
    threads = torch.get_num_threads()
    mpi = mpi_world(environment) if environment.launcher == "mpirun" and environment.size > 1 else None
    world = World(
        environment.rank, environment.size, launcher=environment.launcher, host=socket.gethostname()
    )
    try:
        facts = _meet(world, environment, timeout, mpi)
        _settle(world, environment, device, timeout, facts)
        yield world
    except BaseException as error:
        if world.size > 1:
            if not world._leaves_in_order(error):
                _end_the_world(world, error, mpi)
            _keep_the_exit_code(world)
            _leave_together(world, mpi)
        raise
    else:
        _leave_together(world, mpi)
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
        torch.set_num_threads(threads)


def _meet(world: World, environment: LaunchEnvironment, timeout: float, mpi: Any) -> list[Facts]:
    """Join the group and exchange the facts, in order of rank."""
    mine = look_around(environment.rank)
    if environment.size == 1:
        return [mine]
    meeting = join(environment, timeout, mpi)
    facts: list[Any] = [None] * environment.size
    world._call(lambda: dist.all_gather_object(facts, mine), "the first exchange")
    ranks = [fact.rank for fact in facts]
    if ranks != list(range(environment.size)):
        raise LaunchError(f"the world has the ranks {ranks}, not 0 to {environment.size - 1}")
    try:
        store = meeting.connect(timeout)
        world._vigil = Vigil(store, meeting.keeper, world.rank, [fact.host for fact in facts], timeout)
    except RuntimeError as error:
        raise LaunchError(f"the ranks' store on {meeting.host}:{meeting.port} is gone: {error}") from error
    return facts


def _settle(
    world: World, environment: LaunchEnvironment, device: str, timeout: float, facts: list[Facts]
) -> None:
    """Fill in host, device and threads."""
    mine = facts[world.rank]
    here = [fact.rank for fact in facts if fact.host == mine.host]
    world.host_cores = frozenset().union(*(facts[rank].cores for rank in here))
    world.local_rank = here.index(mine.rank) if environment.local_rank is None else environment.local_rank
    world.local_size = len(here) if environment.local_size is None else environment.local_size
    try:
        world.device = torch.device(choose_devices(device, facts)[world.rank])
    except LaunchError as error:
        raise world.agreed(error) from None
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(choose_threads(facts, world.rank))
    if world.device.type == "cuda":
        torch.cuda.set_device(world.device)
        if world.size > 1:
            world._cuda_group = dist.new_group(backend="nccl", timeout=timedelta(seconds=timeout))


def _keep_the_exit_code(world: World) -> None:
    """Let every rank leave with its own exit code after an agreed error.

    `srun --kill-on-bad-exit` and torchrun send SIGTERM to the other ranks as soon as the first one leaves
    with a code other than 0, and then report that signal: 143 where 75 asks for the run to be resumed.
    """
    if world.launcher in ("srun", "torchrun"):
        _ignore(signal.SIGTERM)


def _ignore(*numbers: signal.Signals) -> None:
    if threading.current_thread() is threading.main_thread():
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)


def _leave_together(world: World, mpi: Any) -> None:
    if world._vigil is not None:
        try:
            world._vigil.leave()
        except BaseException as error:
            _end_the_world(world, error, mpi)


def _end_the_world(world: World, error: BaseException, mpi: Any) -> NoReturn:
    """Say which rank failed and why, unless another one did first; end every rank with the exit code."""
    _ignore(*SIGNALS)  # a launcher that lost a rank sends them to the others, which are to say what they know
    cause = f"{type(error).__name__}: {error}"
    code = error.code if isinstance(error, SystemExit) else getattr(error, "exit_code", 1)
    if not isinstance(code, int) or code == 0:
        code = 1  # leaving alone is a failure, whatever the error says
    verdict = Verdict(world.rank, cause, code)
    if world._vigil is not None:
        verdict = world._vigil.decide(cause, code, isinstance(error, LaunchError))
    if verdict.rank == world.rank:
        if not isinstance(error, DsmsimError | SystemExit | KeyboardInterrupt):
            traceback.print_exception(error)
        where = f"rank {world.rank} of {world.size} on {world.host}"
        print(f"dsmsim: {where} ends the run: {verdict.cause}", file=sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # a closed pipe must not keep the world alive
            stream.flush()
    if world._vigil is not None:
        world._vigil.wait_until_heard(verdict)
    time.sleep(_FORWARDING)
    if mpi is not None:
        mpi.Abort(verdict.code)
    os._exit(verdict.code)
