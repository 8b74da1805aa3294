"""What is wrong with an input, in words: dotted key, value, rule, fix, one problem a line."""

from __future__ import annotations

import datetime
import difflib
import json
import re
import types
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from dsmsim.config.fields import Table

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_ABSENT = object()

_TYPE_RULES = {
    "float_type": "must be a number, without quotes",
    "int_type": "must be an integer, without quotes",
    "string_type": "must be text in quotes",
    "bool_type": "must be true or false, without quotes",
    "list_type": "must be a list",
    "finite_number": "must be a finite number",
}
_BOUND_RULES = {
    "greater_than": ("gt", "must be > {}"),
    "greater_than_equal": ("ge", "must be >= {}"),
    "less_than": ("lt", "must be < {}"),
    "less_than_equal": ("le", "must be <= {}"),
}
_TABLE_ERRORS = {"model_type", "model_attributes_type", "dict_type"}
_TAG_ERRORS = {"union_tag_invalid", "union_tag_not_found"}


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        key: dotted key.
        rule: what must hold.
        fix: what to write instead.
        value: the value given, as it is shown; None where there is none.
    """

    key: str
    rule: str
    fix: str
    value: str | None = None

    def __str__(self) -> str:
        given = self.key if self.value is None else f"{self.key} = {self.value}"
        return " ".join(f"{given}: {self.rule}; {self.fix}".split())


def problem_at(config: Table, key: str, rule: str, fix: str) -> Problem:
    """A problem of one key; its value is looked up, and marked where it is the default."""
    owner: Any = config
    *path, last = key.split(".")
    for step in path:
        owner = getattr(owner, step)
    name = "with_" if last == "with" else last
    default = "" if name in owner.model_fields_set else " (the default)"
    return Problem(key, rule, fix, shown(getattr(owner, name)) + default)


def dotted(parts: Sequence[object]) -> str:
    """The dotted key of a path of keys and list positions, quoted as TOML wants it."""
    text = ""
    for part in parts:
        if isinstance(part, int):
            text += f"[{part}]"
            continue
        name = str(part)
        bare = name if _BARE_KEY.fullmatch(name) else json.dumps(shortened(name, 40), ensure_ascii=True)
        text += f".{bare}" if text else bare
    return text


def shortened(text: str, longest: int = 60) -> str:
    """The text, or its beginning where it is long."""
    return text if len(text) <= longest else text[: longest - 3] + "..."


def shown(value: object) -> str:
    """A value as TOML writes it, shortened to what fits a line of a message."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if value.bit_length() <= 64 else f"an integer of {value.bit_length()} bits"
    if isinstance(value, str):
        return json.dumps(shortened(value), ensure_ascii=not value.isprintable())
    if isinstance(value, Mapping):
        return (
            "{" + shortened(", ".join(json.dumps(shortened(str(key), 20)) for key in list(value)[:6])) + "}"
        )
    if isinstance(value, list | tuple):
        dots = ", ..." if len(value) > 6 else ""
        return "[" + shortened(", ".join(shown(entry) for entry in value[:6])) + dots + "]"
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return shortened(repr(value))


def nearest(name: str, valid: Collection[str]) -> str | None:
    """The valid name that looks most like `name`, if any does."""
    close = difflib.get_close_matches(name, valid, n=1, cutoff=0.55)
    lower = {entry.lower(): entry for entry in valid}
    return close[0] if close else lower.get(name.lower())


def listed(names: Collection[str]) -> str:
    """Names for a sentence, in quotes."""
    return ", ".join(map(shown, names))


def tables_of(annotation: Any) -> list[type[Table]]:
    """The table classes that an annotation allows: one, or several told apart by `kind`."""
    if isinstance(annotation, type) and issubclass(annotation, Table):
        return [annotation]
    origin = get_origin(annotation)
    if origin is Annotated:
        return tables_of(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return [table for part in get_args(annotation) for table in tables_of(part)]
    return []


def kind_of(table: type[Table]) -> str:
    """The value of `kind` that chooses this class in a union of tables."""
    kind: str = get_args(table.model_fields["kind"].annotation)[0]
    return kind


def field_names(table: type[Table]) -> dict[str, FieldInfo]:
    """The fields of a table by their names in TOML, `kind` first and quenches last."""
    fields = {info.alias or name: info for name, info in table.model_fields.items()}
    return dict(sorted(fields.items(), key=lambda item: (item[0] != "kind", item[0] == "quench")))


@dataclass
class _Place:
    """Where an error is: the path in the file, the class of the table around it, and the field."""

    path: list[object]
    table: type[Table] | None = None
    field: FieldInfo | None = None
    siblings: Sequence[type[Table]] = ()
    annotation: Any = None


def _locate(root: type[Table], location: Sequence[int | str]) -> _Place:
    """Follow pydantic's location, which names the chosen `kind` after every union, through the tables."""
    place = _Place([], annotation=root)
    for step in location:
        tables = tables_of(place.annotation)
        chosen = [table for table in tables if "kind" in table.model_fields and kind_of(table) == step]
        if len(tables) > 1 and chosen:
            place.annotation, place.siblings = chosen[0], tables
            continue
        place.path.append(step)
        if tables:
            place.table = tables[0]
            place.siblings = place.siblings if tables[0] in place.siblings else ()
            place.field = field_names(tables[0]).get(str(step))
            place.annotation = None if place.field is None else place.field.annotation
        elif get_origin(place.annotation) is dict:
            place.annotation = get_args(place.annotation)[1]
        else:
            place.annotation = None
    return place


def _instead(place: _Place) -> str:
    """The fix for a single value: an example, or the default."""
    name, field = dotted(place.path[-1:]), place.field
    if field is not None and field.examples:
        return f"write e.g. {name} = {shown(field.examples[0])}"
    default = (
        None
        if field is None or field.is_required()
        else field.get_default(call_default_factory=True, validated_data={})
    )
    if isinstance(default, bool | int | float | str):
        return f"write e.g. {name} = {shown(default)}"
    return f"write e.g. {name} = 1.0" if place.annotation is float else f"correct {name}, or remove it"


def _unknown_key(place: _Place, root: type[Table]) -> tuple[str, str]:
    name = str(place.path[-1])
    assert place.table is not None
    valid = list(field_names(place.table))
    prefix = dotted(place.path[:-1])
    elsewhere = [key for key in static_keys(root) if key.rsplit(".", 1)[-1] == name]
    other_kinds = [kind_of(table) for table in place.siblings if name in field_names(table)]
    close = nearest(name, valid)
    if other_kinds and place.siblings:
        fix = f"remove it, or choose kind = {' or '.join(shown(kind) for kind in other_kinds)}"
    elif close is not None:
        fix = f"did you mean {dotted([*place.path[:-1], close])}?"
    elif elsewhere:
        fix = f"did you mean {elsewhere[0]}?"
    else:
        fix = "remove it"
    kind = f" for kind = {shown(kind_of(place.table))}" if place.siblings else ""
    where = f"[{prefix}]" if prefix else "the top level"
    return "unknown key", f"{fix} Valid keys of {where}{kind}: {', '.join(valid)}"


def static_keys(table: type[Table], prefix: str = "") -> list[str]:
    """The dotted keys of all tables that have only one kind."""
    keys = []
    for name, info in field_names(table).items():
        keys.append(prefix + name)
        inner = tables_of(info.annotation)
        if len(inner) == 1:
            keys += static_keys(inner[0], f"{prefix}{name}.")
    return keys


def _wrong_kind(place: _Place, error: Mapping[str, Any]) -> Problem:
    kinds = [kind_of(table) for table in tables_of(place.annotation)]
    given = error["input"].get("kind", _ABSENT) if isinstance(error["input"], Mapping) else _ABSENT
    key = dotted([*place.path, "kind"])
    if given is _ABSENT:
        return Problem(
            key, f"is missing; it must be one of {listed(kinds)}", f"write kind = {shown(kinds[0])}"
        )
    close = nearest(given, kinds) if isinstance(given, str) else None
    fix = f'did you mean "{close}"?' if close else f"write e.g. kind = {shown(kinds[0])}"
    return Problem(key, f"must be one of {listed(kinds)}", fix, shown(given))


def _must_be_table(place: _Place) -> tuple[str, str]:
    tables = tables_of(place.annotation)
    key = dotted(place.path)
    if tables:
        example = next((name for name, info in field_names(tables[0]).items() if info.is_required()), None)
        entry = f" and under it its keys, such as {example}" if example else ""
        return "must be a table", f"write [{key}]{entry}"
    return "must be a table of names and values", f"write [{key}] and under it name = value"


def _rule_and_fix(place: _Place, error: Mapping[str, Any], root: type[Table]) -> tuple[str, str]:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown_key(place, root)
    if kind == "rule":
        return context["rule"], context["fix"]
    if kind in _TABLE_ERRORS:
        return _must_be_table(place)
    if kind == "missing":
        inner = tables_of(place.annotation)
        return "is missing", f"write a table [{dotted(place.path)}]" if inner else _instead(place)
    if kind == "literal_error":
        valid = get_args(place.annotation)
        names = [entry for entry in valid if isinstance(entry, str)]
        close = nearest(str(error["input"]), names)
        fix = (
            f'did you mean "{close}"?'
            if close
            else f"write e.g. {dotted(place.path[-1:])} = {shown(valid[0])}"
        )
        return f"must be {'one of ' if len(valid) > 1 else ''}{', '.join(shown(v) for v in valid)}", fix
    if kind in _BOUND_RULES:
        name, rule = _BOUND_RULES[kind]
        return rule.format(shown(context[name])), _instead(place)
    return _TYPE_RULES.get(kind, str(error["msg"])), _instead(place)


def explain(failure: ValidationError, root: type[Table]) -> list[Problem]:
    """The problems that pydantic found in an input for the table `root`."""
    problems: list[Problem] = []
    for error in failure.errors(include_url=False):
        if error["type"] == "cross_field":
            problems += error["ctx"]["problems"]
            continue
        if error["type"] == "default_factory_not_called":  # the key it depends on is wrong: that is told
            continue
        place = _locate(root, error["loc"])
        if error["type"] in _TAG_ERRORS:
            problems.append(_wrong_kind(place, error))
            continue
        rule, fix = _rule_and_fix(place, error, root)
        value = None if error["type"] == "missing" else shown(error["input"])
        problems.append(Problem(dotted(place.path) or "input", rule, fix, value))
    return problems


def literal_values(annotation: Any) -> tuple[Any, ...]:
    """The values of a Literal annotation, empty for any other."""
    return get_args(annotation) if get_origin(annotation) is Literal else ()
