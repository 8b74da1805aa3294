"""What every table of the input shares: strictness, and the types that need more than one word to say.

A number is a number: `true` is not 1 and "1" is not 1, an integer may stand where a float is expected, and
infinities and NaN are refused. A quantity "per axis" is one number for all axes, or a list with one per axis.
"""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator
from pydantic_core import PydanticCustomError

IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
TERM_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
TARGET = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)
ENTRY_POINT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")

_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_UNITS = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), "s"),
    **dict.fromkeys(("min", "minute", "minutes"), "min"),
    **dict.fromkeys(("h", "hour", "hours"), "h"),
    **dict.fromkeys(("d", "day", "days"), "d"),
    **dict.fromkeys(("epoch", "epochs"), "epochs"),
}
_QUANTITY = re.compile(r"\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([A-Za-z]+)\s*", re.ASCII)


class Table(BaseModel):
    """One table of the input: no unknown keys, no conversion of values, nothing changes afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def broken_rule(rule: str, fix: str) -> PydanticCustomError:
    """The error that a validator raises: what must hold, and what to write instead."""
    return PydanticCustomError("rule", "{rule}; {fix}", {"rule": rule, "fix": fix})


def is_number(value: object) -> bool:
    """Whether a TOML value is a finite number (booleans are not)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _numbers(value: object, low: float, strict: bool, bound: str) -> float | list[float]:
    entries: list[Any] = value if isinstance(value, list) else [value]
    fix = "write one number for all axes, or a list with one number per axis"
    if not entries or not all(is_number(entry) for entry in entries):
        raise broken_rule("must be a finite number, or a list of finite numbers", fix)
    if any(entry < low or (strict and entry == low) for entry in entries):
        raise broken_rule(f"every number must be {bound}", f"write numbers {bound}")
    numbers = [float(entry) for entry in entries]
    return numbers if isinstance(value, list) else numbers[0]


def _any_numbers(value: object) -> float | list[float]:
    return _numbers(value, -math.inf, False, "finite")


def _non_negative_numbers(value: object) -> float | list[float]:
    return _numbers(value, 0.0, False, ">= 0")


def _positive_numbers(value: object) -> float | list[float]:
    return _numbers(value, 0.0, True, "> 0")


PerAxis = Annotated[float | list[float], PlainValidator(_any_numbers)]
PerAxisNonNegative = Annotated[float | list[float], PlainValidator(_non_negative_numbers)]
PerAxisPositive = Annotated[float | list[float], PlainValidator(_positive_numbers)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]


def per_axis(value: float | list[float], dimensions: int) -> tuple[float, ...]:
    """One number for each of the `dimensions` axes, from a number for all of them or from a list."""
    if isinstance(value, list):
        return tuple(float(entry) for entry in value)
    return (float(value),) * dimensions


def _expressions(value: object) -> str | list[str]:
    entries = value if isinstance(value, list) else [value]
    if not entries or not all(isinstance(entry, str) and entry.strip() for entry in entries):
        raise broken_rule(
            "must be an expression in quotes, or a list of them, one per axis",
            'write an expression of x in quotes, such as "exp(-x**2)"',
        )
    return value if isinstance(value, str) else [str(entry) for entry in entries]


ExpressionPerAxis = Annotated[str | list[str], PlainValidator(_expressions)]


def _target(value: str) -> str:
    if TARGET.fullmatch(value) is None and (":" in value or ENTRY_POINT.fullmatch(value) is None):
        raise broken_rule(
            'must be "module:callable" or the name of an installed entry point',
            'write it like "my_package.potentials:ring"',
        )
    return value


Target = Annotated[str, AfterValidator(_target)]


class CheckpointCadence(NamedTuple):
    """How often a checkpoint is written: every `number` of `unit` ("epochs" or "seconds")."""

    unit: str
    number: float


def _quantity(text: str) -> tuple[float, str]:
    match = _QUANTITY.fullmatch(text)
    unit = _UNITS.get(match.group(2).lower()) if match else None
    if match is None or unit is None:
        raise ValueError('must be a number and a unit: s, min, h, d, such as "30 s", "10 min" or "2 h"')
    number = float(match.group(1))
    if not 0 < number < math.inf:
        raise ValueError("must be more than zero and finite")
    return number, unit


def parse_duration(text: str) -> float:
    """Seconds of a duration such as "30 s", "10 min", "2 h" or "1 d".

    Raises:
        ValueError: the text is not a positive number with a unit of time.
    """
    number, unit = _quantity(text)
    if unit == "epochs":
        raise ValueError('must be a time, not a number of epochs: s, min, h, d, such as "10 min"')
    return number * _SECONDS[unit]


def parse_cadence(text: str) -> CheckpointCadence:
    """The cadence that "20 epochs" or "10 min" stands for.

    Raises:
        ValueError: the text is neither a whole positive number of epochs nor a duration.
    """
    number, unit = _quantity(text)
    if unit != "epochs":
        return CheckpointCadence("seconds", number * _SECONDS[unit])
    if number != int(number):
        raise ValueError('a number of epochs must be whole, such as "20 epochs"')
    return CheckpointCadence("epochs", number)


def _duration(value: str) -> str:
    try:
        parse_duration(value)
    except ValueError as error:
        raise broken_rule(str(error), 'write e.g. "10 min"') from None
    return value


def _cadence(value: str) -> str:
    try:
        parse_cadence(value)
    except ValueError as error:
        raise broken_rule(str(error), 'write e.g. "10 min" or "20 epochs"') from None
    return value


Duration = Annotated[str, AfterValidator(_duration)]
Cadence = Annotated[str, AfterValidator(_cadence)]
