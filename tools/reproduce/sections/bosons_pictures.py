"""Figures of the interacting bosons: densities, moments, errors against cost, trajectories.

Shapes: T times, C cells, K trajectories, N bosons.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.ticker import NullFormatter
from numpy.typing import NDArray

from dsmsim.analysis.compare import at_times, cell_averages
from dsmsim.analysis.figures import canvas
from dsmsim.store import StoredResults, open_trajectories
from tools.reproduce import drawing
from tools.reproduce.chapter import Picture
from tools.reproduce.drawing import Curve, DensityMap
from tools.reproduce.found import Found
from tools.reproduce.profile import Profile
from tools.reproduce.rows import over_seeds
from tools.reproduce.sections import bosons_cases as of
from tools.reproduce.sections.bosons_cases import Case, Entrant

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]

TIMES = (0.3, 0.6, 1.0)  # at which the publication shows densities
DRAWN = 6  # trajectories
MAPPED = (of.DSM, of.MARCH, of.TVMC, of.PINN, of.GRID)
SAMPLED = (of.DSM, of.MARCH, of.TVMC, of.PINN, of.GAUSSIAN)
FORMS = {of.TVMC_PUBLISHED: of.TVMC, of.PINN_PUBLISHED: of.PINN}
CENT = 100.0


@dataclass(frozen=True)
class Known:
    """Results of one case.

    Attributes:
        case: which.
        truth: the exact ones.
        stored: those of every other method that is there, of its first seed.
    """

    case: Case
    truth: StoredResults
    stored: dict[str, StoredResults]

    def density(self, method: str) -> DensityMap | None:
        """A one-body density with the exact one; that of a grid is averaged over the cells of a sampler."""
        if method not in self.stored:
            return None
        group, exact = self.stored[method].results["density"], self.truth.results["density"]
        x, values, times = group["x"], group["density"], group["time"]
        if "outside" not in group:
            samplers = [
                s.results["density"] for s in self.stored.values() if "outside" in s.results["density"]
            ]
            x = samplers[0]["x"] if samplers else x
            values = cell_averages(group, x)
        true = at_times(exact["time"], cell_averages(exact, x), times)
        return DensityMap(method, times, x, values, true)

    def densities(self, methods: Sequence[str]) -> list[DensityMap]:
        """Those of them that are there."""
        return [density for name in methods if (density := self.density(name)) is not None]


def known(case: Case, found: Found) -> Known | None:
    """What is there of a case; None without the exact results or with nothing beside them."""
    truth = found.results(of.reference(case))
    stored = {
        each.method: results
        for each in of.entrants(case)
        if each.method != of.EXACT and (results := _first(each, found)) is not None
    }
    return None if truth is None or not stored else Known(case, truth, stored)


def _first(entrant: Entrant, found: Found) -> StoredResults | None:
    return next((r for task in entrant.tasks if (r := found.results(task)) is not None), None)


def draw(profile: Profile, found: Found) -> list[Picture]:
    """All figures for which there are results."""
    cases = [each for case in of.cases(profile) if (each := known(case, found)) is not None]
    twos = [each for each in cases if each.case.particles == 2]
    pictures = [picture for each in cases for picture in maps(each)]
    if twos:
        pictures.append(moments(twos))
    of_g1 = [each for each in cases if each.case.g == 1.0]
    shown = [each for each in of_g1 if each.densities(MAPPED)]
    if shown:
        pictures.append(cuts(shown))
    pictures += [*costs(profile, found), *grid_densities(of_g1), *trajectories(profile, found)]
    return pictures


def maps(each: Known) -> Iterator[Picture]:
    """Densities over time and position beside the exact one; those of the published forms by themselves."""
    densities = each.densities(MAPPED)
    if densities:
        shown = "; ".join(density.method for density in densities)
        yield Picture(
            f"{each.case.name}_maps",
            f"{each.case.title}: density over time, exact and by {shown} (first seeds); below, "
            "the difference from the exact density.",
            drawing.draw_maps(densities, drawing.seen(densities[0])),
        )
    forms = each.densities(list(FORMS))
    if forms:
        limits = drawing.seen(densities[0]) if densities else drawing.seen(forms[0])
        yield Picture(
            f"{each.case.name}_published_forms",
            f"{each.case.title}: density by t-VMC and PINN in their published forms.",
            drawing.draw_maps(forms, limits),
        )


def moments(twos: Sequence[Known]) -> Picture:
    """Mean and spread of x1 over time for each strength, and how far the variance is off."""
    with drawing.panels(2, len(twos), 3.6, sharex=True) as (figure, axes):
        for (above, below), each in zip(axes.T, twos, strict=True):
            _spread(above, each)
            _variance_error(below, each)
            above.set_title(f"$g$ = {each.case.g:g}")
            below.set_xlabel("time $t$")
        axes[0, 0].set_ylabel("mean of $x_1$, and mean\n± standard deviation")
        axes[1, 0].set_ylabel("error of Var $x_1$ (%)")
        drawing.legend_of(figure, axes)
    forms = " Dotted: the published forms." if any(set(FORMS) & set(each.stored) for each in twos) else ""
    return Picture(
        "two_bosons_moments",
        "Two bosons: mean of x1 and mean ± standard deviation over time (above), relative error of the "
        f"variance (below; bands: the standard error of one boson's variance).{forms}",
        figure,
    )


def _moments(stored: StoredResults) -> tuple[Array, Array, Array, Array | None]:
    """Times, mean, variance and its standard error of one boson, (T,) each, averaged over bosons."""
    group = stored.results["observables"]
    stderr = group.get("variance_stderr")
    values = (group["mean"].mean((1, 2)), group["variance"].mean((1, 2)))
    return group["time"], *values, None if stderr is None else stderr.mean((1, 2))


def _spread(ax: Axes, each: Known) -> None:
    for method in (*SAMPLED, *FORMS):
        if method in each.stored:
            time, mean, variance, _ = _moments(each.stored[method])
            look = _look(method)
            for k, side in enumerate((0.0, -1.0, 1.0)):
                ax.plot(time, mean + side * np.sqrt(variance), **(look if k == 0 else look | {"label": None}))
    time, mean, variance, _ = _moments(each.truth)
    for k, side in enumerate((0.0, -1.0, 1.0)):
        look = drawing.line_of(drawing.EXACT)
        ax.plot(time, mean + side * np.sqrt(variance), **(look if k == 0 else look | {"label": None}))


def _variance_error(ax: Axes, each: Known) -> None:
    time, _, true, _ = _moments(each.truth)
    largest = 0.0
    for method in SAMPLED:
        if method in each.stored:
            own, _, variance, stderr = _moments(each.stored[method])
            exact = at_times(time, true, own)
            error = CENT * (variance / exact - 1.0)
            noise = None if stderr is None else CENT * stderr / exact
            drawing.draw_curves(ax, [Curve(method, own, error, noise)])
            largest = max(largest, float(np.abs(error).max()))
    ax.plot([0.0, time[-1]], [0.0, 0.0], **drawing.line_of(drawing.EXACT))
    if largest:
        ax.set_ylim(-1.3 * largest, 1.3 * largest)


def _look(method: str) -> dict[str, Any]:
    """How a line looks; the published forms are dotted in the colours of their methods."""
    if method not in FORMS:
        return drawing.line_of(method)
    return drawing.line_of(FORMS[method], linestyle=":", linewidth=1.6) | {"label": method}


def cuts(cases: Sequence[Known]) -> Picture:
    """Densities at the published times for each number of bosons."""
    with drawing.panels(len(cases), len(TIMES), 1.5 * len(cases) + 0.6, sharey="row") as (figure, axes):
        for line, each in zip(axes, cases, strict=True):
            for ax, time in zip(line, TIMES, strict=True):
                densities = each.densities(MAPPED)
                for density in densities:
                    drawing.draw_cut(ax, density, time)
                first = densities[0]
                k = int(np.argmin(np.abs(first.time - time)))
                assert first.true is not None  # `Known.density` has it
                ax.plot(first.x, first.true[k], **drawing.line_of(drawing.EXACT))
                ax.set_title(f"{each.case.particles} bosons, $t$ = {first.time[k]:.3g}")
                ax.set_xlim(drawing.seen(first))
            line[0].set_ylabel("density (1/length)")
        for ax in axes[-1]:
            ax.set_xlabel("position $x$")
        drawing.legend_of(figure, axes)
    numbers = ", ".join(str(each.case.particles) for each in cases)
    return Picture(
        "bosons_densities",
        f"{numbers} bosons, g = 1: densities at three times beside the exact ones.",
        figure,
    )


def costs(profile: Profile, found: Found) -> list[Picture]:
    """Errors against CPU seconds at g = 1, one column for each number of bosons."""
    columns = [(case, of.entrants(case)) for case in of.cases(profile) if case.g == 1.0]
    names = (("variance_error_mean", "variance_error_floor"), ("density_l1_mean", "density_l1_floor"))
    with drawing.panels(2, len(columns), 3.7, sharex="col", sharey="row") as (figure, axes):
        drawn = False
        for line, (name, floor) in zip(axes, names, strict=True):
            for ax, (case, everybody) in zip(line, columns, strict=True):
                drawn = _cost(ax, case, everybody, found, name, floor) or drawn
                ax.set(xscale="log", yscale="log")
                ax.xaxis.set_minor_formatter(NullFormatter())
        for ax, (case, _) in zip(axes[0], columns, strict=True):
            ax.set_title(f"{case.particles} bosons")
        for ax in axes[1]:
            ax.set_xlabel("CPU seconds")
        axes[0, 0].set_ylabel("Var $x_1$, mean\nrelative error")
        axes[1, 0].set_ylabel("density $L_1$,\nmean over time")
        drawing.legend_of(figure, axes)
    caption = (
        "g = 1: errors against CPU seconds with sampling and measuring; bars: standard deviation over seeds "
        "where there are several; dashed: what sampling alone would show."
    )
    return [Picture("bosons_cost", caption, figure)] if drawn else []


def _cost(ax: Axes, case: Case, everybody: Sequence[Entrant], found: Found, name: str, floor: str) -> bool:
    drawn, floors = False, []
    for each in everybody:
        if each.method not in MAPPED and each.method != of.GAUSSIAN:
            continue
        entries = [e for task in each.tasks if (e := found.entry(task, of.reference(case))) is not None]
        value = over_seeds([float(e.errors[name]) for e in entries if name in e.errors])
        seconds = [e.cpu_seconds for e in entries if e.cpu_seconds is not None]
        if value is None or not seconds or value.value <= 0.0:
            continue
        look = drawing.point_of(each.method, linestyle="none", markersize=5.0)
        ax.errorbar(
            [np.mean(seconds)], [value.value], yerr=None if value.bar is None else [value.bar], **look
        )
        floors += [float(e.errors[floor]) for e in entries if floor in e.errors]
        drawn = True
    if floors:
        ax.axhline(float(np.median(floors)), color=canvas.GREY, linestyle="--", linewidth=0.8)
    return drawn


def grid_densities(cases: Sequence[Known]) -> list[Picture]:
    """What the published grids make of three and four bosons at the end."""
    shown = [
        (each, names)
        for each in cases
        if each.case.particles in (3, 4) and (names := [n for n in each.stored if n.startswith(of.GRID)])
    ]
    if not shown:
        return []
    with drawing.panels(1, len(shown), 2.4) as (figure, axes):
        for ax, (each, names) in zip(axes[0], shown, strict=True):
            for density, color in zip(each.densities(names), canvas.COLORS, strict=False):
                label = _grid_name(density.method, each.stored[density.method])
                ax.plot(density.x, density.values[-1], color=color, label=label)
            assert density.true is not None  # `Known.density` has it
            ax.plot(density.x, density.true[-1], **drawing.line_of(drawing.EXACT))
            ax.set_title(f"{each.case.particles} bosons, $t$ = {density.time[-1]:.3g}")
            ax.set(xlabel="position $x$", xlim=drawing.seen(density))
            ax.legend(loc="lower center")
        axes[0, 0].set_ylabel("density (1/length)")
    return [
        Picture(
            "bosons_grids", "Crank-Nicolson on several grids beside the exact density at the end.", figure
        )
    ]


def _grid_name(method: str, stored: StoredResults) -> str:
    """What a line says of its grid; ours are of fourth order in space, the published of second."""
    if method != of.GRID:
        return method.removeprefix(f"{of.GRID}, ")
    return f"{stored.attributes['observables']['points']} points, fourth order"


def trajectories(profile: Profile, found: Found) -> list[Picture]:
    """Some samples on their way over the exact density: without noise, and of Nelson's process."""
    paths = {}
    truths = {case.particles: of.reference(case) for case in of.cases(profile) if case.g == 1.0}
    for case in of.cases(profile):
        if case.published:
            (trained, *_) = of.entrants(case)
            paths["trained, flow without noise"] = (case.particles, trained.tasks[0])
    for number, task in of.trajectories(profile).items():
        paths[f"marching, Nelson's process, {number} bosons"] = (number, task)
    shown = {
        title: (found.directory(task), truth)
        for title, (number, task) in paths.items()
        if (truth := found.results(truths[number])) is not None and found.results(task) is not None
    }
    if not shown:
        return []
    with drawing.panels(1, len(shown), 2.5) as (figure, axes):
        for ax, (title, (directory, truth)) in zip(axes[0], shown.items(), strict=True):
            kept, density = open_trajectories(directory), truth.results["density"]
            first, top = kept.first(DRAWN)[..., 0], canvas.largest(density["density"])
            # pale, so that lines can be seen upon it
            canvas.colored(ax, density["time"], density["x"], density["density"].T, (0.0, 1.6 * top), "Greys")
            for k in range(first.shape[1]):
                ax.plot(kept.times, first[:, k], color=canvas.COLORS[k % len(canvas.COLORS)], linewidth=0.6)
            low, high = canvas.visible(density["x"], density["density"])
            ax.set_ylim(min(low, float(first.min())), max(high, float(first.max())))
            ax.set_title(title)
            ax.set_xlabel("time $t$")
        axes[0, 0].set_ylabel("position $x$")
    told = f"{DRAWN} trajectories over the exact density, all bosons of a trajectory in one colour."
    return [Picture("bosons_trajectories", told, figure)]
