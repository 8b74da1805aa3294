"""Figures of the physics beyond the sources: densities beside exact ones, and the curves that tell the story.

Shapes: T times, C cells.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dsmsim.analysis.compare import at_times, cell_averages
from dsmsim.analysis.correlations_error import cell_edges, common_times, onto
from dsmsim.analysis.figures import canvas
from dsmsim.config import Config
from dsmsim.config.terms import HarmonicTerm
from dsmsim.store import StoredResults
from tools.reproduce import drawing
from tools.reproduce.chapter import Picture
from tools.reproduce.drawing import DensityMap
from tools.reproduce.found import Found
from tools.reproduce.profile import Profile
from tools.reproduce.sections import beyond_cases as of
from tools.reproduce.sections.beyond_cases import Breathing, Case, Ten
from tools.reproduce.sections.beyond_rows import (
    breath_errors,
    breath_of,
    mean_variance,
    on_the_right,
    solved,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

CENT = 100.0
DARK = (canvas.BLUE, canvas.VERMILION, canvas.GREEN, canvas.PURPLE, canvas.ORANGE, canvas.SKY)


def density(method: str, stored: StoredResults, truth: StoredResults | None) -> DensityMap:
    """The smooth one-body density along x, with the exact one in the same cells where there is one."""
    group = stored.results["density"]
    true = None
    if truth is not None:
        exact = truth.results["density"]
        true = at_times(exact["time"], cell_averages(exact, group["x"]), group["time"])
    return DensityMap(method, group["time"], group["x"], group.get("density_smooth", group["density"]), true)


def maps(case: Case, found: Found, what: str) -> Iterator[Picture]:
    """Density over time and position by every method, beside the exact one."""
    densities = []
    for method in case.methods:
        one = solved(case, method, found)
        if one.stored and one.truth is not None:
            densities.append(density(method, one.stored[0], one.truth))
    if densities:
        names = " and ".join(each.method for each in densities)
        alone = len(densities) == 1
        yield Picture(
            f"{case.name}_maps",
            f"{case.title}: {what} over time, exact and by {names} (first seed, from the learnt score); "
            f"{'on the right' if alone else 'below'}, the difference from the exact density.",
            beside(densities[0]) if alone else drawing.draw_maps(densities, drawing.seen(densities[0])),
        )


def beside(found: DensityMap) -> Figure:
    """The exact density, the one that was found, and their difference, side by side."""
    true = found.values if found.true is None else found.true
    change, top = found.values - true, canvas.largest(true)
    size = min(float(np.abs(change).max()), 0.1 * top) or top
    with drawing.panels(1, 3, 2.0, sharex=True, sharey=True) as (figure, axes):
        for ax, title, values in zip(
            axes[0], (drawing.EXACT, found.method), (true, found.values), strict=False
        ):
            mesh = canvas.colored(ax, found.time, found.x, values.T, (0.0, top), canvas.SEQUENTIAL)
            ax.set_title(title)
        lower = canvas.colored(axes[0, 2], found.time, found.x, change.T, (-size, size), canvas.DIVERGING)
        axes[0, 2].set_title(f"minus exact: up to {np.abs(change).max() / top:.1%}")
        axes[0, 0].set(ylabel="position $x$", ylim=drawing.seen(found))
        for ax in axes[0]:
            ax.set_xlabel("time $t$")
            ax.locator_params("x", nbins=4)
        figure.colorbar(mesh, ax=axes[0, :2].tolist(), label="density (1/length)", aspect=12)
        figure.colorbar(lower, ax=axes[0, 2], label="difference", aspect=12)
    return figure


def breathing(profile: Profile, found: Found) -> Iterator[Picture]:
    """Variance over time of all cases, and the frequency of their breathing."""
    kinds = of.breathing(profile)
    there = [(each, one) for each in kinds if (one := solved(each.case, of.MARCH, found)).stored]
    if not there:
        return
    yield from maps(there[0][0].case, found, "density")
    with drawing.panels(1, 2, 2.6, gridspec_kw={"width_ratios": (1.6, 1.0)}) as (figure, axes):
        left, right = axes[0]
        for (each, one), color in zip(there, DARK, strict=False):
            time, variance = mean_variance(one.stored[0])
            label = f"{each.case.particles} bosons, $g$ = {each.case.g:g}"
            left.plot(time, variance, color=color, label=label)
            if one.truth is not None:
                drawn = drawing.line_of(drawing.EXACT, linewidth=0.8)
                left.plot(*mean_variance(one.truth), **drawn)
            _frequency(right, each, one.stored, one.truth, color)
        left.axvline(there[0][0].start, color="0.6", linewidth=0.6, linestyle=":")
        left.set(xlabel="time $t$", ylabel="Var $x_1$")
        right.axhline(2.0, color="0.4", linewidth=0.8, linestyle="-.", label="without interaction: 2")
        right.set(xlabel=r"$g\,(N-1)$", ylabel=r"breathing frequency / $\omega$")
        right.set_xlim(0.0, 1.1 * max(each.case.g * (each.case.particles - 1) for each, _ in there))
        drawing.legend_of(figure, axes, columns=4)
    yield Picture(
        "breathing_curves",
        "Variance of a breathing cloud (left; the dotted line is when the trap is tightened), and the "
        "frequency of a damped cosine fitted from then on (right; squares: DSM, marching, with the "
        "standard error of the samples; crosses: exact).",
        figure,
    )


def _frequency(
    ax: Axes,
    each: Breathing,
    stored: Sequence[StoredResults],
    truth: StoredResults | None,
    color: str,
) -> None:
    """A point with its bar, and the exact cross."""
    along = each.case.g * (each.case.particles - 1)
    bar, _ = breath_errors(stored[0], each)
    fit, exact = breath_of(stored[0], each), breath_of(truth, each)
    if fit is not None:
        height = None if bar is None else bar / each.omega
        ax.errorbar(
            along, fit.frequency / each.omega, height, color=color, marker="s", markersize=6.0, mfc="none"
        )
    if exact is not None:
        ax.plot(
            along, exact.frequency / each.omega, color=canvas.BLACK, marker="x", markersize=4.0, zorder=5.0
        )


def tunnelling(case: Case, found: Found) -> Iterator[Picture]:
    """Density, probability to be on the right, and the distance of that from the exact one."""
    yield from maps(case, found, "density")
    one = solved(case, of.MARCH, found)
    if not one.stored:
        return
    with drawing.panels(1, 2, 2.4) as (figure, axes):
        left, right = axes[0]
        time, ours, stderr = on_the_right(one.stored[0])
        left.plot(time, ours, **drawing.line_of(of.MARCH))
        if one.truth is not None:
            moments, exact, _ = on_the_right(one.truth)
            left.plot(moments, exact, **drawing.line_of(drawing.EXACT))
            away = CENT * (ours - at_times(moments, exact[:, None], time)[:, 0])
            band = None if stderr is None else CENT * stderr
            canvas.band(right, time, away, band, color=drawing.COLORS[of.MARCH])
            right.axhline(0.0, color=canvas.BLACK, linestyle="--", linewidth=0.8)
        left.set(xlabel="time $t$", ylabel="probability to be on the right", ylim=(0.0, 1.0))
        right.set(xlabel="time $t$", ylabel="difference from exact (points)")
        drawing.legend_of(figure, axes)
    yield Picture(
        "tunnelling_curves",
        "Probability to be on the right of the barrier (left), and its difference from the exact one in "
        "percentage points (right; band: two standard errors).",
        figure,
    )


def plane(cases: Sequence[Case], found: Found) -> Iterator[Picture]:
    """Densities along x, widths over time, and where two bosons are together."""
    for case in cases:
        yield from maps(case, found, "density along x")
    with drawing.panels(1, 2, 2.4) as (figure, axes):
        left, right = axes[0]
        drawn = False
        for case, style in zip(cases, ("-", (0, (3, 1))), strict=False):
            for method in case.methods:
                one = solved(case, method, found)
                if not one.stored:
                    continue
                drawn = True
                time, variance = mean_variance(one.stored[0])
                name = f"{method}, {case.particles} bosons"
                line = {**drawing.line_of(method), "linestyle": style, "label": name}
                left.plot(time, variance, **line)
                if one.truth is not None:
                    moments, exact = mean_variance(one.truth)
                    left.plot(moments, exact, **drawing.line_of(drawing.EXACT, linewidth=0.8))
                    true = at_times(moments, exact[:, None], time)[:, 0]
                    right.plot(time, CENT * (variance / true - 1.0), **line)
        left.set(xlabel="time $t$", ylabel="Var $x_1$, mean of both axes")
        right.set(xlabel="time $t$", ylabel="error of Var $x_1$ (%)")
        right.axhline(0.0, color=canvas.BLACK, linestyle="--", linewidth=0.8)
        drawing.legend_of(figure, axes, columns=4)
    if drawn:
        yield Picture(
            "plane_curves",
            "Two and three bosons in two dimensions: variance of a coordinate, and its relative error (first "
            "seeds).",
            figure,
        )
    for case in cases:
        pairs = _pairs(case, found)
        if pairs is not None:
            yield pairs


def _pairs(case: Case, found: Found) -> Picture | None:
    """The pair density along x at the last time: exact, by every method, and the differences."""
    there = [(method, solved(case, method, found)) for method in case.methods]
    groups = [
        (method, one.stored[0].results["correlations"], one.truth.results["correlations"])
        for method, one in there
        if one.stored
        and one.truth is not None
        and "pair_density" in one.stored[0].results.get("correlations", {})
        and "pair_density" in one.truth.results.get("correlations", {})
    ]
    if not groups:
        return None
    shown = []
    for method, ours, exact in groups:
        pairs = common_times(ours["time"], exact["time"])
        if not pairs:
            return None
        i, j = pairs[-1]
        matrix = onto(exact["x"], ours["x"], averages=True)
        true = matrix @ exact["pair_density"][j] @ matrix.T
        shown.append((method, ours["x"], ours["pair_density"][i], true, float(ours["time"][i])))
    return Picture(
        f"{case.name}_pairs",
        f"{case.title}: pair density of the positions along x of two bosons at t = {shown[0][-1]:g} (first "
        "seeds). The diagonal is where both have the same x; in the plane they can still be apart.",
        _pair_figure(shown),
    )


def _pair_figure(shown: Sequence[tuple[str, Array, Array, Array, float]]) -> Figure:
    top = canvas.largest(shown[0][3])
    with drawing.panels(1, len(shown) + 1, 2.4, sharey=True) as (figure, axes):
        x, true = shown[0][1], shown[0][3]
        drawn = [(drawing.EXACT, x, true), *((method, x, ours) for method, x, ours, _, _ in shown)]
        mesh = None
        for ax, (name, at, values) in zip(axes[0], drawn, strict=True):
            edges = cell_edges(at)
            mesh = ax.pcolormesh(
                edges, edges, values.T, cmap=canvas.SEQUENTIAL, vmin=0.0, vmax=top, rasterized=True
            )
            ax.set_aspect("equal")
            ax.set(xlabel="$x_1$", title=name)
            low, high = canvas.visible(x, true)
            ax.set(xlim=(low, high), ylim=(low, high))
        axes[0, 0].set_ylabel("$x_2$")
        if mesh is not None:
            figure.colorbar(mesh, ax=axes[0].tolist(), label="pair density", aspect=14)
    return figure


def ten(each: Ten, found: Found) -> Iterator[Picture]:
    """Density, what is conserved, and what more functions change."""
    stored = [results for task in each.case.tasks(of.MARCH) if (results := found.results(task)) is not None]
    bases = {b: results for b, task in each.bases.items() if (results := found.results(task)) is not None}
    if not stored:
        return
    config = found.config(each.case.tasks(of.MARCH)[0])
    still = None if config is None else rest(config)
    with drawing.panels(2, 2, 4.0) as (figure, axes):
        first = density(of.MARCH, stored[0], None)
        scale = (0.0, canvas.largest(first.values))
        mesh = canvas.colored(axes[0, 0], first.time, first.x, first.values.T, scale, canvas.SEQUENTIAL)
        axes[0, 0].set(xlabel="time $t$", ylabel="position $x$", ylim=drawing.seen(first), title="density")
        figure.colorbar(mesh, ax=axes[0, 0])
        for k, results in enumerate(stored):
            group, color = results.results["observables"], DARK[k]
            energy, bar = group["energy"], group.get("energy_stderr")
            change = CENT * (energy / energy[0] - 1.0)
            relative = None if bar is None else CENT * bar / energy[0]
            label = f"seed {k + 1}"
            canvas.band(axes[0, 1], group["time"], change, relative, color=color, label=label)
            if still is not None:
                _center(axes[1, 0], results, still, color)
        for (basis, results), color in zip(bases.items(), DARK, strict=False):
            march = results.results["march"]
            label = f"functions {basis.title}"
            axes[1, 1].plot(march["step_time"], march["residual"], color=color, label=label, linewidth=0.8)
        axes[0, 1].set(xlabel="time $t$", ylabel="change of the energy (%)")
        axes[1, 0].set(xlabel="time $t$", ylabel="Var of the centre of mass\nminus exact (%)")
        axes[1, 1].set(xlabel="time $t$", ylabel="residual: part of the\nmotion that is missed")
        axes[1, 1].set_yscale("log")
        for ax in (axes[0, 1], axes[1, 0]):
            ax.axhline(0.0, color=canvas.BLACK, linestyle="--", linewidth=0.8)
        axes[0, 1].legend()
        axes[1, 1].legend()
    yield Picture(
        "ten_bosons_checks",
        f"{each.case.title}: density of the first seed; change of the energy since t = 0 (bands: two "
        "standard errors); variance of the centre of mass relative to Kohn's theorem; what the ansatz misses "
        "with more and more functions of the distance of two bosons and collective functions.",
        figure,
    )


def rest(config: Config) -> float | None:
    """Variance of the centre of mass for ever, hbar/(2 m omega N); None if the trap is not harmonic."""
    system, trap = config.system, config.system.trap
    if not isinstance(trap, HarmonicTerm) or not isinstance(trap.omega, float):
        return None
    return system.hbar / (2.0 * system.mass * trap.omega * system.particles)


def _center(ax: Axes, results: StoredResults, still: float, color: str) -> None:
    """Variance of the centre of mass relative to what it should be for ever."""
    group = results.results["observables"]
    variance = group["center_of_mass_variance"][:, 0]
    ax.plot(group["time"], CENT * (variance / still - 1.0), color=color)
