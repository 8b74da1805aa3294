"""What the pages name is there: keys of the input, commands and their options, files, checks."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer
from documented import DOCS, EXAMPLES, PAGES, keys_in, keys_of, listings, prose, toml_of

from dsmsim.cli import app
from dsmsim.config import Config, load_config
from dsmsim.config.expressions import FUNCTIONS
from dsmsim.config.problems import field_names
from dsmsim.measure import TOLERANCES

ROOT = DOCS.parent
GROUP: Any = typer.main.get_command(app)
NAMES_OF_THE_USER = ("system.terms.", "output.expressions.", ".quench.", ".parameters.")

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


@pages
def test_keys_exist(page: Path) -> None:
    known, tables = keys_of(), "|".join(field_names(Config))
    named = set(re.findall(rf"`({tables})\.([a-z_0-9.]+?)(?: = [^`]*)?`", prose(page)))
    named = {(table, key) for table, key in named if key not in ("h5", "toml", "py")}  # files
    assert {f"{table}.{key}" for table, key in named} - known == set()


@pages
def test_listings_of_toml_hold_known_keys(page: Path) -> None:
    known = keys_of()
    for kind, text in listings(page):
        data = toml_of(text) if kind == "toml" else {}
        if not set(data) <= set(field_names(Config)):
            continue  # of another file, or a part of a table
        unknown = keys_in(data) - known
        assert {key for key in unknown if not any(name in f"{key}." for name in NAMES_OF_THE_USER)} == set()


def commands(page: Path) -> list[list[str]]:
    """Words of every call of dsmsim in a listing or in `code`, plainly or by a launcher, from its name on."""
    parts = [text for kind, text in listings(page) if not kind.startswith("{literal")]
    parts += re.findall(r"^    (.*)", prose(page), re.MULTILINE) + re.findall(r"`([^`\n]*)`", prose(page))
    lines = "\n".join(parts).replace("\\\n", " ").splitlines()
    calls = [re.search(r"(?:^|\d |[$=\w] )dsmsim ([a-z]+.*)", line.split("#")[0].strip()) for line in lines]
    return [call[1].split() for call in calls if call and "import" not in call.string]


@pages
def test_commands_and_options_exist(page: Path) -> None:
    for name, *words in commands(page):
        assert name in GROUP.commands, f"dsmsim {name}"
        parameters = GROUP.commands[name].params
        options = {option for each in parameters for option in (*each.opts, *each.secondary_opts)} | {
            "--help"
        }
        used = {word.split("=")[0].strip("`.,;:)") for word in words if re.match(r"--?[a-z]", word)}
        assert used - options == set(), f"dsmsim {name}"


def test_some_commands_are_found() -> None:
    assert ["run", "well.toml"] in commands(DOCS / "quickstart.md")
    assert {name for page in PAGES for name, *_ in commands(page)} >= {
        "slurm",
        "compare",
        "compress",
        "doctor",
    }


@pages
def test_files_exist(page: Path) -> None:
    named = re.findall(
        r"(?<![\w/.])((?:docs|tests|tools|inputs|slurm|dsmsim)/[\w./]+\.(?:py|md|sh|toml))", prose(page)
    )
    named += [
        f"docs/{name}" for name in re.findall(r"{literalinclude} (\S+)", page.read_text(encoding="utf-8"))
    ]
    written = {"dsmsim/networks/sine_mlp.py"}  # by the reader
    assert [name for name in named if not (ROOT / name).is_file() and name not in written] == []


def test_every_command_of_the_tools_names_a_tool() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    named = set(re.findall(r"python (tools/\S+\.py)", text))
    assert len(named) > 10
    assert {name for name in named if not (ROOT / name).is_file()} == set()


def test_every_check_is_explained() -> None:
    text = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    explained = set(re.findall(r"`([^`\n]*)`", text))
    assert [name for name in TOLERANCES if not any(check.startswith(name) for check in explained)] == []


def test_every_function_of_expressions_is_listed() -> None:
    text = (DOCS / "input.md").read_text(encoding="utf-8")
    assert [name for name in FUNCTIONS if f"`{name}`" not in text] == []


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.toml")), ids=lambda path: path.stem)
def test_inputs_load(example: Path) -> None:
    assert load_config(example).title


def test_every_page_is_in_the_site() -> None:
    text = (DOCS / "index.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^([a-z_0-9]+)$", text, re.MULTILINE))
    assert {page.stem for page in PAGES} - {"index"} == listed
