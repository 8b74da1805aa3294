"""One piece of work: a run of the program, or a measurement, with a directory of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Task:
    """What to do and where it goes.

    Attributes:
        section: name of the section it belongs to.
        name: unique in the section, fit for a file name, such as "zero_phase-march-seed2".
        method: "run" for `dsmsim run`, the name of a baseline for `dsmsim baseline`, "measure" for a
            function of `tools.reproduce.measurements`.
        input: the input file, relative to the root of the project; "" for measurements without one.
        changes: values of the input that are different, by dotted key; given to the program as --set.
        measurement: "module:function" below `tools.reproduce.measurements`; called as
            function(directory, **settings), it returns `measuring.Columns`.
        settings: keyword arguments of the measurement, plain JSON.
        seconds: CPU seconds it is expected to take; the longest are begun first.
    """

    section: str
    name: str
    method: str
    input: str = ""
    changes: Mapping[str, Any] = field(default_factory=dict)
    measurement: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 60.0

    @property
    def key(self) -> str:
        """SECTION/NAME."""
        return f"{self.section}/{self.name}"

    @property
    def options(self) -> list[str]:
        """The changes as --set options of the command line."""
        return [word for key, value in self.changes.items() for word in ("--set", f"{key}={toml(value)}")]

    @property
    def command(self) -> str:
        """The line that anybody can type at the root of the project to have the same again."""
        if self.method == "measure":
            return f"python -m tools.reproduce run --only {self.key}"
        words = ["dsmsim", *(["run"] if self.method == "run" else ["baseline", self.method]), self.input]
        return " ".join([*words, *(quoted(word) for word in self.options)])

    def signature(self) -> dict[str, Any]:
        """What the result depends on; a result with another one is not this task's.

        The text of the input file counts, not its name alone.
        """
        text = (ROOT / self.input).read_text(encoding="utf-8") if self.input else ""
        body = "\n".join(line for line in text.splitlines() if line and not line.startswith("#"))
        return {
            "method": self.method,
            "input": body,
            "changes": json.loads(json.dumps(dict(self.changes))),
            "measurement": self.measurement,
            "settings": json.loads(json.dumps(dict(self.settings))),
        }


def toml(value: Any) -> str:
    """A value as TOML writes it in one line; --set takes a bare word as text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        inner = (json.dumps(each) if isinstance(each, str) else toml(each) for each in value)
        return f"[{', '.join(inner)}]"
    if isinstance(value, str):
        bare = value.isidentifier() and value not in ("true", "false", "inf", "nan")
        return value if bare else json.dumps(value)
    return repr(value)


def quoted(word: str) -> str:
    """A word for a shell, in quotes only where it needs them."""
    return f"'{word}'" if any(letter in word for letter in '"[ {*') else word
