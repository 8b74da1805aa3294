"""Pairs of particles, coherence, natural orbitals and momenta.

Shapes: T times, C cells or points, K orbitals.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import Formatter, FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from dsmsim.analysis import profiles
from dsmsim.analysis.figures import canvas
from dsmsim.analysis.profiles import Profile

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh
    from matplotlib.figure import SubFigure

    from dsmsim.analysis.loading import RunToPlot

Array = NDArray[np.float64]
Group = Mapping[str, NDArray[Any]]

SHOWN_ORBITALS = 6
SMALLEST_OCCUPATION = 1e-8
SQUARE = 0.95  # inches, a map over (x, x')
ACROSS = 3  # maps side by side
MOST = 99.0  # per cent of the differences have a colour of their own
_ON_MAP: dict[str, Any] = {
    "fontsize": 6.0,
    "bbox": {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 1.0},
}


def pair_density_figure(run: RunToPlot) -> Figure | None:
    """Two-body density over (x, x')."""
    return _squares(run, profiles.pair_density(run), "pair density", units="1/length$^2$")


def g2_figure(run: RunToPlot) -> Figure | None:
    """g2 over (x, x'): 1, which is white, for independent particles, more where they bunch."""
    return _squares(run, profiles.g2(run), "$g_2$", middle=1.0)


def density_matrix_figure(run: RunToPlot) -> Figure | None:
    """The one-body density matrix, its absolute value."""
    return _squares(run, profiles.density_matrix(run), r"$|\rho_1(x, x')|$", units="1/length")


def g1_figure(run: RunToPlot) -> Figure | None:
    """First-order coherence, its absolute value."""
    return _squares(run, profiles.g1(run), "$|g_1(x, x')|$")


def _squares(
    run: RunToPlot, profile: Profile | None, label: str, *, units: str = "", middle: float | None = None
) -> Figure | None:
    """Maps at a few times; beside the truth and the difference, a row a time, where the truth is known.

    Args:
        units: of what is shown relative to its largest value at each time, which falls as a cloud spreads;
            without them all times share one scale.
        middle: a value that is white, with colours for more and less; without one colours start at 0.
    """
    if profile is None:
        return None
    chosen, known = run.snapshots(profile.time), profile.true is not None
    shown = _Squares.of(profile, chosen, relative=bool(units))
    kinds = [shown.values, shown.true] if known else [shown.values]
    size = canvas.largest(*(kind - (middle or 0.0) for kind in kinds))
    # what lies far above a middle of 1 is cut off, or nothing below could be seen
    scale = (0.0, size) if middle is None else (middle - min(size, middle), middle + min(size, middle))
    colors = canvas.SEQUENTIAL if middle is None else canvas.DIVERGING
    rows = len(chosen) if known else math.ceil(len(chosen) / ACROSS)
    figure, body = canvas.canvas(run, SQUARE * rows + 0.75, bands=False)
    axes = body.subplots(rows, ACROSS, sharex=True, sharey=True, squeeze=False)
    for place, kind in zip([axes[:, 0], axes[:, 1]] if known else [axes.ravel()], kinds, strict=True):
        for ax, values in zip(place, kind, strict=False):
            mesh = canvas.colored(ax, profile.x, profile.x, values.T, scale, colors)
    under = axes[:, :2] if known else axes
    beyond = "max" if middle is not None and size > middle else "neither"
    title = f"{label} / max (max in {units})" if units else label
    _bar(body, mesh, under, title, aspect=30, extend=beyond)
    if known:
        sizes = np.abs(shown.difference)
        top = float(np.nanpercentile(sizes, MOST)) or 1.0 if np.isfinite(sizes).any() else 1.0
        for ax, values in zip(axes[:, 2], shown.difference, strict=True):
            mesh = canvas.colored(ax, profile.x, profile.x, values.T, (-top, top), canvas.DIVERGING)
        noise = f"\n(stderr up to {shown.noise:.1g})" if shown.noise else ""
        _bar(body, mesh, axes[:, 2:], f"difference{noise}", aspect=15, extend="both")
        for ax, title in zip(axes[0], ("run", canvas.plain(profile.reference), "difference"), strict=True):
            ax.set_title(title, loc="left")
    for k, ax, top in zip(chosen, axes[:, 0] if known else axes.flat, shown.largest, strict=False):
        ax.text(0.04, 0.94, f"$t$ = {profile.time[k]:.4g}", va="top", transform=ax.transAxes, **_ON_MAP)
        if units:
            ax.text(0.04, 0.06, f"max {top:.3g}", transform=ax.transAxes, **_ON_MAP)
    limits = canvas.visible(profile.x, profile.values)
    for ax in axes.flat:
        ax.set(xlim=limits, ylim=limits, aspect="equal")
        ax.locator_params(nbins=4)
    for ax in axes[-1]:
        ax.set_xlabel("$x$ (length)")
    for ax in axes[:, 0]:
        ax.set_ylabel("$x'$ (length)")
    for ax in [] if known else axes.flat[len(chosen) :]:
        ax.remove()
    return figure


@dataclass(frozen=True)
class _Squares:
    """What the maps show: (K, C, C) at K times, with the largest value (K,) they are relative to, or 1."""

    values: Array
    true: Array
    difference: Array
    largest: Array
    noise: float

    @classmethod
    def of(cls, profile: Profile, chosen: list[int], *, relative: bool) -> _Squares:
        values = profile.values[chosen]
        true = np.full_like(values, np.nan) if profile.true is None else profile.true[chosen]
        both = np.where(np.isnan(true), values, true)
        largest = np.array([canvas.largest(k) if relative else 1.0 for k in both])
        unit = largest[:, None, None]
        stderr = None if profile.stderr is None else profile.stderr[chosen] / unit
        noise = 0.0 if stderr is None else canvas.largest(stderr)
        return cls(values / unit, true / unit, (values - true) / unit, largest, noise)


def _bar(figure: SubFigure, mesh: QuadMesh, axes: NDArray[Any], label: str, **look: Any) -> None:
    """A colour bar below some maps."""
    bar = figure.colorbar(mesh, ax=axes.ravel().tolist(), label=label, location="bottom", pad=0.02, **look)
    bar.locator = MaxNLocator(nbins=3 if axes.shape[1] == 1 else 5)
    bar.formatter = FuncFormatter(lambda value, _: Formatter.fix_minus(f"{value:.10g}"))
    bar.update_ticks()


def occupations_figure(run: RunToPlot) -> Figure | None:
    """Natural occupations over time, and the densities of the first natural orbitals at the last time."""
    group = run.results.get("correlations", {})
    if "occupation" not in group:
        return None
    orbitals = "natural_orbital_re" in group
    figure, body = canvas.canvas(run, 2.3 + 1.6 * orbitals)
    axes = body.subplots(1 + orbitals, 1, squeeze=False)[:, 0]
    _occupations(axes[0], run, group)
    canvas.legend_above(body, axes[:1])
    if orbitals:
        _orbitals(axes[1], group)
    body.align_ylabels(axes)
    return figure


def _occupations(ax: Axes, run: RunToPlot, group: Group) -> None:
    count = min(SHOWN_ORBITALS, group["occupation"].shape[1])
    stderr = group.get("occupation_stderr")
    for k, color in enumerate(canvas.shades(count)):
        curve, spread = _positive(group["occupation"][:, k]), None if stderr is None else stderr[:, k]
        if not np.isnan(curve).all():
            line = {"color": color, "marker": ".", "label": f"orbital {k}"}
            canvas.band(ax, group["time"], curve, spread, **line)
    for (name, results), settings in zip(run.references.items(), canvas.REFERENCE_STYLES, strict=False):
        other = results.get("correlations", {})
        if "occupation" in other:
            curves = _positive(other["occupation"][:, :count])
            ax.plot(other["time"], curves, **settings)[0].set_label(canvas.plain(name))
    ax.set(yscale="log", xlabel="time $t$", ylabel="natural occupation", ylim=(None, 2.0))
    ax.axhline(1.0, color=canvas.GREY, linewidth=0.6)


def _orbitals(ax: Axes, group: Group) -> None:
    real, imaginary = (group[f"natural_orbital_{part}"][-1] for part in ("re", "im"))
    density = real**2 + imaginary**2
    count = min(SHOWN_ORBITALS // 2, len(density))
    for k, color in zip(range(count), canvas.shades(min(SHOWN_ORBITALS, len(density))), strict=False):
        ax.plot(group["x"], density[k], color=color, label=f"orbital {k}")
    ax.set(xlabel="position $x$ (length)", ylabel="orbital density (1/length)")
    ax.set_title(f"$t$ = {group['time'][-1]:.4g}", loc="left")
    ax.set_xlim(*canvas.visible(group["x"], density[:count]))
    ax.set_ylim(bottom=0.0)
    ax.legend(loc="best")


def momentum_figure(run: RunToPlot) -> Figure | None:
    """One-body momentum density at a few times, with the truth."""
    profile = profiles.momentum(run)
    if profile is None:
        return None
    chosen = run.snapshots(profile.time)
    rows = canvas.rows_of_cuts(len(chosen))
    figure, body = canvas.canvas(run, 1.4 * rows + 0.4)
    axes = body.subplots(rows, min(len(chosen), canvas.MOST_CUTS), sharex=True, sharey=True, squeeze=False)
    canvas.cuts(axes, profile, chosen)
    axes[0, 0].set_xlim(*canvas.visible(profile.x, profile.values))
    canvas.legend_above(body, axes.flat)
    body.supxlabel("momentum $p$ along $x$", fontsize="medium")
    body.supylabel("density (1/momentum)", fontsize="medium")
    return figure


def _positive(values: Array) -> Array:
    """NaN for what is never occupied: it has no logarithm."""
    return np.where(values > SMALLEST_OCCUPATION, values, np.nan)
