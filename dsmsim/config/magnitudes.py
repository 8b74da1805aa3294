"""The number of an input that is farthest from 1: the one to look at where a solver overflows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from dsmsim.config.model import Config

TABLES = ("system", "initial", "time")  # what has units


def farthest_number(config: Config) -> tuple[str, float]:
    """Dotted key and value of the number that describes the problem and has the largest |log10|; not 0."""
    plain = config.to_dict()
    numbers = (entry for table in TABLES for entry in _numbers(table, plain[table]))
    return max(numbers, key=lambda entry: abs(math.log10(abs(entry[1]))))


def _numbers(key: str, value: Any) -> Iterator[tuple[str, float]]:
    if isinstance(value, Mapping):
        for name, entry in value.items():
            yield from _numbers(f"{key}.{name}", entry)
    elif isinstance(value, list):
        for entry in value:
            yield from _numbers(key, entry)
    elif isinstance(value, int | float) and not isinstance(value, bool) and value != 0:
        yield key, value
