"""Rules for one term of the potential and its quenches, and for the expressions of the input."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator

from pydantic import ValidationError

from dsmsim.config.expressions import (
    CONSTANTS,
    FUNCTIONS,
    check_expression,
    check_parameter_names,
    evaluator,
)
from dsmsim.config.interactions import ExpressionPair, PythonPair
from dsmsim.config.problems import Problem, dotted, explain, listed, nearest, shown
from dsmsim.config.system import ProductState
from dsmsim.config.terms import ExpressionTerm, PythonTerm, Quench, Term

AXES = ("x", "y", "z")
PROBES = 201
_EVEN = 1e-9


def axes_problem(key: str, value: object, dimensions: int) -> Iterator[Problem]:
    """A list per axis must have one entry for each of the D dimensions."""
    if isinstance(value, list) and len(value) != dimensions:
        yield Problem(
            key,
            f"a list per axis must have system.dimensions = {dimensions} entries, not {len(value)}",
            "write one value for all axes, or one per axis",
            shown(value),
        )


def term_problems(term: Term, key: str, dimensions: int, end: float, *, pair: bool) -> Iterator[Problem]:
    """What is wrong with one term: lists per axis, expression, names of parameters, quenches.

    Args:
        term: the table of the term.
        key: its dotted key.
        dimensions: D.
        end: time.end.
        pair: whether it is the pair interaction.
    """
    for name in term.by_axis:
        yield from axes_problem(f"{key}.{name}", getattr(term, name), dimensions)
    yield from _parameter_names(term, key, dimensions, pair)
    if isinstance(term, ExpressionTerm | ExpressionPair):
        yield from _expression(term, key, dimensions, pair)
    for name, quench in term.quench.items():
        yield from _quench(term, key, name, quench, dimensions, end)


def _variables(dimensions: int, pair: bool) -> list[str]:
    return [*AXES[:dimensions], *(["r2"] if pair else []), "t"]


def _parameter_names(term: Term, key: str, dimensions: int, pair: bool) -> Iterator[Problem]:
    reserved: set[str] = {"g"} if pair else set()
    if isinstance(term, ExpressionTerm | ExpressionPair):
        reserved |= {*_variables(dimensions, pair), *CONSTANTS, *FUNCTIONS}
    elif isinstance(term, PythonTerm | PythonPair):
        reserved |= {"r", "t"}
    else:
        return
    for name, value in term.parameters.items():
        try:
            check_parameter_names([name], reserved)
        except ValueError as error:
            yield Problem(dotted([*key.split("."), "parameters", name]), *_split(error), shown(value))


def _split(error: ValueError) -> tuple[str, str]:
    """The rule and the fix of a message "rule; fix" (the fix may be missing)."""
    rule, _, fix = str(error).partition("; ")
    return rule, fix or "correct the expression"


def _expression(
    term: ExpressionTerm | ExpressionPair, key: str, dimensions: int, pair: bool
) -> Iterator[Problem]:
    variables = _variables(dimensions, pair)
    names = [name for name in term.parameters if name not in variables]
    try:
        check_expression(term.expression, variables, names)
    except ValueError as error:
        yield Problem(f"{key}.expression", *_split(error), shown(term.expression))
        return
    if pair and not _is_even(evaluator(term.expression), dimensions, term.parameters):
        yield Problem(
            f"{key}.expression",
            "must not change under r -> -r, because the bosons are identical",
            "write it with r2, or with even powers or abs() of x, y, z",
            shown(term.expression),
        )


def _is_even(w: Callable[[dict[str, float]], float], dimensions: int, parameters: dict[str, float]) -> bool:
    """Whether w(r) = w(-r) at a few points, to rounding; points where w is not defined do not count."""
    for step in range(1, 9):
        r = [math.sin(1.7 * step + axis) * 2.0 ** (step % 4 - 2) for axis in range(dimensions)]
        common = parameters | {"t": 0.3 * step, "r2": sum(entry**2 for entry in r)}
        there = w(common | dict(zip(AXES, r, strict=False)))
        back = w(common | dict(zip(AXES, (-entry for entry in r), strict=False)))
        if (
            math.isfinite(there)
            and math.isfinite(back)
            and abs(there - back) > _EVEN * (abs(there) + abs(back))
        ):
            return False
    return True


def _quench(
    term: Term, key: str, name: str, quench: Quench, dimensions: int, end: float
) -> Iterator[Problem]:
    place, valid = dotted([*key.split("."), "quench", name]), term.quenchable_names()
    if name not in valid:
        close = nearest(name, valid)
        yield Problem(
            place,
            f"the term has no number of this name that can change (it has {listed(valid) or 'none'})",
            f'did you mean "{close}"?' if close else "name one of its numbers, or remove the table",
        )
        return
    if quench.start > end:
        yield Problem(
            f"{place}.start",
            f"must be from 0 to time.end = {end!r}",
            "write start = 0.0, or raise time.end",
            shown(quench.start),
        )
    if isinstance(quench.to, list) and name not in term.by_axis:
        yield Problem(f"{place}.to", "must be one number", "write one number", shown(quench.to))
        return
    yield from axes_problem(f"{place}.to", quench.to, dimensions)
    yield from _like_the_number(term, place, name, quench)


def _like_the_number(term: Term, place: str, name: str, quench: Quench) -> Iterator[Problem]:
    """The value after a quench must obey the rules of the number itself."""
    if name not in type(term).model_fields:
        return
    try:
        type(term).model_validate(term.model_dump(exclude={"quench"}) | {name: quench.to})
    except ValidationError as failure:
        for problem in explain(failure, type(term)):
            yield Problem(
                f"{place}.to", problem.rule, problem.fix.replace(f"{name} =", "to ="), problem.value
            )


def initial_expressions(initial: ProductState) -> Iterator[Problem]:
    """The amplitudes and phases of a product state: readable, finite on the range, amplitudes positive."""
    low, high = initial.range
    probes = [low + (high - low) * index / (PROBES - 1) for index in range(PROBES)]
    for name in ("amplitude", "phase"):
        value = getattr(initial, name)
        texts = value if isinstance(value, list) else [value]
        for index, text in enumerate(texts):
            key = dotted(["initial", name, *([index] if isinstance(value, list) else [])])
            try:
                check_expression(text, ["x"], ())
            except ValueError as error:
                yield Problem(key, *_split(error), shown(text))
                continue
            yield from _on_the_range(key, text, probes, positive=name == "amplitude")


def _on_the_range(key: str, text: str, probes: Collection[float], *, positive: bool) -> Iterator[Problem]:
    function = evaluator(text)
    for x in probes:
        value = function({"x": x})
        if not math.isfinite(value) or (positive and value <= 0):
            rule = "must be > 0" if positive else "must be finite"
            yield Problem(
                key,
                f"{rule} on all of initial.range, but at x = {x:.6g} it is {value:.6g}",
                "narrow initial.range, or change the expression",
                shown(text),
            )
            return
