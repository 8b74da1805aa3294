"""From a TOML file or a dictionary to a `Config`, or to one `ConfigError` that lists every problem.

Whatever the input is, the answer is a valid `Config` or a `ConfigError`; nothing else is raised.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from dsmsim.config.environment import environment_problems
from dsmsim.config.model import Config
from dsmsim.config.problems import Problem, dotted, explain, nearest, shortened, shown
from dsmsim.config.settings import (
    Setting,
    apply_settings,
    changed_text,
    listed_settings,
    parse_settings,
    told,
)
from dsmsim.errors import ConfigError

LARGEST_FILE = 10_000_000
DEEPEST = 50
_POSITION = re.compile(r" ?\(at (?:line (\d+), column (\d+)|end of document)\)")
_HINTS = {
    "Cannot overwrite a value": "a key stands twice: keep one of them",
    "Cannot declare": "a table stands twice: put its keys into one table",
    "Cannot mutate immutable": "a table stands twice: put its keys into one table",
    "Invalid value": 'write text in "quotes", numbers and true or false without',
    "Expected '=' after a key": "write key = value, with a key of letters, digits, _ and -",
    "Expected ']'": "close the bracket",
    "Invalid statement": "write key = value, [table] or # comment",
    "Unclosed array": "close the list with ]",
    "Expected newline or end of document": "put each key = value on its own line",
    "Unterminated string": 'close the text with "',
    "Illegal character": 'close the text with " on the same line',
}


@dataclass(frozen=True)
class LoadedInput:
    """An input file that was read and found right.

    Attributes:
        config: what it says.
        text: the file as it is; with settings, the changed input, whose first lines say where it is from.
    """

    config: Config
    text: str


def parse_config(
    data: Mapping[str, Any],
    *,
    source: str = "input",
    environment: bool = True,
    hosts: int = 1,
    settings: Sequence[Setting] = (),
) -> Config:
    """The configuration of a dictionary of plain TOML values.

    Args:
        data: the tables of the input.
        source: where they come from, for the message.
        environment: whether to check also what depends on this machine and installation: memory, names of
            installed methods and potentials. False to read the input of a run made elsewhere.
        hosts: machines over which the run is spread; each has the memory of this one.
        settings: with which `data` was changed already; messages about them name the option.

    Raises:
        ConfigError: with one line for every problem.
    """
    problems = _plain(data)
    # a problem without a value concerns the shape of the data, and no table could be matched with it
    if any(problem.value is None for problem in problems) or not isinstance(data, Mapping):
        raise _failure(source, problems, settings)
    try:
        config = Config.model_validate(data)
    except ValidationError as failure:
        named = {problem.key for problem in problems}
        problems += [problem for problem in explain(failure, Config) if problem.key not in named]
    else:
        problems += environment_problems(config, hosts) if environment and not problems else []
        if not problems:
            return config
    raise _failure(source, problems, settings)


def load_config(
    path: str | Path, settings: Sequence[str] = (), *, environment: bool = True, hosts: int = 1
) -> Config:
    """The configuration of a TOML file; arguments as for `load_input`.

    Raises:
        ConfigError: the file cannot be read, is not TOML, or holds a wrong input.
    """
    return load_input(path, settings, environment=environment, hosts=hosts).config


def load_input(
    path: str | Path, settings: Sequence[str] = (), *, environment: bool = True, hosts: int = 1
) -> LoadedInput:
    """A TOML file with its text.

    Args:
        path: the file.
        settings: `KEY=VALUE` options that change it before it is checked, see `dsmsim.config.settings`.
        environment, hosts: as for `parse_config`.

    Raises:
        ConfigError: the file cannot be read, is not TOML, or holds a wrong input; or an option is wrong.
    """
    source = str(path)
    text = _read(Path(path))
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _syntax(source, text, str(error)) from None
    except RecursionError:
        raise ConfigError(f"{source}: brackets are nested too deeply; write flat tables") from None
    except ValueError as error:  # an integer of thousands of digits
        raise ConfigError(f"{source}: a number cannot be read ({error}); write it with an exponent") from None
    changes = parse_settings(settings, data)
    data = apply_settings(data, changes)
    config = parse_config(data, source=source, environment=environment, hosts=hosts, settings=changes)
    return LoadedInput(config, changed_text(source, text, data, changes) if changes else text)


def _failure(source: str, problems: list[Problem], settings: Sequence[Setting]) -> ConfigError:
    by_option = [told(problem, settings) for problem in problems]
    lines = [line or str(problem) for line, problem in zip(by_option, problems, strict=True)]
    if settings and None in by_option:  # the file may be right by itself
        source = f"{source} with {listed_settings(settings)}"
    head = f"{source}: " if len(lines) == 1 else f"{source}: {len(lines)} problems\n  "
    return ConfigError(head + "\n  ".join(lines), key=problems[0].key)


def _read(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            raw = stream.read(LARGEST_FILE + 1)
    except FileNotFoundError:
        close = _other_inputs(path)
        hint = (
            f"did you mean {close}?"
            if close
            else "check the name; `dsmsim init` writes an input to start from"
        )
        raise ConfigError(f"{path}: there is no such file; {hint}") from None
    except IsADirectoryError:
        raise ConfigError(
            f"{path}: is a directory; name the input file, such as {path / 'input.toml'}"
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"{path}: cannot be read ({reason}); check the path and its permissions") from None
    if len(raw) > LARGEST_FILE:
        raise ConfigError(f"{path}: is larger than {LARGEST_FILE} bytes; name a TOML input file")
    try:
        return raw.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{path}: line {line}: is not UTF-8 (byte 0x{raw[error.start]:02x}); save the file as UTF-8"
        ) from None


def _other_inputs(path: Path) -> str | None:
    try:
        names = [entry.name for entry in path.parent.iterdir() if entry.suffix == ".toml"]
    except OSError:
        return None
    close = nearest(path.name, names)
    return None if close is None else str(path.with_name(close))


def _syntax(source: str, text: str, message: str) -> ConfigError:
    """The error of a file that is not TOML: line and column, the line itself, and what to do."""
    lines = text.split("\n")
    found = _POSITION.search(message)
    line, column = (int(found[1]), int(found[2])) if found and found[1] else (len(lines), len(lines[-1]) + 1)
    reason = _POSITION.sub("", message)
    hint = next((fix for start, fix in _HINTS.items() if reason.startswith(start)), "correct the line")
    here = shortened(lines[min(line, len(lines)) - 1].strip(), 80)
    return ConfigError(f"{source}: line {line}, column {column}: {reason}, in {shown(here)}; {hint}")


def _plain(data: object) -> list[Problem]:
    """Problems that no table could describe: no table at all, keys that are no text, too deep, too large."""
    if not isinstance(data, Mapping):
        return [Problem("input", "must be a table", "give a dictionary of tables", shown(data))]
    problems: list[Problem] = []
    stack: list[tuple[list[object], object]] = [([], data)]
    while stack:
        path, value = stack.pop()
        if len(path) > DEEPEST:
            return [Problem(dotted(path[:3]), "is nested too deeply", "write flat tables")]
        if isinstance(value, Mapping):
            for key in value:
                if not isinstance(key, str):
                    problems.append(
                        Problem(dotted([*path, str(key)]), "a key must be text", "write it in quotes")
                    )
            stack += [([*path, key], entry) for key, entry in value.items()]
        elif isinstance(value, list):
            stack += [([*path, index], entry) for index, entry in enumerate(value)]
        elif isinstance(value, int) and not -(2**63) <= value < 2**63:
            problems.append(
                Problem(
                    dotted(path), "an integer has at most 64 bits", "write a smaller number", shown(value)
                )
            )
    return problems
