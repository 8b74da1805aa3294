"""Curves over time: moments, energies, centre of mass, and averages of the user's own.

Shapes: T times, N particles, D axes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dsmsim.analysis.compare import at_times
from dsmsim.analysis.figures import canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

    from dsmsim.analysis.loading import RunToPlot

Group = Mapping[str, NDArray[Any]]

PANEL = 1.25  # inches
AXIS_COLORS = (canvas.BLUE, canvas.ORANGE, canvas.GREEN)


def moments_figure(run: RunToPlot) -> Figure | None:
    """Mean and variance along each axis and, with a reference, the relative error of the variance."""
    group = run.results.get("observables")
    if group is None or "mean" not in group:
        return None
    labels = ["mean (length)", "variance (length$^2$)"]
    labels += ["error of the\nvariance (%)"] if run.references else []
    figure, body = canvas.canvas(run, PANEL * len(labels) + 0.5)
    axes = body.subplots(len(labels), 1, sharex=True)
    for axis in range(group["mean"].shape[2]):
        for ax, name in zip(axes, ("mean", "variance"), strict=False):
            _particles(ax, group, name, axis)
        if run.references:
            _variance_error(axes[2], run, axis)
    for k, (reference, results) in enumerate(run.references.items()):
        true = results["observables"]
        for ax, name in zip(axes, ("mean", "variance"), strict=False):
            lines = ax.plot(true["time"], true[name].mean(1), **_reference_style(k))
            lines[0].set_label(canvas.plain(reference))
    axes[1].set_ylim(bottom=0.0)
    canvas.widen_flat(axes[0], float(np.sqrt(np.max(group["variance"]))))
    canvas.legend_above(body, axes)
    _finish(body, axes, labels, group["time"])
    return figure


def _particles(ax: Axes, group: Group, name: str, axis: int) -> None:
    """The average over particles with the error of one, and the particles themselves if they are few."""
    time, values = group["time"], group[name][:, :, axis]
    dimensions, color = group[name].shape[2], AXIS_COLORS[axis]
    particles = values.shape[1]
    if 1 < particles <= canvas.MOST_LINES:
        single = ax.plot(time, values, color=canvas.SKY if dimensions == 1 else color, linewidth=0.5)
        single[0].set_label("each particle" if dimensions == 1 else None)
    stderr = group.get(f"{name}_stderr")
    spread = None if stderr is None else stderr[:, :, axis].mean(1)
    what = "run" if particles == 1 else "particle average"
    label = what if dimensions == 1 else f"{what}, {'xyz'[axis]}"
    canvas.band(ax, time, values.mean(1), spread, label=label, color=color)


def _variance_error(ax: Axes, run: RunToPlot, axis: int) -> None:
    """Relative difference from the first reference; the band is the sampling noise of one particle."""
    group = run.results["observables"]
    true = next(iter(run.references.values()))["observables"]
    inside = group["time"] <= true["time"][-1] * (1.0 + 1e-9)
    time, mine = group["time"][inside], group["variance"][inside, :, axis]
    exact = at_times(true["time"], true["variance"][:, :, axis].mean(1), time)
    noise = None
    if "variance_stderr" in group:
        noise = 100.0 * (group["variance_stderr"][inside, :, axis] / mine).mean(1)
    canvas.band(ax, time, 100.0 * (mine.mean(1) / exact - 1.0), noise, color=AXIS_COLORS[axis])
    ax.axhline(0.0, **canvas.REFERENCE_STYLES[0])


def energy_figure(run: RunToPlot) -> Figure | None:
    """Energy and its parts, its drift, and the centre of mass against Kohn's theorem."""
    group = run.results.get("observables")
    if group is None or "energy" not in group:
        return None
    labels = ["energy", "change of the\nenergy (%)"]
    if "center_of_mass_mean" in group:
        labels += ["centre of mass:\nmean (length)", "centre of mass:\nvariance (length$^2$)"]
    figure, body = canvas.canvas(run, PANEL * (len(labels) + 0.5) + 0.5)
    axes = body.subplots(len(labels), 1, sharex=True, height_ratios=[1.5, *[1.0] * (len(labels) - 1)])
    _parts(axes[0], run, group)
    start = float(group["energy"][0])
    unit = 100.0 / abs(start) if start != 0.0 else np.nan
    error = group.get("energy_stderr")
    drift = unit * (group["energy"] - start)
    canvas.band(axes[1], group["time"], drift, None if error is None else unit * error, color=canvas.BLACK)
    axes[1].axhline(0.0, color=canvas.GREY, linewidth=0.6)
    if len(labels) > 2:
        _center_of_mass(axes[2:], run, group)
    canvas.legend_above(body, axes[:1])
    _finish(body, axes, labels, group["time"])
    return figure


def _parts(ax: Axes, run: RunToPlot, group: Group) -> None:
    """The energy and the parts it is made of; the reference's in broken lines of the same colours."""
    split = {"energy_trap", "energy_interaction"} <= set(group)
    potential = {"energy_trap": "trap", "energy_interaction": "interaction"}
    names = {"energy": "total"} | (potential if split else {"energy_potential": "potential"})
    names |= {"energy_kinetic_osmotic": "kinetic, osmotic", "energy_kinetic_current": "kinetic, current"}
    known = ((name, results["observables"]) for name, results in run.references.items())
    reference, true = next(((name, r) for name, r in known if set(names) & set(r)), ("", {}))
    colors = (canvas.BLACK, canvas.GREEN, canvas.PURPLE, canvas.ORANGE, canvas.BLUE)
    for (name, label), color in zip(names.items(), colors, strict=False):
        if name in group:
            canvas.band(ax, group["time"], group[name], group.get(f"{name}_stderr"), label=label, color=color)
            if name in true:
                ax.plot(true["time"], true[name], color=color, linestyle=":", linewidth=1.8)
    if true:
        ax.plot([], [], color=canvas.BLACK, linestyle=":", linewidth=1.8, label=canvas.plain(reference))


def _center_of_mass(axes: NDArray[Any], run: RunToPlot, group: Group) -> None:
    time, exact = group["time"], run.center_of_mass
    fine = np.linspace(time[0], time[-1], 401)
    curves = (None, None) if exact is None else (exact.mean(fine), exact.variance(fine))
    for ax, name, curve in zip(axes, ("mean", "variance"), curves, strict=True):
        key = f"center_of_mass_{name}"
        dimensions, stderr = group[key].shape[1], group.get(f"{key}_stderr")
        for axis in range(dimensions):
            spread = None if stderr is None else stderr[:, axis]
            label = "run" if dimensions == 1 else f"run, {'xyz'[axis]}"
            canvas.band(ax, time, group[key][:, axis], spread, label=label, color=AXIS_COLORS[axis])
        if curve is not None:
            ax.plot(fine, curve, **canvas.REFERENCE_STYLES[0])[0].set_label("Kohn's theorem")
    widest = float(np.max(group["center_of_mass_variance"]))
    canvas.widen_flat(axes[0], float(np.sqrt(widest)))
    canvas.widen_flat(axes[1], 0.5 * widest)
    axes[0].legend(loc="best", ncols=2)


def user_figure(run: RunToPlot) -> Figure | None:
    """Averages that the user has defined, each in its panel, with their bands."""
    group = run.results.get("user", {})
    names = [name for name in group if name != "time" and not name.endswith("_stderr")]
    if not names:
        return None
    figure, body = canvas.canvas(run, PANEL * len(names) + 0.4)
    axes = body.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0]
    for ax, name in zip(axes, names, strict=True):
        canvas.band(ax, group["time"], group[name], group.get(f"{name}_stderr"), color=canvas.BLUE)
    _finish(body, axes, [_user_label(run, name) for name in names], group["time"])
    return figure


def _user_label(run: RunToPlot, name: str) -> str:
    """The name with its units, where those are known."""
    units = str(run.attributes.get(f"user/{name}", {}).get("units", "mixed"))
    return canvas.plain(name if units == "mixed" else f"{name} ({units})")


def _finish(figure: SubFigure, axes: NDArray[Any], labels: Sequence[str], time: NDArray[Any]) -> None:
    for ax, label in zip(axes, labels, strict=True):
        ax.set_ylabel(label)
    axes[-1].set_xlabel("time $t$")
    if len(time) > 1:
        axes[-1].set_xlim(time[0], time[-1])
    figure.align_ylabels(list(axes))


def _reference_style(k: int) -> dict[str, Any]:
    return canvas.REFERENCE_STYLES[k % len(canvas.REFERENCE_STYLES)]
