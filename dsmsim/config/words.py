"""The physics of an input in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dsmsim.config.interactions import ExpressionPair, GaussianPair, HarmonicPair
from dsmsim.config.model import Config
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

_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def physics_in_words(config: Config) -> list[str]:
    """The problem as a few plain lines: bosons, potential, interaction, start, time."""
    system = config.system
    bosons = f"{_counted(system.particles)} boson{'s' if system.particles > 1 else ''}"
    line = f"{bosons} in {_counted(system.dimensions)} dimension{'s' if system.dimensions > 1 else ''}"
    lines = [f"{line[0].upper()}{line[1:]}, hbar = {system.hbar:g}, mass = {system.mass:g}"]
    for key, term in system.one_body_terms().items():
        name = "" if key == "system.trap" else f" ({key.rpartition('.')[2]})"
        lines.append(f"{_one_body(term)}{name}{_quenches(term)}")
    if not system.one_body_terms():
        lines.append("no external potential")
    if system.particles > 1:
        pair = system.interaction
        lines.append("no interaction" if pair is None else f"{_pair(pair)}{_quenches(pair)}")
    lines.append(f"from {_start(config)}")
    return [*lines, f"t = 0 to {config.time.end:g}"]


def _counted(number: int) -> str:
    return _NUMBERS[number] if number < len(_NUMBERS) else str(number)


def _value(value: object) -> str:
    if isinstance(value, list | tuple):
        return f"({', '.join(map(_value, value))})"
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def _one_body(term: Term) -> str:
    match term:
        case HarmonicTerm():
            centre = f" around {_value(term.center)}" if term.center != 0.0 else ""
            return f"harmonic trap of frequency {_value(term.omega)}{centre}"
        case DoubleWellTerm():
            minima = f"{term.center:g} ± {term.half_distance:g}"
            return f"double well with barrier {term.barrier:g} and minima at {minima}"
        case GaussianTerm():
            kind = "hill" if term.amplitude > 0.0 else "dip"
            size = f"height {term.amplitude:g} and width {term.width:g}"
            return f"Gaussian {kind} of {size} at {_value(term.center)}"
        case LatticeTerm():
            return f"optical lattice of depth {term.depth:g} and wavenumber {_value(term.wavenumber)}"
        case ExpressionTerm():
            return f"potential {term.expression}{_parameters(term.parameters)}"
        case PythonTerm():
            return f"potential of the function {term.target}{_parameters(term.parameters)}"
    raise TypeError(f"no words for {type(term).__name__}")


def _pair(pair: Any) -> str:
    way = "attraction" if pair.g < 0.0 else "repulsion"
    match pair:
        case GaussianPair():
            return f"Gaussian {way} of pairs, g = {pair.g:g}, s2 = {pair.s2:g}"
        case HarmonicPair():
            return f"harmonic force between pairs, g = {pair.g:g}"
        case ExpressionPair():
            return f"interaction of pairs w = {pair.expression}, g = {pair.g:g}{_parameters(pair.parameters)}"
    return f"interaction of pairs by the function {pair.target}, g = {pair.g:g}{_parameters(pair.parameters)}"


def _parameters(parameters: Mapping[str, float]) -> str:
    return "".join(f", {name} = {value:g}" for name, value in parameters.items())


def _quenches(term: Term) -> str:
    """What of a term changes in time."""
    words = []
    for name, quench in term.quench.items():
        when = f"at t = {quench.start:g}"
        if quench.duration > 0.0:
            when = f"from t = {quench.start:g} to {quench.start + quench.duration:g}"
        words.append(f"; {name} goes to {_value(quench.to)} {when}")
    return "".join(words)


def _start(config: Config) -> str:
    match config.initial:
        case GaussianState() as state:
            moving = f", phase {_value(state.phase)} x" if state.phase != 0.0 else ""
            return f"a Gaussian of mean {_value(state.mean)} and variance {_value(state.variance)}{moving}"
        case ProductState() as state:
            moving = f", phase {_value(state.phase)}" if state.phase != "0" else ""
            return f"a product state of amplitude {_value(state.amplitude)}{moving}"
    return "the ground state of the trap without interaction"
