"""`--set KEY=VALUE`: single values of an input that are changed on the command line, before it is checked.

The key is dotted as in TOML (`train.epochs`, `output.expressions."d 2"`), the value is TOML too. What is no
TOML is text: a shell takes quotes away, so that `network.kind=mlp` means `network.kind = "mlp"`. A key may
name a table, which then is replaced as a whole: `network={kind="mlp", width=64}`.
"""

from __future__ import annotations

import copy
import datetime
import re
import shlex
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import tomli_w

from dsmsim.config.problems import Problem, dotted, shortened, shown
from dsmsim.errors import ConfigError

_PART = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*')"""
_OPTION = re.compile(rf"[ \t]*({_PART}(?:[ \t]*\.[ \t]*{_PART})*)[ \t]*=(.*)", re.DOTALL)
_MADE = re.compile(r"# [^\n]*, changed by\n(?:#     --set [^\n]*\n)+")
_EXAMPLE = "write it like --set train.epochs=20"
_SHOWN = 3  # options that a message repeats


@dataclass(frozen=True)
class Setting:
    """One `--set`.

    Attributes:
        option: KEY=VALUE as given.
        path: the key in its parts.
        value: a plain TOML value.
        begins: the first table or key on the way that the input does not have by itself; else the key.
    """

    option: str
    path: tuple[str, ...]
    value: Any
    begins: str = ""

    @property
    def key(self) -> str:
        """The dotted key."""
        return dotted(self.path)

    def concerns(self, key: str) -> bool:
        """Whether what stands at this dotted key of the changed input was put there by this setting."""
        return any(key == own or key.startswith((f"{own}.", f"{own}[")) for own in (self.key, self.begins))


def parse_setting(option: str) -> Setting:
    """One `KEY=VALUE`.

    Raises:
        ConfigError: it has another form, or a value that is neither TOML nor a bare word.
    """
    try:
        option.encode("utf-8")
    except UnicodeEncodeError:
        raise _refused(option, "is not UTF-8", _EXAMPLE) from None
    match = _OPTION.fullmatch(option)
    if match is None:
        raise _refused(option, "must be KEY=VALUE with a dotted key", _EXAMPLE)
    try:
        node: Any = tomllib.loads(f"{match[1]} = 0")
    except tomllib.TOMLDecodeError:
        raise _refused(option, "has a key that is not TOML", _EXAMPLE) from None
    path = []
    while isinstance(node, dict):
        [(name, node)] = node.items()
        path.append(name)
    return Setting(option, tuple(path), _value(option, match[1], match[2].strip()), dotted(path))


def _value(option: str, key: str, text: str) -> Any:
    if not text:
        raise _refused(option, "has no value", f"write --set '{key}=\"\"' for empty text")
    try:
        found = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError as error:
        if text[0] in "\"'[{" or not text.isprintable():
            fix = f"quote it for the shell, and text inside lists and tables once more: --set '{key}=[\"a\"]'"
            reason = str(error).partition(" (at")[0]
            raise _refused(option, f"has a value that is not TOML ({reason})", fix) from None
        return text
    except RecursionError:
        raise _refused(option, "has brackets that are nested too deeply", "write flat tables") from None
    except ValueError:  # an integer of thousands of digits
        raise _refused(option, "has a number that cannot be read", "write it with an exponent") from None
    if set(found) != {"value"}:
        raise _refused(option, "has more than one value", "give --set once for every key")
    value = found["value"]
    # no key takes a date: 01:30:00 is a duration
    return text if isinstance(value, datetime.date | datetime.time) else value


def parse_settings(options: Sequence[str], data: Mapping[str, Any]) -> list[Setting]:
    """All `KEY=VALUE` for an input with this content.

    Raises:
        ConfigError: as for `parse_setting`.
    """
    return [replace(each, begins=_begins(each.path, data)) for each in map(parse_setting, options)]


def _begins(path: Sequence[str], data: Mapping[str, Any]) -> str:
    owner: Any = data
    for depth, name in enumerate(path, 1):
        if not isinstance(owner, Mapping) or name not in owner:
            return dotted(path[:depth])
        owner = owner[name]
    return dotted(path)


def apply_settings(data: Mapping[str, Any], settings: Sequence[Setting]) -> dict[str, Any]:
    """A copy of an input with its settings, of which the last one wins.

    Raises:
        ConfigError: a part of a key names something that is no table.
    """
    changed: dict[str, Any] = copy.deepcopy(dict(data))
    for setting in settings:
        owner = changed
        for depth, name in enumerate(setting.path[:-1], 1):
            inner = owner.setdefault(name, {})
            if not isinstance(inner, dict):
                what = f"{dotted(setting.path[:depth])} = {shown(inner)} is no table"
                raise _refused(setting.option, f"{what}, and has no keys", "set a key of a table")
            owner = inner
        owner[setting.path[-1]] = setting.value
    return changed


def with_settings(data: Mapping[str, Any], options: Sequence[str]) -> dict[str, Any]:
    """A copy of an input, a dictionary of plain TOML values, changed by `KEY=VALUE` options.

    Raises:
        ConfigError: an option has another form, or its key does not lead through tables.
    """
    return apply_settings(data, parse_settings(options, data))


def changed_text(source: str, text: str, data: Mapping[str, Any], settings: Sequence[Setting]) -> str:
    """An input file whose first lines say what it was made from.

    Args:
        source: name of the file that was changed.
        text: its text; if it was made in this way itself, its first lines stay.
        data: the changed input.
        settings: the changes.
    """
    made = _MADE.match(text)
    origin = made[0] if made else f"# {_printable(source)}, changed by\n"
    options = "".join(f"#     --set {_printable(shlex.quote(each.option))}\n" for each in settings)
    return f"{origin}{options}\n{tomli_w.dumps(data)}"


def _printable(text: str) -> str:
    """Without control characters, which may not stand in comments."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def told(problem: Problem, settings: Sequence[Setting]) -> str | None:
    """The line about a problem that a setting made, naming the option; None for what the file itself says."""
    if not any(setting.concerns(problem.key) for setting in settings):
        return None
    if problem.rule == "must be text in quotes":
        fix = f"write --set '{problem.key}=\"...\"', so that the shell leaves the inner quotes"
        problem = replace(problem, fix=fix)
    return f"--set {problem}"


def listed_settings(settings: Sequence[Setting]) -> str:
    """The options for the head of a message."""
    words = [f"--set {shlex.quote(shortened(each.option))}" for each in settings[:_SHOWN]]
    more = f" and {len(settings) - _SHOWN} more" if len(settings) > _SHOWN else ""
    return " ".join(words) + more


def _refused(option: str, rule: str, fix: str) -> ConfigError:
    return ConfigError(f"--set {shown(option)}: {rule}; {fix}", key="--set")
