"""Figures of what solvers know beyond the density: pairs of particles, natural occupations, momenta.

As in `figures`, each returns a Figure, or None where the results lack the data.

Shapes: T times, M points of x, K orbitals, P momenta.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dsmsim.analysis.figures import FAINT, GREY, REFERENCE_STYLES, empty_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from dsmsim.analysis.loading import RunToPlot

Array = NDArray[np.float64]
Group = Mapping[str, NDArray[Any]]

SHOWN_ORBITALS = 6
SMALLEST_OCCUPATION = 1e-8
MOST_SNAPSHOTS = 4


def pairs_figure(run: RunToPlot) -> Figure | None:
    """Two-body density and g2 over (x, x') at the first, middle and last of their times."""
    group = run.results.get("correlations", {})
    if "pair_density" not in group or "g2" not in group:
        return None
    chosen = _snapshots(len(group["time"]), 3)
    figure = empty_figure(run, 2.6 * len(chosen) + 1.2, 5.6, bands=False)
    axes = figure.subplots(2, len(chosen), sharex=True, sharey=True, squeeze=False)
    x, limits = group["x"], _where_it_is(group["x"], group["pair_density"].max(axis=(0, 2)))
    g2 = group["g2"]
    # 1 is white: more pairs than independent particles would make above it, fewer below
    far = float(np.nanmax(np.abs(g2[chosen] - 1.0), initial=0.1))
    top = float(group["pair_density"][chosen].max())
    maps: list[tuple[Array, str, dict[str, Any]]] = [
        (group["pair_density"], "pair density (1/length$^2$)", {"cmap": "cividis", "vmin": 0.0, "vmax": top}),
        (g2, "$g_2$", {"cmap": "PuOr_r", "vmin": 1.0 - min(far, 1.0), "vmax": 1.0 + min(far, 1.0)}),
    ]
    for row, (values, label, settings) in enumerate(maps):
        for ax, k in zip(axes[row], chosen, strict=True):
            mesh = ax.pcolormesh(x, x, values[k].T, shading="nearest", **settings)
            ax.grid(False)
            ax.set_aspect("equal")
            ax.set(xlim=limits, ylim=limits)
            if row == 0:
                ax.set_title(f"$t$ = {group['time'][k]:.4g}")
            else:
                ax.set_xlabel("$x$ (length)")
        axes[row, 0].set_ylabel("$x'$ (length)")
        figure.colorbar(
            mesh, ax=axes[row].tolist(), label=label, extend="max" if row and far > 1.0 else "neither"
        )
    return figure


def coherence_figure(run: RunToPlot) -> Figure | None:
    """Natural occupations in time, those of references, and momentum densities at a few times."""
    group, momentum = run.results.get("correlations", {}), run.results.get("momentum", {})
    if "occupation" not in group:
        return None
    panels = 2 if "momentum_density" in momentum else 1
    figure = empty_figure(run, 4.6 * panels, 3.9, bands=False)
    axes = figure.subplots(1, panels, squeeze=False)[0]
    _occupations(axes[0], run, group)
    if panels == 2:
        _momenta(axes[1], momentum)
    return figure


def _occupations(ax: Axes, run: RunToPlot, group: Group) -> None:
    time, occupation = group["time"], group["occupation"]
    count = min(SHOWN_ORBITALS, occupation.shape[1])
    colors = matplotlib.colormaps["cividis"](np.linspace(0.0, 0.85, count))
    for k in range(count):
        # what is never occupied has no logarithm
        curve = np.where(occupation[:, k] > SMALLEST_OCCUPATION, occupation[:, k], np.nan)
        if not np.isnan(curve).all():
            ax.plot(time, curve, color=colors[k], marker=".", label=f"orbital {k}")
    for (name, results), settings in zip(run.references.items(), REFERENCE_STYLES, strict=False):
        other = results.get("correlations", {})
        for k in range(min(count, other["occupation"].shape[1]) if "occupation" in other else 0):
            curve = np.where(
                other["occupation"][:, k] > SMALLEST_OCCUPATION, other["occupation"][:, k], np.nan
            )
            ax.plot(other["time"], curve, label=name if k == 0 else None, **settings)
    ax.set(yscale="log", xlabel="time $t$", ylabel="natural occupation", ylim=(None, 2.0))
    ax.axhline(1.0, color=GREY, linewidth=0.8)
    ax.legend(loc="best", ncols=2)


def _momenta(ax: Axes, momentum: Group) -> None:
    p, density = momentum["p"], momentum["momentum_density"]
    chosen = _snapshots(len(momentum["time"]), MOST_SNAPSHOTS)
    colors = matplotlib.colormaps["cividis"](np.linspace(0.0, 0.85, len(chosen)))
    for k, color in zip(chosen, colors, strict=True):
        ax.plot(p, density[k], color=color, label=f"$t$ = {momentum['time'][k]:.4g}")
    ax.set(xlabel="momentum $p$", ylabel="momentum density (1/momentum)", ylim=(0.0, None))
    ax.set_xlim(*_where_it_is(p, density.max(axis=0)))
    ax.legend(loc="upper right")


def _snapshots(times: int, count: int) -> list[int]:
    """At most `count` indices from the first to the last."""
    return sorted({int(k) for k in np.rint(np.linspace(0, times - 1, count))})


def _where_it_is(x: Array, values: Array) -> tuple[float, float]:
    """The part of an axis where a density can be seen."""
    seen = x[values > FAINT * values.max()]
    return float(seen[0]), float(seen[-1])
