"""The generated references hold all there is, and Sphinx's directives are told of it."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
import typer
from documented import DOCS, keys_of, module_at

from dsmsim import errors
from dsmsim.cli import app
from dsmsim.config import Config
from dsmsim.config.problems import static_keys

pytest.importorskip("sphinx", reason="the documentation is built with the extra docs")


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    return module_at(DOCS / "_ext" / "reference.py")


def test_every_key_has_an_entry(reference: ModuleType) -> None:
    text = reference.input_reference()
    missing = {
        key for key in keys_of() if f"**`{key.rsplit('.', 1)[-1]}`**" not in text and f"[{key}" not in text
    }
    assert missing - {"initial.kind", "system.trap.kind", "system.interaction.kind"} == set()
    for key in static_keys(Config):
        anchor = f"(key-{key.replace('.', '-').replace('_', '-')})="
        assert text.count(anchor) <= 1
    assert text.count("(key-train-learning-rate)=") == 1


@pytest.mark.parametrize(
    ("key", "line"),
    [
        ("particles", "**`particles`** · integer ≥ 1 · required, such as `2`"),
        ("end", "**`end`** · number > 0 · required, such as `1.0`"),
        ("save", "**`save`** · integer, or list of numbers · default `101`"),
        ("epochs", "**`epochs`** · integer ≥ 1 · default `120`, depending on other keys"),
        ("nu", "**`nu`** · number ≥ 0 · absent by default, or such as `0.0`"),
        ("scheme", '**`scheme`** · `"heun"` or `"euler"` · default `"heun"`'),
    ],
)
def test_an_entry_says_type_and_default(reference: ModuleType, key: str, line: str) -> None:
    assert line in reference.input_reference()


def test_every_command_and_option_has_an_entry(reference: ModuleType) -> None:
    text, group = reference.command_reference(), typer.main.get_command(app)
    for name, command in _commands(group).items():
        section = text.split(f"### dsmsim {name}\n")[1].split("\n### ")[0]
        for parameter in command.params:
            shown = [option for option in parameter.opts if option.startswith("-") and option != "--help"]
            assert [option for option in shown if option not in section] == []


def _commands(group: Any) -> dict[str, Any]:
    return dict(group.commands)


def test_every_error_has_its_exit_code(reference: ModuleType) -> None:
    text = reference.exit_codes()
    for each in (errors.ConfigError, errors.DivergedError, errors.StoreError, errors.LaunchError):
        assert f"| {each.exit_code} | `{each.__name__}` |" in text


def test_every_installed_method_is_listed(reference: ModuleType) -> None:
    from dsmsim.methods.installed import method_names

    assert [name for name in method_names() if f"| `{name}` |" not in reference.method_list()] == []


def test_formulas_survive_markdown(reference: ModuleType) -> None:
    assert (
        reference._escaped("sum_i |x_i|**2 in `a_b` [1/time]")
        == "sum\\_i \\|x\\_i\\|\\*\\*2 in `a_b` \\[1/time\\]"
    )


def test_every_directive_is_used(reference: ModuleType) -> None:
    pages = "".join(page.read_text(encoding="utf-8") for page in DOCS.glob("*.md"))
    assert [name for name, _ in reference.directives() if f"```{{{name}}}" not in pages] == []
