"""The convergence theorem of deep stochastic mechanics: distance of the processes against the loss.

Published as a theorem, without numbers: sup_t E |X - X_theta|^2 <= C_T L. What L is here, and which constant
can be computed, says `tools.reproduce.measurements.coupled_processes`.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dsmsim.analysis.figures import canvas
from tools.reproduce.chapter import Chapter, Grid, Picture, Words
from tools.reproduce.columns import read_attributes
from tools.reproduce.drawing import legend_of, panels
from tools.reproduce.found import Found
from tools.reproduce.profile import Profile
from tools.reproduce.rows import Value, over_seeds, power_law
from tools.reproduce.task import Task
from tools.reproduce.wording import number, shown, task_input

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]

SECTION = "theorem"
VELOCITIES, POTENTIAL = "networks of u and v", "network of log psi"
PUBLISHED: Mapping[str, Any] = {"network.kind": "mlp", "network.initial": "learned"}
LOOKS: Mapping[str, dict[str, Any]] = {
    VELOCITIES: {"color": canvas.VERMILION, "marker": "s"},
    POTENTIAL: {"color": canvas.BLUE, "marker": "o"},
}
EDGES = (np.inf, 1e-1, 1e-3, 1e-5, 0.0)  # of L, between the ranges of the second table
NEARLY = 0.1  # a slope so near to 1 is called that
FEWEST = 4  # points that a slope is fitted to


@dataclass(frozen=True)
class Case:
    """One problem, with one kind of network.

    Attributes:
        name: of the tasks, without the seed.
        title: of the problem.
        network: a key of `LOOKS`.
        input: its file.
        epochs: of training: full, quick, trial.
        seconds: CPU seconds of one seed: full, quick, trial.
    """

    name: str
    title: str
    network: str
    input: str
    epochs: tuple[int, int, int]
    seconds: tuple[float, float, float]

    @property
    def changes(self) -> Mapping[str, Any]:
        """Of the input, but for epochs and seed."""
        return PUBLISHED if self.network == VELOCITIES else {}


ONE, THREE = "1-d trap, zero phase", "3-d trap, zero phase"
ZERO_PHASE, IN_3D = "inputs/oscillator_zero_phase.toml", "inputs/oscillator_3d.toml"
CASES = (
    Case("zero_phase-velocities", ONE, VELOCITIES, ZERO_PHASE, (600, 400, 6), (31, 22, 4)),
    Case("zero_phase-potential", ONE, POTENTIAL, ZERO_PHASE, (120, 120, 6), (19, 19, 4)),
    Case("3d-velocities", THREE, VELOCITIES, IN_3D, (500, 350, 6), (37, 27, 4)),
    Case("3d-potential", THREE, POTENTIAL, IN_3D, (120, 120, 6), (27, 27, 4)),
)


@dataclass(frozen=True)
class Cloud:
    """Measured points of one case, seed by seed.

    Attributes:
        case: which.
        seeds: the columns of every seed that was run.
        tasks: that they come from.
        seconds: CPU seconds of one seed, on the average.
    """

    case: Case
    seeds: Sequence[Mapping[str, NDArray[Any]]]
    tasks: Sequence[Task]
    seconds: float

    def all(self, name: str) -> Array:
        """A column, all seeds after each other."""
        return np.concatenate([np.asarray(columns[name], dtype=np.float64) for columns in self.seeds])

    def constant(self, name: str) -> float:
        """A number that is the same for all seeds."""
        return float(self.seeds[0][name])

    @property
    def ratio(self) -> Array:
        """Distance over loss of all points."""
        return self.all("distance") / self.all("loss")

    @property
    def slope(self) -> Value | None:
        """Of log distance against log loss: mean and spread over seeds, of one seed the error of the fit."""
        fits = [fitted(columns["loss"], columns["distance"]) for columns in self.seeds]
        return over_seeds([fit.value for fit in fits if fit], fits[0].bar if fits[0] else None)


def tasks(profile: Profile) -> list[Task]:
    """One training for every case and seed."""
    return [task for case in CASES for task in tasks_of(case, profile)]


def tasks_of(case: Case, profile: Profile) -> list[Task]:
    """All seeds of a case."""
    made = []
    for seed in profile.seeds:
        short: dict[str, Any] = {"train.warmup": 0}  # the usual one is longer than a trial
        changes = {**case.changes, **profile.pick({}, {}, short)}
        changes |= {"train.epochs": profile.pick(*case.epochs), "seed": seed}
        settings = {
            "input": case.input,
            "changes": changes,
            "points": profile.pick(20, 20, 5),
            "samples": profile.pick(1024, 1024, 32),
            "steps": profile.pick(50, 50, 16),
            "halved": profile.pick(5, 5, 2),
        }
        made.append(
            Task(
                section=SECTION,
                name=f"{case.name}-seed{seed}",
                method="measure",
                input=case.input,
                changes=changes,
                measurement="coupled_processes:along_training",
                settings=settings,
                seconds=profile.pick(*case.seconds),
            )
        )
    return made


def chapter(profile: Profile, found: Found) -> Chapter:
    """The theorem, the line, its constants, and where it bends."""
    clouds = [cloud for case in CASES if (cloud := cloud_of(case, profile, found)) is not None]
    blocks: list[Words | Grid | Picture] = [Words(INTRODUCTION)]
    if clouds:
        blocks += [picture(clouds), Grid(HEADER, [line(cloud) for cloud in clouds]), Words(verdict(clouds))]
        blocks += [Grid(BENDS, [cells for cloud in clouds for cells in bends(cloud)]), Words(tails(clouds))]
    return Chapter("The convergence theorem", blocks)


INTRODUCTION = """\
Theorem (Orlova et al.): for X driven by the exact fields and X_θ by the trained ones, from the same start and
with the same Brownian path, sup over t ≤ T of E|X - X_θ|² ≤ C_T L(u_θ, v_θ). We know of no published number
for C_T. Here both sides are measured at epochs between the first and the last of
ordinary trainings:

- **Networks** of u and v with Nelson's two residuals and a learned initial condition, as published
  (optimiser, width and points per epoch are this program's defaults); and this program's default, one network
  of log ψ.
- **L** = L_score + L_newton + L_initial, all weights 1, the same for both kinds of network: mean squares over
  coordinates, over times and over trajectories of X_θ that training has not seen, in double precision, of the
  residuals of Nelson's two equations in units of U/T, and of the deviations of u and v from their values at
  t = 0 in units of U, the natural velocity. A network of log ψ is trained on another loss, its initial
  condition is exact, and its residuals here are the gradients of those that it is trained on.
- **Distance**: the largest over time of E|X - X_θ|², per coordinate and in units of the variance of the
  initial density. Both processes take the same steps (Heun) with the same random numbers, so that sampling
  noise and errors of the integrator cancel; steps of half the length are tried as well.
- **C, first order**: the constant that follows for this problem, whose exact drift is linear, to first order
  in the residuals and for fields without curl, with no unknown left; **C, Grönwall**: the same argument if
  nothing but the largest slope of the exact drift and the extreme widths of the density are known. The
  derivation is in `tools/reproduce/measurements/coupled_processes.py`.

The ± of a slope is its spread over seeds; of one seed, or within a range of L, it is the error of the fit."""

HEADER = (
    "case",
    "trained",
    "seeds",
    "L, largest to smallest",
    "slope, log-log",
    "distance / L, median (range)",
    "smallest C that bounds all points",
    "C, first order",
    "C, Grönwall",
    "half the step changes the distance by",
    "CPU s, one seed",
    "input",
)
BENDS = (
    "case",
    "trained",
    "L",
    "points",
    "slope there",
    "distance / L, median",
    "below C, first order",
    "share of L from 1 % of the trajectories",
)


def cloud_of(case: Case, profile: Profile, found: Found) -> Cloud | None:
    """What was measured of a case; None where nothing was."""
    done = [
        (task, columns) for task in tasks_of(case, profile) if (columns := found.columns(task)) is not None
    ]
    if not done:
        return None
    costs = [float(read_attributes(found.file(task))["cpu_seconds"]) for task, _ in done]
    return Cloud(case, [columns for _, columns in done], [task for task, _ in done], float(np.mean(costs)))


def fitted(loss: Array, distance: Array) -> Value | None:
    """Slope of log distance against log loss with its standard error; None for too few points."""
    return None if len(loss) < FEWEST else power_law(loss, distance)


def line(cloud: Cloud) -> list[str]:
    """A row of the first table."""
    loss, ratio = cloud.all("loss"), cloud.ratio
    halved, distance = cloud.all("distance_halved"), cloud.all("distance")
    tried = np.isfinite(halved)
    change = np.abs(halved[tried] / distance[tried] - 1.0).max() if tried.any() else np.nan
    return [
        cloud.case.title,
        cloud.case.network,
        str(len(cloud.seeds)),
        f"{loss.max():.2g} to {loss.min():.2g}",
        number(cloud.slope),
        f"{np.median(ratio):.2g} ({ratio.min():.2g} to {ratio.max():.2g})",
        f"{ratio.max():.3g}",
        f"{cloud.constant('constant'):.3g}",
        f"{cloud.constant('constant_groenwall'):.3g}",
        f"at most {100.0 * change:.2g} %",
        shown(cloud.seconds),
        task_input(cloud.tasks[0]),
    ]


def verdict(clouds: Sequence[Cloud]) -> str:
    """What the first table says, in words."""
    points = sum(len(cloud.ratio) for cloud in clouds)
    above = sum(int((cloud.ratio > cloud.constant("constant")).sum()) for cloud in clouds)
    largest = max(clouds, key=lambda cloud: float(cloud.ratio.max()))
    slack = min(float(cloud.constant("constant") / cloud.ratio.max()) for cloud in clouds)
    what = f"all {points} measured points" if not above else f"{points - above} of {points} measured points"
    said = [
        f"The theorem's inequality holds with the first-order constant at {what}, from untrained to trained"
        " networks."
    ]
    said.append(
        f"The largest distance / L is {largest.ratio.max():.3g} ({largest.case.title}, "
        f"{largest.case.network}); the computed constant is at least {slack:.2g} times what was needed."
    )
    for cloud in clouds:
        slope = cloud.slope
        if slope is None:
            continue
        name = f"{cloud.case.title}, {cloud.case.network}"
        off = abs(slope.value - 1.0)
        if off <= 2.0 * (slope.bar or 0.0):
            said.append(f"{name}: slope {number(slope)}, proportional within two error bars.")
        elif off <= NEARLY:
            said.append(f"{name}: slope {number(slope)}, within {NEARLY:g} of 1.")
        else:
            way = "faster" if slope.value > 1.0 else "slower"
            said.append(f"{name}: slope {number(slope)}, the distance falls {way} than L.")
    return " ".join(said)


def bends(cloud: Cloud) -> list[list[str]]:
    """Rows of the second table: the ranges of L that were met."""
    loss, distance, few = cloud.all("loss"), cloud.all("distance"), cloud.all("few")
    cells = []
    for upper, lower in itertools.pairwise(EDGES):
        here = (loss <= upper) & (loss > lower)
        if not here.any():
            continue
        ratio = cloud.ratio[here]
        below = int((ratio <= cloud.constant("constant")).sum())
        cells.append(
            [
                cloud.case.title,
                cloud.case.network,
                f"above {lower:g}"
                if np.isinf(upper)
                else f"{lower:g} to {upper:g}"
                if lower
                else f"below {upper:g}",
                str(int(here.sum())),
                number(fitted(loss[here], distance[here])),
                f"{np.median(ratio):.2g}",
                f"{below} of {len(ratio)}",
                f"{100.0 * float(np.median(few[here])):.0f} %",
            ]
        )
    return cells


def tails(clouds: Sequence[Cloud]) -> str:
    """Where the line bends, and how much of the loss is a few trajectories' there."""
    said = []
    for cloud in clouds:
        order = np.argsort(cloud.all("loss"))
        fifth = max(1, len(order) // 5)
        small, large = order[:fifth], order[-fifth:]
        ratio, few = cloud.ratio, cloud.all("few")
        drop = float(np.median(ratio[large]) / np.median(ratio[small]))
        name = f"{cloud.case.title}, {cloud.case.network}"
        shares = [f"{100.0 * float(np.median(few[part])):.0f} %" for part in (large, small)]
        if drop > 2.0 or drop < 0.5:
            way, factor = ("falls", drop) if drop > 1.0 else ("rises", 1.0 / drop)
            said.append(
                f"{name}: between the fifth of the points with the largest and the fifth with the smallest "
                f"L, distance / L {way} by a factor of {factor:.2g}, and the share of L that belongs to the "
                f"1 % of the trajectories with the largest residuals goes from {shares[0]} to {shares[1]}."
            )
        else:
            said.append(f"{name}: distance / L is the same at both ends within a factor of two.")
    return " ".join(said)


def picture(clouds: Sequence[Cloud]) -> Picture:
    """Distance against loss above, their ratio below, a column for every problem."""
    titles = list(dict.fromkeys(cloud.case.title for cloud in clouds))
    with panels(2, len(titles), 4.6, sharex="col", sharey="row") as (figure, axes):
        for column, title in enumerate(titles):
            own = [cloud for cloud in clouds if cloud.case.title == title]
            upper, lower = axes[:, column]
            upper.set_title(title)
            for cloud in own:
                draw_points(upper, lower, cloud)
            draw_bounds(upper, lower, own)
            lower.set_xlabel("loss $L$")
        axes[0, 0].set_ylabel(r"$\sup_t E|X-X_\theta|^2\,/\,(n\,s_0)$")
        axes[1, 0].set_ylabel("distance / $L$")
        legend_of(figure, axes, columns=4)
    caption = (
        "Mean square distance of the trained process from the exact one (same start, same noise) against the "
        "loss, at epochs from none to the last of every seed; bars: two standard errors; thin lines: power "
        "laws fitted to all points. Dashed: the bound with the constant computed to first order; "
        "dash-dotted: with that of Grönwall's lemma. Below: the same, divided by the loss."
    )
    return Picture("theorem", caption, figure)


def draw_points(upper: Axes, lower: Axes, cloud: Cloud) -> None:
    """The points of one case in both panels."""
    loss, distance = cloud.all("loss"), cloud.all("distance")
    wide, high = 2.0 * cloud.all("loss_error"), 2.0 * cloud.all("distance_error")
    ratio = distance / loss
    relative = np.hypot(wide / loss, high / distance)
    look = LOOKS[cloud.case.network] | {"linestyle": "none", "elinewidth": 0.5, "alpha": 0.75}
    # on a logarithmic axis a bar must not reach zero
    upper.errorbar(
        loss,
        distance,
        xerr=[np.minimum(wide, 0.9 * loss), wide],
        yerr=[np.minimum(high, 0.9 * distance), high],
        label=cloud.case.network,
        **look,
    )
    if len(loss) >= FEWEST:
        slope, height = np.polyfit(np.log(loss), np.log(distance), 1)
        ends = np.array([loss.min(), loss.max()])
        power = np.exp(height) * ends**slope
        upper.plot(ends, power, color=look["color"], linewidth=0.7)
        lower.plot(ends, power / ends, color=look["color"], linewidth=0.7)
    lower.errorbar(loss, ratio, yerr=[ratio * np.minimum(relative, 0.9), ratio * relative], **look)
    for ax in (upper, lower):
        ax.set_xscale("log")
        ax.set_yscale("log")


def draw_bounds(upper: Axes, lower: Axes, clouds: Sequence[Cloud]) -> None:
    """Straight lines of both constants over the range of the points."""
    losses = np.concatenate([cloud.all("loss") for cloud in clouds])
    ends = np.array([losses.min() / 2.0, losses.max() * 2.0])
    for name, words, dashes in (
        ("constant", "$C_T L$, first order", "--"),
        ("constant_groenwall", "$C_T L$, Grönwall", "-."),
    ):
        value = max(cloud.constant(name) for cloud in clouds)
        upper.plot(ends, value * ends, color=canvas.BLACK, linestyle=dashes, label=words)
        lower.plot(ends, [value, value], color=canvas.BLACK, linestyle=dashes)
