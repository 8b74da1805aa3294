"""Amounts of memory: reading them, writing them, and what this process may still take.

A batch system limits a job by a control group, which `/proc/meminfo` does not show: the smaller of the two
counts.
"""

from __future__ import annotations

import math
import os
import re
from pathlib import Path

_UNITS = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_UNITS |= {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
_SIZE = re.compile(r"\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([A-Za-z]+)\s*", re.ASCII)
SHARE = 0.8  # of the free memory, for a baseline that is not told otherwise
# of a control group: its limit, and what it uses of it (version 2, version 1)
_GROUP_FILES = (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes"))


def parse_size(text: str) -> int:
    """Bytes of an amount such as "512 MB", "4 GB" or "4 GiB".

    Raises:
        ValueError: the text is not a positive number with a unit of memory.
    """
    match = _SIZE.fullmatch(text)
    unit = _UNITS.get(match.group(2).lower()) if match else None
    if match is None or unit is None:
        raise ValueError('must be a number and a unit: kB, MB, GB or TB, such as "4 GB"')
    number = float(match.group(1))
    size = number * unit
    if not (math.isfinite(size) and size >= 1.0):
        raise ValueError("must be at least one byte and finite")
    return int(size)


def shown_size(size: float) -> str:
    """Bytes for a person: "3.2 GB"."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000.0:
            return f"{size:.3g} {unit}"
        size /= 1000.0
    return f"{size:.3g} TB"


def physical_memory() -> int | None:
    """Bytes of memory of this machine, None where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


def free_memory(root: Path = Path("/")) -> int | None:
    """Bytes that this process may still take, None where the system does not tell.

    Args:
        root: where `proc` and `sys` are found.
    """
    known = [size for size in (_available(root), _left_of_the_group(root)) if size is not None]
    return min(known) if known else physical_memory()


def memory_for_baselines() -> int:
    """80 % of the free memory; a system that tells nothing is taken to have 4 GB."""
    free = free_memory()
    return int(SHARE * free) if free is not None else 4 * 10**9


def _available(root: Path) -> int | None:
    try:
        text = (root / "proc" / "meminfo").read_text()
    except OSError:
        return None
    match = re.search(r"^MemAvailable:\s*(\d+) kB$", text, re.MULTILINE)
    return None if match is None else 1024 * int(match.group(1))


def _left_of_the_group(root: Path) -> int | None:
    """What the control groups around this process leave it, None where none of them has a limit."""
    try:
        lines = (root / "proc" / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return None
    left = []
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "memory" not in controllers.split(","):
            continue
        top = root / "sys" / "fs" / "cgroup" / ("memory" if controllers else "")
        inner = top / path.lstrip("/")
        for group in (inner, *inner.parents):
            left += [size for files in _GROUP_FILES if (size := _difference(group, *files)) is not None]
            if group == top:
                break
    return max(0, min(left)) if left else None


def _difference(group: Path, limit: str, used: str) -> int | None:
    try:
        return int((group / limit).read_text()) - int((group / used).read_text())
    except (OSError, ValueError):  # no such file, or "max"
        return None
