"""Sphinx extension: references generated from the program itself, so that they cannot drift from it.

Directives, all without arguments:

    input-reference      every table and key of an input, from the classes in `dsmsim.config`
    suited-defaults      the defaults of [train] that depend on the optimiser
    command-reference    every command with its arguments and options, from the command line
    method-list          the methods that are installed, from the entry points
    exit-codes           from `dsmsim.errors`

Each turns into Markdown by one function of this module, without Sphinx; tests read the same text. Sphinx
cannot know when the program has changed: build with -E, as `make docs` does.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib.util
import json
import re
import types
from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from docutils import nodes
from pydantic.fields import FieldInfo
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from dsmsim import errors
from dsmsim.cli import COMMANDS, app
from dsmsim.config import Config
from dsmsim.config.fields import Table
from dsmsim.config.problems import field_names, kind_of, literal_values, tables_of
from dsmsim.config.run_tables import SUITED

WORDS = {bool: "true or false", int: "integer", float: "number", str: "text"}
PLURALS = {int: "integers", float: "numbers", str: "texts"}
BOUNDS = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}


def input_reference() -> str:
    """Every table and key of the input as Markdown: a section a table, an anchor and an entry a key."""
    lines: list[str] = []
    plain = {}
    for name, info in field_names(Config).items():
        if tables_of(info.annotation):
            lines += _tables(name, info, level=2)
        else:
            plain[name] = info
    top = ["## At the top of the file", "", *_entries("", plain)]
    return "\n".join([*top, *lines])


def _tables(key: str, info: FieldInfo, level: int) -> list[str]:
    """One table of the input, or all kinds that it can be of, and the tables inside."""
    tables = tables_of(info.annotation)
    lines = [_anchor(key), f"{'#' * level} [{key}]", "", _sentence(info.description), ""]
    if len(tables) == 1:
        return [*lines, *_inside(key, tables[0], level)]
    for table in tables:
        lines += [f'{"#" * (level + 1)} [{key}] kind = "{kind_of(table)}"', ""]
        lines += [_sentence(field_names(table)["kind"].description), ""]
        fields = {name: field for name, field in field_names(table).items() if name not in ("kind", "quench")}
        lines += _entries(key, fields, anchors=False)
        quenchable = [*getattr(table, "quenchable", ())]
        if quenchable:
            lines += [f"A quench may change {_listed(quenchable)}.", ""]
    return lines


def _inside(key: str, table: type[Table], level: int) -> list[str]:
    fields = field_names(table)
    nested = {name: info for name, info in fields.items() if tables_of(_item(info.annotation))}
    lines = _entries(key, {name: info for name, info in fields.items() if name not in nested})
    for name, info in nested.items():
        item = _item(info.annotation)
        if item is info.annotation:
            lines += _tables(f"{key}.{name}", info, level + 1)
        else:
            lines += [f"{'#' * (level + 1)} [{key}.{name}.NAME]", "", _sentence(info.description), ""]
            lines += ["They have the kinds of [system.trap].", ""]
    if table.__name__ == "SystemTable":
        lines += _quench(level + 1)
    return lines


def _quench(level: int) -> list[str]:
    from dsmsim.config.terms import Quench

    text = (
        "One number of a one-body term or of the interaction changes in time: one table for each, for "
        "example `[system.trap.quench.omega]` or `[system.interaction.quench.g]`. It takes these keys."
    )
    return [f"{'#' * level} [system.….quench.NAME]", "", text, "", *_entries("", field_names(Quench), False)]


def _entries(key: str, fields: Mapping[str, FieldInfo], anchors: bool = True) -> list[str]:
    """A definition list: name, type, default; then the meaning."""
    lines: list[str] = []
    for name, info in fields.items():
        dotted = f"{key}.{name}" if key else name
        if anchors:
            lines.append(_anchor(dotted))
        lines += [f"**`{name}`** · {type_words(info)} · {default_words(info)}"]
        lines += [f": {_meaning(info)}", ""]
    return lines


def _anchor(key: str) -> str:
    return f"(key-{key.replace('.', '-').replace('_', '-')})="


def type_words(info: FieldInfo) -> str:
    """What may be written for a key, in words."""
    choices = literal_values(info.annotation)
    if choices:
        return " or ".join(f"`{json.dumps(choice)}`" for choice in choices)
    return _type(info.annotation) + _bounds(info.metadata)


def _type(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(arguments[0]) + _bounds(arguments[1:])
    if origin in (Union, types.UnionType):
        return ", or ".join(_type(part) for part in arguments if part is not type(None))
    if origin is Literal:
        return " or ".join(f"`{json.dumps(choice)}`" for choice in arguments)
    if origin in (list, tuple):
        return f"list of {PLURALS.get(arguments[0], 'values')}"
    if origin is dict:
        return f"table of {PLURALS.get(arguments[1], 'values')}"
    return WORDS.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _bounds(metadata: Any) -> str:
    found = []
    for entry in metadata:
        parts = getattr(entry, "metadata", None) or [entry]  # pydantic nests the constraints of Field
        for part in parts:
            for name, sign in BOUNDS.items():
                bound = getattr(part, name, None)
                if isinstance(bound, int | float):
                    found.append(f" {sign} {bound:,g}")
    return " and".join(found)


def default_words(info: FieldInfo) -> str:
    """The default of a key, in words."""
    if info.is_required():
        example = f", such as `{_toml(info.examples[0])}`" if info.examples else ""
        return f"required{example}"
    value = info.get_default(call_default_factory=True, validated_data={})
    if value is None:
        example = f", or such as `{_toml(info.examples[0])}`" if info.examples else ""
        return f"absent by default{example}"
    depends = ", depending on other keys" if info.default_factory_takes_validated_data else ""
    return f"default `{_toml(value)}`{depends}"


def suited_defaults() -> str:
    """Defaults of [train] by optimiser, as a table."""
    names = [field.name for field in dataclasses.fields(next(iter(SUITED.values())))]
    rows = [f"| `optimizer` | {' | '.join(f'`{name}`' for name in names)} |", "|---" * (len(names) + 1) + "|"]
    for optimizer, suited in SUITED.items():
        values = (_toml(getattr(suited, name)) for name in names)
        rows.append(f'| `"{optimizer}"` | {" | ".join(values)} |')
    return "\n".join(rows)


def command_reference() -> str:
    """Every command as Markdown: a section each, under the headings of `dsmsim --help`."""
    group: Any = typer.main.get_command(app)
    lines: list[str] = []
    for panel, functions in COMMANDS.items():
        lines += [f"## {panel}", ""]
        for function in functions:
            name = function.__name__.replace("_", "-")
            lines += _command(name, group.commands[name])
    return "\n".join(lines)


def _command(name: str, command: Any) -> list[str]:
    context = typer.Context(command, info_name=name)
    shown = [parameter for parameter in command.params if not getattr(parameter, "hidden", False)]
    arguments = [each for each in shown if each.param_type_name == "argument"]
    options = [each for each in shown if each.param_type_name == "option"]
    usage = " ".join(
        ["dsmsim", name, "[OPTIONS]" if options else "", *(_metavar(each) for each in arguments)]
    )
    lines = [f"(command-{name})=", f"### dsmsim {name}", "", "```text", " ".join(usage.split()), "```", ""]
    lines += [_escaped(str(command.help or "")), ""]
    for each in arguments:
        lines += [f"**`{_metavar(each)}`**", f": {_help(each.help)}", ""]
    for each in options:
        record = each.get_help_record(context)
        if record is None:
            continue
        lines += [f"**`{record[0]}`**", f": {_help(record[1])}", ""]
    return lines


def _help(text: str | None) -> str:
    return _escaped(" ".join((text or "").split()))


def _metavar(argument: Any) -> str:
    return str(argument.metavar or argument.name.upper())


def method_list() -> str:
    """The installed methods and what each is, as a table."""
    rows = ["| name | what it is |", "|---|---|"]
    found: dict[str, EntryPoint] = {entry.name: entry for entry in entry_points(group="dsmsim.methods")}
    for name, entry in found.items():
        specification = importlib.util.find_spec(entry.module)
        file = specification.origin if specification else None
        source = Path(file).read_text(encoding="utf-8") if file else ""
        first = " ".join((ast.get_docstring(ast.parse(source)) or "").split("\n\n")[0].split())
        rows.append(f"| `{name}` | {_escaped(first)} |")
    return "\n".join(rows)


def exit_codes() -> str:
    """The exit codes and the errors that they stand for, as a table."""
    rows = ["| exit code | error | meaning |", "|---|---|---|", "| 0 | | done |"]
    classes = [each for each in vars(errors).values() if isinstance(each, type)]
    for each in classes:
        if issubclass(each, errors.DsmsimError) and each is not errors.DsmsimError:
            first = (each.__doc__ or "").strip().splitlines()[0]
            rows.append(f"| {each.exit_code} | `{each.__name__}` | {_escaped(first)} |")
    rows.append("| 130 | | interrupted by Ctrl-C |")
    return "\n".join(rows)


def _item(annotation: Any) -> Any:
    """The values of a table with names of the user's choice; else the annotation itself."""
    return get_args(annotation)[1] if get_origin(annotation) is dict else annotation


def _listed(names: list[str]) -> str:
    quoted = [f"`{name}`" for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"


def _meaning(info: FieldInfo) -> str:
    """The description of a key, its values set as code where they are explained one by one."""
    text = " ".join((info.description or "").split())
    for value in literal_values(info.annotation):
        text = re.sub(rf"(?<![\w`]){re.escape(str(value))}(?=:)", f"`{value}`", text)
    return _escaped(text)


def _sentence(text: str | None) -> str:
    """A description as a sentence."""
    plain = _escaped(" ".join((text or "").split()))
    return f"{plain[0].upper()}{plain[1:]}." if plain[1:2].isalpha() else plain


def _escaped(text: str) -> str:
    """Characters of formulas that Markdown would take for its own, outside `code`."""
    parts = re.split(r"(`[^`]*`)", text.replace("\\[", "["))
    return "".join(part if part.startswith("`") else _plain(part) for part in parts)


def _plain(text: str) -> str:
    return re.sub(r"([*_\[\]<>$|])", r"\\\1", text)


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        if not value:
            return "{}"
        return "{ " + ", ".join(f"{key} = {_toml(entry)}" for key, entry in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False)


class Generated(SphinxDirective):
    """A directive without content, replaced by the Markdown of one function."""

    option_spec = None
    has_content = False
    make: Any

    def run(self) -> list[nodes.Node]:
        """The nodes of the text."""
        text = type(self).make()
        return self.parse_text_to_nodes(text, allow_section_headings=True)


def directives() -> Iterator[tuple[str, type[Generated]]]:
    """Names and classes of the directives."""
    makers = (input_reference, suited_defaults, command_reference, method_list, exit_codes)
    for make in makers:
        name = make.__name__.replace("_", "-")
        yield name, type(make.__name__, (Generated,), {"make": staticmethod(make)})


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    for name, directive in directives():
        app.add_directive(name, directive)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
