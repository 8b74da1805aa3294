"""Formulas of every kind of term, as LaTeX that the page can show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dsmsim.analysis.report.equations import equations, mathml, sampling_equation
from dsmsim.config import load_config, parse_config

ROOT = Path(__file__).resolve().parents[2]
HARMONIC = {"kind": "harmonic", "omega": 1.0}


def formulas(**changes: Any) -> dict[str, str]:
    """The value of every left-hand side with the numbers in it."""
    system = {"particles": 2, "trap": HARMONIC, **changes.pop("system", {})}
    config = parse_config({"system": system, "time": {"end": 1.0}, **changes}, environment=False)
    found = equations(config)
    for pair in found:
        for latex in pair:
            assert not latex or mathml(latex).startswith("<math")
    parts = [equation.formula.partition(" = ") for equation in found]
    return {left: f"{right} | {e.where}" for (left, _, right), e in zip(parts, found, strict=True)}


def test_the_schroedinger_equation_of_many_and_of_one() -> None:
    many = formulas()
    assert many[r"i\hbar\,\frac{\partial\psi}{\partial t}"] == r"H\psi | \hbar = 1,\quad m = 1,\quad N = 2"
    assert many["H"].startswith(r"\sum_{i=1}^{N} \left[-\frac{\hbar^2}{2m}\nabla_i^2 + V(x_i)\right]")
    one = formulas(system={"particles": 1, "dimensions": 3})
    assert one["H"] == r"-\frac{\hbar^2}{2m}\nabla^2 + V(\mathbf{r}) | "


@pytest.mark.parametrize(
    ("trap", "formula"),
    [
        (HARMONIC, r"\tfrac{1}{2}\,m\,\omega^2\,x^2 | \omega = 1"),
        (HARMONIC | {"center": 0.5}, r"\tfrac{1}{2}\,m\,\omega^2\,(x - c)^2 | \omega = 1,\quad c = 0.5"),
        (
            {"kind": "double_well", "barrier": 0.2, "half_distance": 2.0},
            r"b\left[\frac{x^2}{d^2} - 1\right]^2 | b = 0.2,\quad d = 2",
        ),
        (
            {"kind": "gaussian", "amplitude": -1.0, "width": 0.3},
            r"A\,\exp\left(-x^2 / 2s^2\right) | A = -1,\quad s = 0.3",
        ),
        (
            {"kind": "lattice", "depth": 2.0, "wavenumber": 3.0, "phase": 0.1},
            r"D\,\sin^2\left(k\,x + \varphi\right) | D = 2,\quad k = 3,\quad \varphi = 0.1",
        ),
        (
            {"kind": "expression", "expression": "0.5 * k * x**2.0", "parameters": {"k": 2.0}},
            "0.5 k x^{2} | k = 2",
        ),
        ({"kind": "python", "target": "my_package.pots:ring"}, r"\text{my_package.pots:ring}(x,t) | "),
    ],
)
def test_potentials(trap: dict[str, Any], formula: str) -> None:
    found = formulas(system={"trap": trap}, initial={"kind": "gaussian", "variance": 0.1})
    left = "V(x,t)" if trap["kind"] == "python" else "V(x)"
    assert found[left] == formula


def test_what_changes_in_time_is_marked() -> None:
    quench = {"omega": {"to": 2.0}}
    found = formulas(system={"trap": HARMONIC | {"quench": quench}})
    assert found["V(x,t)"] == r"\tfrac{1}{2}\,m\,\omega(t)^2\,x^2 | \omega(t) = 1 \to 2"
    driven = {"kind": "expression", "expression": "x * sin(t)"}
    assert "V(x,t)" in formulas(system={"terms": {"drive": driven}})


def test_numbers_of_several_terms_have_their_names() -> None:
    bump = {"kind": "gaussian", "amplitude": 1.0, "width": 0.3}
    found = formulas(system={"terms": {"bump": bump}})["V(x)"]
    assert r"\omega_{\text{trap}}^2" in found
    assert r"A_{\text{bump}}\,\exp\left(-x^2 / 2s_{\text{bump}}^2\right)" in found
    assert found.endswith(r"\omega_{\text{trap}} = 1,\quad A_{\text{bump}} = 1,\quad s_{\text{bump}} = 0.3")


@pytest.mark.parametrize(
    ("interaction", "formula"),
    [
        (
            {"kind": "gaussian", "g": 1.0, "s2": 0.1},
            r"\frac{1}{\sqrt{2\pi s^2}}\,\exp\left(-x^2 / 2s^2\right)",
        ),
        ({"kind": "harmonic", "g": 1.0}, "x^2"),
        ({"kind": "expression", "g": 1.0, "expression": "exp(-r2)"}, r"e^{- r_{2}}"),
        ({"kind": "python", "g": 1.0, "target": "my_package.pots:soft"}, r"\text{my_package.pots:soft}(x,t)"),
    ],
)
def test_interactions(interaction: dict[str, Any], formula: str) -> None:
    found = formulas(system={"interaction": interaction})
    assert r"\frac{g}{2}\sum_{i<j} w(x_i - x_j)" in found["H"]
    assert found["w(x)"].startswith(f"{formula} | g = 1")


@pytest.mark.parametrize(
    ("initial", "formula"),
    [
        ({"kind": "trap_ground_state"}, None),
        (
            {"kind": "gaussian", "variance": 0.1, "mean": 1.0, "phase": -2.0},
            r"\prod_i \exp\left(-(x_i - \mu)^2 / 4\sigma^2 + i\,k\cdot x_i\right)",
        ),
        ({"kind": "product", "amplitude": "exp(-x**2)", "range": [-4.0, 4.0]}, r"\prod_i \varphi(x_i)"),
    ],
)
def test_starts(initial: dict[str, Any], formula: str | None) -> None:
    last = list(formulas(initial=initial))[-1]
    assert last == "V(x)" if formula is None else last == rf"\psi(0) \propto {formula}"


def test_the_sampling_process() -> None:
    assert sampling_equation(0.0).formula == r"dX = v(X,t)\,dt"
    assert r"v(X,t) + u(X,t)" in sampling_equation(1.0).formula
    assert r"v(X,t) + 0.5\,u(X,t)" in sampling_equation(0.5).formula
    assert r"\sqrt{0.5\,\hbar/m}" in sampling_equation(0.5).formula


@pytest.mark.parametrize("path", sorted((ROOT / "inputs").glob("*.toml")), ids=lambda path: path.stem)
def test_every_shipped_input_has_formulas(path: Path) -> None:
    for equation in equations(load_config(path)):
        assert mathml(equation.formula).startswith("<math")
