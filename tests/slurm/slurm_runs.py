"""Runs of the tiny input as jobs of the tests' cluster."""

from __future__ import annotations

import sys
from pathlib import Path

from slurm_cluster import Cluster

READY = Path(__file__).parents[2] / "slurm"
QUIET = {"compare.with": []}
SLOW = QUIET | {
    "train.epochs": 30,
    "system.terms.slow": {"kind": "python", "target": "slow_potential:still"},
    "output.checkpoint_every": "1 h",
}


def dsmsim_slurm(cluster: Cluster, directory: Path, *arguments: object) -> str:
    """`dsmsim slurm ARGUMENTS --submit` in a directory; the number of the job."""
    command = (sys.executable, "-m", "dsmsim.cli", "slurm", *arguments, "--submit")
    told = cluster.command(*command, cwd=directory)
    return next(line for line in told.splitlines() if line.startswith("submitted")).split()[1].rstrip(";")


def log(directory: Path) -> str:
    """What the jobs of a directory printed."""
    return "\n".join(f"{file}: {file.read_text()}" for file in directory.glob("*.log"))


def on_path() -> dict[str, str]:
    """The PATH of a user who activated this environment: the ready scripts leave it as it is."""
    return {"PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"}
