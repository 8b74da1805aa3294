"""Maps over time and position: density, current, trajectories.

Shapes: T times, C cells, N particles, D axes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dsmsim.analysis import profiles
from dsmsim.analysis.figures import canvas
from dsmsim.analysis.profiles import Profile

if TYPE_CHECKING:
    from matplotlib.figure import SubFigure

    from dsmsim.analysis.loading import RunToPlot

Array = NDArray[np.float64]

MAP, CUTS = 1.15, 1.25  # heights in inches
SHOWN_TRAJECTORIES = 6
MOST_TRAJECTORY_LINES = 60
SHOWN_SHOTS = 20
SHOT_WIDTH = 0.07  # of the axis of time


def density_figure(run: RunToPlot, axis: int = 0) -> Figure | None:
    """Density along an axis over time, the reference, their difference, and cuts at a few times.

    Where there is a density from the osmotic velocity too, the cuts show both.
    """
    density = profiles.density(run, axis)
    if density is None:
        return None
    smooth = profiles.smooth_density(run, axis)
    return _map_and_cuts(run, density, "xyz"[axis], "density (1/length)", smooth, signed=False)


def current_figure(run: RunToPlot, axis: int = 0) -> Figure | None:
    """Current along an axis over time, that of the reference's density, their difference, and cuts."""
    current = profiles.current(run, axis)
    if current is None:
        return None
    return _map_and_cuts(run, current, "xyz"[axis], "current (1/time)", None, signed=True)


def _map_and_cuts(
    run: RunToPlot, profile: Profile, axis: str, label: str, smooth: Profile | None, *, signed: bool
) -> Figure:
    chosen, maps = run.snapshots(profile.time), 1 if profile.true is None else 3
    rows = canvas.rows_of_cuts(len(chosen))
    height = MAP * maps + 0.25, CUTS * rows + 0.4
    figure, body = canvas.canvas(run, sum(height))
    upper, lower = body.subfigures(2, 1, height_ratios=height, squeeze=False)[:, 0]
    limits = canvas.visible(profile.x, profile.values)
    _maps(upper, profile, axis, label, limits, [profile.time[k] for k in chosen[1:-1]], signed=signed)
    axes = lower.subplots(rows, min(len(chosen), canvas.MOST_CUTS), sharex=True, sharey=True, squeeze=False)
    if smooth is None:
        canvas.cuts(axes, profile, chosen, signed=signed)
    else:
        for ax, k in zip(axes.flat, chosen, strict=False):
            steps = {"where": "mid", "color": canvas.ORANGE, "linewidth": 0.6, "label": "run, histogram"}
            ax.step(profile.x, profile.values[k], **steps)
        known = replace(smooth, reference=profile.reference, true=profile.true)
        canvas.cuts(axes, known, chosen, signed=signed, name="run, smooth")
    axes.flat[0].set_xlim(limits)
    canvas.legend_above(lower, axes.flat)
    lower.supylabel(label, fontsize="medium")
    lower.supxlabel(f"position ${axis}$ (length)", fontsize="medium")
    return figure


def _maps(
    figure: SubFigure,
    profile: Profile,
    axis: str,
    label: str,
    limits: tuple[float, float],
    marked: list[float],
    *,
    signed: bool,
) -> None:
    """The run, the reference and their difference, one below the other; the first two share their colours."""
    maps = [("run", profile.values)]
    if profile.true is not None:
        difference = profile.values - profile.true
        maps += [(canvas.plain(profile.reference), profile.true), ("run minus reference", difference)]
    axes = figure.subplots(len(maps), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for k, (ax, (title, values)) in enumerate(zip(axes, maps, strict=True)):
        top = canvas.largest(values) if k == 2 else canvas.largest(*(v for _, v in maps[:2]))
        around_zero = signed or k == 2
        scale = (-top if around_zero else 0.0, top)
        colors = canvas.DIVERGING if around_zero else canvas.SEQUENTIAL
        mesh = canvas.colored(ax, profile.time, profile.x, values.T, scale, colors)
        ax.set_title(title, loc="left")
        for time in marked:
            ax.axvline(time, color=canvas.GREY, linewidth=0.6, linestyle=":")
        if k == 2:
            figure.colorbar(mesh, ax=ax, label="difference", aspect=10)
        elif k == min(1, len(maps) - 1):
            figure.colorbar(mesh, ax=axes[:2].tolist(), label=label, aspect=10 * len(maps[:2]))
    axes[0].set_ylim(limits)
    axes[-1].set_xlabel("time $t$")
    figure.supylabel(f"position ${axis}$ (length)", fontsize="medium")


def trajectories_figure(run: RunToPlot) -> Figure | None:
    """Some trajectories, or single shots where none were kept, over the density along the first axis."""
    density = profiles.density(run)
    if density is None or (run.trajectories is None and "shots" not in run.results):
        return None
    figure, body = canvas.canvas(run, 2.3, bands=False)
    ax = body.subplots()
    top = canvas.largest(density.values)
    # pale, so that lines can be seen upon it
    mesh = canvas.colored(ax, density.time, density.x, density.values.T, (0.0, 1.6 * top), "Greys")
    body.colorbar(mesh, ax=ax, label="density (1/length)", aspect=20).ax.set_ylim(0.0, top)
    if run.trajectories is None:
        shots = run.results["shots"]
        position = shots["position"][:, :SHOWN_SHOTS, :, 0]
        # the particles of a shot lie on one vertical line, beside the next shot
        apart = np.diff(shots["time"]).min(initial=np.ptp(density.time) or 1.0)
        beside = np.linspace(-0.5, 0.5, position.shape[1]) * min(
            0.6 * apart, SHOT_WIDTH * np.ptp(density.time)
        )
        for time, points in zip(shots["time"], position, strict=True):
            ax.plot(time + beside, points, color=canvas.BLUE, linestyle="none", marker=".", markersize=2.0)
        ax.set_title(f"{position.shape[1]} single shots of {canvas.bosons(position.shape[2])}", loc="left")
    else:
        particles = run.trajectories.particles
        count = max(1, min(SHOWN_TRAJECTORIES, MOST_TRAJECTORY_LINES // particles))
        position = run.trajectories.first(count)[..., 0]
        for k in range(position.shape[1]):
            ax.plot(run.trajectories.times, position[:, k], color=canvas.COLORS[k], linewidth=0.7)
        shown = f"{position.shape[1]} trajectories of {canvas.bosons(particles)}, each in its colour"
        ax.set_title(shown, loc="left")
    low, high = canvas.visible(density.x, density.values)
    ax.set(xlabel="time $t$", ylabel="position $x$ (length)")
    ax.set_ylim(min(low, float(position.min())), max(high, float(position.max())))
    return figure
