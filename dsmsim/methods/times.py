"""Times as they are given on the command line: `--times`."""

from __future__ import annotations

import itertools
import math

from dsmsim.errors import ConfigError


def asked_times(text: str) -> int | tuple[float, ...]:
    """A number of times if it is one integer, else times; nothing for an empty text.

    Raises:
        ConfigError: it is neither, or the times do not increase.
    """
    fix = "write times such as 0,0.5,1.0, or how many equidistant ones, such as 11 (a single time: 1.0)"
    words = [word.strip() for word in text.split(",")]
    if words == [""]:
        return ()
    if len(words) == 1 and words[0].isdigit():
        if int(words[0]) < 2:
            raise ConfigError(f"--times {text}: a number of times is at least 2; {fix}")
        return int(words[0])
    try:
        times = tuple(float(word) for word in words)
    except ValueError:
        raise ConfigError(f"--times {text}: {fix}") from None
    if not all(before < after for before, after in itertools.pairwise((-math.inf, *times, math.inf))):
        raise ConfigError(f"--times {text}: times must increase; {fix}")
    return times
