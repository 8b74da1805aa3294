"""What all figures share: their width, colours, bands and headings, and the two kinds of map.

Every figure is as wide as a column of a journal and readable at that width. Colours are those of Okabe & Ito
and the maps cividis and PuOr, which colour-blind readers can tell apart. Bands are two standard errors wide
to each side. Units are words of the input's own system.

Shapes: T times, C cells or points.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure, SubFigure
from matplotlib.gridspec import GridSpec
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh

    from dsmsim.analysis.loading import RunToPlot
    from dsmsim.analysis.profiles import Profile

Array = NDArray[np.float64]

BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILION, PURPLE, GREY = "#0072B2", "#D55E00", "#CC79A7", "#999999"
COLORS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY)
REFERENCE_STYLES: tuple[dict[str, Any], ...] = (
    {"color": BLACK, "linestyle": "--"},
    {"color": VERMILION, "linestyle": ":"},
    {"color": GREEN, "linestyle": "-."},
    {"color": PURPLE, "linestyle": (0, (5, 1, 1, 1, 1, 1))},
)
SEQUENTIAL, DIVERGING = "cividis", "PuOr_r"
BAND = 2.0  # standard errors to each side
FAINT = 2e-3  # of the largest density: beyond it an axis of positions is cut off
MOST_LINES = 10  # particles, or bonds, that get a line of their own
MOST_CUTS = 3  # panels side by side

WIDTH = 3.4  # inches, one column of a journal
LINE = 0.14  # inches, a line of the heading or of a legend
LETTERS = 62  # of the heading, or of legends, in one line
LETTERS_OF_HANDLE = 7  # what the line in a legend is as wide as

STYLE: Any = {  # the names matplotlib lists as literals differ between its versions
    "font.size": 7.5,
    "axes.titlesize": 7.5,
    "axes.labelsize": 7.5,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "legend.fontsize": 6.5,
    "figure.titlesize": 7.5,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlepad": 3.0,
    "axes.labelpad": 2.0,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "grid.color": "0.9",
    "grid.linewidth": 0.5,
    "legend.frameon": False,
    "legend.handlelength": 1.8,
    "legend.columnspacing": 1.2,
    "lines.linewidth": 1.1,
    "lines.markersize": 3.0,
    "figure.constrained_layout.h_pad": 0.03,
    "figure.constrained_layout.w_pad": 0.03,
    "pdf.fonttype": 42,  # text stays text
    "svg.hashsalt": "dsmsim",  # the same figure is the same file
}


def style() -> AbstractContextManager[None]:
    """The settings of all figures, for the time of a `with`."""
    return matplotlib.rc_context(STYLE)


def canvas(run: RunToPlot, height: float, *, bands: bool = True) -> tuple[Figure, SubFigure]:
    """An empty figure of one column whose heading says what was run, and the part below the heading.

    Args:
        run: of which.
        height: in inches, without the heading.
        bands: whether it has bands of standard errors, if the run has any.
    """
    config, lines = run.config, []
    if config is not None:
        system = config.system
        lines = [plain(line) for line in textwrap.wrap(config.title, LETTERS)]
        numbers = f"D = {system.dimensions}, $\\hbar$ = {system.hbar:g}, m = {system.mass:g}"
        lines.append(f"{bosons(system.particles)}, {numbers}")
    if bands and "mean_stderr" in run.results.get("observables", {}):
        said = f"bands: ±{BAND:g} standard errors"
        lines = [*lines[:-1], f"{lines[-1]}; {said}"] if lines else [said]
    figure = Figure(figsize=(WIDTH, height + LINE * len(lines)), layout="constrained")
    figure.suptitle("\n".join(lines), linespacing=1.1)
    body = figure.add_subfigure(GridSpec(1, 1, figure)[0])
    return figure, body


def bosons(count: int) -> str:
    """So many of them, in words."""
    return "1 particle" if count == 1 else f"{count} bosons"


def plain(text: str) -> str:
    """Text of a user, in which matplotlib is to see no formula."""
    return text.replace("$", r"\$")


def band(ax: Axes, x: Array, y: Array, stderr: Array | None, **line: Any) -> None:
    """A line with a band of two standard errors.

    Args:
        line: of the line: `color`, and whatever else `plot` takes.
    """
    ax.plot(x, y, **line)
    if stderr is not None:
        low, high = y - BAND * stderr, y + BAND * stderr
        ax.fill_between(x, low, high, color=line["color"], alpha=0.25, linewidth=0.0)


def visible(x: Array, values: Array) -> tuple[float, float]:
    """The part of an axis where something can be seen.

    Args:
        x: (C,).
        values: (..., C).
    """
    size = np.nan_to_num(np.abs(values)).reshape(-1, len(x)).max(0)
    seen = x[size > FAINT * size.max()] if size.max() > 0.0 else x
    return (float(x[0]), float(x[-1])) if len(seen) < 2 else (float(seen[0]), float(seen[-1]))


def legend_above(figure: SubFigure, axes: Iterable[Axes]) -> None:
    """One legend for several panels, above them, each label once, in as many columns as fit."""
    found: dict[str, Any] = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    if found:
        columns = int(LETTERS / (max(map(len, found)) + LETTERS_OF_HANDLE))
        columns = max(1, min(columns, len(found)))
        figure.legend(list(found.values()), list(found), loc="outside upper center", ncols=columns)


def widen_flat(ax: Axes, scale: float) -> None:
    """Keep noise around a constant from filling a panel: at least a fifth of `scale` from top to bottom."""
    low, high = ax.get_ylim()
    missing = 0.2 * scale - (high - low)
    if missing > 0.0:
        ax.set_ylim(low - 0.5 * missing, high + 0.5 * missing)


def shades(count: int) -> NDArray[Any]:
    """(count, 4) colours of ordered curves, from dark to light."""
    return np.asarray(matplotlib.colormaps[SEQUENTIAL](np.linspace(0.0, 0.85, count)))


def rows_of_cuts(count: int) -> int:
    """Rows of panels that `cuts` needs for so many times."""
    return math.ceil(count / MOST_CUTS)


def cuts(
    axes: NDArray[Any], profile: Profile, chosen: Sequence[int], *, signed: bool = False, name: str = "run"
) -> None:
    """One panel a time: the run with its band, and the truth.

    Args:
        axes: (rows, columns), as many as are chosen at least; the rest are taken away.
        chosen: indices of times.
        signed: whether values may be negative.
        name: of the run, for a legend.
    """
    for ax, k in zip(axes.flat, chosen, strict=False):
        stderr = None if profile.stderr is None else profile.stderr[k]
        band(ax, profile.x, profile.values[k], stderr, color=BLUE, label=name)
        if profile.true is not None and np.isfinite(profile.true[k]).any():
            ax.plot(profile.x, profile.true[k], label=plain(profile.reference), **REFERENCE_STYLES[0])
        ax.set_title(f"$t$ = {profile.time[k]:.4g}")
        ax.locator_params("x", nbins=4)
    for ax in axes.flat[len(chosen) :]:
        ax.remove()
    for ax in axes.flat[max(0, len(chosen) - axes.shape[1]) : len(chosen)]:
        ax.tick_params(labelbottom=True)  # the lowest of each column
    if not signed:
        axes[0, 0].set_ylim(bottom=0.0)


def colored(ax: Axes, x: Array, y: Array, values: Array, scale: tuple[float, float], colors: str) -> QuadMesh:
    """A map of values (len(y), len(x)) with colours from scale[0] to scale[1]; the unknown stays white."""
    low, high = scale
    mesh = ax.pcolormesh(x, y, values, cmap=colors, vmin=low, vmax=high, shading="nearest", rasterized=True)
    ax.grid(False)
    return mesh


def largest(*values: Array | None) -> float:
    """The largest size in some arrays, for a scale of colours: never 0."""
    sizes = [np.nanmax(np.abs(v)) for v in values if v is not None and np.isfinite(v).any()]
    return float(max(sizes, default=0.0)) or 1.0
