"""Starting a small program under a launcher."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from launchers import clean_environment

# What the command line does with an error: print it once, exit with its code.
PROGRAM = """
import sys
import torch
from dsmsim.errors import ConfigError, DsmsimError, StoppedEarly
from dsmsim.parallel import launch_environment, start

mode = sys.argv[1]
try:
    with start("cpu", timeout={timeout}) as world:
        total = world.sum_(torch.tensor([world.rank + 1.0, 1.0], dtype=torch.float64))
        everyone = world.gather((world.rank, world.size, world.launcher, world.local_rank))
        if world.rank == 0:
            print("total", *total.tolist(), everyone, flush=True)
        if mode == "crash" and world.rank == 1:
            raise RuntimeError("a fault of one rank")
        if mode == "refuse" and world.rank == 1:
            raise ConfigError("a refusal of one rank")
        if mode == "stop" and world.any(world.rank == 1):
            raise StoppedEarly("all ranks stop")
        world.barrier()
except DsmsimError as error:
    if launch_environment().rank == 0:
        print(f"{{type(error).__name__}}: {{error}}", file=sys.stderr)
    sys.exit(error.exit_code)
"""

Run = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def begin(tmp_path: Path) -> Run:
    """`begin(launcher, mode, timeout=60.0, **variables)` starts the program and returns the process."""

    def run(launcher: list[str], mode: str, timeout: float = 60.0, **variables: str) -> subprocess.Popen[str]:
        script = tmp_path / "program.py"
        script.write_text(textwrap.dedent(PROGRAM).format(timeout=timeout))
        command = [*(launcher or [sys.executable]), str(script), mode]
        pipe, environment = subprocess.PIPE, clean_environment(**variables)
        return subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True)

    return run
