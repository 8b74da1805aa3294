"""What a launcher really gave, and how fast it is: facts of every rank, and measured sums and products.

A sum over P ranks is described by two numbers, measured once and valid for other P:

    t(bytes, P) = latency * steps(P) + 2 (P - 1) / P * bytes / bandwidth

| backend | used for          | steps(P)                                                                |
|---------|-------------------|-------------------------------------------------------------------------|
| `gloo`  | what is on CPUs   | P - 1: every sum goes round a ring                                      |
| `nccl`  | what is on GPUs   | ceil(log2 P): small sums go up and down a tree                          |

With two ranks steps is 1 and the factor of the bytes too, so the two numbers are what a pair of ranks sees.
Source of the second term: Patarasu, Yuan, "Bandwidth optimal all-reduce algorithms for clusters of
workstations", J. Parallel Distrib. Comput. 69, 117 (2009).
"""

from __future__ import annotations

import math
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import least_squares

import dsmsim
from dsmsim.parallel.environment import LaunchEnvironment
from dsmsim.parallel.world import World

Backend = Literal["gloo", "nccl"]

SIZES = tuple(16 * 8**k for k in range(8))  # bytes, to 32 MB
BATCH = 4  # sums in a row that are timed together
FEWEST, MOST, SECONDS = 5, 15, 0.5  # repeats of a size, and how long they may take
PRODUCT = {"cpu": 1024, "cuda": 4096}  # rows of the matrices whose product is timed
TOGETHER = 60.0  # s between the starts of processes that were started together
# per-process variables of launchers that `environment.py` does not know, with the number of processes
UNKNOWN_SIZES = ("FLUX_JOB_SIZE", "JSM_NAMESPACE_SIZE", "MV2_COMM_WORLD_SIZE")
_PREFIXES = ("OMPI_COMM_WORLD_", "PMI_", "PMIX_RANK", "MPI_LOCAL", "SLURM_STEP_", "TORCHELASTIC_RUN_ID")
_NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "SLURM_JOB_ID", "SLURM_PROCID")
_PACKAGES = ("dsmsim", "torch", "numpy", "scipy", "h5py", "mpi4py")
_ASK_MPI = "from mpi4py import MPI; print(MPI.Get_library_version())"


@dataclass(frozen=True)
class SumLaw:
    """Time of a sum over the ranks.

    Attributes:
        latency: of a sum of nothing between two ranks, s.
        bandwidth: of a sum of very much between two ranks, bytes/s.
        backend: "gloo" or "nccl", which says how the latency grows.
    """

    latency: float
    bandwidth: float
    backend: Backend

    def steps(self, ranks: int) -> int:
        """How many times the latency counts."""
        return ranks - 1 if self.backend == "gloo" else math.ceil(math.log2(ranks))

    def seconds(self, size: float, ranks: int) -> float:
        """Time (s) of a sum of `size` bytes over so many ranks; 0 for one."""
        return self.latency * self.steps(ranks) + 2.0 * (ranks - 1) / ranks * size / self.bandwidth

    def broadcast_seconds(self, size: float, ranks: int) -> float:
        """Time (s) until all ranks have `size` bytes of one, passed on in a tree; 0 for one rank."""
        return math.ceil(math.log2(ranks)) * (self.latency + size / self.bandwidth)


@dataclass(frozen=True)
class SumTime:
    """A measured sum.

    Attributes:
        size: bytes of the vector.
        seconds: median over repeats, on the rank where it is largest.
        spread: half the distance of the quartiles of the repeats over the median, where it is largest.
    """

    size: int
    seconds: float
    spread: float


@dataclass(frozen=True)
class RankFacts:
    """What one rank is.

    Attributes:
        rank, host, local_rank: its place.
        device: "cpu" or "cuda:i".
        device_name, device_memory: of that GPU, memory in bytes; "" and 0 on CPUs.
        cores: numbers of the cores that it may run on.
        threads: of torch.
        unused_gpu: whether the host has an NVIDIA GPU and this rank computes on the CPU.
        versions: of Python and of packages, "" where one is not installed.
        source: directory of the program.
    """

    rank: int
    host: str
    local_rank: int
    device: str
    device_name: str
    device_memory: int
    cores: tuple[int, ...]
    threads: int
    unused_gpu: bool
    versions: dict[str, str]
    source: str


def rank_facts(world: World) -> RankFacts:
    """The facts of this rank."""
    name, memory = "", 0
    if world.device.type == "cuda":
        properties = torch.cuda.get_device_properties(world.device)
        name, memory = properties.name, properties.total_memory
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    versions = {"python": platform.python_version()} | {each: _version(each) for each in _PACKAGES}
    return RankFacts(
        rank=world.rank,
        host=world.host or platform.node(),
        local_rank=world.local_rank,
        device=str(world.device),
        device_name=name,
        device_memory=memory,
        cores=tuple(sorted(cores)),
        threads=torch.get_num_threads(),
        unused_gpu=world.device.type == "cpu" and Path("/dev/nvidia0").exists(),
        versions=versions,
        source=str(Path(dsmsim.__file__).resolve().parent),
    )


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def backends_of(world: World) -> dict[Backend, torch.device]:
    """What sums vectors of these ranks, and where they lie: gloo on hosts, and nccl on GPUs."""
    host: dict[Backend, torch.device] = {"gloo": torch.device("cpu")}
    return host | ({"nccl": world.device} if world.device.type == "cuda" else {})


def launcher_variables() -> dict[str, str]:
    """The variables by which launchers tell a process its place, as they are."""
    return {
        name: value
        for name, value in sorted(os.environ.items())
        if name in _NAMES or name in UNKNOWN_SIZES or name.startswith(_PREFIXES)
    }


def mpi_library(environment: LaunchEnvironment) -> str:
    """The first line of what mpi4py's MPI library says of itself, or why there is none, in brackets.

    Outside mpirun another process asks: on some machines an MPI library that no launcher started ends the
    process that loads it.
    """
    if environment.launcher == "mpirun":
        try:
            from mpi4py import MPI

            text = str(MPI.Get_library_version())
        except (ImportError, RuntimeError) as error:
            return f"(mpi4py cannot be loaded: {error})"
        return _first_line(text)
    if not _version("mpi4py"):
        return "(mpi4py is not installed)"
    plain = {name: value for name, value in os.environ.items() if name not in launcher_variables()}
    plain = {name: value for name, value in plain.items() if not name.startswith(("PMI", "OMPI_", "SLURM_"))}
    try:
        done = subprocess.run(
            [sys.executable, "-c", _ASK_MPI], capture_output=True, text=True, timeout=30, env=plain
        )
    except (OSError, subprocess.SubprocessError) as error:
        return f"(mpi4py cannot be asked: {error})"
    if done.returncode != 0:
        return f"(mpi4py cannot be loaded: {(done.stderr.strip().splitlines() or ['no message'])[-1]})"
    return _first_line(done.stdout)


def _first_line(text: str) -> str:
    """Of a library's version, with blanks and closing zeros made plain."""
    return " ".join(text.replace("\0", "").strip().splitlines()[0].split())


def parent_name() -> str:
    """Name of the program that started this process; "" where it cannot be found out."""
    with suppress(OSError):
        return Path(f"/proc/{os.getppid()}/comm").read_text().strip()
    return ""


def copies_on_this_host() -> int:
    """Processes of this user here, this one included, with its command line, directory and hour of birth.

    More than one where no launcher says so: a world that fell apart. 1 where there is no /proc.
    """
    with suppress(OSError):
        mine = _likeness("self")
        others = [name for name in os.listdir("/proc") if name.isdigit() and name != str(os.getpid())]
        return 1 + sum(_is_copy(mine, other) for other in others)
    return 1


def _likeness(process: str) -> tuple[tuple[object, ...], float]:
    """(owner, command, directory), and the start in s since the machine's."""
    place = Path("/proc") / process
    command = (place / "cmdline").read_bytes()
    # the name, in brackets, may hold anything; the start is the 22nd field, the 20th after it
    ticks = int((place / "stat").read_text().rpartition(")")[2].split()[19])
    return (place.stat().st_uid, command, os.readlink(place / "cwd")), ticks / os.sysconf("SC_CLK_TCK")


def _is_copy(mine: tuple[tuple[object, ...], float], other: str) -> bool:
    with suppress(OSError):  # it has ended, or belongs to somebody else
        like, start = _likeness(other)
        return like == mine[0] and abs(start - mine[1]) < TOGETHER
    return False


def sums_are_right(world: World) -> bool:
    """Whether vectors of known whole numbers add up exactly, on every rank; called by all ranks."""
    wrong = False
    for device in backends_of(world).values():
        for size in SIZES:
            base = torch.arange(size // 4, device=device, dtype=torch.float32) % 7
            found = world.sum_(base + world.rank)
            expected = world.size * base + world.size * (world.size - 1) // 2
            wrong |= not bool((found == expected).all())
    return not world.any(wrong)


def measure_sums(world: World, device: torch.device, sizes: Sequence[int] = SIZES) -> list[SumTime]:
    """Time sums of vectors that lie on a device; called by all ranks, who get the same numbers.

    Empty for one rank, which sends nothing.
    """
    return [_measured(world, device, size) for size in sizes] if world.size > 1 else []


def _measured(world: World, device: torch.device, size: int) -> SumTime:
    vector = torch.zeros(max(1, size // 4), device=device)

    def batch() -> float:
        _wait(device)
        began = time.perf_counter()
        for _ in range(BATCH):
            world.sum_(vector)
        _wait(device)
        return (time.perf_counter() - began) / BATCH

    batch()  # connections are made at the first use
    # the slowest rank's clock decides, so that all do the same number
    first = float(world.max_(torch.tensor([batch()], dtype=torch.float64)))
    repeats = min(MOST, max(FEWEST, int(SECONDS / (BATCH * first))))
    times = [batch() for _ in range(repeats)]
    median = statistics.median(times)
    low, _, high = statistics.quantiles(times, n=4)
    found = torch.tensor([median, (high - low) / (2.0 * median)], dtype=torch.float64)
    median, spread = world.max_(found).tolist()
    return SumTime(size, median, spread)


def fit_sums(times: Sequence[SumTime], ranks: int, backend: Backend) -> SumLaw:
    """Latency and bandwidth that describe measured sums best: least squares of logarithms.

    Args:
        times: of at least two sizes.
        ranks: over which they were measured, at least 2.
    """
    unit = SumLaw(1.0, 1.0, backend)
    steps, share = unit.steps(ranks), 2.0 * (ranks - 1) / ranks
    sizes = np.array([float(each.size) for each in times])
    seconds = np.array([each.seconds for each in times])

    def deviations(logs: NDArray[np.float64]) -> NDArray[np.float64]:
        latency, per_byte = np.exp(logs)
        return np.asarray(np.log((steps * latency + share * sizes * per_byte) / seconds))

    start = np.log([seconds.min() / steps, seconds[-1] / (share * sizes[-1])])
    latency, per_byte = np.exp(least_squares(deviations, start, loss="soft_l1", f_scale=0.1).x)
    return SumLaw(float(latency), 1.0 / float(per_byte), backend)


def product_rate(device: torch.device) -> float:
    """Operations per second (multiplications and additions) of a product of matrices in single precision."""
    size = PRODUCT[device.type]
    a, b = torch.ones(size, size, device=device), torch.ones(size, size, device=device)
    times = [_timed(lambda: a @ b, device) for _ in range(4)]
    return 2.0 * size**3 / statistics.median(times[1:])


def _timed(work: Callable[[], object], device: torch.device) -> float:
    _wait(device)
    began = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - began


def _wait(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
