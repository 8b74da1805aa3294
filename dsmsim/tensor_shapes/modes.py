"""Factorisations of the sides of a matrix into modes."""

from __future__ import annotations

import math

THREE_MODES_FROM = 1024


def smallest_factor(number: int) -> int:
    """The smallest prime factor of a number >= 2."""
    for factor in range(2, math.isqrt(number) + 1):
        if number % factor == 0:
            return factor
    return number


def is_composite(number: int) -> bool:
    """Whether a number has at least two factors > 1, so that it can be a product of modes."""
    return number >= 4 and smallest_factor(number) < number


def balanced_modes(width: int) -> list[int]:
    """`width` as a product of factors as equal as possible, in increasing order.

    Two factors for widths below 1024, three from there on (two where three factors > 1 do not exist).

    Raises:
        ValueError: `width` is prime, or less than 4.
    """
    if not is_composite(width):
        raise ValueError(f"{width} is not a product of two factors > 1")
    pairs = [[low, width // low] for low in range(2, math.isqrt(width) + 1) if width % low == 0]
    if width < THREE_MODES_FROM:
        return pairs[-1]
    triples = [
        [low, middle, high // middle]
        for low, high in pairs
        for middle in range(low, math.isqrt(high) + 1)
        if high % middle == 0
    ]
    # of all splits with three factors, the one whose largest factor is smallest
    return min(triples, key=lambda modes: (modes[-1], -modes[0])) if triples else pairs[-1]
