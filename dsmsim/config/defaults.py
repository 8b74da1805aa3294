"""Which settings of an input are choices, and which are the program's own.

A default may depend on other keys (epochs on the optimiser), so it is not looked up but asked for: a setting
is a choice if the input without it, all other values written out, is another input.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic.fields import FieldInfo

from dsmsim.config.fields import Table
from dsmsim.config.load import parse_config
from dsmsim.config.model import Config
from dsmsim.config.problems import dotted
from dsmsim.errors import ConfigError

Path = tuple[str, ...]


@dataclass(frozen=True)
class Setting:
    """One key of an input.

    Attributes:
        key: dotted.
        value: its value; None where it is absent and this means something of its own.
        default: what it would be if it were left out; None where it would be absent, or must not be.
        is_default: whether leaving it out would change nothing.
        meaning: its description; empty for the names that a user gave.
    """

    key: str
    value: Any
    default: Any
    is_default: bool
    meaning: str

    @property
    def table(self) -> str:
        """The first part of its key, empty for keys of no table."""
        return self.key.partition(".")[0] if "." in self.key else ""

    @property
    def is_physics(self) -> bool:
        """Whether it says what is solved, not how."""
        return self.table in ("system", "initial") or self.key in ("time.end", "title")


def settings_of(config: Config) -> list[Setting]:
    """Every key of an input with its default, in the order of the input."""
    plain = config.to_dict()
    return list(_settings(config, plain, plain, ()))


def changed_settings(config: Config) -> list[Setting]:
    """The settings that a user chose, without those that are physics."""
    return [setting for setting in settings_of(config) if not setting.is_default and not setting.is_physics]


def _settings(
    config: Config, whole: Mapping[str, Any], part: Mapping[str, Any], path: Path
) -> Iterator[Setting]:
    """The settings below `path`; a table that could be left out as a whole is not searched for choices."""
    for name, value in part.items():
        here = (*path, name)
        without = _without(whole, here)
        is_default = without is not None and _at(without.to_dict(), here) == value
        if isinstance(value, Mapping) and value:
            yield from (
                _all_default(config, value, here) if is_default else _settings(config, whole, value, here)
            )
        else:
            info = _field_of(config, here)
            if without is not None:
                default = _at(without.to_dict(), here)
            else:  # other keys that were chosen forbid the default
                default = None if info is None or info.is_required() else info.default
            yield Setting(dotted(here), value, default, is_default, _meaning(info))


def _all_default(config: Config, part: Mapping[str, Any], path: Path) -> Iterator[Setting]:
    for name, value in part.items():
        here = (*path, name)
        if isinstance(value, Mapping) and value:
            yield from _all_default(config, value, here)
        else:
            yield Setting(dotted(here), value, value, True, _meaning(_field_of(config, here)))


def _without(whole: Mapping[str, Any], path: Path) -> Config | None:
    """The input without one key or table; None where it is wrong then."""
    plain = copy.deepcopy(dict(whole))
    owner = plain
    for name in path[:-1]:
        owner = owner[name]
    del owner[path[-1]]
    try:
        return parse_config(plain, environment=False)
    except ConfigError:
        return None


def _at(plain: Any, path: Sequence[str]) -> Any:
    for name in path:
        if not isinstance(plain, Mapping) or name not in plain:
            return None
        plain = plain[name]
    return plain


def _field_of(config: Config, path: Path) -> FieldInfo | None:
    """The field of a key, along the tables that the input really has; None for names that a user gave."""
    owner: Any = config
    for name in path[:-1]:
        owner = owner.get(name) if isinstance(owner, Mapping) else getattr(owner, _attribute(name), None)
    return type(owner).model_fields.get(_attribute(path[-1])) if isinstance(owner, Table) else None


def _meaning(info: FieldInfo | None) -> str:
    return "" if info is None else info.description or ""


def _attribute(name: str) -> str:
    return "with_" if name == "with" else name
