"""Factorisations of the sides of a matrix into modes."""

from __future__ import annotations

import math
from collections.abc import Sequence

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


def balanced_modes(width: int, factors: int | None = None) -> list[int]:
    """`width` as a product of factors as equal as possible, in increasing order.

    Args:
        width: the number to be split.
        factors: how many; where `width` has fewer factors > 1, the first are 1. Without it two factors for
            widths below 1024, three from there on (two where three factors > 1 do not exist).

    Raises:
        ValueError: `factors` is not given and `width` is prime or less than 4; or either is below 1.
    """
    if factors is None:
        if not is_composite(width):
            raise ValueError(f"{width} is not a product of two factors > 1")
        modes = _split(width, 2 if width < THREE_MODES_FROM else 3, 1)
        return [mode for mode in modes if mode > 1]
    if width < 1 or factors < 1:
        raise ValueError(f"{width} cannot be split into {factors} factors: both must be at least 1")
    return _split(width, factors, 1)


def _split(number: int, factors: int, least: int) -> list[int]:
    """Factors >= `least` in increasing order whose largest is smallest, then whose smallest is largest.

    Empty where there are none.
    """
    if factors == 1:
        return [number] if number >= least else []
    lows = [low for low in _divisors(number) if low >= least and low**factors <= number]
    splits = [[low, *rest] for low in lows if (rest := _split(number // low, factors - 1, low))]
    return min(splits, key=lambda modes: (modes[-1], -modes[0]), default=[])


def _divisors(number: int) -> list[int]:
    low = [factor for factor in range(1, math.isqrt(number) + 1) if number % factor == 0]
    return low + [number // factor for factor in reversed(low) if factor * factor < number]


def layer_modes(out_features: int, in_features: int) -> tuple[list[int], list[int]]:
    """Balanced modes of both sides of a matrix (O x I), as many on one side as on the other.

    Three where both sides are at least 1024 and have three factors > 1, else two; a prime side starts
    with a mode of 1.
    """
    sides = out_features, in_features
    count = 3 if all(is_composite(side) and len(balanced_modes(side)) == 3 for side in sides) else 2
    return balanced_modes(out_features, count), balanced_modes(in_features, count)


def check_modes(
    out_features: int, in_features: int, modes_out: Sequence[int], modes_in: Sequence[int]
) -> None:
    """Raise a ValueError unless the modes, two or more a side, multiply to the sides of the matrix."""
    for name, modes, size in (("in", modes_in, in_features), ("out", modes_out, out_features)):
        if math.prod(modes) != size or min(modes, default=1) < 1:
            raise ValueError(f"modes_{name} {list(modes)} multiply to {math.prod(modes)}, not {size}")
    if len(modes_in) != len(modes_out) or len(modes_in) < 2:
        raise ValueError("modes_in and modes_out need the same length, at least 2")
