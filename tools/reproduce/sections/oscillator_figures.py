"""Figures of the single-particle cases, those of the authors' notebooks among them, from our results.

Shapes: T times, C cells, D axes, K trials.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dsmsim.analysis import closed_form_like
from dsmsim.analysis.figures import canvas
from dsmsim.config import Config
from dsmsim.methods.comparing import evaluator
from dsmsim.store import StoredResults
from dsmsim.system import build_initial
from tools.reproduce import drawing
from tools.reproduce.chapter import Picture
from tools.reproduce.drawing import EXACT, Curve, DensityMap
from tools.reproduce.found import Found
from tools.reproduce.profile import Profile
from tools.reproduce.sections.oscillator_cases import (
    CASES,
    DSM,
    EARLY,
    EARLY_EPOCHS,
    MARCH,
    METHODS,
    PINN,
    Case,
    of_method,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]
Groups = Mapping[str, Mapping[str, NDArray[Any]]]

AXES = "xyz"
FRACTIONS = (0.1, 0.5, 0.9)  # of the whole time: densities as in the notebooks
LEAST = 1e-9  # smaller distances are drawn as this
SINGULAR_TOP = 10.0  # of the colours, as in the notebook: the first density is four times that
PARTS = {"loss": "whole", "loss_score": "score", "loss_newton": "Newton", "loss_initial": "start"}
PART_COLORS = (canvas.BLACK, canvas.ORANGE, canvas.GREEN, canvas.VERMILION)
DRAWN, PATH_STEPS = 40, 200  # trajectories and their steps


def of_case(case: Case, profile: Profile, found: Found) -> Iterator[Picture]:
    """The figures of one case, if there are results."""
    known = results(case, profile, found)
    if known:
        yield moments(case, known)
        yield densities(case, known)
        yield maps(case, known)


def of_training(profile: Profile, found: Found) -> Iterator[Picture]:
    """What training did."""
    yield from training(profile, found)
    yield from trajectories(profile, found)


class Known:
    """The results of one method on one case, with the exact ones at its times and in its cells.

    Args:
        found, case, method: which.
        stored: the results of the first seed.
    """

    def __init__(
        self, found: Found, case: Case, method: str, profile: Profile, stored: StoredResults
    ) -> None:
        config = found.config(of_method(case, method, profile)[0])
        assert config is not None  # there are results
        reference = closed_form_like(config, stored.results)
        assert reference is not None  # all cases have closed forms
        self.method, self.stored = method, stored
        self.results: Groups = stored.results
        self.exact: Groups = reference

    def curve(self, name: str, axis: int) -> Curve:
        """Mean or variance over time, the band one standard deviation over the trials."""
        group = self.results["observables"]
        trials = group.get(f"{name}_by_trial")
        spread = None if trials is None or len(trials) < 2 else trials[:, :, 0, axis].std(axis=0, ddof=1)
        return Curve(self.method, group["time"], group[name][:, 0, axis], spread)

    def distance(self, name: str, axis: int) -> Curve:
        """How far all samples together are from the exact curve."""
        group, true = self.results["observables"], self.exact["observables"]
        away = np.abs(group[name][:, 0, axis] - true[name][:, 0, axis])
        return Curve(self.method, group["time"], np.maximum(away, LEAST))

    def truth(self, name: str, axis: int) -> Curve:
        """The exact curve."""
        return Curve(EXACT, self.exact["observables"]["time"], self.exact["observables"][name][:, 0, axis])

    def density(self, axis: int, title: str) -> DensityMap:
        """The density along an axis with the exact one in the same cells."""
        suffix, group = ("", "_y", "_z")[axis], self.results["density"]
        true = self.exact["density"][f"density{suffix}"]
        return DensityMap(title, group["time"], group[AXES[axis]], group[f"density{suffix}"], true)


def results(case: Case, profile: Profile, found: Found) -> list[Known]:
    """What is there of a case, the first seed of each method."""
    known = []
    for method in METHODS:
        for task in of_method(case, method, profile)[:1]:
            stored = found.results(task)
            if stored is not None:
                known.append(Known(found, case, method, profile, stored))
    return known


def moments(case: Case, known: list[Known]) -> Picture:
    """Mean and variance over time, and their distances from the exact ones."""
    names = ("mean", "variance")
    shape = (2, 2) if case.axes == 1 else (4, case.axes)
    with drawing.panels(*shape, 1.6 * shape[0] + 0.4, sharex=True) as (figure, axes):
        # a column for each quantity, or for each coordinate with the quantities below each other
        pairs = axes.T if case.axes == 1 else [pair for name in axes.reshape(2, 2, -1) for pair in name.T]
        wanted = [(name, axis) for name in names for axis in range(case.axes)]
        for (name, axis), (upper, lower) in zip(wanted, pairs, strict=True):
            drawing.draw_curves(
                upper, [*(each.curve(name, axis) for each in known), known[0].truth(name, axis)]
            )
            drawing.draw_curves(lower, [each.distance(name, axis) for each in known])
            upper.set_title(f"{name} of ${AXES[axis]}$")
            lower.set_title(f"distance from the exact {name}")
            lower.set_yscale("log")
            if name == "mean" and case.mean == "E_m_abs":
                canvas.widen_flat(upper, float(np.sqrt(known[0].truth("variance", axis).value.max())))
        for ax in axes[-1]:
            ax.set_xlabel("time $t$")
        drawing.legend_of(figure, axes)
    caption = (
        f"{case.title}: mean and variance over time, bands one standard deviation over 10 trials; and the "
        "distances of all samples together from the closed form."
    )
    return Picture(f"oscillator_{case.key}_moments", caption, figure)


def densities(case: Case, known: list[Known]) -> Picture:
    """Densities at three times beside the exact ones."""
    with drawing.panels(case.axes, 3, 1.7 * case.axes + 0.5) as (figure, axes):
        for axis in range(case.axes):
            for ax, fraction in zip(axes[axis], FRACTIONS, strict=True):
                for k, each in enumerate(known):
                    density = each.density(axis, each.method)
                    at = fraction * density.time[-1]
                    at = drawing.draw_cut(ax, density, at, filled=k == 0)
                row = int(
                    np.argmin(np.abs(known[0].results["density"]["time"] - fraction * density.time[-1]))
                )
                first = known[0].density(axis, EXACT)
                true = first.true[row] if first.true is not None else np.zeros_like(first.x)
                ax.plot(first.x, true, **drawing.line_of(EXACT))
                ax.set_xlim(canvas.visible(first.x, true))
                ax.set_title(f"$t$ = {at:.3g}")
                ax.set_xlabel(f"position ${AXES[axis]}$")
            axes[axis, 0].set_ylabel("density (1/length)")
        drawing.legend_of(figure, axes)
    caption = (
        f"{case.title}: densities at three times, histograms of the samples, and the closed form in the "
        "same cells."
    )
    return Picture(f"oscillator_{case.key}_densities", caption, figure)


def maps(case: Case, known: list[Known]) -> Picture:
    """The density over time and position: exact, found, and the difference."""
    if case.axes == 1:
        shown = [each.density(0, each.method) for each in known if each.method in (DSM, MARCH, PINN)]
    else:
        shown = [
            each.density(axis, f"{each.method}, ${AXES[axis]}$")
            for each in known[:1]
            for axis in range(case.axes)
        ]
        shown += [each.density(0, f"{each.method}, $x$") for each in known if each.method == MARCH]
    top = SINGULAR_TOP if case.key == "singular" else None
    limits = drawing.seen(shown[0])
    figure = drawing.draw_maps(shown, limits, top=top)
    over = f" Colours end at {top:g}, as in the notebook." if top else ""
    caption = (
        f"{case.title}: density over time, exact and found, and the differences, which include the noise of "
        f"the histograms.{over}"
    )
    return Picture(f"oscillator_{case.key}_maps", caption, figure)


def training(profile: Profile, found: Found) -> Iterator[Picture]:
    """The loss over training, its parts, and the residual of the PINN beside it."""
    histories = []
    for case in CASES:
        own, rival = (history(case, method, profile, found) for method in (DSM, PINN))
        if own is not None:
            histories.append((case, own, rival))
    if not histories:
        return
    with drawing.panels(1, len(histories), 2.2) as (figure, axes):
        for ax, (case, own, rival) in zip(axes[0], histories, strict=True):
            for (name, label), color in zip(PARTS.items(), PART_COLORS, strict=True):
                values = own.get(name)
                if values is not None and np.any(values > 0.0):
                    ax.plot(own["epoch"], values, color=color, label=label)
            if rival is not None:
                look = {"color": canvas.PURPLE, "linestyle": ":", "label": "PINN, its own loss"}
                ax.plot(rival["epoch"], rival["loss"], **look)
            ax.set_yscale("log")
            ax.set_title(case.title)
            ax.set_xlabel("epoch")
        axes[0, 0].set_ylabel("loss")
        drawing.legend_of(figure, axes)
    caption = (
        "The loss over training and its parts, first seed, in the natural units of each problem. The initial "
        "condition is met exactly and has no part of its own. The loss of the PINN is another one."
    )
    yield Picture("oscillator_training", caption, figure)


def history(case: Case, method: str, profile: Profile, found: Found) -> Mapping[str, NDArray[Any]] | None:
    """What was logged in the training of the first seed; None where there is none."""
    for task in of_method(case, method, profile)[:1]:
        stored = found.results(task)
        if stored is not None:
            return stored.results.get("training")
    return None


def trajectories(profile: Profile, found: Found) -> Iterator[Picture]:
    """Sample trajectories of an early and of the last epoch over the exact density."""
    case, drawn = CASES[0], []
    for method, title in ((EARLY, "DSM, first epoch"), (DSM, "DSM, trained")):
        for task in of_method(case, method, profile)[:1]:
            stored, config = found.results(task), found.config(task)
            if stored is not None and config is not None:
                known = Known(found, case, method, profile, stored)
                drawn.append((title, known.density(0, title), paths(stored, config)))
    if not drawn:
        return
    with drawing.panels(1, len(drawn) + 1, 2.3, sharey=True) as (figure, axes):
        for ax, (title, density, (times, walks)) in zip(axes[0], drawn, strict=False):
            true = density.values if density.true is None else density.true
            scale = (0.0, canvas.largest(true))
            mesh = canvas.colored(ax, density.time, density.x, true.T, scale, canvas.SEQUENTIAL)
            ax.plot(times, walks, color="white", linewidth=0.35, alpha=0.7)
            ax.set_title(title)
            ax.set_ylim(drawing.seen(density))
            ax.set_xlim(times[0], times[-1])
            ax.set_xlabel("time $t$")
        axes[0, 0].set_ylabel("position $x$")
        figure.colorbar(mesh, ax=axes[0, : len(drawn)].tolist(), label="density (1/length)", aspect=14)
        ends(axes[0, -1], [density for _, density, _ in drawn])
    caption = (
        f"{case.title}: {DRAWN} trajectories of the learnt process, with the same noise, over the exact "
        f"density, after epoch {EARLY_EPOCHS} and after all; right, the density of all samples at the end."
    )
    yield Picture("oscillator_trajectories", caption, figure)


def paths(stored: StoredResults, config: Config) -> tuple[Array, Array]:
    """Times (T,) and positions (T, DRAWN) of Nelson's process by Euler's scheme with the learnt fields.

    One particle in one dimension, the same random numbers for all runs.
    """
    fields, rng = evaluator(stored), np.random.default_rng(1)
    times = np.linspace(0.0, config.time.end, PATH_STEPS + 1)
    step, width = times[1], np.sqrt(config.system.hbar / config.system.mass * times[1])
    walks = [build_initial(config).sample(rng, DRAWN)]
    for time in times[:-1]:
        u, v = fields(walks[-1][:, :, None], float(time))
        drift = (u + v)[:, :, 0]
        walks.append(walks[-1] + step * drift + width * rng.standard_normal((DRAWN, 1)))
    return times, np.concatenate(walks, axis=1).T


def ends(ax: Axes, densities: Sequence[DensityMap]) -> None:
    """Densities of all samples at the last time, over the axis of positions of the neighbours."""
    for density, color in zip(densities, (canvas.ORANGE, canvas.BLUE), strict=False):
        width = density.x[1] - density.x[0]
        edges = np.append(density.x, density.x[-1] + width) - 0.5 * width
        ax.stairs(density.values[-1], edges, orientation="horizontal", color=color, label=density.method)
    true = densities[-1].true
    if true is not None:
        ax.plot(true[-1], densities[-1].x, **drawing.line_of(EXACT))
    ax.set_title("samples at the end")
    ax.set_xlabel("density (1/length)")
    ax.legend()
