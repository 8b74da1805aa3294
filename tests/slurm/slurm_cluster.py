"""A Slurm of two nodes on this host, in a directory of its own, for as long as a context is open.

Controller, node daemons and munge run as children of the test, on free ports, with their own key and socket:
no installed configuration is read, and nothing outlives the context. Needs root, because Slurm's daemons do.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from launchers import clean_environment

PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "srun", "squeue", "scontrol", "scancel", "sinfo")
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
START = 60  # s, for the nodes to become idle
OVER = {"COMPLETED", "FAILED", "TIMEOUT", "CANCELLED", "NODE_FAIL", "DEADLINE", "OUT_OF_MEMORY"}

CONFIGURATION = """\
ClusterName=test
SlurmctldHost=localhost(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={here}/munge.socket,cred_expire=5
SlurmctldPort={controller}
StateSaveLocation={here}/state
SlurmdSpoolDir={here}/spool.%n
SlurmctldPidFile={here}/slurmctld.pid
SlurmdPidFile={here}/slurmd.%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,sched_interval=2,bf_interval=1
ReturnToService=2
InactiveLimit=0
KillWait=10
MailProg=/bin/true
PropagateResourceLimits=NONE
SlurmdParameters=config_overrides
NodeName=n1 NodeHostname=localhost NodeAddr=127.0.0.1 Port={first} {node}
NodeName=n2 NodeHostname=localhost NodeAddr=127.0.0.1 Port={second} {node}
PartitionName=main Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
"""
NODE = "CPUs=4 Boards=1 SocketsPerBoard=1 CoresPerSocket=4 ThreadsPerCore=1 RealMemory=4000 State=UNKNOWN"


def why_not() -> str | None:
    """Why no cluster can be started here; None if one can."""
    if os.geteuid() != 0:
        return "Slurm's daemons need root"
    missing = [name for name in PROGRAMS if shutil.which(name, path=_PATH) is None]
    return f"{', '.join(missing)} not installed (apt-get install slurm-wlm munge)" if missing else None


@dataclass
class Cluster:
    """A running cluster.

    Attributes:
        here: its directory.
        variables: added to the environment of every command and job.
    """

    here: Path
    variables: dict[str, str] = field(default_factory=dict)

    def environment(self, **variables: str) -> dict[str, str]:
        """The environment of a user of this cluster."""
        own = {"SLURM_CONF": str(self.here / "slurm.conf")}
        return clean_environment(**(self.variables | own | variables))

    def command(self, *arguments: object, cwd: Path | None = None, **variables: str) -> str:
        """Run a command of Slurm, or one that calls them, and return what it prints.

        Raises:
            AssertionError: it fails, or takes longer than a minute.
        """
        done = subprocess.run(
            list(map(str, arguments)),
            env=self.environment(**variables),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def submit(self, *arguments: object, cwd: Path, **variables: str) -> str:
        """`sbatch ARGUMENTS`; the job's number."""
        return self.command("sbatch", "--parsable", *arguments, cwd=cwd, **variables).split(";")[0]

    def job(self, number: str) -> dict[str, str]:
        """What `scontrol show job` tells of a job; of an array its first line."""
        text = self.command("scontrol", "--oneliner", "show", "job", number)
        return dict(re.findall(r"(\S+?)=(\S*)", text.splitlines()[0]))

    def states(self, number: str) -> list[str]:
        """The state of a job, or of every task of an array."""
        text = self.command("scontrol", "--oneliner", "show", "job", number)
        return re.findall(r"JobState=(\w+)", text)

    def wait(self, number: str, seconds: float = 180) -> list[str]:
        """Wait until a job and all tasks of an array are over; their states."""

        def over() -> bool:
            return all(state in OVER for state in self.states(number))

        wait_until(over, seconds, lambda: f"job {number}: {self.states(number)}")
        return self.states(number)

    def cancel_everything(self) -> None:
        """Remove every job, and wait until its processes are gone."""
        with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
            self.command("scancel", "--user", "root")
            wait_until(lambda: self.command("squeue", "--noheader") == "", 30)


def wait_until(condition: Callable[[], bool], seconds: float, told: Callable[[], str] = lambda: "") -> None:
    """Wait until `condition()` is true; `told()` says what there is instead."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} s in vain; {told()}"
        time.sleep(0.1)


@contextlib.contextmanager
def running_cluster(here: Path, **variables: str) -> Iterator[Cluster]:
    """Start a cluster in the directory `here`, whose path must be short enough for a socket.

    Raises:
        AssertionError: its nodes do not become idle; with the end of the daemons' logs.
    """
    cluster = Cluster(here, variables)
    here.chmod(0o755)
    for name in ("state", "spool.n1", "spool.n2"):
        (here / name).mkdir()
    (here / "munge.key").write_bytes(secrets.token_bytes(128))
    (here / "munge.key").chmod(0o600)
    (here / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\nCgroupAutomount=no\n")
    controller, first, second = free_ports(3)
    settings = CONFIGURATION.format(here=here, controller=controller, first=first, second=second, node=NODE)
    (here / "slurm.conf").write_text(settings)
    with contextlib.ExitStack() as stack:
        stack.callback(kill_leftovers, here)
        own = [f"--{name}={here}/munge.{name}" for name in ("socket", "pid-file", "log-file", "seed-file")]
        stack.enter_context(
            _daemon(cluster, "munged", "--foreground", "--force", f"--key-file={here}/munge.key", *own)
        )
        wait_until((here / "munge.socket").exists, START, lambda: logs(here))
        stack.enter_context(_daemon(cluster, "slurmctld", "-D"))
        for node in ("n1", "n2"):
            stack.enter_context(_daemon(cluster, "slurmd", "-D", "-N", node))
        stack.callback(cluster.cancel_everything)
        wait_until(lambda: _idle_nodes(cluster) == "2", START, lambda: logs(here))
        yield cluster


def _idle_nodes(cluster: Cluster) -> str:
    try:
        return cluster.command("sinfo", "--noheader", "--states", "idle", "--format", "%D")
    except AssertionError:  # the controller does not answer yet
        return ""


@contextlib.contextmanager
def _daemon(cluster: Cluster, *command: str) -> Iterator[None]:
    log = cluster.here / f"{'-'.join(part for part in command[:4] if '=' not in part)}.log"
    program = shutil.which(command[0], path=_PATH)
    assert program is not None
    # the kernel ends the daemon if this process is killed before it can
    tied = ["setpriv", "--pdeathsig", "TERM", program, *command[1:]]
    with log.open("wb") as stream:
        process = subprocess.Popen(
            tied, env=cluster.environment(), stdin=subprocess.DEVNULL, stdout=stream, stderr=stream
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def logs(here: Path) -> str:
    """The last lines of the daemons' logs."""
    tails = [
        f"{log.name}: " + "\n".join(log.read_text(errors="replace").splitlines()[-8:])
        for log in sorted(here.glob("*.log"))
    ]
    return "\n".join(tails)


def free_ports(count: int) -> list[int]:
    """Ports of this host on which nobody listens."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("", 0))
        return [each.getsockname()[1] for each in sockets]


def processes_of(here: Path) -> list[int]:
    """Processes that carry this cluster's configuration in their environment: daemons, steps and tasks."""
    mark = f"SLURM_CONF={here}/slurm.conf".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
    return found


def kill_leftovers(here: Path) -> None:
    """Kill what outlived its daemon, such as the keeper of a step."""
    for number in processes_of(here):
        with contextlib.suppress(OSError):
            os.kill(number, signal.SIGKILL)
