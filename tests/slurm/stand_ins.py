"""Stand-ins for the programs that batch scripts call, so that scripts run without a cluster."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from launchers import clean_environment

# stand-ins write what they were called with, and do what the test says
STAND_IN = """#!/usr/bin/env bash
echo "$(basename "$0") $*" >> "$CALLS"
{}
"""
RANKS = """
if [ "$RANKS_DO" = listen ]; then trap 'echo saved >> "$CALLS"; exit 75' USR1; fi
if [ "$RANKS_DO" = last ]; then trap 'echo done >> "$CALLS"; exit 0' USR1; fi
touch "$CALLS.started"
for _ in $(seq 100); do [ "$RANKS_DO" = "${RANKS_DO%[0-9]}" ] || exit "$RANKS_DO"; sleep 0.1; done
"""
PROGRAMS = {
    "srun": RANKS,
    "mpirun": RANKS,
    "python": RANKS,
    "squeue": 'echo "$JOB_STATE"',
    "scontrol": "",
    "sbatch": 'echo "$(wc -l < "$CALLS");cluster"',
}


class Shell:
    """Runs a script with stand-ins."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.calls_file = directory / "calls"
        for name, does in PROGRAMS.items():
            program = directory / "bin" / name
            program.parent.mkdir(exist_ok=True)
            program.write_text(STAND_IN.format(does))
            program.chmod(0o755)

    def start(self, text: str, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        """Start the text of a script."""
        script = self.directory / "script.sh"
        script.write_text(text)
        path = f"{self.directory / 'bin'}:/usr/bin:/bin"
        usual = {"PATH": path, "CALLS": str(self.calls_file), "JOB_STATE": "RUNNING", "SLURM_JOB_ID": "7"}
        usual |= {"SLURM_NTASKS": "3", "ENVIRONMENT": "BATCH", "RANKS_DO": "0"}
        return subprocess.Popen(
            ["bash", str(script), *arguments],
            env=clean_environment(**(usual | variables)),
            cwd=self.directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def code(self, text: str, *arguments: str, **variables: str) -> int:
        """The exit code of a script that is left alone."""
        process = self.start(text, *arguments, **variables)
        process.communicate(timeout=60)
        return process.returncode

    def code_after_signal(self, text: str, number: int, *arguments: str, **variables: str) -> int:
        """The exit code of a script that gets a signal once the ranks are there."""
        process = self.start(text, *arguments, **variables)
        started = self.calls_file.with_name("calls.started")
        while not started.exists():
            time.sleep(0.05)
        time.sleep(0.2)  # the shell has reached its `wait`
        process.send_signal(number)
        process.communicate(timeout=60)
        return process.returncode

    @property
    def calls(self) -> str:
        """What was called."""
        return self.calls_file.read_text() if self.calls_file.exists() else ""
