"""Numbers, times, inputs and tables as Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from tools.reproduce.rows import Published, Row, Value
from tools.reproduce.task import Task


def number(value: Value | None, digits: int = 3) -> str:
    """A number with its bar, both to the digits that mean something; without one to so many digits."""
    if value is None:
        return "-"
    if not value.bar or not math.isfinite(value.bar):
        return f"{value.value:.{digits}g}"
    # two digits of the bar, and the number to the same place
    place = 1 - math.floor(math.log10(value.bar))
    if abs(value.value) >= 1e-3 and place <= 7:
        places = max(0, place)
        return f"{value.value:.{places}f} ± {value.bar:.{places}f}"
    return f"{value.value:.3g} ± {value.bar:.2g}"


def published(source: Published | None) -> str:
    """What a source says."""
    if source is None:
        return "-"
    if source.value is None:
        return source.words or "-"
    bar = "" if source.bar is None else f" ± {source.bar:.3g}"
    return f"{source.value:.4g}{bar}" + (f" ({source.words})" if source.words else "")


def costs(row: Row) -> str:
    """CPU seconds of everything, and in brackets of training or propagation."""
    return shown(row.seconds) + (f" ({shown(row.solving)})" if row.solving is not None else "")


def published_time(row: Row) -> str:
    """A wall time, and how many times ours it is."""
    if row.published is None or row.published.seconds is None:
        return "-"
    seconds = row.published.seconds
    hours, minutes = divmod(round(seconds / 60.0), 60)
    text = (
        f"{hours} h {minutes:02d} min" if hours else f"{seconds:.3g} s" if seconds < 60 else f"{minutes} min"
    )
    return text if row.speedup is None else f"{text} (x {row.speedup:.3g})"


def task_input(task: Task) -> str:
    """The input file with what is different in the solution: seed and output are in the command."""
    if not task.input:
        return f"`{task.key}`"
    changes = [
        f"{key.split('.')[-1]} = {value}"
        for key, value in task.changes.items()
        if key not in ("seed", "time.save") and not key.startswith("output.")
    ]
    return ", ".join([f"`{task.input.removeprefix('inputs/')}`", *changes])


def shown(value: float | None) -> str:
    """Three digits."""
    return "-" if value is None else f"{value:.3g}" if value < 100.0 else f"{value:,.0f}"


def table(header: Sequence[str], cells: Iterable[Sequence[str]]) -> str:
    """A Markdown table; columns in which nothing stands are left out."""
    rows = [list(row) for row in cells]
    kept = [k for k in range(len(header)) if any(row[k] not in ("", "-") for row in rows)]
    lines = [[header[k] for k in kept], ["---"] * len(kept), *([row[k] for k in kept] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
