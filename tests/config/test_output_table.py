"""[output]: names, expressions, and what needs a wave function."""

from __future__ import annotations

from typing import Any

import pytest
from tiny import tiny_config

from dsmsim.config import Config, changes_between
from dsmsim.config.output_table import DEFAULT_OBSERVABLES, MOST_NAMED, knows_wave_function, sample_variables
from dsmsim.errors import ConfigError


def refused(changes: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        tiny_config(changes)
    return str(caught.value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("current", 'output.observables = "current": must be a list of names'),
        ([1], "must be a list of names"),
        (["current", "current"], "every name must stand once"),
        (["no name"], '"no name" is neither the name of an observable nor module:callable'),
        (["a:b:c"], "neither the name of an observable"),
    ],
)
def test_names_that_cannot_be(value: Any, message: str) -> None:
    assert message in refused({"output.observables": value})


@pytest.mark.parametrize(
    ("expressions", "message"),
    [
        ({"far": "x1 - x3"}, 'output.expressions.far = "x1 - x3": unknown name "x3"'),
        ({"far": "y1"}, "unknown name"),
        ({"time": "x1"}, "output.expressions.time: the name must be"),
        ({"x_stderr": "x1"}, "the name must be"),
        ({"a-b": "x1"}, "the name must be"),
        ({"current": "x1"}, "there is an observable of this name already"),
        ({"far": "__import__('os')"}, "unknown function"),
    ],
)
def test_expressions_that_cannot_be(expressions: dict[str, str], message: str) -> None:
    assert message in refused({"output.expressions": expressions})


def test_expressions_know_the_coordinates_of_all_axes() -> None:
    assert sample_variables(2, 1) == ["x1", "x2", "t"]
    assert sample_variables(2, 2) == ["x1", "y1", "x2", "y2", "t"]
    assert len(sample_variables(10**30, 3)) == 3 * MOST_NAMED + 1
    changes = {"system.dimensions": 2, "output.expressions": {"lz": "x1 * y2 - y1 * x2 + 0 * t"}}
    assert tiny_config(changes).output.expressions["lz"].startswith("x1")


def march(ansatz: str, kind: str, polish: bool = False) -> dict[str, Any]:
    return {
        "train": {"mode": "march", "polish": polish},
        "march.ansatz": ansatz,
        "network": {"kind": kind},
    }


@pytest.mark.parametrize(
    ("changes", "known"),
    [
        ({"network": {"kind": "potential"}, "train": {}}, True),
        ({"network": {"kind": "functional_tt"}, "train": {}}, True),
        ({"network": {"kind": "mlp"}, "train": {}}, False),
        (march("cluster", "potential"), True),
        (march("network", "potential"), True),
        (march("network", "mlp"), False),
    ],
)
def test_coherence_needs_a_wave_function(changes: dict[str, Any], known: bool) -> None:
    assert knows_wave_function(tiny_config(changes)) is known
    asked = changes | {"output.observables": ["coherence", "momentum"]}
    if known:
        assert tiny_config(asked).output.observables == ["coherence", "momentum"]
    else:
        assert 'a wave function is needed for "coherence", "momentum"' in refused(asked)


def test_the_defaults_are_for_every_network() -> None:
    assert tiny_config().output.observables == list(DEFAULT_OBSERVABLES)


def test_another_choice_means_new_results() -> None:
    def changed(changes: dict[str, Any]) -> Config:
        return tiny_config(changes)

    new = changed({"output.observables": ["shots"], "output.precision": "float32"})
    found = {change.key: change.weight for change in changes_between(tiny_config(), new)}
    assert found == {"output.observables": "results", "output.precision": "results"}
