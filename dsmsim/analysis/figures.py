"""The drawings of `plots.plot_run`; each returns a Figure, or None where the results lack the data.

Colours are those of Okabe & Ito and the maps cividis and PuOr, which colour-blind readers can tell apart.
Bands are two standard errors wide to each side. Units are words of the input's own system.

Shapes: T times, C cells, N particles, D axes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dsmsim.analysis.compare import at_times, cell_averages

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

    from dsmsim.analysis.loading import RunToPlot

Array = NDArray[np.float64]
Group = Mapping[str, NDArray[Any]]

BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILION, PURPLE, GREY = "#0072B2", "#D55E00", "#CC79A7", "#999999"
REFERENCE_STYLES: tuple[dict[str, Any], ...] = (
    {"color": BLACK, "linestyle": "--"},
    {"color": VERMILION, "linestyle": ":"},
    {"color": GREEN, "linestyle": "-."},
    {"color": PURPLE, "linestyle": (0, (5, 1, 1, 1, 1, 1))},
)
BAND = 2.0  # standard errors to each side
FAINT = 2e-3  # of the largest density: beyond it an axis of positions is cut off
MOST_LINES = 10  # particles that get a line of their own

STYLE: Any = {  # the names matplotlib lists as literals differ between its versions
    "font.size": 9.0,
    "axes.titlesize": 9.0,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "0.9",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8.0,
    "lines.linewidth": 1.5,
    "figure.titlesize": 10.0,
}


def style() -> AbstractContextManager[None]:
    """The settings of all figures, for the time of a `with`."""
    return matplotlib.rc_context(STYLE)


def density_figure(run: RunToPlot) -> Figure | None:
    """Density over (t, x), the reference, their difference, and three moments in time."""
    density = run.results.get("density")
    if density is None:
        return None
    time, x, mine = density["time"], density["x"], np.asarray(density["density"], dtype=np.float64)
    name, true = _reference_density(run, time, x)
    maps = [("run", mine)]
    if true is not None:
        maps += [(name, true), ("run minus reference", mine - true)]
    shown = x[np.max(mine, axis=0) > FAINT * mine.max()]
    figure = empty_figure(run, 3.6 * max(len(maps), 2), 5.8)
    upper, lower = figure.subfigures(2, 1, height_ratios=[1.1, 1.0], squeeze=False)[:, 0]
    _maps(upper, time, x, maps, (shown[0], shown[-1]))
    _snapshots(lower.subplots(1, 3, sharex=True, sharey=True), density, name, true, (shown[0], shown[-1]))
    return figure


def _maps(
    figure: SubFigure, time: Array, x: Array, maps: list[tuple[str, Array]], limits: tuple[float, float]
) -> None:
    """Densities with one colour bar; a third map is a difference, with its own."""
    axes = figure.subplots(1, len(maps), sharex=True, sharey=True, squeeze=False)[0]
    for k, (title, values) in enumerate(maps):
        top = np.nanmax(np.abs(values)) if k == 2 else max(np.nanmax(m) for _, m in maps[:2])
        low, colors = (-top, "PuOr_r") if k == 2 else (0.0, "cividis")
        mesh = axes[k].pcolormesh(time, x, values.T, cmap=colors, vmin=low, vmax=top, shading="nearest")
        axes[k].grid(False)
        axes[k].set(title=title, xlabel="time $t$")
        if k != 0 or len(maps) == 1:
            label = "difference (1/length)" if k == 2 else "density (1/length)"
            figure.colorbar(mesh, ax=axes[:2].tolist() if k == 1 else axes[k], label=label)
    axes[0].set(ylabel="position $x$ (length)", ylim=limits)


def _reference_density(run: RunToPlot, time: Array, x: Array) -> tuple[str, Array | None]:
    """Name and cell averages (T, C) of the first reference that has a density; NaN after its last time."""
    for name, results in run.references.items():
        if "density" in results:
            group = results["density"]
            values = at_times(group["time"], cell_averages(group, x), time)
            late = time > group["time"][-1] * (1.0 + 1e-9)
            return name, np.where(late[:, None], np.nan, values)
    return "", None


def _snapshots(
    axes: NDArray[Any], density: Group, name: str, true: Array | None, limits: tuple[float, float]
) -> None:
    time, x, mine, stderr = density["time"], density["x"], density["density"], density.get("density_stderr")
    for ax, k in zip(axes, (0, (len(time) - 1) // 2, len(time) - 1), strict=True):
        band(ax, x, mine[k], None if stderr is None else stderr[k], label="run", color=BLUE)
        if true is not None:
            ax.plot(x, true[k], label=name, **REFERENCE_STYLES[0])
        ax.set(title=f"$t$ = {time[k]:.4g}", xlabel="position $x$ (length)", xlim=limits)
    axes[0].set_ylim(bottom=0.0)
    axes[0].set_ylabel("density (1/length)")
    axes[-1].legend(loc="upper right")


def moments_figure(run: RunToPlot) -> Figure | None:
    """Mean, variance and, with a reference, the relative error of the variance, for each axis."""
    group = run.results.get("observables")
    if group is None or "mean" not in group:
        return None
    time, dimensions = group["time"], group["mean"].shape[2]
    rows = 3 if run.references else 2
    figure = empty_figure(run, max(4.8 * dimensions, 5.5), 2.1 * rows + 0.6)
    axes = figure.subplots(rows, dimensions, sharex=True, squeeze=False)
    labels = ("mean (length)", "variance (length$^2$)", "relative error of\nthe variance (%)")
    for axis in range(dimensions):
        for row, name in enumerate(("mean", "variance")):
            _particle_lines(axes[row, axis], group, name, axis)
            for k, (reference, results) in enumerate(run.references.items()):
                true = results["observables"]
                curve = true[name][:, :, axis].mean(1)
                axes[row, axis].plot(true["time"], curve, label=reference, **_reference_style(k))
        if run.references:
            _variance_error(axes[2, axis], run, axis)
        axes[1, axis].set_ylim(bottom=0.0)
        axes[0, axis].set_title(f"axis {'xyz'[axis]}")
        axes[-1, axis].set_xlabel("time $t$")
        axes[-1, axis].set_xlim(time[0], time[-1])
    for row in range(rows):
        axes[row, 0].set_ylabel(labels[row])
    _widen_flat(axes[0], float(np.sqrt(np.max(group["variance"]))))
    axes[1, 0].legend(loc="best")
    if run.references:
        _room_for_legend(axes[2, 0], ncols=2)
    figure.align_ylabels(axes[:, 0])
    return figure


def _particle_lines(ax: Axes, group: Group, name: str, axis: int) -> None:
    """The average over particles with the error of one, and the particles themselves if they are few."""
    time, values = group["time"], group[name][:, :, axis]
    particles = values.shape[1]
    if 1 < particles <= MOST_LINES:
        for k, column in enumerate(values.T):
            ax.plot(time, column, color=SKY, linewidth=0.7, label="each particle" if k == 0 else None)
    stderr = group.get(f"{name}_stderr")
    spread = None if stderr is None else stderr[:, :, axis].mean(1)
    band(ax, time, values.mean(1), spread, label="run" if particles == 1 else "particle average", color=BLUE)


def _variance_error(ax: Axes, run: RunToPlot, axis: int) -> None:
    """Relative difference from each reference; the band is the sampling noise of one particle."""
    group = run.results["observables"]
    mine = group["variance"][:, :, axis]
    if "variance_stderr" in group:
        noise = 100.0 * BAND * (group["variance_stderr"][:, :, axis] / mine).mean(1)
        ax.fill_between(group["time"], -noise, noise, color="0.85", linewidth=0.0, label="sampling noise")
    for k, (name, results) in enumerate(run.references.items()):
        true = results["observables"]
        inside = group["time"] <= true["time"][-1] * (1.0 + 1e-9)
        exact = at_times(true["time"], true["variance"][:, :, axis].mean(1), group["time"][inside])
        error = 100.0 * (mine[inside].mean(1) / exact - 1.0)
        ax.plot(group["time"][inside], error, color=_error_color(k), label=f"against {name}")
    ax.axhline(0.0, color=GREY, linewidth=0.8)


def training_figure(run: RunToPlot) -> Figure | None:
    """Loss and its parts, learning rate, gradient norm, over epochs."""
    group = run.results.get("training")
    if group is None or "loss" not in group:
        return None
    panels: list[tuple[str, list[tuple[str, str, str]]]] = [
        (
            "loss",
            [
                ("loss", "total", BLACK),
                ("loss_newton", "Newton", BLUE),
                ("loss_score", "score", ORANGE),
                ("loss_initial", "initial", GREEN),
            ],
        ),
        ("learning rate", [("learning_rate", "", BLUE)]),
        ("gradient norm", [("gradient_norm", "", BLUE)]),
    ]
    drawn = [(label, [c for c in curves if _positive(group, c[0])]) for label, curves in panels]
    drawn = [panel for panel in drawn if panel[1]]
    figure = empty_figure(run, 6.5, 1.2 + 1.5 * (len(drawn) + 1), bands=False)
    axes = figure.subplots(
        len(drawn), 1, sharex=True, squeeze=False, height_ratios=[2.2, 1.0, 1.0][: len(drawn)]
    )
    for ax, (label, curves) in zip(axes[:, 0], drawn, strict=True):
        for name, legend, color in curves:
            values = np.where(group[name] > 0.0, group[name], np.nan)  # a zero has no logarithm
            ax.plot(group["epoch"], values, color=color, linewidth=1.0, label=legend or None)
        ax.set_ylabel(label)
        ax.set_yscale("linear" if label == "learning rate" else "log")
        if len(curves) > 1:
            ax.legend(loc="upper right", ncols=len(curves))
    axes[-1, 0].set_xlabel("epoch")
    if "seconds" in group:
        axes[0, 0].set_title(
            f"{len(group['epoch'])} records, {float(group['seconds'][-1]):.4g} s", loc="right"
        )
    figure.align_ylabels(axes[:, 0])
    return figure


def ranks_figure(run: RunToPlot) -> Figure | None:
    """Ranks and entropies of the bonds of tensor layers, over epochs; None where no layer has bonds."""
    group = run.results.get("training")
    if group is None or "rank" not in group:
        return None
    figure = empty_figure(run, 6.5, 5.2, bands=False)
    axes = figure.subplots(2, 1, sharex=True)
    labels = group["bond"] if len(group["bond"]) <= MOST_LINES else [None] * len(group["bond"])
    for number, label in enumerate(labels):
        color = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY)[number % 6]
        style = ("-", "--", ":")[number // 6 % 3]
        for ax, name in zip(axes, ("rank", "bond_entropy"), strict=True):
            drawn = {"color": color, "linestyle": style, "linewidth": 1.0, "label": label}
            ax.plot(group["epoch"], group[name][:, number], drawstyle="steps-post", **drawn)
    axes[0].set_ylabel("rank of a bond")
    axes[1].set(ylabel="entropy of a bond (nats)", xlabel="epoch")
    for ax in axes:
        ax.set_ylim(bottom=0.0)
    if len(group["bond"]) <= MOST_LINES:
        axes[0].legend(loc="best")
    figure.align_ylabels(axes)
    return figure


def energy_figure(run: RunToPlot) -> Figure | None:
    """Energy and its parts, its drift, and the centre of mass against Kohn's theorem."""
    group = run.results.get("observables")
    if group is None or "energy" not in group:
        return None
    with_center = "center_of_mass_mean" in group
    figure = empty_figure(run, 9.0 if with_center else 4.8, 5.6)
    axes = figure.subplots(2, 2 if with_center else 1, sharex=True, squeeze=False)
    parts = (
        ("energy", "total", BLACK),
        ("energy_potential", "potential", GREEN),
        ("energy_kinetic_osmotic", "kinetic, osmotic", ORANGE),
        ("energy_kinetic_current", "kinetic, current", BLUE),
    )
    time = group["time"]
    for name, label, color in parts:
        if name in group:
            band(axes[0, 0], time, group[name], group.get(f"{name}_stderr"), label=label, color=color)
    axes[0, 0].set_ylabel("energy")
    _room_for_legend(axes[0, 0], ncols=2)
    start = float(group["energy"][0])
    unit = 100.0 / abs(start) if start != 0.0 else np.nan
    error = group.get("energy_stderr")
    drift = unit * (group["energy"] - start)
    band(axes[1, 0], time, drift, None if error is None else unit * error, label="run", color=BLACK)
    axes[1, 0].axhline(0.0, color=GREY, linewidth=0.8)
    axes[1, 0].set(ylabel="change of the energy (%)", xlabel="time $t$", xlim=(time[0], time[-1]))
    if with_center:
        _center_of_mass(axes[:, 1], run, group)
    return figure


def _center_of_mass(axes: NDArray[Any], run: RunToPlot, group: Group) -> None:
    time, exact = group["time"], run.center_of_mass
    fine = np.linspace(time[0], time[-1], 401)
    curves = (None, None) if exact is None else (exact.mean(fine), exact.variance(fine))
    for ax, name, curve in zip(axes, ("mean", "variance"), curves, strict=True):
        key = f"center_of_mass_{name}"
        dimensions = group[key].shape[1]
        for axis, color in zip(range(dimensions), (BLUE, ORANGE, GREEN), strict=False):
            stderr = group.get(f"{key}_stderr")
            label = "run" if dimensions == 1 else f"run, {'xyz'[axis]}"
            spread = None if stderr is None else stderr[:, axis]
            band(ax, time, group[key][:, axis], spread, label=label, color=color)
        for axis, line in enumerate(() if curve is None else curve.T):
            legend = "exact (Kohn's theorem)" if axis == 0 else None
            ax.plot(fine, line, label=legend, **REFERENCE_STYLES[0])
    axes[0].set_ylabel("centre of mass:\nmean (length)")
    axes[1].set(ylabel="centre of mass:\nvariance (length$^2$)", xlabel="time $t$")
    spread = np.sqrt(np.max(group["center_of_mass_variance"]))
    _widen_flat(axes[:1], float(spread))
    _widen_flat(axes[1:], 0.5 * float(spread) ** 2)
    _room_for_legend(axes[1], ncols=2)


def empty_figure(run: RunToPlot, width: float, height: float, *, bands: bool = True) -> Figure:
    """An empty figure whose title says what was run, and what the bands are if there are any."""
    figure = Figure(figsize=(width, height), layout="constrained")
    config, lines = run.config, []
    if config is not None:
        system = config.system
        bosons = "1 particle" if system.particles == 1 else f"{system.particles} bosons"
        numbers = f"{bosons}, D = {system.dimensions}, $\\hbar$ = {system.hbar:g}, m = {system.mass:g}"
        lines = [config.title, numbers] if config.title else [numbers]
    if bands and "mean_stderr" in run.results.get("observables", {}):
        lines.append(f"bands: ±{BAND:g} standard errors")
    figure.suptitle("\n".join(lines))
    return figure


def band(ax: Axes, x: Array, y: Array, stderr: Array | None, *, label: str, color: str) -> None:
    """A line with a band of two standard errors."""
    ax.plot(x, y, color=color, label=label)
    if stderr is not None:
        ax.fill_between(x, y - BAND * stderr, y + BAND * stderr, color=color, alpha=0.25, linewidth=0.0)


def _room_for_legend(ax: Axes, ncols: int) -> None:
    """A legend above the curves."""
    low, high = ax.get_ylim()
    ax.set_ylim(low, high + 0.3 * (high - low))
    ax.legend(loc="upper center", ncols=ncols)


def _widen_flat(axes: Iterator[Axes] | NDArray[Any], scale: float) -> None:
    """Keep noise around a constant from filling a panel: at least a fifth of `scale` from top to bottom."""
    for ax in axes:
        low, high = ax.get_ylim()
        missing = 0.2 * scale - (high - low)
        if missing > 0.0:
            ax.set_ylim(low - 0.5 * missing, high + 0.5 * missing)


def _positive(group: Group, name: str) -> bool:
    return name in group and bool(np.any(group[name] > 0.0))


def _reference_style(k: int) -> dict[str, Any]:
    return REFERENCE_STYLES[k % len(REFERENCE_STYLES)]


def _error_color(k: int) -> str:
    return (BLUE, VERMILION, GREEN, PURPLE)[k % 4]
