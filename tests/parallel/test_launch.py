"""Worlds that the launchers really start."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

from launchers import LIMIT, MPIRUN, needs_mpirun

Begin = Callable[..., "subprocess.Popen[str]"]


def test_plain_start_is_a_world_of_one(begin: Begin) -> None:
    process = begin([], "sum")
    output, errors = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, errors
    assert output == "total 1.0 1.0 [(0, 1, 'none', 0)]\n"


@needs_mpirun
def test_mpirun(begin: Begin) -> None:
    process = begin(MPIRUN, "sum")
    output, errors = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, errors
    assert output == "total 3.0 2.0 [(0, 2, 'mpirun', 0), (1, 2, 'mpirun', 1)]\n"


def test_torchrun(begin: Begin) -> None:
    process = begin(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"], "sum"
    )
    output, errors = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, errors
    assert output == "total 3.0 2.0 [(0, 2, 'torchrun', 0), (1, 2, 'torchrun', 1)]\n"
