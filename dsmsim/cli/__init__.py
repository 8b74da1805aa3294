"""The command line. Every command imports what it needs when it is called, so that `--help` is instant."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from types import FrameType

from dsmsim.cli import batch, results, runs
from dsmsim.cli.app import app
from dsmsim.errors import DsmsimError, StoppedEarly

__all__ = ["app", "main"]

# in the order in which `--help` lists them
COMMANDS: dict[str, tuple[Callable[..., None], ...]] = {
    "From an input": (runs.run, runs.resume, runs.check, runs.doctor, runs.init, runs.baseline),
    "With results": (
        results.compare,
        results.compress,
        results.plot,
        results.report,
        results.sample,
        results.watch,
        results.info,
    ),
    "On a cluster": (batch.slurm,),
}
for panel, commands in COMMANDS.items():
    for command in commands:
        kind = runs.BaselineCommand if command is runs.baseline else None
        app.command(cls=kind, rich_help_panel=panel)(command)


def main() -> None:
    """Entry point of the console script: errors become one message and their exit code."""
    sys.path.insert(0, os.getcwd())  # a user's own potential may be a module in the current directory
    first = _is_first()
    earlier = signal.signal(signal.SIGUSR1, _stop_by_signal)
    try:
        # wrong usage is told by the first rank only; the others get it as an exception or a code
        code = app(prog_name="dsmsim", standalone_mode=first)  # also under `mpirun python -m dsmsim.cli`
        if code:
            _leave(int(code))
    except DsmsimError as error:
        _complain(str(error))
        _leave(error.exit_code)
    except KeyboardInterrupt:
        _complain("interrupted")
        _leave(130)
    except Exception as error:
        # the class of wrong usage has another home in every version of typer
        if first or not hasattr(error, "format_message"):
            raise
        _leave(int(getattr(error, "exit_code", 2)))
    finally:
        signal.signal(signal.SIGUSR1, earlier)


def _stop_by_signal(number: int, frame: FrameType | None) -> None:
    """SIGUSR1 asks to save and stop: before a run and after it there is nothing to save."""
    _leave(StoppedEarly.exit_code)


def _is_first() -> bool:
    from dsmsim.parallel import launch_environment

    return launch_environment().rank == 0


def _complain(message: str) -> None:
    """Print an error once, whatever the number of ranks that found it."""
    if _is_first():
        print(f"dsmsim: {message}", file=sys.stderr)


def _leave(code: int) -> None:
    sys.stdout.flush()
    raise SystemExit(code)
