"""Whatever stands in the input: a valid `Config`, or a `ConfigError` that names the key, nothing else."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from config_examples import every_table, two_bosons
from fuzzing import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dsmsim.config import Config, load_config, parse_config
from dsmsim.config.expressions import check_expression, evaluator, to_sympy
from dsmsim.errors import ConfigError

WORDS = [
    "system",
    "trap",
    "kind",
    "harmonic",
    "omega",
    "time",
    "end",
    "train",
    "terms",
    "quench",
    "to",
    "initial",
]
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(
        [*WORDS, 10**400, -(2**63), math.nan, math.inf, -1, 0, 1e308, datetime.date(2024, 2, 29)]
    )
    | st.datetimes()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
NUMBERS = st.sampled_from([-1, 0, 1, 2, 3, 7, 1e-300, -0.5, 1e300, 2**40, 10**30, math.inf, math.nan])


def paths(table: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every path to a table, a list or a value below `table`."""
    for key, value in table.items() if isinstance(table, dict) else enumerate(table):
        yield (*before, key)
        if isinstance(value, dict | list):
            yield from paths(value, (*before, key))


PATHS = sorted(paths(every_table()), key=repr)
LEAVES = [path for path in PATHS if isinstance(path[-1], str)]


def owner_of(data: Any, path: tuple[Any, ...]) -> Any:
    for step in path[:-1]:
        data = data[step]
    return data


def outcome(data: Any) -> Config | str:
    """The configuration, or the message."""
    try:
        return parse_config(data)
    except ConfigError as error:
        failure = error
    assert failure.key
    assert all(line.isprintable() for line in str(failure).splitlines())
    return str(failure)


@settings(max_examples=examples(400), deadline=None)
@given(path=st.sampled_from(PATHS), value=VALUES | NUMBERS)
def test_a_changed_value(path: tuple[Any, ...], value: Any) -> None:
    data = every_table()
    owner_of(data, path)[path[-1]] = value
    result = outcome(data)
    if isinstance(result, str):
        names = [step for step in path if isinstance(step, str)]
        told = [name for name in names[-2:] if name != "system" or len(names) == 1]
        assert any(name in result for name in told), result
        assert "; " in result


@settings(max_examples=examples(300), deadline=None)
@given(
    path=st.sampled_from(LEAVES),
    position=st.integers(0, 20),
    letter=st.sampled_from("abcxyz_09-. \"'é\n"),
    cut=st.booleans(),
)
def test_a_key_with_a_typo(path: tuple[Any, ...], position: int, letter: str, cut: bool) -> None:
    data = every_table()
    owner, key = owner_of(data, path), path[-1]
    place = position % (len(key) + 1)
    typo = key[:place] + ("" if cut else letter) + key[place + 1 :]
    value = owner.pop(key)
    if typo in owner:
        return
    owner[typo] = value
    result = outcome(data)
    if isinstance(result, str):
        escaped = typo.encode("ascii", "backslashreplace").decode().replace("\n", "\\n").replace('"', '\\"')
        mentioned = [typo, escaped, key, path[-2] if len(path) > 1 else key]
        assert any(name and name in result for name in mentioned), result


@settings(max_examples=examples(200), deadline=None)
@given(path=st.sampled_from(PATHS))
def test_a_missing_entry(path: tuple[Any, ...]) -> None:
    data = every_table()
    del owner_of(data, path)[path[-1]]
    result = outcome(data)
    if isinstance(result, str):
        assert any(step in result for step in path if isinstance(step, str))


@settings(max_examples=examples(300), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=VALUES | st.dictionaries(st.sampled_from(list(every_table())), VALUES))
def test_arbitrary_tables(data: Any) -> None:
    outcome(data)


@settings(max_examples=examples(200), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(table=st.sampled_from(list(every_table())), data=st.data())
def test_arbitrary_values_for_the_keys_of_a_table(table: str, data: st.DataObject) -> None:
    full = every_table()
    keys = list(full[table]) if isinstance(full[table], dict) else []
    base = two_bosons()
    base[table] = data.draw(st.dictionaries(st.sampled_from(keys or ["a"]), VALUES | NUMBERS, max_size=6))
    outcome(base)


@settings(
    max_examples=examples(200), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    content=st.binary(max_size=60) | st.text(alphabet="[]{}=\"'.#,\n abt01\\", max_size=60).map(str.encode)
)
def test_arbitrary_files(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "input.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:  # no text of this alphabet, and hardly any bytes, are an input
        load_config(path)
    assert str(path) in str(caught.value)


PIECES = st.sampled_from(
    ["x", "k", "2", "0.5", "-", "+", "*", "/", "**", "(", ")", "sin(", "abs(", "pi", "e", " ", "1e9", "^"]
)


@settings(max_examples=examples(400), deadline=None)
@given(text=st.lists(PIECES, max_size=12).map("".join) | st.text(max_size=20))
def test_arbitrary_expressions(text: str) -> None:
    try:
        check_expression(text, ["x"], [])
    except ValueError as error:
        failure = error
    else:
        failure = None
    if failure is not None:
        assert str(failure).isprintable()
        return
    evaluator(text)({"x": 0.3})
    assert to_sympy(text, ["x"], []) is not None


def test_a_name_that_cannot_be_printed_is_quoted() -> None:
    data = every_table()
    data["system"]["terms"]["tilt"]["parameters"] = {"\x1b": 0}
    message = outcome(data)
    assert isinstance(message, str)
    assert r'"\u001b" is no name' in message
