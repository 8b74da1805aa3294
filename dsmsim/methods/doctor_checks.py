"""Verdicts on what was found out about a world: pass, warn or fail, each with what to do about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from dsmsim.methods.doctor_directory import DirectoryFacts
from dsmsim.methods.doctor_training import TOLERANCE, Agreement
from dsmsim.parallel.diagnosis import UNKNOWN_SIZES, Backend, RankFacts, SumLaw, SumTime

# what is slow enough to be said; a typical epoch takes tenths of a second and sums a few times
SLOW_LATENCY, SLOW_SUMS = 5e-3, 50e6  # s, bytes/s
SLOW_FSYNC, SLOW_DISK, LITTLE_SPACE = 1.0, 10e6, 1e9  # s, bytes/s, bytes
UNEVEN = 0.5  # of the fastest rank's rate
MUST_AGREE = ("dsmsim", "torch")  # packages whose versions decide about the numbers


@dataclass(frozen=True)
class Check:
    """A verdict.

    Attributes:
        name: what was looked at.
        status: "fail" is what a run must not be started with.
        found: what is the case.
        fix: what to do; "" where nothing has to be done.
    """

    name: str
    status: Literal["pass", "warn", "fail"]
    found: str
    fix: str = ""


@dataclass(frozen=True)
class LaunchFacts:
    """What a process knows of its launcher before it meets the other ranks.

    Attributes:
        launcher, rank, size: as the variables say.
        parent: name of the program that started the process.
        variables: of launchers.
        mpi: name of mpi4py's MPI library, or why there is none, in brackets.
        copies: processes like this one on this host, counted where no launcher was found.
        tasks: tasks of the Slurm job, 0 outside one.
        seconds_left: until the Slurm job ends; None where there is no limit.
    """

    launcher: str
    rank: int
    size: int
    parent: str
    variables: dict[str, str]
    mpi: str
    copies: int
    tasks: int
    seconds_left: float | None = None


@dataclass(frozen=True)
class Findings:
    """All that was found out.

    Attributes:
        launch: of rank 0.
        ranks: facts, in order of rank.
        rates: operations per second of every rank in a product of matrices.
        sums_right: whether known numbers added up.
        sums: by backend, the measured times; nothing for one rank.
        laws: by backend, what describes the times.
        directory: the current one.
        agreement: of training on all ranks with training on one.
        blocks: of trajectories in an epoch of the input; None without an input.
    """

    launch: LaunchFacts
    ranks: Sequence[RankFacts]
    rates: Sequence[float]
    sums_right: bool
    sums: Mapping[Backend, Sequence[SumTime]]
    laws: Mapping[Backend, SumLaw]
    directory: DirectoryFacts
    agreement: Sequence[Agreement]
    blocks: int | None = None

    def hosts(self) -> dict[str, list[RankFacts]]:
        """The ranks of every host."""
        found: dict[str, list[RankFacts]] = {}
        for rank in self.ranks:
            found.setdefault(rank.host, []).append(rank)
        return found


def all_checks(findings: Findings) -> list[Check]:
    """Every verdict, in the order in which causes precede effects."""
    return [
        _world(findings),
        _mpi(findings.launch),
        _program(findings.ranks),
        *(_cores(host, ranks) for host, ranks in findings.hosts().items()),
        _devices(findings),
        *_sums(findings),
        *_directory(findings.directory),
        *_work(findings),
        *(_training(each) for each in findings.agreement),
    ]


def _world(findings: Findings) -> Check:
    launch, ranks, hosts = findings.launch, len(findings.ranks), len(findings.hosts())
    start_right = "start it with mpirun, srun or torchrun, or set RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT"
    if launch.launcher == "none":
        sizes = {name: value for name, value in launch.variables.items() if name in UNKNOWN_SIZES}
        told = [f"{name}={value}" for name, value in sizes.items() if value != "1"]
        if launch.copies > 1:
            found = f"{launch.copies} processes run this command here, each believes to be alone"
            return Check("one world", "fail", f"{found}: the world fell apart", start_right)
        if told:
            return Check("one world", "fail", f"{told[0]}, but this process is alone", start_right)
        if launch.tasks > 1:
            found = f"the Slurm job has {launch.tasks} tasks, but this process was started without them"
            return Check("one world", "warn", found, "write `srun` or `mpirun` before the command")
    by = "without a launcher" if launch.launcher == "none" else f"by {launch.launcher}"
    return Check("one world", "pass", f"{_count(ranks, 'rank')} on {_count(hosts, 'host')}, started {by}")


def _mpi(launch: LaunchFacts) -> Check:
    name, library = "MPI library", launch.mpi
    if launch.launcher != "mpirun":
        return Check(name, "pass", f"{library}: not needed, the ranks met without MPI")
    if library.startswith("("):
        fix = "pip install 'dsmsim[mpi]', or start the ranks with torchrun or srun"
        return Check(name, "fail" if launch.size > 1 else "warn", library, fix)
    started_by_open = any(name.startswith("OMPI_") for name in launch.variables)
    if started_by_open != ("Open MPI" in library):
        starter = "Open MPI's mpirun" if started_by_open else "an mpirun of the MPICH family"
        fix = "start dsmsim with the mpirun of that library, or build mpi4py with this one"
        return Check(name, "fail", f"{starter} started ranks that use {library}", fix)
    return Check(name, "pass", f"{library}, as the launcher; it finds {_count(launch.size, 'rank')}")


def _program(ranks: Sequence[RankFacts]) -> Check:
    name, first = "same program", ranks[0]
    different = [
        (package, other)
        for other in ranks
        for package, version in other.versions.items()
        if version != first.versions[package]
    ]
    if different:
        package, other = min(different, key=lambda pair: pair[0] not in MUST_AGREE)
        found = (
            f"{package} {first.versions[package] or 'missing'} on rank 0, "
            f"{other.versions[package] or 'missing'} on rank {other.rank} ({other.host})"
        )
        status: Literal["warn", "fail"] = "fail" if package in MUST_AGREE else "warn"
        return Check(name, status, found, "activate the same environment on every host")
    versions = ", ".join(f"{package} {version}" for package, version in first.versions.items() if version)
    return Check(name, "pass", versions)


def _cores(host: str, ranks: Sequence[RankFacts]) -> Check:
    cores = len({core for rank in ranks for core in rank.cores})
    threads = sum(rank.threads for rank in ranks)
    found = f"{_count(len(ranks), 'rank')}, {_count(threads, 'thread')} on {_count(cores, 'core')}"
    name = f"cores of {host}"
    if len(ranks) > cores:
        fix = "start fewer ranks, or let the launcher bind them to more (--cpus-per-task, --bind-to none)"
        return Check(name, "warn", found, fix)
    if threads > cores:
        return Check(name, "warn", found, f"set OMP_NUM_THREADS={max(1, cores // len(ranks))}")
    return Check(name, "pass", found)


def _devices(findings: Findings) -> Check:
    ranks, rates = findings.ranks, findings.rates
    kinds = sorted({rank.device_name or "CPU" for rank in ranks})
    found = f"{', '.join(kinds)}: {min(rates) / 1e9:.3g} to {max(rates) / 1e9:.3g} GFLOP/s a rank"
    idle = [rank for rank in ranks if rank.unused_gpu]
    if idle:
        fix = "install a torch for CUDA, ask the batch system for GPUs, or mean it: [run] device = 'cpu'"
        return Check("devices", "warn", f"{idle[0].host} has a GPU that is not used", fix)
    slowest = min(range(len(rates)), key=lambda rank: rates[rank])
    if rates[slowest] < UNEVEN * max(rates):
        where = f"rank {slowest} on {ranks[slowest].host} is the slowest"
        return Check("devices", "warn", f"{found}; {where}", "all ranks wait for it: look at what runs there")
    return Check("devices", "pass", found)


def _sums(findings: Findings) -> Iterator[Check]:
    if not findings.sums_right:
        fix = "do not use these hosts together: tell their administrators"
        yield Check("sums over ranks", "fail", "numbers do not add up to what they must", fix)
    for backend, law in findings.laws.items():
        name = f"sums over ranks, {backend}"
        found = f"latency {1e6 * law.latency:,.1f} us, bandwidth {law.bandwidth / 1e9:.3g} GB/s"
        if law.latency > SLOW_LATENCY or law.bandwidth < SLOW_SUMS:
            fix = (
                f"no more ranks than cores; name the fast network interface: {backend.upper()}_SOCKET_IFNAME"
            )
            yield Check(name, "warn", found, fix)
        else:
            yield Check(name, "pass", found)


def _directory(facts: DirectoryFacts) -> Iterator[Check]:
    name = f"directory ({facts.kind or 'unknown file system'})"
    if facts.error:
        yield Check(name, "fail", f"{facts.path}: {facts.error}", "work in a directory that can be written")
        return
    if facts.blind:
        found = f"{', '.join(facts.blind)} cannot see what rank 0 writes in {facts.path}"
        yield Check(name, "fail", found, "work in a directory that all hosts share")
    if not facts.renames:
        fix = "work on another file system: a kill while saving could destroy a file here"
        yield Check(name, "fail", "renaming does not replace a file", fix)
    if not facts.locks:
        fix = "never start two runs in one directory: nothing would stop the second"
        yield Check(name, "warn", "there are no locks", fix)
    speed = (
        f"{1e3 * facts.fsync_seconds:.3g} ms to save a small file, {facts.bytes_per_second / 1e6:.3g} MB/s"
    )
    slow = facts.fsync_seconds > SLOW_FSYNC or facts.bytes_per_second < SLOW_DISK
    full = facts.free < LITTLE_SPACE
    fix = "write checkpoints less often (output.checkpoint_every)" if slow else ""
    fix = "make space, or name another place with --out" if full else fix
    status: Literal["pass", "warn"] = "warn" if slow or full else "pass"
    yield Check(name, status, f"{speed}, {facts.free / 1e9:.3g} GB free", fix)


def _work(findings: Findings) -> Iterator[Check]:
    if findings.blocks is None:
        return
    ranks, found = len(findings.ranks), f"{_count(findings.blocks, 'block')} of trajectories in an epoch"
    if ranks > findings.blocks:
        fix = "start fewer ranks, raise train.trajectories and train.points, or lower train.block"
        idle = _count(ranks - findings.blocks, "rank")
        yield Check("work for every rank", "warn", f"{found}: nothing to train for {idle}", fix)
    else:
        yield Check("work for every rank", "pass", found)


def _training(agreement: Agreement) -> Check:
    name = f"two steps, {agreement.name}"
    found = f"losses agree to {agreement.loss:.1e}, parameters to {agreement.parameters:.1e}"
    if agreement.holds:
        return Check(name, "pass", found)
    found = f"losses differ by {agreement.loss:.1e}, parameters by {agreement.parameters:.1e}"
    where = f"worst on rank {agreement.rank} ({agreement.host}), allowed {TOLERANCE:.0e}"
    fix = "results of this world are wrong: look at what failed above, or at that host"
    return Check(name, "fail", f"{found}, {where}", fix)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
