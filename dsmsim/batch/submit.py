"""Writing a batch script, and giving it to Slurm."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

from dsmsim.errors import ConfigError

PATIENCE = 120.0  # s for a busy controller to take a job


def require_new(file: Path) -> None:
    """Raise ConfigError if a script is there already."""
    if file.exists():
        raise ConfigError(f"{file} exists: name another file by --script, or give --overwrite")


def write_script(file: Path, text: str) -> None:
    """Write an executable script, over one that is there.

    Raises:
        ConfigError: it cannot be written.
    """
    try:
        file.write_text(text, encoding="utf-8")
        file.chmod(0o755)
    except OSError as error:
        raise ConfigError(f"cannot write {file}: {error.strerror}; name another file by --script") from error


def submission_command(script: Path, chain: int) -> list[str]:
    """The command that gives a script to Slurm; it prints the number of every job."""
    return ["bash", str(script)] if chain > 1 else ["sbatch", "--parsable", str(script)]


def submit(script: Path, chain: int) -> list[str]:
    """Submit a script, `chain` times one behind the other if that is more than 1.

    Returns:
        The numbers of the jobs.

    Raises:
        ConfigError: there is no Slurm here, or it refuses; with Slurm's own words.
    """
    command = submission_command(script, chain)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    except FileNotFoundError as error:
        raise ConfigError(_elsewhere(script, command)) from error
    except subprocess.TimeoutExpired as error:
        raise ConfigError(
            f"sbatch did not answer within {PATIENCE:g} s: look with `squeue --me` before you submit again"
        ) from error
    jobs = [line.split(";")[0] for line in done.stdout.split()]
    if done.returncode == 127:
        raise ConfigError(_elsewhere(script, command))
    if done.returncode != 0:
        accepted = f" It took {', '.join(jobs)} before." if jobs else ""
        raise ConfigError(f"Slurm refuses {script}: {' '.join(done.stderr.split())}.{accepted}")
    return jobs


def _elsewhere(script: Path, command: list[str]) -> str:
    return f"{script} is written, but there is no sbatch here: on the cluster, give `{shlex.join(command)}`"
