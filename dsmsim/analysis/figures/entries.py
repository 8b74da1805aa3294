"""The figure of several results: error against cost, variance and its error in time, density at the end.

Shapes: T times, C cells, N particles, D axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dsmsim.analysis.compare import at_times, cell_averages
from dsmsim.analysis.entries import Entry
from dsmsim.analysis.figures import canvas
from dsmsim.analysis.loading import RunToPlot
from dsmsim.config import Config
from dsmsim.store import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]
MARKERS = "osD^vP*X"
PANEL = 1.35  # inches
MARKS = 8  # along a curve


def entries_figure(entries: Sequence[Entry], reference: Results, name: str, config: Config | None) -> Figure:
    """The figure.

    Args:
        entries: one at least.
        reference: `observables`, and `density` where there is one.
        name: of the reference.
        config: the input of the first result, for the title.
    """
    run = RunToPlot(entries[0].stored.results, {name: reference}, config, None)
    figure, body = canvas.canvas(run, 4 * PANEL + 0.3)
    axes = body.subplots(4, 1, height_ratios=[1.2, 1.0, 1.0, 1.0])
    looks = [
        {"color": canvas.COLORS[k % len(canvas.COLORS)], "marker": MARKERS[k % len(MARKERS)]}
        for k in range(len(entries))
    ]
    _cost(axes[0], entries, looks)
    _variance(axes[1], axes[2], entries, looks, reference, name)
    _density(axes[3], entries, looks, reference)
    canvas.legend_above(body, axes[1:2])
    body.align_ylabels(axes)
    return figure


def _cost(ax: Axes, entries: Sequence[Entry], looks: Sequence[dict[str, Any]]) -> None:
    """E_v, of all samples together, over CPU seconds, both logarithmic; a short bar is the sampling floor."""
    drawn = False
    for entry, look in zip(entries, looks, strict=True):
        name = "E_v_all" if "E_v_all" in entry.errors else "E_v"
        seconds, error = entry.cpu_seconds, float(entry.errors.get(name, 0.0))
        if seconds is None or min(seconds, error) <= 0.0:  # there is no logarithm of 0
            continue
        drawn = True
        ax.plot([seconds], [error], linestyle="none", markersize=5.0, **look)
        floor = float(entry.errors.get(f"{name}_floor", 0.0))
        if floor > 0.0:
            ax.plot([seconds / 1.3, seconds * 1.3], [floor, floor], color=look["color"], linewidth=1.0)
    ax.set(xlabel="CPU seconds (bars: sampling floor)", ylabel="error of the\nvariance $E_v$")
    if drawn:
        ax.set(xscale="log", yscale="log")
        ax.margins(0.15)


def _variance(
    ax: Axes,
    below: Axes,
    entries: Sequence[Entry],
    looks: Sequence[dict[str, Any]],
    reference: Results,
    name: str,
) -> None:
    """Variance along the first axis, averaged over particles, and its difference from the reference."""
    true = reference["observables"]
    truth = true["variance"][:, :, 0].mean(1)
    for entry, look in zip(entries, looks, strict=True):
        group = entry.stored.results["observables"]
        values = group["variance"][:, :, 0].mean(1)
        stderr = group.get("variance_stderr")
        spread = None if stderr is None else stderr[:, :, 0].mean(1)
        line = look | {"markevery": max(1, len(values) // MARKS)}
        canvas.band(ax, group["time"], values, spread, label=canvas.plain(entry.name), **line)
        inside = group["time"] <= true["time"][-1] * (1.0 + 1e-9)
        exact = at_times(true["time"], truth, group["time"][inside])
        error = 100.0 * (values[inside] / exact - 1.0)
        noise = None if spread is None else 100.0 * spread[inside] / exact
        canvas.band(below, group["time"][inside], error, noise, **line)
    ax.plot(true["time"], truth, label=canvas.plain(name), **canvas.REFERENCE_STYLES[0])
    ax.set(xlabel="time $t$", ylabel="variance along $x$\n(length$^2$)")
    ax.set_ylim(bottom=0.0)
    below.axhline(0.0, **canvas.REFERENCE_STYLES[0])
    below.set(xlabel="time $t$", ylabel="error of the\nvariance (%)")


def _density(ax: Axes, entries: Sequence[Entry], looks: Sequence[dict[str, Any]], reference: Results) -> None:
    """One-body densities at the last time that all have."""
    groups = [(entry, look) for entry, look in zip(entries, looks, strict=True) if _has_density(entry)]
    known = "density" in reference
    ends = [entry.stored.results["density"]["time"][-1] for entry, _ in groups]
    ends += [reference["density"]["time"][-1]] if known else []
    if not groups:
        ax.set(xlabel="no densities")
        return
    time = np.asarray([min(ends)], dtype=np.float64)
    shown = None
    for entry, look in groups:
        group = entry.stored.results["density"]
        values = at_times(group["time"], group["density"], time)[0]
        ax.plot(group["x"], values, color=look["color"], linewidth=0.9)
        if shown is None:
            shown = group["x"][values > canvas.FAINT * values.max()]
            if known:
                truth = at_times(
                    reference["density"]["time"], cell_averages(reference["density"], group["x"]), time
                )
                ax.plot(group["x"], truth[0], **canvas.REFERENCE_STYLES[0])
    assert shown is not None
    ax.set(xlabel="position $x$ (length)", ylabel=f"density (1/length)\nat $t$ = {time[0]:.4g}")
    ax.set_xlim(shown[0], shown[-1])
    ax.set_ylim(bottom=0.0)


def _has_density(entry: Entry) -> bool:
    return "density" in entry.stored.results
