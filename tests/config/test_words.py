"""Problems in plain words: every kind of term, interaction and start has some."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from config_examples import every_table, two_bosons

from dsmsim.config import parse_config
from dsmsim.config.interactions import PairInteraction
from dsmsim.config.system import InitialState
from dsmsim.config.terms import OneBodyTerm
from dsmsim.config.words import physics_in_words


def words(**changes: Any) -> list[str]:
    data = two_bosons()
    data["system"] |= changes.pop("system", {})
    return physics_in_words(parse_config(data | changes, environment=False))


def test_two_bosons() -> None:
    assert words() == [
        "Two bosons in one dimension, hbar = 0.1, mass = 1",
        "harmonic trap of frequency 1",
        "Gaussian repulsion of pairs, g = 1, s2 = 0.1",
        "from the ground state of the trap without interaction",
        "t = 0 to 1",
    ]


def test_everything() -> None:
    assert physics_in_words(parse_config(every_table(), environment=False)) == [
        "Three bosons in two dimensions, hbar = 0.5, mass = 2",
        "harmonic trap of frequency (1, 2) around (0, -1); omega goes to (2, 2) from t = 0.5 to 0.75; "
        "center goes to 0.5 at t = 0",
        "double well with barrier 0.1 and minima at 0 ± 1 (well)",
        "Gaussian dip of height -0.5 and width 0.3 at (0.1, 0.2) (dip)",
        "optical lattice of depth 0.2 and wavenumber (3, 4) (lattice)",
        "potential f * x * sin(w * t) + y**2 / 2, f = 0.1, w = 2 (tilt); f goes to 0 at t = 1",
        "potential of the function some.module:ring, radius = 1 (ring)",
        "interaction of pairs w = 1 / sqrt(r2 + a**2), g = 1, a = 0.3; g goes to 2 at t = 0.1; "
        "a goes to 0.2 at t = 0",
        "from a Gaussian of mean (0, 0.1) and variance 0.1, phase (1, -1) x",
        "t = 0 to 2",
    ]


@pytest.mark.parametrize(
    ("interaction", "line"),
    [
        (None, "no interaction"),
        ({"kind": "harmonic", "g": -0.5}, "harmonic force between pairs, g = -0.5"),
        ({"kind": "gaussian", "g": -0.5, "s2": 0.2}, "Gaussian attraction of pairs, g = -0.5, s2 = 0.2"),
        (
            {"kind": "python", "g": 2, "target": "module:w", "parameters": {"a": 0.3}},
            "interaction of pairs by the function module:w, g = 2, a = 0.3",
        ),
    ],
)
def test_interactions(interaction: dict[str, Any] | None, line: str) -> None:
    data = two_bosons()
    del data["system"]["interaction"]
    if interaction is not None:
        data["system"]["interaction"] = interaction
    assert line in physics_in_words(parse_config(data, environment=False))


def test_one_boson_does_not_interact() -> None:
    data = two_bosons()
    data["system"] = {"particles": 12}
    data["initial"] = {
        "kind": "product",
        "amplitude": "exp(-x**2)",
        "phase": "0.1 * x",
        "range": [-5.0, 5.0],
    }
    lines = physics_in_words(parse_config(data, environment=False))
    assert lines[0] == "12 bosons in one dimension, hbar = 1, mass = 1"
    assert lines[1:4] == [
        "no external potential",
        "no interaction",
        "from a product state of amplitude exp(-x**2), phase 0.1 * x",
    ]
    data["system"]["particles"] = 1
    assert len(physics_in_words(parse_config(data, environment=False))) == 4


def test_every_kind_stands_in_a_test_above() -> None:
    """A new kind needs words, and a case here."""
    kinds = {
        get_args(kind)[0].__name__ if get_args(kind) else kind.__name__
        for union in (OneBodyTerm, PairInteraction, InitialState)
        for kind in get_args(get_args(union)[0])
    }
    assert kinds == {
        *("HarmonicTerm", "DoubleWellTerm", "GaussianTerm", "LatticeTerm", "ExpressionTerm", "PythonTerm"),
        *("GaussianPair", "HarmonicPair", "ExpressionPair", "PythonPair"),
        *("TrapGroundState", "GaussianState", "ProductState"),
    }
