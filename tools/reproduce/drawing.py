"""What the figures of all chapters share: their size, the colour of every method, curves, cuts and maps.

Colours are those of `dsmsim.analysis.figures.canvas`, which colour-blind readers can tell apart; the exact
answer is black and dashed everywhere. Figures are made inside of `style()` of that package.

Shapes: T times, C cells.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dsmsim.analysis.figures import canvas, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]

WIDTH = 7.0  # inches, shown 640 pixels wide
EXACT = "exact"
MOST_LONG_TITLES = 3  # beside each other; of more panels each title takes two lines
COLORS: Mapping[str, str] = {
    EXACT: canvas.BLACK,
    "DSM": canvas.BLUE,
    "DSM, marching": canvas.VERMILION,
    "t-VMC": canvas.GREEN,
    "PINN": canvas.ORANGE,
    "Gaussian sampling": canvas.PURPLE,
    "Crank-Nicolson": canvas.SKY,
    "exact fields": canvas.GREY,
}
MARKERS: Mapping[str, str] = {
    EXACT: "",
    "DSM": "o",
    "DSM, marching": "s",
    "t-VMC": "^",
    "PINN": "D",
    "Gaussian sampling": "v",
    "Crank-Nicolson": "P",
    "exact fields": "x",
}


@dataclass(frozen=True)
class Curve:
    """A quantity over time.

    Attributes:
        method: a name in `COLORS`.
        time, value: (T,).
        spread: (T,) half the height of the band, or None.
    """

    method: str
    time: Array
    value: Array
    spread: Array | None = None


@dataclass(frozen=True)
class DensityMap:
    """A density over time and position.

    Attributes:
        method: a name in `COLORS`, or any title.
        time: (T,).
        x: (C,) centres of the cells.
        values: (T, C).
        true: (T, C) the exact density in the same cells, or None.
    """

    method: str
    time: Array
    x: Array
    values: Array
    true: Array | None = None


@contextmanager
def panels(rows: int, columns: int, height: float, **options: Any) -> Iterator[tuple[Figure, NDArray[Any]]]:
    """An empty figure and its axes (rows, columns), with the style of all figures for the time of a `with`.

    Args:
        height: in inches.
        options: of `Figure.subplots`.
    """
    with style():
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        yield figure, figure.subplots(rows, columns, squeeze=False, **options)


def line_of(method: str, **more: Any) -> dict[str, Any]:
    """How a method's line looks: keyword arguments of `plot`."""
    if method == EXACT:
        return {"color": canvas.BLACK, "linestyle": "--", "zorder": 5.0, "label": EXACT, **more}
    return {"color": COLORS.get(method, canvas.GREY), "label": method, **more}


def point_of(method: str, **more: Any) -> dict[str, Any]:
    """How a method's points look: keyword arguments of `plot` or `errorbar`."""
    return {
        "color": COLORS.get(method, canvas.GREY),
        "marker": MARKERS.get(method, "."),
        "label": method,
    } | more


def draw_curves(ax: Axes, curves: Sequence[Curve]) -> None:
    """Lines with their bands."""
    for curve in curves:
        ax.plot(curve.time, curve.value, **line_of(curve.method))
        if curve.spread is not None:
            low, high = curve.value - curve.spread, curve.value + curve.spread
            color = COLORS.get(curve.method, canvas.GREY)
            ax.fill_between(curve.time, low, high, color=color, alpha=0.2, linewidth=0.0)


def draw_cut(ax: Axes, density: DensityMap, time: float, *, filled: bool = False) -> float:
    """One density at the saved time next to `time`, which is returned; the exact one where it is known."""
    k = int(np.argmin(np.abs(density.time - time)))
    if filled:
        color = COLORS.get(density.method, canvas.GREY)
        ax.fill_between(
            density.x,
            density.values[k],
            step="mid",
            color=color,
            alpha=0.35,
            linewidth=0.0,
            label=density.method,
        )
    else:
        ax.step(density.x, density.values[k], where="mid", linewidth=0.9, **line_of(density.method))
    return float(density.time[k])


def legend_of(figure: Figure, axes: Sequence[Axes] | NDArray[Any], columns: int = 6) -> None:
    """One legend above all panels, each label once, the exact answer first."""
    found: dict[str, Any] = {}
    for ax in np.asarray(axes, dtype=object).flat:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    names = sorted(found, key=lambda name: name != EXACT)
    if names:
        handles = [found[name] for name in names]
        figure.legend(handles, names, loc="outside upper center", ncols=min(columns, len(names)))


def draw_maps(
    densities: Sequence[DensityMap],
    limits: tuple[float, float],
    position: str = "x",
    top: float | None = None,
) -> Figure:
    """The exact density and those that were found, and below each its difference from the exact one.

    The exact one is drawn in the cells of the first. All densities share their colours, and all differences
    theirs, up to a tenth of the former; their titles say how large they are beside the largest density.

    Args:
        densities: one at least, with `true`.
        limits: positions that are shown.
        position: name of the coordinate.
        top: where the colours of densities end; absent: the largest exact one.
    """
    first = densities[0]
    true = first.values if first.true is None else first.true
    largest = canvas.largest(true)
    top = top or largest
    tilted = [
        0.0 if each.true is None else float(np.abs(each.values - each.true).max()) for each in densities
    ]
    size = min(max(tilted), 0.1 * top) or top
    with panels(2, len(densities) + 1, 3.2, sharex=True, sharey=True) as (figure, axes):
        upper = None
        for ax, title, each in zip(
            axes[0],
            [EXACT, *(d.method for d in densities)],
            [DensityMap(EXACT, first.time, first.x, true), *densities],
            strict=True,
        ):
            scale = (0.0, top)
            upper = canvas.colored(ax, each.time, each.x, each.values.T, scale, canvas.SEQUENTIAL)
            ax.set_title(title)
        lower = None
        for ax, each in zip(axes[1, 1:], densities, strict=True):
            if each.true is None:
                ax.set_axis_off()
                continue
            change = (each.values - each.true).T
            lower = canvas.colored(ax, each.time, each.x, change, (-size, size), canvas.DIVERGING)
            apart = "\n" if len(densities) > MOST_LONG_TITLES else " "
            ax.set_title(f"minus exact:{apart}up to {np.abs(change).max() / largest:.1%}")
            ax.set_xlabel("time $t$")
        axes[0, 0].set_ylim(limits)
        axes[0, 0].tick_params(labelbottom=True)
        axes[0, 0].set_xlabel("time $t$")
        axes[1, 0].remove()
        if upper is not None:
            extend = "max" if largest > top else "neither"
            figure.colorbar(upper, ax=axes[0].tolist(), label="density (1/length)", aspect=12, extend=extend)
        if lower is not None:
            extend = "both" if max(tilted) > size else "neither"
            figure.colorbar(lower, ax=axes[1, 1:].tolist(), label="difference", aspect=12, extend=extend)
        axes[1, 1].tick_params(labelleft=True)
        for ax in (axes[0, 0], axes[1, 1]):
            ax.set_ylabel(f"position ${position}$")
    return figure


def seen(density: DensityMap) -> tuple[float, float]:
    """Where there is anything to see of a density."""
    return canvas.visible(density.x, density.values)
