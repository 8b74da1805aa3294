"""How separately started processes become one world: the gloo group that every collective stands on.

| launcher   | how the ranks find each other                                                           |
|------------|-----------------------------------------------------------------------------------------|
| `torchrun` | torch's `env://`                                                                        |
| `mpirun`   | rank 0 opens a store on a free port and broadcasts its address over MPI                 |
| `srun`     | the Slurm variables: the step's first host, a port made from job and step number        |

Two launchers can start N processes that each believe to be alone (plain `srun` without PMI; `mpirun` of one
MPI with the library of another), which would compute the same thing N times and write it to one file. So the
size that MPI reports is compared with the size that the launcher announced, and `srun` is never left to MPI.

A host name that does not resolve makes torch retry for ever, so every name is resolved before it is used.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, NamedTuple

import torch.distributed as dist
from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined,unused-ignore]

from dsmsim.errors import LaunchError
from dsmsim.parallel.environment import LaunchEnvironment, first_node

# Below Linux's range of ports for outgoing connections (32768 and above).
_FIRST_PORT, _PORTS = 20000, 12000

# The store of torchrun outlives a world: worlds one after the other need keys of their own.
_worlds = itertools.count()


class Meeting(NamedTuple):
    """The store where the ranks met.

    Attributes:
        host, port: its address, as this rank sees it.
        keeper: the launcher in whose process it lives; None for rank 0.
    """

    host: str
    port: int
    keeper: str | None

    def connect(self, timeout: float) -> Any:
        """A connection of its own, with keys of this world alone; all ranks must ask equally often.

        Raises:
            RuntimeError: the store does not answer.
        """
        # a worker that torchrun has restarted counts from 0 again
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        store = TCPStore(self.host, self.port, None, False, timedelta(seconds=timeout), False)
        return PrefixStore(f"dsmsim/{attempt}/{next(_worlds)}/", store)


def mpi_world(environment: LaunchEnvironment) -> Any:
    """MPI's communicator of all ranks, once it has proved to be the world that the launcher announced.

    Returns:
        mpi4py's COMM_WORLD.

    Raises:
        LaunchError: mpi4py or its MPI library is missing, or the world fell apart. Every rank finds the same.
    """
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        raise LaunchError(
            f"mpirun started {environment.size} ranks, but mpi4py cannot be loaded ({error}): "
            "install it with `pip install 'dsmsim[mpi]'`, or start the ranks with torchrun or srun"
        ) from error
    world = MPI.COMM_WORLD
    if world.Get_size() != environment.size:
        library = MPI.Get_library_version().strip().splitlines()[0]
        raise LaunchError(
            f"the world fell apart: the launcher announced {environment.size} ranks, but MPI finds "
            f"{world.Get_size()}. mpi4py uses {library!r}: start dsmsim with the mpirun of that library, "
            "with torchrun or with srun"
        )
    return world


def join(environment: LaunchEnvironment, timeout: float, mpi: Any = None) -> Meeting:
    """Make the ranks one gloo process group, torch's default group.

    Args:
        environment: this process's place; its size is at least 2.
        timeout: seconds that a rank waits for the others, now and in every later collective.
        mpi: mpi4py's communicator of all ranks under `mpirun`.

    Returns:
        Where their store is.

    Raises:
        LaunchError: the ranks did not come together in time, or an address cannot be resolved.
    """
    limit = timedelta(seconds=timeout)
    with _loopback_if_one_host(environment):
        try:
            if environment.launcher == "torchrun":
                require_resolvable(os.environ.get("MASTER_ADDR", ""), "MASTER_ADDR")
                dist.init_process_group("gloo", init_method="env://", timeout=limit)
                agent = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
                keeper = "torchrun" if agent else None
                return Meeting(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), keeper)
            store = _store_over_mpi(mpi, limit) if mpi is not None else _store_over_slurm(environment, limit)
            dist.init_process_group(
                "gloo", store=store, rank=environment.rank, world_size=environment.size, timeout=limit
            )
            return Meeting(store.host, store.port, None)
        # torch's own errors (DistNetworkError and its kin, a timeout) are all RuntimeErrors; a malformed port
        # is a ValueError.
        except (RuntimeError, ValueError, OSError) as error:
            raise LaunchError(
                f"the {environment.size} ranks started by {environment.launcher} did not come together "
                f"within {timeout:g} s: {error}"
            ) from error


def require_resolvable(host: str, source: str) -> None:
    """Raise LaunchError unless `host`, which came from `source`, has an address."""
    if not _resolves(host):
        raise LaunchError(f"the host name {host!r} (from {source}) has no address on {socket.gethostname()}")


def _resolves(host: str) -> bool:
    if not host:
        return False
    try:
        socket.getaddrinfo(host, None)
    except OSError:
        return False
    return True


def _store_over_mpi(mpi: Any, limit: timedelta) -> TCPStore:
    rank, size = mpi.Get_rank(), mpi.Get_size()
    one_host = len(set(mpi.allgather(socket.gethostname()))) == 1
    host, port, store = "", 0, None
    if rank == 0:
        host = "127.0.0.1" if one_host else socket.gethostname()
        # Port 0 lets the system choose a free one, with no moment between choosing and using it.
        store = TCPStore("127.0.0.1", 0, size, True, limit, False)
        port = store.port
    host, port = mpi.bcast((host, port), root=0)
    lost = [name for name in mpi.allgather("" if _resolves(host) else socket.gethostname()) if name]
    if lost:
        raise LaunchError(
            f"the host name {host!r} of rank 0 has no address on {', '.join(sorted(set(lost)))}"
        )
    return store if store is not None else TCPStore(host, port, size, False, limit)


def _store_over_slurm(environment: LaunchEnvironment, limit: timedelta) -> TCPStore:
    step = f"{os.environ.get('SLURM_JOB_ID', '0')}.{os.environ.get('SLURM_STEP_ID', '0')}"
    host, port = slurm_address(dict(os.environ))
    if environment.rank == 0:
        try:
            store = TCPStore("127.0.0.1", port, environment.size, True, limit, False)
        except RuntimeError as error:
            raise LaunchError(
                f"rank 0 cannot open port {port} on {socket.gethostname()}: "
                f"set MASTER_PORT to a free one ({error})"
            ) from error
        store.set("dsmsim/step", step)
        return store
    require_resolvable(host, "the Slurm variables; set MASTER_ADDR to the address of rank 0's host")
    store = TCPStore(host, port, environment.size, False, limit)
    answer = store.get("dsmsim/step").decode()
    if answer != step:
        raise LaunchError(
            f"port {port} on {host} belongs to Slurm step {answer}, not {step}: "
            "set MASTER_PORT to a free port"
        )
    return store


def slurm_address(variables: dict[str, str]) -> tuple[str, int]:
    """Host and port where the ranks of a Slurm step meet; MASTER_ADDR and MASTER_PORT overrule it.

    Rank 0 runs on the first host of the step. Where node names are no host names, the address from which the
    step was launched is tried: it is right inside batch scripts, which run on the first host themselves.
    """
    job, step = variables.get("SLURM_JOB_ID", "0"), variables.get("SLURM_STEP_ID", "0")
    port = _FIRST_PORT + (int(job) * 31 + int(step)) % _PORTS
    if variables.get("MASTER_PORT"):
        port = int(variables["MASTER_PORT"])
    if variables.get("MASTER_ADDR"):
        return variables["MASTER_ADDR"], port
    if variables.get("SLURM_STEP_NUM_NODES") == "1":
        return "127.0.0.1", port
    host = first_node(variables.get("SLURM_STEP_NODELIST") or variables.get("SLURM_NODELIST", ""))
    launch = variables.get("SLURM_LAUNCH_NODE_IPADDR", "")
    return (launch if launch and not _resolves(host) else host), port


@contextlib.contextmanager
def _loopback_if_one_host(environment: LaunchEnvironment) -> Iterator[None]:
    """Let gloo use the loopback interface when all ranks share a host.

    Otherwise gloo looks up the host's own name, which on a laptop may point to an address that is no longer
    there.
    """
    name = "GLOO_SOCKET_IFNAME"
    wanted = environment.local_size == environment.size and name not in os.environ
    if not wanted or "lo" not in [interface for _, interface in socket.if_nameindex()]:
        yield
        return
    os.environ[name] = "lo"
    try:
        yield
    finally:
        del os.environ[name]
