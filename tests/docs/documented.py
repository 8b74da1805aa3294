"""The pages of docs/ and what stands in them: keys, commands, listings."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from pathlib import Path
from types import ModuleType

from dsmsim.config import Config
from dsmsim.config.fields import Table
from dsmsim.config.problems import field_names, tables_of

DOCS = Path(__file__).resolve().parents[2] / "docs"
EXAMPLES = DOCS / "examples"
PAGES = sorted(DOCS.glob("*.md"))

_FENCE = re.compile(r"^ *(```+|:::+)(.*?)\n(.*?)^ *\1 *$", re.MULTILINE | re.DOTALL)


def module_at(path: Path) -> ModuleType:
    """A Python file as a module that no name finds."""
    specification = importlib.util.spec_from_file_location(path.stem, path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def listings(page: Path) -> list[tuple[str, str]]:
    """Kind and text of every fenced listing of a page."""
    return [(match[2].strip(), match[3]) for match in _FENCE.finditer(page.read_text(encoding="utf-8"))]


def prose(page: Path) -> str:
    """A page without its fenced listings."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def keys_of(table: type[Table] = Config, prefix: str = "") -> set[str]:
    """Every dotted key of the input, of all kinds that a table can be of."""
    found = set()
    for name, info in field_names(table).items():
        key = f"{prefix}{name}"
        found.add(key)
        for inner in tables_of(info.annotation):
            found |= keys_of(inner, f"{key}.")
    return found


def keys_in(data: object, prefix: str = "") -> set[str]:
    """Every dotted key of a TOML document."""
    if not isinstance(data, dict):
        return {prefix.rstrip(".")}
    return {key for name, value in data.items() for key in keys_in(value, f"{prefix}{name}.")}


def toml_of(text: str) -> dict[str, object]:
    """The TOML document of a listing."""
    return tomllib.loads(text)
