"""Where results come from: the attributes of the group `provenance`, enough to repeat a run."""

from __future__ import annotations

import datetime
import os
import platform
import shlex
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py

if TYPE_CHECKING:
    from dsmsim.config import Config

_PACKAGES = ("torch", "numpy", "scipy", "h5py", "mpi4py")
_SLURM = ("JOB_ID", "ARRAY_JOB_ID", "ARRAY_TASK_ID", "STEP_ID", "JOB_NAME", "JOB_NODELIST", "RESTART_COUNT")


@dataclass(frozen=True)
class Stopwatch:
    """When a piece of work began.

    Attributes:
        wall: `time.time()` then, s.
        cpu: CPU seconds that this process, with all its threads, had used by then.
    """

    wall: float
    cpu: float

    @classmethod
    def start(cls) -> Stopwatch:
        """Now."""
        return cls(time.time(), time.process_time())

    @property
    def cpu_seconds(self) -> float:
        """CPU seconds that this process has used since."""
        return time.process_time() - self.cpu


def provenance(
    config: Config,
    *,
    world_size: int = 1,
    launcher: str = "none",
    hosts: Sequence[str] = (),
    devices: Sequence[str] = (),
    started: Stopwatch | float | None = None,
    cpu_seconds: float | None = None,
    solve_cpu_seconds: float | None = None,
    input_text: str = "",
    changes: Sequence[str] = (),
    variables: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The attributes of the group `provenance`; what is unknown is left out.

    Args:
        config: the run's input.
        world_size: number of ranks.
        launcher: what started them.
        hosts: of all ranks, in order of rank; this host by default.
        devices: of all ranks, in order of rank.
        started: when this solution was begun, for its wall-clock and CPU time; of a plain `time.time()` only
            the former is known.
        cpu_seconds: of this solution, all ranks together; by default those of this process since `started`.
        solve_cpu_seconds: what training or propagation took of them, without evaluation.
        input_text: the input file as given.
        changes: of the input on the way, that changed the training.
        variables: the environment, `os.environ` by default.
    """
    if variables is None:
        variables = os.environ
    now = time.time()
    if isinstance(started, Stopwatch):
        cpu_seconds = started.cpu_seconds if cpu_seconds is None else cpu_seconds
        started = started.wall
    values: dict[str, Any] = {
        "title": config.title,
        "seed": config.seed,
        "physics_hash": config.physics_hash(),
        "input": input_text or None,
        "resolved_input": config.to_toml(),
        "changes": list(changes) or None,
        "command": shlex.join(sys.argv),
        "finished": datetime.datetime.fromtimestamp(now, datetime.UTC).isoformat(timespec="seconds"),
        "wall_seconds": None if started is None else now - started,
        "cpu_seconds": cpu_seconds,
        "solve_cpu_seconds": solve_cpu_seconds,
        "world_size": world_size,
        "launcher": launcher,
        "hosts": list(hosts) or [socket.gethostname()],
        "devices": list(devices) or None,
        "platform": platform.platform(),
        "python_version": platform.python_version(),
        "dsmsim_version": _version("dsmsim"),
        "hdf5_version": h5py.version.hdf5_version,
        **{f"{name}_version": _version(name) for name in _PACKAGES},
        **_git_state(Path(__file__).resolve().parents[2]),
        **{f"slurm_{name.lower()}": variables.get(f"SLURM_{name}") for name in _SLURM},
    }
    return {name: value for name, value in values.items() if value is not None}


def stored_config(attributes: Mapping[str, Mapping[str, Any]]) -> Config | None:
    """The input of a results.h5, from its attributes by group; None where it does not say."""
    from dsmsim.config import parse_config

    text = attributes.get("provenance", {}).get("resolved_input")
    return None if text is None else parse_config(tomllib.loads(str(text)), environment=False)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git_state(root: Path) -> dict[str, Any]:
    """Commit of the source tree, and whether it was changed since; nothing for an installed package."""
    if not (root / ".git").exists():
        return {}
    try:
        commit = _git(root, "rev-parse", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"git_commit": commit, "git_changed": bool(changed)}


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", root, *arguments], capture_output=True, text=True, check=True, timeout=10
    )
    return done.stdout.strip()
