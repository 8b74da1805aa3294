"""A commented input to start from, written by `dsmsim init`.

The comments are the descriptions of the fields, so that they cannot drift from what the program reads. What
is switched on is two interacting bosons in a harmonic trap; every other choice stands there switched off.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from typing import Any

from pydantic.fields import FieldInfo

from dsmsim.config.fields import Table
from dsmsim.config.interactions import GaussianPair
from dsmsim.config.model import Config
from dsmsim.config.problems import field_names, kind_of, literal_values, tables_of
from dsmsim.config.system import SystemTable, TrapGroundState
from dsmsim.config.terms import HarmonicTerm, Quench

WIDTH = 100
HEADER = """\
Two interacting bosons in a harmonic trap: an input of dsmsim to start from.

dsmsim check input.toml     explains every mistake and prints the plan
dsmsim run input.toml       solves the problem; mpirun, srun and torchrun start it on many ranks

All numbers are in one consistent system of units of your choice; nothing is converted.
A line that begins with "#" and no blank is switched off: remove the "#" to use it.
A key that stands here with its default may be left out."""
SYSTEM_VALUES = {"particles": 2, "hbar": 0.1, "mass": 1.0}


def commented_template() -> str:
    """The text of an input that loads as it is and mentions every table and key with its meaning."""
    fields = field_names(Config)
    lines = [*_comment(HEADER), ""]
    lines += _entry("title", fields.pop("title"), value="Two interacting bosons in a harmonic trap")
    lines += [*_entry("seed", fields.pop("seed")), ""]
    lines += _system(fields.pop("system"))
    lines += _kinds("initial", fields.pop("initial"), chosen=TrapGroundState)
    for name, info in fields.items():
        lines += _table(name, tables_of(info.annotation)[0], info)
    return "\n".join(lines).rstrip() + "\n"


def _system(info: FieldInfo) -> list[str]:
    fields = field_names(SystemTable)
    trap, terms, interaction = fields.pop("trap"), fields.pop("terms"), fields.pop("interaction")
    lines = [*_comment(f"{'-' * 20} {info.description}"), "[system]"]
    for name, field in fields.items():
        lines += _entry(name, field, value=SYSTEM_VALUES.get(name))
    lines += ["", *_kinds("system.trap", trap, chosen=HarmonicTerm)]
    lines += _comment(
        "A quench: one number of a term changes in time; [system.interaction.quench.g] likewise."
    )
    lines += _off(["[system.trap.quench.omega]", *_entries(Quench)])
    lines += ["", *_comment(terms.description or ""), *_comment("They have the kinds of the trap.")]
    lines += _off(["[system.terms.NAME]", *_entries(_alternatives(trap)["gaussian"])])
    return [*lines, "", *_kinds("system.interaction", interaction, chosen=GaussianPair)]


def _alternatives(info: FieldInfo) -> dict[str, type[Table]]:
    return {kind_of(table): table for table in tables_of(info.annotation)}


def _kinds(key: str, info: FieldInfo, *, chosen: type[Table]) -> list[str]:
    """One table that can be of several kinds: the chosen one, and the others switched off."""
    lines = [*_comment(f"{'-' * 20} {info.description}"), f"[{key}]", *_entries(chosen), ""]
    others = {kind: table for kind, table in _alternatives(info).items() if table is not chosen}
    for kind, table in others.items():
        lines += _comment(f'Instead of the [{key}] above, kind = "{kind}":')
        lines += [*_off([f"[{key}]", *_entries(table)]), ""]
    return lines


def _table(key: str, table: type[Table], info: FieldInfo) -> list[str]:
    """One table with all its keys; tables inside it follow, switched off where they are optional."""
    lines = [*_comment(f"{'-' * 20} {info.description}"), f"[{key}]", *_entries(table), ""]
    for name, inner in field_names(table).items():
        for below in tables_of(inner.annotation):
            lines += _comment(inner.description or "")
            lines += [*_off([f"[{key}.{name}]", *_entries(below)]), ""]
    return lines


def _entries(table: type[Table]) -> list[str]:
    lines = []
    for name, info in field_names(table).items():
        if name != "quench" and not tables_of(info.annotation):
            lines += _entry(name, info)
    return lines


def _entry(name: str, info: FieldInfo, value: Any = None) -> list[str]:
    """The meaning of a key, and the key with a value: the one given, the default, an example."""
    values = literal_values(info.annotation)
    default = None if info.is_required() else info.get_default(call_default_factory=True, validated_data={})
    off = not info.is_required() and default in (None, {})
    if value is None:
        value = default if default not in (None, {}) else info.examples[0] if info.examples else values[0]
    choices = f" ({' | '.join(_toml(choice) for choice in values)})" if len(values) > 1 else ""
    lines = _line(name, value)
    return [*_comment(f"{info.description}{choices}"), *(_off(lines) if off else lines)]


def _line(name: str, value: Any) -> list[str]:
    """The key with its value, a long list on several lines."""
    line = f"{name} = {_toml(value)}"
    if len(line) <= WIDTH or not isinstance(value, list):
        return [line]
    entries = textwrap.wrap(", ".join(map(_toml, value)), WIDTH - 5, break_on_hyphens=False)
    return [f"{name} = [", *(f"    {part}" for part in entries), "]"]


def _comment(text: str) -> list[str]:
    lines = []
    for line in text.splitlines():
        wrapped = textwrap.wrap(line, WIDTH - 2, break_on_hyphens=False) if len(line) > WIDTH - 2 else [line]
        lines += [f"# {part}".rstrip() for part in wrapped]
    return lines


def _off(lines: list[str]) -> list[str]:
    """Lines of TOML switched off; comments stay as they are."""
    return [line if line.startswith("#") else f"#{line}" for line in lines]


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_toml(entry)}" for key, entry in value.items()) + " }"
    return json.dumps(value)
