"""Figures of the chapter on scaling: costs against d, both axes logarithmic, one row for each problem."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dsmsim.analysis.figures import canvas
from tools.reproduce.chapter import Picture
from tools.reproduce.drawing import legend_of, panels
from tools.reproduce.sections.scaling_results import GOAL, Curve, Grid, Solved

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PROBLEMS = {"free": "no interaction", "interacting": "interacting, $g\\,(d-1) = 1$"}
TITLES = {
    "potential": "DSM (log ψ)",
    "functional_tt": "DSM (tensor train)",
    "mlp": "DSM (u and v)",
    "march": "DSM, marching",
    "pinn": "PINN",
    "pinn_published": "PINN (published form)",
    "crank_nicolson": "Crank-Nicolson",
    "fock": "Fock space",
}
LOOKS: dict[str, dict[str, Any]] = {
    "potential": {"color": canvas.BLUE, "marker": "o"},
    "functional_tt": {"color": canvas.PURPLE, "marker": "^"},
    "mlp": {"color": canvas.GREEN, "marker": "v"},
    "march": {"color": canvas.VERMILION, "marker": "s"},
    "pinn": {"color": canvas.ORANGE, "marker": "D"},
    "pinn_published": {"color": canvas.GREY, "marker": "x"},
    "crank_nicolson": {"color": canvas.SKY, "marker": "P"},
    "fock": {"color": canvas.BLACK, "marker": "*", "markersize": 5.0},
}
PREDICTED: dict[str, Any] = {"linestyle": ":", "linewidth": 0.9}
CONTINUED = {"linestyle": ":", "linewidth": 0.9, "fillstyle": "none"}
PERCENT = f"{100.0 * GOAL:g} %"
TICKS = tuple(k * 10.0**power for power in range(-3, 4) for k in (1, 2, 5))
FEW_DECADES = 1e3
ROOM = 300.0  # how many times the largest measured cost a panel goes up to


def costs_picture(times: Sequence[Curve], memory: Sequence[Curve], grids: Sequence[Grid]) -> Picture | None:
    """Seconds of an epoch and peak memory against d."""
    if not times and not memory:
        return None
    with panels(2, 2, 4.6) as (figure, axes):
        for row, (problem, title) in zip(axes, PROBLEMS.items(), strict=True):
            own = [curve for curve in times if curve.problem == problem]
            _label(row[0], f"an epoch, {title}", "CPU seconds")
            for curve in own:
                _line(row[0], curve)
            if own:
                _guides(row[0], own)
            _label(row[1], f"memory, {title}", "peak above the program (MB)")
            measured = [curve for curve in memory if curve.problem == problem]
            for curve in measured:
                row[1].plot(curve.d, curve.value / 1e6, label=TITLES[curve.method], **LOOKS[curve.method])
                if curve.predicted is not None:
                    look = LOOKS[curve.method] | PREDICTED | {"marker": ""}
                    row[1].plot(curve.d, curve.predicted / 1e6, **look)
            _predictions(row[1], [grid for grid in grids if grid.problem == problem], "memory", 1e-6)
            _limit(row[0], [value for curve in own for value in curve.value], 4.0)
            _limit(row[1], [value / 1e6 for curve in measured for value in curve.value], ROOM)
        legend_of(figure, axes, columns=4)
    caption = (
        "CPU seconds of one epoch (median, bars: smallest and largest) and peak memory against the number of "
        "coordinates d, with as many residual points whatever d is. Grey lines grow like d and d². Dotted: "
        "what `dsmsim check` predicts; open symbols: grids with as many points for each coordinate as in the "
        "largest d that the solver takes."
    )
    return Picture("scaling_costs", caption, figure)


def goal_picture(solved: Sequence[Solved], grids: Sequence[Grid]) -> Picture | None:
    """Epochs and CPU seconds to the goal against d."""
    if not solved:
        return None
    with panels(2, 2, 4.6) as (figure, axes):
        for row, (problem, title) in zip(axes, PROBLEMS.items(), strict=True):
            own = [each for each in solved if each.problem == problem]
            _label(row[0], f"epochs to {PERCENT}, {title}", "epochs")
            _label(row[1], f"seconds to {PERCENT}, {title}", "CPU seconds")
            for method in TITLES:
                mine = [each for each in own if each.method == method]
                trained = [each for each in mine if each.epochs is not None]
                _reached(row[0], trained, [float(each.epochs or 0.0) for each in trained])
                _missed(row[0], trained, [float(each.trained) for each in trained])
                _reached(row[1], mine, [each.seconds for each in mine])
                _missed(row[1], mine, [each.seconds for each in mine])
            predicted = [grid for grid in grids if grid.problem == problem]
            _predictions(row[1], predicted, "seconds", 1.0)
            _limit(row[0], [n for each in own for n in _epochs(each)], 3.0)
            _limit(row[1], [each.seconds for each in own], ROOM)
        legend_of(figure, axes, columns=4)
    caption = (
        f"Epochs and CPU seconds of training until the mean relative error of Var x₁ over time stays below "
        f"{PERCENT}, against the number of coordinates d; of marching and of solvers on grids and in Fock "
        "space the whole solution. Arrows: not reached with so many. Dotted: the grid solver's own "
        "prediction; open symbols: continued with as many points for each coordinate."
    )
    return Picture("scaling_goal", caption, figure)


def _line(ax: Axes, curve: Curve) -> None:
    low, high = curve.low, curve.high
    bars = None if low is None or high is None else [curve.value - low, high - curve.value]
    look = LOOKS[curve.method]
    ax.errorbar(curve.d, curve.value, bars, label=TITLES[curve.method], elinewidth=0.7, **look)


def _reached(ax: Axes, solved: Sequence[Solved], values: Sequence[float]) -> None:
    points = [(each.d, value) for each, value in zip(solved, values, strict=True) if each.reached]
    if points:
        d, heights = zip(*points, strict=True)
        ax.plot(d, heights, label=TITLES[solved[0].method], **LOOKS[solved[0].method])


def _missed(ax: Axes, solved: Sequence[Solved], values: Sequence[float]) -> None:
    for each, value in zip(solved, values, strict=True):
        if not each.reached:
            look = {"color": LOOKS[each.method]["color"], "arrowstyle": "->", "linewidth": 0.9}
            ax.annotate("", (each.d, 2.0 * value), (each.d, value), arrowprops=look)
            ax.plot([each.d], [value], linestyle="none", **LOOKS[each.method] | {"fillstyle": "none"})


def _predictions(ax: Axes, grids: Sequence[Grid], name: str, scale: float) -> None:
    """Dotted where a grid is only predicted, with open symbols where even that is continued."""
    if not grids:
        return
    look = LOOKS["crank_nicolson"]
    d = [grid.d for grid in grids]
    heights = np.array([getattr(grid, name) for grid in grids]) * scale
    ax.plot(d, heights, **look | PREDICTED | {"marker": ""})
    beyond = [k for k, grid in enumerate(grids) if not grid.own]
    ax.plot([d[k] for k in beyond], heights[beyond], **look | CONTINUED | {"linestyle": "none"})


def _guides(ax: Axes, curves: Sequence[Curve]) -> None:
    """Lines that grow like d and d², through the upper right corner of what was measured."""
    last = max(float(curve.d[-1]) for curve in curves)
    top = max(float(curve.value[-1]) for curve in curves)
    d = np.array([last / 4.0, last])
    for power in (1, 2):
        ax.plot(d, 2.0 * top * (d / last) ** power, color=canvas.GREY, linewidth=0.8, linestyle="--")
        height = 2.0 * top * 4.0**-power
        name = "d" if power == 1 else "d²"
        ax.annotate(name, (last / 4.2, height), fontsize=6.0, color=canvas.GREY, ha="right", va="center")


def _epochs(each: Solved) -> list[float]:
    """What is drawn of its epochs."""
    if each.epochs is None:
        return []
    return [each.epochs if each.reached else float(each.trained)]


def _label(ax: Axes, title: str, unit: str) -> None:
    """Headings; axes are logarithmic before anything is drawn, because limits depend on it."""
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_title(title)
    ax.set_xlabel("coordinates $d$")
    ax.set_ylabel(unit)


def _limit(ax: Axes, values: Sequence[float], room: float) -> None:
    """Limits from what was measured, with room above it; an empty panel shows no axes."""
    if not values:
        ax.set_axis_off()
        return
    ax.set_ylim(0.4 * min(values), room * max(values))
    drawn = sorted({float(x) for line in ax.lines for x in np.atleast_1d(line.get_xdata())})
    ax.set_xlim(0.85 * drawn[0], 1.18 * drawn[-1])
    ticks = [tick for tick in TICKS if drawn[0] <= tick <= drawn[-1]]
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.set_xticks([], minor=True)
    low, high = ax.get_ylim()
    if high / low < FEW_DECADES:  # powers of ten alone would say too little
        shown = [tick for tick in TICKS if low <= tick <= high]
        ax.set_yticks(shown, [f"{tick:g}" for tick in shown])
        ax.set_yticks([], minor=True)
