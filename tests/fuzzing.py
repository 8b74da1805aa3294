"""How many random inputs the property-based tests of the input try: `make fuzz` tries ten times as many."""

from __future__ import annotations

import os

_FACTOR = int(os.environ.get("DSMSIM_FUZZ", "1"))


def examples(count: int) -> int:
    """`count` by default, DSMSIM_FUZZ times as many where that is set."""
    return count * _FACTOR
