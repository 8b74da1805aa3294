"""Rows of the tables: one number of one method on one case, what was published for it, and what is exact.

What a row says of itself (at least as good as published, twenty times cheaper, the best of its case) is
computed here from the numbers, never written by hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tools.reproduce.task import Task

CHEAPER = 20.0  # times less than the published wall time: what we ask of ourselves
DSM = ("DSM", "DSM, marching")
MEAN_ABSOLUTE = float(np.sqrt(2.0 / np.pi))  # mean of |noise| in standard deviations


@dataclass(frozen=True)
class Value:
    """A number with its error bar.

    Attributes:
        value: the number, the mean over seeds where there are several.
        bar: standard deviation over seeds or trials, or a standard error; None where there is none.
        count: how many seeds stand behind it.
    """

    value: float
    bar: float | None = None
    count: int = 1


@dataclass(frozen=True)
class Published:
    """What a source says.

    Attributes:
        value: None where only words or a figure were published.
        bar: as published.
        seconds: wall time there, None where it is not known.
        words: for the table in place of a number, or beside it, such as "figure".
    """

    value: float | None = None
    bar: float | None = None
    seconds: float | None = None
    words: str = ""


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes:
        case: what was solved.
        method: by what; the names in `DSM` are this program's own.
        metric: what was measured, such as "E_v" or "Var x1 at t = 1".
        ours: None where it was not run, with the reason in `note`.
        published: None where nothing was.
        exact: the exact value of a quantity; None for errors, whose exact value is 0.
        floor: what an exact sampler of as many samples would show; None where there is no sampling.
        seconds: CPU seconds of everything that `ours` took, sampling and measuring included.
        solving: of these, training or propagation.
        reference: an exact or grid solver: its cost is told, but it is no rival.
        task: for the column of inputs.
    """

    case: str
    method: str
    metric: str
    task: Task
    ours: Value | None = None
    published: Published | None = None
    exact: float | None = None
    floor: float | None = None
    seconds: float | None = None
    solving: float | None = None
    reference: bool = False
    note: str = ""

    def error(self, value: float) -> float:
        """Distance of a value from what is exact."""
        return abs(value - (self.exact or 0.0))

    @property
    def as_good(self) -> bool | None:
        """Whether ours is at least as near to the exact value as the published one; None if unknown."""
        if self.ours is None or self.published is None or self.published.value is None:
            return None
        return bool(self.error(self.ours.value) <= self.error(self.published.value))

    @property
    def speedup(self) -> float | None:
        """Published wall time over our CPU time; None where one of them is not known."""
        if self.published is None or self.published.seconds is None or not self.seconds:
            return None
        return self.published.seconds / self.seconds


def over_seeds(values: Sequence[float], bar: float | None = None) -> Value | None:
    """Mean and standard deviation over seeds; of one seed its own bar, None of none."""
    found = np.array([value for value in values if value is not None and np.isfinite(value)])
    if not found.size:
        return None
    spread = float(found.std(ddof=1)) if found.size > 1 else bar
    return Value(float(found.mean()), spread, found.size)


def power_law(x: ArrayLike, y: ArrayLike) -> Value:
    """Slope of log y over log x with its standard error, from three points on."""
    (slope, _), covariance = np.polyfit(np.log(x), np.log(y), 1, cov=True)
    return Value(float(slope), float(np.sqrt(covariance[0, 0])))


def best(rows: Sequence[Row]) -> Row | None:
    """The row of one case and metric with the smallest error, references left out."""
    rivals = [row for row in rows if row.ours is not None and not row.reference]
    return min(rivals, key=lambda row: row.error(row.ours.value if row.ours else np.inf), default=None)
