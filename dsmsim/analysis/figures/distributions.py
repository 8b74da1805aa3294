"""Distances between particles, the centre of mass, quantiles and escape.

Shapes: T times, C cells, Q probabilities, H thresholds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dsmsim.analysis import profiles
from dsmsim.analysis.figures import canvas
from dsmsim.analysis.profiles import Profile

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

    from dsmsim.analysis.loading import RunToPlot

Group = Mapping[str, NDArray[Any]]

CUTS, CURVES = 1.3, 1.7  # heights in inches
MOST_CURVES = 5


def distributions_figure(run: RunToPlot) -> Figure | None:
    """Distances and centre of mass at a few times, quantiles of one particle and escape over time."""
    group = run.results.get("distributions", {})
    snapshots = [
        (profile, f"{label} (length)")
        for profile, label in (
            (profiles.distances(run), "distance of two particles"),
            (profiles.center_of_mass(run), "centre of mass along $x$"),
        )
        if profile is not None
    ]
    curves = [name for name in ("quantile", "escape") if name in group]
    if not snapshots and not curves:
        return None
    heights = [CUTS * canvas.rows_of_cuts(len(run.snapshots(p.time))) + 0.4 for p, _ in snapshots]
    heights += [CURVES] * len(curves)
    figure, body = canvas.canvas(run, sum(heights))
    parts = body.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    for part, (profile, label) in zip(parts, snapshots, strict=False):
        _snapshots(part, run, profile, label)
    for part, name in zip(parts[len(snapshots) :], curves, strict=True):
        (_quantiles if name == "quantile" else _escape)(part, group)
    return figure


def _snapshots(figure: SubFigure, run: RunToPlot, profile: Profile, label: str) -> None:
    chosen = run.snapshots(profile.time)
    rows = canvas.rows_of_cuts(len(chosen))
    axes = figure.subplots(rows, min(len(chosen), canvas.MOST_CUTS), sharex=True, sharey=True, squeeze=False)
    canvas.cuts(axes, profile, chosen)
    axes[0, 0].set_xlim(*canvas.visible(profile.x, profile.values))
    canvas.legend_above(figure, axes.flat)
    figure.supxlabel(label, fontsize="medium")
    figure.supylabel("density (1/length)", fontsize="medium")


def _over_time(
    figure: SubFigure, group: Group, values: NDArray[Any], stderr: NDArray[Any] | None, legends: list[str]
) -> Axes:
    """Curves over time, at most `MOST_CURVES` of them, each with its band; arrays are (T, curves)."""
    ax = figure.subplots()
    chosen = sorted({int(k) for k in np.linspace(0, len(legends) - 1, MOST_CURVES)})
    for k, color in zip(chosen, canvas.shades(len(chosen)), strict=True):
        spread = None if stderr is None else stderr[:, k]
        canvas.band(ax, group["time"], values[:, k], spread, color=color, label=legends[k])
    ax.set_xlabel("time $t$")
    ax.margins(x=0.0)
    canvas.legend_above(figure, [ax])
    return ax


def _quantiles(figure: SubFigure, group: Group) -> None:
    """Quantiles of one particle along the first axis."""
    stderr = group.get("quantile_stderr")
    legends = [f"{100.0 * value:g} %" for value in group["probability"]]
    spread = None if stderr is None else stderr[:, :, 0]
    ax = _over_time(figure, group, group["quantile"][:, :, 0], spread, legends)
    ax.set_ylabel("quantiles of $x$ (length)")


def _escape(figure: SubFigure, group: Group) -> None:
    """The probability that a particle is further than each threshold from its initial mean."""
    legends = [f"beyond {value:.2g}" for value in group["threshold"]]
    ax = _over_time(figure, group, group["escape"], group.get("escape_stderr"), legends)
    ax.set_ylabel("probability of escape\nbeyond a length")
    ax.set_ylim(bottom=0.0)
