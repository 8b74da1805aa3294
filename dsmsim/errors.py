"""The errors a user can meet, each with its own exit code.

| code | class           | meaning                                                        |
|------|-----------------|----------------------------------------------------------------|
| 2    | `ConfigError`   | the input, or the way the command was called, is wrong         |
| 3    | `DivergedError` | the numbers stopped being finite; the last good state is kept  |
| 4    | `StoreError`    | a file could not be read or written, or is corrupt             |
| 5    | `LaunchError`   | the ranks do not form one world, or one of them is gone        |
| 75   | `StoppedEarly`  | stopped on purpose (signal, time limit): resume the run        |
"""

from __future__ import annotations


class DsmsimError(Exception):
    """Base of every error that is reported without a traceback."""

    exit_code = 1


class ConfigError(DsmsimError, ValueError):
    """A user's mistake: the message names the key, the value, the rule and the fix.

    Args:
        message: the whole text, one problem a line.
        key: the dotted path of the first offending key, where there is one.
    """

    exit_code = 2

    def __init__(self, message: str, *, key: str | None = None) -> None:
        super().__init__(message)
        self.key = key


class DivergedError(DsmsimError):
    """Training or a solver produced numbers that are not finite."""

    exit_code = 3


class StoreError(DsmsimError):
    """A file is missing, unreadable, unwritable or corrupt."""

    exit_code = 4


class LaunchError(DsmsimError):
    """The ranks that the launcher started do not form one world."""

    exit_code = 5


class StoppedEarly(DsmsimError):
    """The run saved its state and stopped on purpose; `dsmsim resume` continues it."""

    exit_code = 75
