"""The command line inside this process: what it prints and the exit code it leaves with.

An exception that would reach the user as a traceback reaches the test as it is.
"""

from __future__ import annotations

import contextlib
import io
import sys
from typing import NamedTuple
from unittest import mock

from dsmsim.cli import main


class Outcome(NamedTuple):
    """What a command left: exit code, standard output, standard error."""

    code: int
    out: str
    err: str


def call(*arguments: object) -> Outcome:
    """`dsmsim ARGUMENTS` as the console script runs it."""
    out, err = io.StringIO(), io.StringIO()
    code: object = 0
    with (
        mock.patch.object(sys, "argv", ["dsmsim", *map(str, arguments)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as leaving:
            code = leaving.code or 0
    assert isinstance(code, int), f"left with {code!r} instead of an exit code"
    return Outcome(code, out.getvalue(), err.getvalue())
