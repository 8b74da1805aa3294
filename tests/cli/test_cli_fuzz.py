"""`dsmsim check` on mutated inputs: a plan, or exit code 2 and a message with the key; never a traceback."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from commands import Outcome, call
from fuzzing import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny import tiny_input

QUICK = settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def rich_input() -> dict[str, Any]:
    """The tiny input with a term of every kind that has something to get wrong."""
    return tiny_input(
        {
            "seed": 3,
            "system.dimensions": 1,
            "system.mass": 1.5,
            "system.trap.quench": {"omega": {"to": 2.0, "start": 0.25, "duration": 0.5, "shape": "smooth"}},
            "system.terms.dip": {"kind": "gaussian", "amplitude": -0.5, "width": 0.3, "center": [0.1]},
            "system.terms.tilt": {
                "kind": "expression",
                "expression": "f * x * sin(w * t)",
                "parameters": {"f": 0.1, "w": 2.0},
            },
            "time.save": [0.0, 0.5, 1.0],
            "network.kind": "mlp",
            "network.tensor": {"format": "tt", "rank": 2, "modes_out": [2, 4], "modes_in": [4, 2]},
            "sampler": {"scheme": "heun", "nu": 1.0},
            "train.alpha": 1.0,
            "train.beta": 1.0,
            "output.trajectories": 4,
            "compare.with": ["split_step"],
            "run.time_limit": "1 h",
        }
    )


def paths(table: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every path to a table, a list or a value below `table`."""
    for key, value in table.items() if isinstance(table, dict) else enumerate(table):
        yield (*before, key)
        if isinstance(value, dict | list):
            yield from paths(value, (*before, key))


PATHS = sorted(paths(rich_input()), key=repr)
WORDS = [
    "harmonic",
    "gaussian",
    "python",
    "expression",
    "learned",
    "tt",
    "auto",
    "x**2",
    "x +",
    "math:sin",
    "1 h",
]
VALUES = (
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.integers(-3, 70)
    | st.floats()
    | st.sampled_from([0.0, -0.5, 1e-300, 1e300, math.nan, math.inf, 10**30, datetime.date(2024, 2, 29)])
    | st.sampled_from(WORDS)
    | st.text(max_size=8)
    | st.lists(st.integers(-1, 4) | st.floats(-2.0, 2.0), max_size=3)
    | st.dictionaries(st.sampled_from(["kind", "to", "omega", "a b"]), st.integers(0, 3), max_size=2)
)


def check(tmp_path: Path, content: bytes) -> Outcome:
    file = tmp_path / "input.toml"
    file.write_bytes(content)
    outcome = call("check", file)
    if outcome.code == 0:
        assert "parameters of " in outcome.out
        assert outcome.err == ""
    else:
        assert outcome.code == 2
        assert outcome.out == ""
        assert outcome.err.startswith(f"dsmsim: {file}: ") or "cannot be" in outcome.err
        assert "Traceback" not in outcome.err
    return outcome


def test_the_input_that_is_mutated_is_valid(tmp_path: Path) -> None:
    assert check(tmp_path, tomli_w.dumps(rich_input()).encode()).code == 0


@settings(QUICK, max_examples=examples(250))
@given(path=st.sampled_from(PATHS), value=VALUES)
def test_a_changed_value(tmp_path: Path, path: tuple[Any, ...], value: Any) -> None:
    data = rich_input()
    owner: Any = data
    for step in path[:-1]:
        owner = owner[step]
    owner[path[-1]] = value
    outcome = check(tmp_path, tomli_w.dumps(data).encode())
    if outcome.code == 2:
        names = [step for step in path if isinstance(step, str)]
        # a problem that became too large is told at the key that could make room for it
        told = any(name in outcome.err for name in names[-2:]) or "memory" in outcome.err
        assert told, outcome.err


@settings(QUICK, max_examples=examples(100))
@given(
    path=st.sampled_from([path for path in PATHS if isinstance(path[-1], str)]),
    letter=st.sampled_from("axz_9"),
)
def test_a_misspelt_key(tmp_path: Path, path: tuple[Any, ...], letter: str) -> None:
    data = rich_input()
    owner: Any = data
    for step in path[:-1]:
        owner = owner[step]
    typo = path[-1] + letter
    owner[typo] = owner.pop(path[-1])
    outcome = check(tmp_path, tomli_w.dumps(data).encode())
    free = path[-2:-1] in [("terms",), ("parameters",)]  # names of the user's own
    assert outcome.code == 2 or free
    if outcome.code == 2:
        assert typo in outcome.err or path[-1] in outcome.err


@settings(QUICK, max_examples=examples(150))
@given(
    position=st.integers(0, 10**6),
    cut=st.integers(0, 3),
    new=st.binary(max_size=3) | st.sampled_from([b"=", b"[", b"]", b'"', b"\n", b"#", b"0", b".", b"-"]),
)
def test_a_damaged_file(tmp_path: Path, position: int, cut: int, new: bytes) -> None:
    content = tomli_w.dumps(rich_input()).encode()
    place = position % len(content)
    check(tmp_path, content[:place] + new + content[place + cut :])


@pytest.mark.parametrize(
    ("path", "value"),
    [("system.hbar", 3.414157245080998e152), ("system.terms.dip.width", 1.3407807929942597e154)],
)
def test_numbers_that_no_solver_can_square(tmp_path: Path, path: str, value: float) -> None:
    """Found by the tests above: predictions that divided by a spacing of zero, or overflowed."""
    data = rich_input()
    *tables, key = path.split(".")
    owner = data
    for table in tables:
        owner = owner[table]
    owner[key] = value
    outcome = check(tmp_path, tomli_w.dumps(data).encode())
    assert outcome.code == 2
    assert f"{path} = {value:g}: split_step cannot work with numbers of this size" in outcome.err
