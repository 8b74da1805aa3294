"""Tests on several ranks: `mpirun -n 2 python -m pytest --with-mpi tests/mpi`.

A rank whose test fails would leave the others in a collective; so the first failure is the last, and ends all
ranks.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

import pytest

from dsmsim.parallel import World, launch_environment, start

FORWARDING = 0.5  # s for mpirun to pass on what a rank printed


@pytest.fixture
def world() -> Iterator[World]:
    """All ranks that mpirun started."""
    with start("cpu", timeout=60.0) as world:
        yield world


def pytest_exception_interact(
    node: pytest.Item, call: pytest.CallInfo[object], report: pytest.TestReport
) -> None:
    """Say why and end all ranks, before the fixture waits for the others to close the world."""
    if launch_environment().size > 1:
        from mpi4py import MPI

        with node.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
            print(f"{node.nodeid}\n{report.longreprtext}", file=sys.stderr, flush=True)
        time.sleep(FORWARDING)
        MPI.COMM_WORLD.Abort(1)
