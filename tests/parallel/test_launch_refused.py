"""Worlds that must not start: fallen apart, or without what they need."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from launchers import LIMIT

Begin = Callable[..., "subprocess.Popen[str]"]


@pytest.mark.parametrize("prefix", ["OMPI_COMM_WORLD", "PMI"])
def test_world_that_fell_apart(begin: Begin, prefix: str) -> None:
    process = begin([], "sum", **{f"{prefix}_RANK": "0", f"{prefix}_SIZE": "2"})
    output, errors = process.communicate(timeout=LIMIT)
    assert process.returncode == 5, errors
    assert output == ""
    assert "the launcher announced 2 ranks, but MPI finds 1" in errors


def test_mpirun_without_mpi4py_says_what_to_install(begin: Begin, tmp_path: Path) -> None:
    (tmp_path / "mpi4py.py").write_text(
        "raise ImportError('no module')"
    )  # beside the program, so found first
    process = begin([], "sum", PMI_RANK="0", PMI_SIZE="2")
    _, errors = process.communicate(timeout=LIMIT)
    assert process.returncode == 5, errors
    assert "pip install 'dsmsim[mpi]'" in errors
