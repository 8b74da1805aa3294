"""Who is best, what is as good as published and what is cheaper: said from the numbers, never by hand."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import groupby

from tools.reproduce.rows import CHEAPER, DSM, Row, best
from tools.reproduce.wording import number, shown


def competitions(rows: Sequence[Row]) -> Iterable[tuple[Row, Row]]:
    """(best of our own, best of all) for every case and metric in which we and somebody else took part."""
    for _, group in groupby(sorted(rows, key=where), key=where):
        entrants = [row for row in group if row.ours is not None and not row.reference]
        own = best([row for row in entrants if row.method in DSM])
        winner = best(entrants)
        if own is not None and winner is not None and any(row.method not in DSM for row in entrants):
            yield own, winner


def where(row: Row) -> tuple[str, str]:
    """What rows compete in."""
    return row.case, row.metric


def tied(one: Row, other: Row) -> bool:
    """Whether two errors cannot be told apart: both at their sampling floors, or closer than their bars."""
    if one.ours is None or other.ours is None:
        return False
    if at_floor(one) and at_floor(other):
        return True
    apart = abs(one.error(one.ours.value) - other.error(other.ours.value))
    return apart <= math.hypot(one.ours.bar or 0.0, other.ours.bar or 0.0)


def at_floor(row: Row) -> bool:
    """Whether an error is what sampling alone would show, give or take its bar or a fifth."""
    if row.ours is None or row.floor is None:
        return False
    return row.error(row.ours.value) <= row.floor + max(row.ours.bar or 0.0, 0.2 * row.floor)


def summary_lines(rows: Sequence[Row]) -> list[str]:
    """What the tables say altogether, as items of a list: nothing of it is written by hand."""
    judged = [row for row in rows if row.method in DSM and row.as_good is not None]
    timed = [row for row in judged if row.speedup is not None]
    contests = list(competitions(rows))
    lost = [(own, winner) for own, winner in contests if own is not winner and not tied(own, winner)]
    lines = []
    if judged:
        worse = [row for row in judged if not row.as_good]
        lines.append(
            "- Deep stochastic mechanics, trained or marching, is at least as near to the exact answer as "
            f"what was published in {so_many(judged, worse)} rows where a number was published."
        )
        lines += [f"  - Not in: {row.case}, {row.method}, {row.metric}." for row in worse]
    if timed:
        slower = [row for row in timed if (row.speedup or 0.0) < CHEAPER]
        least = min(row.speedup or 0.0 for row in timed)
        lines.append(
            f"- It takes less than 1/{CHEAPER:.0f} of the published time in {so_many(timed, slower)} of "
            f"these rows where a time is known; the smallest factor is {least:.0f}."
        )
        lines += [f"  - Not in: {row.case}, {row.method}, {row.metric}." for row in slower]
    if contests:
        lines.append(
            f"- Beside its rivals it is best, or as good as the best, in {len(contests) - len(lost)} of "
            f"{len(contests)} comparisons (a case and a metric)." + (" It is not in:" if lost else "")
        )
        lines += [
            f"  - {own.case}, {own.metric}: {winner.method} {number(winner.ours)}, {own.method} "
            f"{number(own.ours)}."
            for own, winner in lost
        ]
    return lines


def so_many(rows: Sequence[Row], without: Sequence[Row]) -> str:
    """How many of them are left, in words."""
    return f"{len(rows) - len(without)} of {len(rows)}" if without else f"all {len(rows)}"


def sentence(own: Row, winner: Row) -> str:
    """Who is best in one metric, in words."""
    if own is winner:
        return f"{own.metric}: {own.method} is best."
    cost = f" ({shown(winner.seconds)} CPU s against {shown(own.seconds)})" if winner.seconds else ""
    if tied(own, winner):
        return f"{own.metric}: {winner.method} and {own.method} cannot be told apart{cost}."
    return f"{own.metric}: {winner.method}, not {own.method}, is best{cost}."
