"""When the batch job ends, so that a run saves in time even if no signal is sent.

Slurm tells it in SLURM_JOB_END_TIME (since 22.05), a time of day in seconds; before that `squeue` knows. The
variable does not follow a time limit that is changed while the job runs.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping

_PATIENCE = 10.0  # s for squeue to answer: a busy controller may take longer, and a limit is worth no more


def seconds_left(variables: Mapping[str, str] | None = None) -> float | None:
    """Seconds until the Slurm job of this process ends; may be negative.

    None outside a job, in a job without a limit, and where Slurm does not answer. Never raises.

    Args:
        variables: the environment, `os.environ` by default.
    """
    if variables is None:
        variables = os.environ
    job = variables.get("SLURM_JOB_ID", "")
    if not job.isdigit():
        return None
    end = _number(variables.get("SLURM_JOB_END_TIME", "")) or _number(_squeue(job, variables))
    return None if end is None else end - time.time()


def _squeue(job: str, variables: Mapping[str, str]) -> str:
    """The end of the job as `squeue` prints it: seconds since 1970, or a word where there is no limit."""
    command = ["squeue", "--noheader", "--jobs", job, "--format", "%e"]
    try:
        answer = subprocess.run(
            command,
            env={**variables, "SLURM_TIME_FORMAT": "%s"},
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return answer.stdout


def _number(text: str) -> float | None:
    """A time in seconds; None for an empty text, a word, and 0, by which Slurm means that there is none."""
    return float(text) if text.strip().isdigit() and int(text) > 0 else None
