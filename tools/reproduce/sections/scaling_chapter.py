"""Words and tables of the chapter on scaling, computed from its results."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tools.reproduce.chapter import Chapter, Grid, Picture, Words
from tools.reproduce.found import Found
from tools.reproduce.rows import Value
from tools.reproduce.sections.scaling_pictures import PERCENT, TITLES, costs_picture, goal_picture
from tools.reproduce.sections.scaling_results import (
    GOAL,
    Curve,
    Solved,
    epoch_times,
    grids,
    memories,
    solutions,
)
from tools.reproduce.sections.scaling_results import Grid as PredictedGrid
from tools.reproduce.task import Task
from tools.reproduce.wording import number, shown

NAMES = {"free": "without interaction", "interacting": "interacting"}
DSM = ("potential", "functional_tt", "mlp", "march")
TRAINED = ("potential", "functional_tt", "mlp", "pinn")
LINEAR = 1.15  # a slope up to this is called linear

INTRODUCTION = """\
Two families with any number d of coordinates. *Without interaction*: d bosons beside the centre of a harmonic
trap, the published non-interacting system (closed form). *Interacting*: d bosons that repel each other with
g (d - 1) = 1, so that each sees about the same mean field of the others at every d (exact by Fock space).

The publication claims that the equations cost a number of operations quadratic in d, and that in its runs
the time of an epoch and the memory of DSM grow about like d and those of a PINN faster; it says so in words
and figures, without a table. Here every network sees {points} residual points in an epoch at every d. Slopes
are those of log cost over log d in the upper half of the values of d, with the standard error of the fit."""


def chapter_of(tasks: Sequence[Task], found: Found, points: int) -> Chapter:
    """What is there of it.

    Args:
        points: residual points of an epoch.
    """
    times, memory = epoch_times(tasks, found), memories(tasks, found)
    predicted, solved = grids(tasks, found), solutions(tasks, found)
    blocks: list[Words | Grid | Picture] = [Words(INTRODUCTION.format(points=f"{points:,}"))]
    if times:
        blocks += [growth_table(times, memory), *words(verdict_of_growth(times))]
    costs = costs_picture(times, memory, predicted)
    if costs is not None:
        blocks.append(costs)
    if solved:
        blocks.append(Words(GOAL_WORDS))
        blocks += [block for problem in NAMES for block in goal_blocks(problem, solved, predicted)]
    goal = goal_picture(solved, predicted)
    if goal is not None:
        blocks.append(goal)
    if memory:
        blocks += [Words(MEMORY_WORDS), memory_table(memory)]
    return Chapter("Scaling with the number of coordinates", blocks)


GOAL_WORDS = f"""\
**What it takes to be right.** A training is stopped after some of its epochs, samples flow with the current
velocity learnt so far, and the error of Var x₁, averaged over time, is measured; the table gives the epochs,
and in brackets the CPU seconds, after which it stays below {PERCENT} (one seed). Marching, Crank-Nicolson
(tolerance {GOAL:g}) and Fock space solve as a whole: CPU seconds, and in brackets the error; *in italics what
is only predicted*."""

MEMORY_WORDS = """\
**Memory.** Peak above the program, MB, each in a process of its own, and in brackets what `dsmsim check`
predicts for it. What allocators and libraries hold by themselves is some MB and not predicted."""


def growth_table(times: Sequence[Curve], memory: Sequence[Curve]) -> Grid:
    """Seconds and memory at the smallest and the largest d, with their slopes."""
    cells = []
    for problem, name in NAMES.items():
        for curve in (curve for curve in times if curve.problem == problem):
            other = [each for each in memory if (each.problem, each.method) == (problem, curve.method)]
            claimed = "faster than d" if curve.method.startswith("pinn") else "about d"
            cells.append(
                [
                    name,
                    TITLES[curve.method],
                    claimed,
                    f"{curve.d[0]:.0f} to {curve.d[-1]:.0f}",
                    f"{shown(float(curve.value[0]))} to {shown(float(curve.value[-1]))}",
                    power(curve.slope),
                    *(power(each.slope) for each in other[:1]),
                    *["-"] * (not other),
                ]
            )
    header = ("problem", "method", "published", "d", "CPU s of an epoch", "grows like", "memory grows like")
    return Grid(header, cells)


def power(exponent: Value | None) -> str:
    """A power of d."""
    return "-" if exponent is None else f"d^({number(exponent)})"


def verdict_of_growth(times: Sequence[Curve]) -> str:
    """Whether the published claim holds, from the slopes."""
    sentences = []
    for problem, name in NAMES.items():
        slopes = {
            curve.method: curve.slope.value
            for curve in times
            if curve.problem == problem and curve.slope is not None
        }
        linear = [TITLES[m] for m in slopes if m in DSM and slopes[m] <= LINEAR]
        steeper = [f"{TITLES[m]} (d^{slopes[m]:.2f})" for m in slopes if m in DSM and slopes[m] > LINEAR]
        if linear:
            sentences.append(f"{name.capitalize()}, an epoch grows no faster than d for {listed(linear)}.")
        if steeper:
            sentences.append(f"{name.capitalize()}, it grows faster than d for {listed(steeper)}.")
        rivals = {m: slopes[m] for m in slopes if m.startswith("pinn")}
        own = {m: slopes[m] for m in slopes if m in DSM}
        if rivals and own:
            slowest = min(own.values())
            not_faster = [f"{TITLES[m]} (d^{rivals[m]:.2f})" for m in rivals if rivals[m] <= slowest]
            if not_faster:
                sentences.append(
                    f"That a PINN's epoch grows faster is not confirmed there for {listed(not_faster)}: no "
                    f"form of DSM grows more slowly."
                )
    return " ".join(sentences)


def goal_blocks(
    problem: str, solved: Sequence[Solved], predicted: Sequence[PredictedGrid]
) -> list[Words | Grid]:
    """The table of one problem, and who needs least."""
    own = [each for each in solved if each.problem == problem]
    if not own:
        return []
    present = [method for method in TITLES if any(each.method == method for each in own)]
    cells = []
    for d in sorted({each.d for each in own}):
        row = [str(d)]
        for method in present:
            found = [each for each in own if (each.method, each.d) == (method, d)]
            grid = [each for each in predicted if (each.problem, each.d) == (problem, d)]
            if found:
                row.append(goal_cell(found[0]))
            else:
                row.append(grid_cell(grid[0]) if grid and method == "crank_nicolson" else "-")
        cells.append(row)
    header = [f"d, {NAMES[problem]}", *(TITLES[method] for method in present)]
    return [Grid(header, cells), *words(winners(problem, own))]


def goal_cell(each: Solved) -> str:
    """What a method took."""
    seconds = f"{shown(each.seconds)} s"
    if each.epochs is None:
        return seconds if each.error is None else f"{seconds} ({100.0 * each.error:.2g} %)"
    if math.isfinite(each.epochs):
        return f"{each.epochs:.0f} ({seconds})"
    known = each.error is not None and math.isfinite(each.error)
    left = f"{100.0 * (each.error or 0.0):.2g} %" if known else "no number"
    return f"not in {each.trained} ({seconds}; {left})"


def grid_cell(grid: PredictedGrid) -> str:
    """What a grid would take."""
    continued = "" if grid.own else ", continued"
    return f"*{grid.points}^{grid.d} points: {size(grid.memory)}, {duration(grid.seconds)}{continued}*"


def size(amount: float) -> str:
    """Bytes."""
    for unit in ("kB", "MB", "GB", "TB", "PB"):
        amount /= 1e3
        if amount < 1e3:
            return f"{amount:.3g} {unit}"
    return f"{amount:.1e} PB"


def duration(seconds: float) -> str:
    """Seconds, or what is handier."""
    for unit, length in (("years", 3.156e7), ("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= length:
            return f"{seconds / length:.2g} {unit}"
    return f"{seconds:.2g} s"


def winners(problem: str, own: Sequence[Solved]) -> str:
    """Who reaches the goal first at the largest d, of all methods and of DSM."""
    sizes = sorted({each.d for each in own if each.method in (*DSM, "pinn")})
    if not sizes:
        return ""
    at = [each for each in own if each.d == sizes[-1] and each.reached]
    where = f"At d = {sizes[-1]}, {NAMES[problem]},"
    if not at:
        return f"{where} nobody reaches the goal."
    first = min(at, key=lambda each: each.seconds)
    mine = min((e for e in at if e.method in DSM), key=lambda each: each.seconds, default=None)
    text = f"{where} {TITLES[first.method]} needs the fewest CPU seconds ({shown(first.seconds)})"
    if mine is None:
        return f"{text}; no form of DSM reaches the goal."
    if mine is first:
        return f"{text}."
    return (
        f"{text}: DSM is not the best there; its fastest form, {TITLES[mine.method]}, needs "
        f"{shown(mine.seconds)} (x {mine.seconds / first.seconds:.2g})."
    )


def memory_table(memory: Sequence[Curve]) -> Grid:
    """Measured and predicted."""
    sizes = sorted({int(d) for curve in memory for d in curve.d})
    cells = []
    for curve in memory:
        predicted = curve.predicted if curve.predicted is not None else curve.value
        at = {int(d): (m, p) for d, m, p in zip(curve.d, curve.value, predicted, strict=True)}
        row = [f"{at[d][0] / 1e6:.3g} ({at[d][1] / 1e6:.3g})" if d in at else "-" for d in sizes]
        cells.append([NAMES[curve.problem], TITLES[curve.method], *row])
    return Grid(["problem", "method", *(f"d = {d}" for d in sizes)], cells)


def words(text: str) -> list[Words]:
    """A paragraph where there is anything to say."""
    return [Words(text)] if text else []


def listed(names: Sequence[str]) -> str:
    """Names in a sentence."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
