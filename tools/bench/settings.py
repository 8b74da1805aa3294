"""`--set key.key=value` of the benchmarks."""

from __future__ import annotations

import tomllib
from typing import Any


def changed(data: dict[str, Any], settings: list[str]) -> dict[str, Any]:
    """The input with `key.key=value` settings, values in TOML."""
    for setting in settings:
        path, _, value = setting.partition("=")
        *tables, key = path.split(".")
        owner = data
        for table in tables:
            owner = owner.setdefault(table, {})
        owner[key] = tomllib.loads(f"value = {value}")["value"]
    return data
