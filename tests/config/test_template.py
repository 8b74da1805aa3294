"""The template of `dsmsim init`: it loads, mentions everything, and what is switched off is right too."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from dsmsim.config import Config, commented_template, load_config, parse_config
from dsmsim.config.fields import Table
from dsmsim.config.problems import field_names, tables_of
from dsmsim.config.terms import Quench

SWITCHED_OFF = re.compile(r"^#(?=[^\s#])", re.MULTILINE)
BASE = {
    "system": {"particles": 2, "trap": {"kind": "harmonic", "omega": 1.0}},
    "initial": {"kind": "gaussian", "variance": 1.0},
    "time": {"end": 1.0},
}


def all_tables() -> list[type[Table]]:
    found: list[type[Table]] = [Config, Quench]
    for table in found:
        for info in table.model_fields.values():
            arguments = getattr(info.annotation, "__args__", ())
            inner = [*tables_of(info.annotation), *(each for part in arguments for each in tables_of(part))]
            found += [each for each in inner if each not in found]
    return found


def blocks() -> list[str]:
    """Every table of the template that is switched off, switched on."""
    parts = re.split(r"\n\n", commented_template())
    return [SWITCHED_OFF.sub("", part) for part in parts if re.search(r"^#\[", part, re.MULTILINE)]


def test_it_loads_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "input.toml"
    path.write_text(commented_template())
    config = load_config(path)
    assert config.system.particles == 2
    assert config.system.interaction is not None


def test_what_is_switched_on_besides_the_system_is_the_default() -> None:
    config = parse_config(tomllib.loads(commented_template()))
    for name in ("network", "sampler", "train", "evaluation", "output", "compare", "baselines", "run"):
        assert getattr(config, name) == type(getattr(config, name))()


@pytest.mark.parametrize("table", all_tables(), ids=lambda table: table.__name__)
def test_every_key_stands_there_with_its_meaning(table: type[Table]) -> None:
    template = commented_template()
    flat = re.sub(r"\s*\n# ", " ", template)
    for name, info in field_names(table).items():
        assert re.search(rf"^#?{name} = |^#?\[(.*\.)?{name}[.\]]", template, re.MULTILINE), name
        assert info.description
        if name != "quench":
            assert info.description in flat, name


def test_every_table_was_found() -> None:
    names = {table.__name__ for table in all_tables()}
    assert {"TensorTable", "PythonPair", "ProductState", "LatticeTerm", "Quench", "RunTable"} <= names
    assert len(blocks()) == 5 + 2 + 3 + 2 + 1 + 7


@pytest.mark.parametrize("block", blocks(), ids=lambda block: block.split("\n")[0][:50])
def test_every_block_that_is_switched_off_is_right(block: str) -> None:
    def merge(target: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
        for key, value in given.items():
            replace = "kind" in value if isinstance(value, dict) else True
            target[key] = value if replace else merge(dict(target.get(key, {})), value)
        return target

    data = tomllib.loads(block)
    assert data
    merged = merge({key: dict(value) for key, value in BASE.items()}, data)
    assert parse_config(merged)


def test_lines_fit_a_screen() -> None:
    assert max(len(line) for line in commented_template().splitlines()) <= 100
