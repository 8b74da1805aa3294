"""Tests on several ranks: `mpirun -n 2 python -m pytest --with-mpi tests/mpi`.

A rank whose test fails would leave the others in a collective for ever; so the first failure is the last, and
ends all ranks.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dsmsim.parallel import World, launch_environment, start

_status = 0


@pytest.fixture
def world() -> Iterator[World]:
    """All ranks that mpirun started."""
    with start("cpu", timeout=60.0) as world:
        yield world


def pytest_configure(config: pytest.Config) -> None:
    if launch_environment().size > 1:
        config.option.maxfail = 1


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    global _status
    _status = int(exitstatus)


def pytest_unconfigure(config: pytest.Config) -> None:
    if _status != 0 and launch_environment().size > 1:
        from mpi4py import MPI

        MPI.COMM_WORLD.Abort(_status)
