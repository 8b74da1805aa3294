"""The equations of a problem, as LaTeX from its input and as MathML, which browsers draw by themselves.

i hbar d/dt psi = [sum_i (-hbar^2 / (2 m) Laplacian_i + V(r_i, t)) + (g/2) sum_{i<j} w(r_i - r_j)] psi
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import NamedTuple

from dsmsim.config import Config
from dsmsim.config.expressions import to_sympy
from dsmsim.config.interactions import ExpressionPair, GaussianPair, HarmonicPair, PythonPair
from dsmsim.config.system import GaussianState, ProductState
from dsmsim.config.terms import (
    DoubleWellTerm,
    ExpressionTerm,
    GaussianTerm,
    HarmonicTerm,
    LatticeTerm,
    PythonTerm,
    Term,
)

_DIGITS = 6  # of the numbers in a formula
# the symbols of the numbers of a term, where they are not their names
_SYMBOLS = {
    "omega": r"\omega",
    "center": "c",
    "barrier": "b",
    "half_distance": "d",
    "amplitude": "A",
    "width": "s",
    "depth": "D",
    "wavenumber": "k",
    "phase": r"\varphi",
    "s2": "s^2",
}
_PAIR_VARIABLES = ("r2", "t")


def mathml(latex: str) -> str:
    """A formula for the page; nothing for nothing."""
    from latex2mathml.converter import convert

    if not latex:
        return ""
    # in the size of a displayed formula, but placed by the page
    return str(convert(latex, display="block")).replace('display="block"', 'displaystyle="true"')


class Equation(NamedTuple):
    """A formula, and the values of the numbers in it (empty where there are none), both as LaTeX."""

    formula: str
    where: str = ""


def equations(config: Config) -> list[Equation]:
    """The Schroedinger equation, its potential and its interaction, and the start."""
    system, r = config.system, _r(config)
    terms, pair = system.one_body_terms(), system.interaction if system.particles > 1 else None
    moving = ",t" if any(map(_depends_on_time, terms.values())) else ""
    energy = r"-\frac{\hbar^2}{2m}\nabla_i^2" + (f" + V({r}_i{moving})" if terms else "")
    scale = [rf"\hbar = {system.hbar:g}", f"m = {system.mass:g}"]
    if system.particles == 1:
        total = energy.replace("_i", "")
    else:
        total = rf"\sum_{{i=1}}^{{N}} \left[{energy}\right]"
        scale.append(f"N = {system.particles}")
    if pair is not None:
        coupling = _symbol(pair, "g", r"\frac{g}{2}")
        total += rf" + {coupling}\sum_{{i<j}} w({r}_i - {r}_j)"
    lines = [
        Equation(r"i\hbar\,\frac{\partial\psi}{\partial t} = H\psi", _list(scale)),
        Equation(f"H = {total}"),
    ]
    if terms:
        parts, numbers = [], []
        for key, term in terms.items():
            index = "" if len(terms) == 1 else rf"_{{{_text(key.rpartition('.')[2])}}}"
            parts.append(_one_body(term, index, config))
            numbers += _numbers(term, index)
        lines.append(Equation(f"V({r}{moving}) = " + " + ".join(parts), _list(numbers)))
    if pair is not None:
        lines.append(Equation(_pair(pair, config), _list(_numbers(pair, ""))))
    return [*lines, *_initial(config)]


def sampling_equation(nu: float) -> Equation:
    """The process that draws the samples, of diffusion nu."""
    start = r"X(0)\sim|\psi_0|^2"
    if nu == 0.0:
        return Equation(r"dX = v(X,t)\,dt", start)
    factor = "" if nu == 1.0 else rf"{nu:g}\,"
    return Equation(rf"dX = \left[v(X,t) + {factor}u(X,t)\right]dt + \sqrt{{{factor}\hbar/m}}\;dW", start)


def _r(config: Config) -> str:
    return "x" if config.system.dimensions == 1 else r"\mathbf{r}"


def _text(name: str) -> str:
    return rf"\text{{{name}}}"


def _depends_on_time(term: Term) -> bool:
    if isinstance(term, ExpressionTerm) and re.search(r"\bt\b", term.expression):
        return True
    return bool(term.quench) or isinstance(term, PythonTerm)


def _numbers(term: Term, index: str) -> list[str]:
    """The numbers of a term with their values; those that are 0 for good do not stand in its formula."""
    values = {name: getattr(term, name) for name in term.quenchable} | getattr(term, "parameters", {})
    return [
        f"{_SYMBOLS.get(name, name)}{index} = {_value(value)}"
        if name not in term.quench
        else f"{_SYMBOLS.get(name, name)}{index}(t) = {_value(value)} \\to {_value(term.quench[name].to)}"
        for name, value in values.items()
        if name in term.quench or name not in ("center", "phase") or not _all_zero(value)
    ]


def _value(value: float | list[float]) -> str:
    return f"({', '.join(f'{entry:g}' for entry in value)})" if isinstance(value, list) else f"{value:g}"


def _list(numbers: list[str]) -> str:
    return r",\quad ".join(numbers)


def _symbol(term: Term, name: str, latex: str) -> str:
    """A number of a term, marked as a function of time where it is quenched."""
    return f"{latex}(t)" if name in term.quench else latex


def _from_centre(term: HarmonicTerm | DoubleWellTerm | GaussianTerm, position: str, index: str) -> str:
    """The position seen from the centre of a term; the position itself where this is 0 for good."""
    values = term.center if isinstance(term.center, list) else [term.center]
    if not any(values) and "center" not in term.quench:
        return position
    return f"({position} - {_symbol(term, 'center', f'c{index}')})"


def _one_body(term: Term, index: str, config: Config) -> str:
    """One term of V; `index` tells its numbers from those of other terms."""
    r = _r(config)
    if isinstance(term, HarmonicTerm):
        omega = _symbol(term, "omega", rf"\omega{index}")
        if isinstance(term.omega, list):  # numbers that differ by axis are vectors
            return rf"\tfrac{{1}}{{2}}\,m\,\left|{omega}\cdot{_from_centre(term, r, index)}\right|^2"
        return rf"\tfrac{{1}}{{2}}\,m\,{omega}^2\,{_from_centre(term, r, index)}^2"
    if isinstance(term, DoubleWellTerm):
        inner = _from_centre(term, "xyz"[term.axis], index)
        distance = _symbol(term, "half_distance", f"d{index}")
        return (
            rf"{_symbol(term, 'barrier', f'b{index}')}\left[\frac{{{inner}^2}}{{{distance}^2}} - 1\right]^2"
        )
    if isinstance(term, GaussianTerm):
        width = _symbol(term, "width", f"s{index}")
        exponent = rf"-{_from_centre(term, r, index)}^2 / 2{width}^2"
        return rf"{_symbol(term, 'amplitude', f'A{index}')}\,\exp\left({exponent}\right)"
    if isinstance(term, LatticeTerm):
        phase = " + " + _symbol(term, "phase", rf"\varphi{index}")
        shift = phase if term.phase or "phase" in term.quench else ""
        along = "x" if config.system.dimensions == 1 else "r_a"
        over = "" if config.system.dimensions == 1 else r"\sum_a"
        wave = rf"{_symbol(term, 'wavenumber', f'k{index}')}\,{along}{shift}"
        return rf"{_symbol(term, 'depth', f'D{index}')}\,{over}\sin^2\left({wave}\right)"
    if isinstance(term, ExpressionTerm):
        variables = ("x", "y", "z")[: config.system.dimensions]
        return _expression(term.expression, [*variables, "t"], term.parameters)
    assert isinstance(term, PythonTerm)
    return rf"{_text(term.target)}({r},t)"


def _pair(term: Term, config: Config) -> str:
    r = _r(config)
    if isinstance(term, GaussianPair):
        s2 = _symbol(term, "s2", "s^2")
        return rf"w({r}) = \frac{{1}}{{\sqrt{{2\pi {s2}}}}}\,\exp\left(-{r}^2 / 2{s2}\right)"
    if isinstance(term, HarmonicPair):
        return f"w({r}) = {r}^2"
    if isinstance(term, ExpressionPair):
        variables = ("x", "y", "z")[: config.system.dimensions]
        text = _expression(term.expression, [*variables, *_PAIR_VARIABLES], term.parameters)
        return f"w({r}) = {text}"
    assert isinstance(term, PythonPair)
    return rf"w({r}) = {_text(term.target)}({r},t)"


def _initial(config: Config) -> list[Equation]:
    state, r = config.initial, _r(config)
    over, at = (r"\prod_i ", f"{r}_i") if config.system.particles > 1 else ("", r)
    if isinstance(state, ProductState):
        amplitudes, phases = _entries(state.amplitude), _entries(state.phase)
        if len(amplitudes) > 1 or len(phases) > 1 or config.system.dimensions > 1:
            return []
        phase = phases[0].strip()
        factor = "" if phase == "0" else rf"\,\exp\left(i\left[{_expression(phase, ['x'], ())}\right]\right)"
        amplitude = _expression(amplitudes[0], ["x"], ())
        product = rf"\psi(0) \propto {over}\varphi({at})"
        return [Equation(product, rf"\varphi(x) = \left({amplitude}\right){factor}")]
    if isinstance(state, GaussianState):
        position, wave, numbers = at, "", [rf"\sigma^2 = {_value(state.variance)}"]
        if not _all_zero(state.mean):
            position = rf"({at} - \mu)"
            numbers.append(rf"\mu = {_value(state.mean)}")
        if not _all_zero(state.phase):
            wave = rf" + i\,k\cdot {at}"
            numbers.append(f"k = {_value(state.phase)}")
        gaussian = rf"\exp\left(-{position}^2 / 4\sigma^2{wave}\right)"
        return [Equation(rf"\psi(0) \propto {over}{gaussian}", _list(numbers))]
    return []  # the ground state of the trap: words say it better


def _all_zero(value: float | list[float]) -> bool:
    return not any(value if isinstance(value, list) else [value])


def _entries(value: str | list[str]) -> list[str]:
    return value if isinstance(value, list) else [value]


def _expression(text: str, variables: Collection[str], parameters: Collection[str]) -> str:
    """LaTeX of an expression of the input, its numbers with few digits."""
    import sympy

    formula = to_sympy(text, variables, list(parameters))
    short = formula.xreplace({number: sympy.Float(number, _DIGITS) for number in formula.atoms(sympy.Float)})
    latex = str(sympy.latex(short))
    # whole numbers come as 2.0
    return re.sub(r"(\d+)\.0+(?!\d)", r"\1", latex)
