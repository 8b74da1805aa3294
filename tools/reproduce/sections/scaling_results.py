"""What the files of the chapter on scaling say: curves against d, and what it takes to reach the goal.

Shapes: K measured epochs, T times.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tools.reproduce.found import Found
from tools.reproduce.measurements.epochs_to_error import exact_growth
from tools.reproduce.measurements.scaling_problems import INPUTS, config_of
from tools.reproduce.rows import Value, power_law
from tools.reproduce.task import Task

Array = NDArray[np.float64]
Growth = Mapping[tuple[str, int], Array]
"""Exact variance at all times relative to its first, by problem and d."""

GOAL = 1e-2  # mean relative error of Var x_1 over time
FEWEST = 3  # points that a slope needs for an error


@dataclass(frozen=True)
class Curve:
    """A cost against d.

    Attributes:
        problem, method: of `scaling_problems`, or the name of a solver.
        d: increasing.
        value: what was measured, its median.
        low, high: smallest and largest of the turns, None where it was measured once.
        predicted: by the program itself, None where it says nothing.
    """

    problem: str
    method: str
    d: Array
    value: Array
    low: Array | None = None
    high: Array | None = None
    predicted: Array | None = None

    @property
    def slope(self) -> Value | None:
        """Of log value over log d in the upper half of the values of d, with its standard error."""
        upper = self.d >= np.median(self.d)
        return fitted_slope(self.d[upper], self.value[upper])


@dataclass(frozen=True)
class Solved:
    """What a method took on one problem.

    Attributes:
        problem, method, d: which.
        epochs: after which the error stays below the goal; infinite if it never does; None where nothing is
            trained.
        seconds: CPU seconds until then, or of the whole solution; those of all epochs where the goal was not
            reached.
        error: at the end; None where the result is what others are compared with, or nothing is known.
        trained: epochs in all.
    """

    problem: str
    method: str
    d: int
    epochs: float | None
    seconds: float
    error: float | None
    trained: int = 0

    @property
    def reached(self) -> bool:
        """Whether it reaches the goal, as far as is known."""
        right = self.error is None or self.error <= GOAL
        return right and (self.epochs is None or math.isfinite(self.epochs))


@dataclass(frozen=True)
class Grid:
    """What a grid of d coordinates would take by prediction.

    Attributes:
        problem, d: which.
        points: for each coordinate.
        memory: bytes.
        seconds: CPU seconds.
        own: whether the solver says so; else it is continued from the last d of which it does.
    """

    problem: str
    d: int
    points: int
    memory: float
    seconds: float
    own: bool


def fitted_slope(d: Array, value: Array) -> Value | None:
    """Of log value over log d, with its standard error from three points on."""
    if len(d) < 2:
        return None
    if len(d) < FEWEST:
        return Value(float(np.polyfit(np.log(d), np.log(value), 1)[0]))
    return power_law(d, value)


def epoch_times(tasks: Iterable[Task], found: Found) -> list[Curve]:
    """CPU seconds of an epoch."""
    curves = []
    for task in of_kind(tasks, "epoch_time"):
        columns = found.columns(task)
        if columns is None:
            continue
        for method in dict.fromkeys(str(name) for name in columns["method"]):
            chosen = columns["method"] == method
            seconds = columns["seconds"][chosen]
            d = columns["d"][chosen].astype(float)
            problem = str(task.settings["problem"])
            low, high = seconds.min(1), seconds.max(1)
            curves.append(Curve(problem, method, d, np.median(seconds, axis=1), low, high))
    return curves


def memories(tasks: Iterable[Task], found: Found) -> list[Curve]:
    """Peak memory, bytes above the program."""
    curves = []
    for task in of_kind(tasks, "memory"):
        columns = found.columns(task)
        if columns is None:
            continue
        for method in dict.fromkeys(str(name) for name in columns["method"]):
            chosen = columns["method"] == method
            d, measured = columns["d"][chosen].astype(float), columns["measured"][chosen]
            problem = str(task.settings["problem"])
            curves.append(Curve(problem, method, d, measured, predicted=columns["predicted"][chosen]))
    return curves


def grids(tasks: Iterable[Task], found: Found) -> list[Grid]:
    """What grids would take."""
    names = ("grid_d", "grid_points", "grid_memory", "grid_seconds", "grid_own")
    all_found = []
    for task in of_kind(tasks, "memory"):
        columns = found.columns(task)
        if columns is not None:
            for d, points, memory, seconds, own in zip(*(columns[name] for name in names), strict=True):
                problem = str(task.settings["problem"])
                all_found.append(Grid(problem, int(d), int(points), float(memory), float(seconds), bool(own)))
    return all_found


def solutions(tasks: Sequence[Task], found: Found) -> list[Solved]:
    """Everything that was solved, by problem and method, d increasing."""
    exact = exact_solutions(tasks, found)
    solved = [each for task in of_kind(tasks, "training") for each in _trainings(task, found, exact)]
    for kind in ("march", "crank_nicolson", "fock"):
        for task in of_kind(tasks, kind):
            stored = found.results(task)
            if stored is None:
                continue
            problem, d = problem_of(task)
            variance = stored.results["observables"]["variance"].mean(axis=(1, 2))
            error = None
            if kind != "fock" and (problem, d) in exact:
                error = float(np.abs((variance / variance[0] / exact[problem, d])[1:] - 1.0).mean())
            costs = stored.attributes["provenance"]
            seconds = float(costs["solve_cpu_seconds" if kind == "march" else "cpu_seconds"])
            solved.append(Solved(problem, kind, d, None, seconds, error))
    return sorted(solved, key=lambda each: each.d)


def exact_solutions(tasks: Iterable[Task], found: Found) -> Growth:
    """Of the closed form, and of the Fock space where that has solved a problem."""
    exact: dict[tuple[str, int], Array] = {}
    for task in tasks:
        sizes = task.settings.get("particles", ()) if task.name.startswith("training") else ()
        known = [problem_of(task)] if task.method not in ("measure", "fock") else []
        for problem, d in [*known, *((str(task.settings["problem"]), int(size)) for size in sizes)]:
            config = config_of(problem, d)
            growth = exact_growth(config, np.linspace(0.0, config.time.end, 9))
            if np.isfinite(growth).all():
                exact[problem, d] = growth
    for task in of_kind(tasks, "fock"):
        stored = found.results(task)
        if stored is not None:
            variance = stored.results["observables"]["variance"].mean(axis=(1, 2))
            exact[problem_of(task)] = variance / variance[0]
    return exact


def problem_of(task: Task) -> tuple[str, int]:
    """Problem and d of a run or a baseline."""
    (problem,) = (name for name, file in INPUTS.items() if file == task.input)
    return problem, int(task.changes["system.particles"])


def of_kind(tasks: Iterable[Task], kind: str) -> list[Task]:
    """The tasks whose name begins so."""
    return [task for task in tasks if task.name.split("-")[0] == kind]


def _trainings(task: Task, found: Found, exact: Growth) -> list[Solved]:
    columns = found.columns(task)
    if columns is None:
        return []
    problem, method = str(task.settings["problem"]), str(task.settings["method"])
    epochs, solved = columns["epoch"], []
    for d, seconds, variance in zip(columns["d"], columns["seconds"], columns["variance"], strict=True):
        if (problem, int(d)) not in exact:
            continue
        errors = np.abs(variance / exact[problem, int(d)] - 1.0)[:, 1:].mean(1)
        first = stays_below(errors, GOAL)
        reached = first is not None
        solved.append(
            Solved(
                problem,
                method,
                int(d),
                float(epochs[first]) if reached else math.inf,
                float(seconds[first if reached else -1]),
                float(errors[-1]),
                int(epochs[-1]),
            )
        )
    return solved


def stays_below(errors: Array, goal: float) -> int | None:
    """The first index from which on all errors (K,) are at most the goal; None if the last is not."""
    above = np.flatnonzero(~(errors <= goal))
    first = int(above[-1]) + 1 if above.size else 0
    return first if first < len(errors) else None
