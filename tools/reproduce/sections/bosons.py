"""Bosons that begin to repel each other in a trap: two at three strengths, then three, four and five."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from dsmsim.analysis import Entry
from tools.reproduce.chapter import Chapter, Grid, Picture, RowsTable, Words
from tools.reproduce.found import Found
from tools.reproduce.profile import Profile
from tools.reproduce.rows import MEAN_ABSOLUTE, Row, Value, over_seeds
from tools.reproduce.sections import bosons_cases as of
from tools.reproduce.sections import bosons_pictures as pictures
from tools.reproduce.sections.bosons_cases import Entrant
from tools.reproduce.task import Task
from tools.reproduce.wording import shown

AT_THE_END = "Var x1 at t = 1"
CENT = 100.0

OPENING = """\
Bosons in a harmonic trap (ħ = 0.1, m = ω = 1) are at rest in its ground state; at t = 0 they begin to repel
each other, every pair by (g/2) w of its distance, w a normalised Gaussian of variance 0.1, and the cloud
splits. All methods solve the same inputs. Errors are against the exact solution (`dsmsim baseline exact`: a
grid of relative coordinates, or Fock space), whose own error estimate stands in the last table of this
chapter.

- **Var x1** at the end is averaged over the bosons, which are alike; its mean relative error is that of each
  boson's own variance, averaged over bosons and saved times.
- **density L1** is the integral of the absolute difference of one-body densities, its mean over time and its
  largest value.
- **t-VMC and PINN, published form**: ansatz, loss and integrator as published, with fewer walkers, points and
  steps and a narrower network, because a single run of the publication's size takes hours. What they are
  stands in the column of inputs."""

AT_A_GLANCE = """\
### At a glance

Relative errors, in brackets what sampling alone would show; every method with its own defaults. "Checks" are
those that need no exact solution (score identities, continuity, Newton's law, centre of mass, energy): of all
seeds the one that passes the fewest."""

GRIDS = """\
### Grids and exact solvers

What the publication used as the truth, and what solves these problems now. "Own estimate" is what the
solver says of its density's error, "density L1" its largest distance over time from the exact density."""


@dataclass(frozen=True)
class Metric:
    """One line of the tables.

    Attributes:
        title: of the line.
        name: in the group of errors, the floor's and the bar's of one seed, "" where there is none.
    """

    title: str
    name: str
    floor: str = ""
    bar: str = ""


METRICS = (
    Metric("Var x1, mean relative error", "variance_error_mean", "variance_error_floor"),
    Metric("density L1, mean", "density_l1_mean", "density_l1_floor"),
    Metric("density L1, largest", "density_l1_max"),
    Metric("energy drift", "energy_drift", bar="energy_drift_stderr"),
)


def tasks(profile: Profile) -> list[Task]:
    """Every method on every case, and a few samples that keep their trajectories."""
    solved = [task for case in of.cases(profile) for each in of.entrants(case) for task in each.tasks]
    return [*solved, *of.trajectories(profile).values()]


def chapter(profile: Profile, found: Found) -> Chapter:
    """Tables and figures of all cases."""
    cases = of.cases(profile)
    solved = [Solved(each, found) for case in cases for each in of.entrants(case)]
    rows = [row for each in solved for row in each.rows()]
    blocks: list[Words | RowsTable | Grid | Picture] = [Words(OPENING)]
    blocks += [Words(AT_A_GLANCE), at_a_glance(solved)]
    blocks += pictures.draw(profile, found)
    blocks += [RowsTable(rows), Words(GRIDS), grids(solved)]
    return Chapter("Interacting bosons", [*blocks, *difference_of_grids(solved, found)])


class Solved:
    """What is there of one method on one case.

    Attributes:
        entrant: the method and its tasks.
        entries: errors against the exact solution, one for each seed that is there.
        exact: the exact variance at the end, None where the exact solution is missing.
    """

    def __init__(self, entrant: Entrant, found: Found) -> None:
        self.entrant = entrant
        truth = of.reference(entrant.case)
        found_entries = [found.entry(task, truth) for task in entrant.tasks]
        self.entries: list[Entry] = [entry for entry in found_entries if entry is not None]
        stored = found.results(truth)
        self.exact = None if stored is None else float(np.mean(stored.results["observables"]["variance"][-1]))
        states = [found.state(task) for task in entrant.tasks]
        self.reason = found.reason(entrant.tasks[0]) if "refused" in states else ""

    def rows(self) -> list[Row]:
        """One for every metric; energies and own errors of exact solvers are left out."""
        metrics = METRICS[:-1] if self.entrant.reference else METRICS
        ends = [end_of(entry) for entry in self.entries]
        noise = [stderr for _, stderr in ends if stderr is not None]
        end = over_seeds([value for value, _ in ends], noise[0] if noise else None)
        floor = MEAN_ABSOLUTE * float(np.mean(noise)) if noise else None
        first = self._row(AT_THE_END, end, floor, exact=self.exact)
        if self.entrant.method == of.EXACT:
            return [first]
        return [first, *(self._row(m.title, self.value(m), self.floor(m)) for m in metrics)]

    def _row(self, metric: str, ours: Value | None, floor: float | None, exact: float | None = None) -> Row:
        entrant, ends = self.entrant, metric == AT_THE_END
        paid = entrant.published
        return Row(
            entrant.case.title,
            entrant.method,
            metric,
            entrant.tasks[0],
            ours,
            paid if ends or (paid is not None and paid.seconds) else None,
            exact,
            floor,
            self.seconds,
            self.solving,
            entrant.reference,
            self.reason if ends else "",
        )

    def value(self, metric: Metric) -> Value | None:
        """Mean over the seeds, with their spread."""
        bars = [float(e.errors[metric.bar]) for e in self.entries if metric.bar in e.errors]
        values = [float(e.errors[metric.name]) for e in self.entries if metric.name in e.errors]
        return over_seeds(values, bars[0] if bars else None)

    def floor(self, metric: Metric) -> float | None:
        """What sampling alone would show."""
        return self._mean(lambda entry: entry.errors.get(metric.floor))

    @property
    def seconds(self) -> float | None:
        """CPU seconds of everything, the mean over seeds."""
        return self._mean(lambda entry: entry.cpu_seconds)

    @property
    def solving(self) -> float | None:
        """CPU seconds of training or propagation alone."""
        return self._mean(lambda entry: entry.solve_cpu_seconds)

    @property
    def checks(self) -> str:
        """Of the seed that passes the fewest checks."""
        groups = [entry.stored.results["checks"]["passed"] for entry in self.entries if has_checks(entry)]
        worst = min(groups, key=np.sum, default=None)
        return "-" if worst is None else f"{int(np.sum(worst))} of {len(worst)}"

    def _mean(self, of_entry: Callable[[Entry], object]) -> float | None:
        values = [of_entry(entry) for entry in self.entries]
        known = [float(np.asarray(value)) for value in values if value is not None]
        return float(np.mean(known)) if known else None


def has_checks(entry: Entry) -> bool:
    """Whether anything was checked without a reference."""
    return "checks" in entry.stored.results


def end_of(entry: Entry) -> tuple[float, float | None]:
    """Var x1 at the last time, averaged over the bosons, and its standard error over trials of samples."""
    group = entry.stored.results["observables"]
    value = float(np.mean(group["variance"][-1]))
    trials = group.get("variance_by_trial")
    if trials is None or len(trials) < 2:
        return value, None
    means = np.asarray(trials)[:, -1].reshape(len(trials), -1).mean(1)
    return value, float(means.std(ddof=1) / np.sqrt(len(means)))


def at_a_glance(solved: Sequence[Solved]) -> Grid:
    """Sampled methods beside each other, one line each."""
    header = (
        "bosons, g",
        "method",
        "Var x1",
        "density L1",
        "at its worst",
        "energy drift",
        "CPU s",
        "checks",
    )
    variance, density, worst, energy = METRICS
    cells, before = [], ""
    for each in solved:
        if each.entrant.reference:
            continue
        case = each.entrant.case
        title = f"{case.particles}, {case.g:g}"
        cells.append(
            [
                title if title != before else "",
                each.entrant.method,
                percent(each.value(variance), each.floor(variance)),
                plain(each.value(density), each.floor(density)),
                plain(each.value(worst)),
                percent(each.value(energy)),
                shown(each.seconds) + ("" if each.solving is None else f" ({shown(each.solving)})"),
                each.checks,
            ]
        )
        before = title
    return Grid(header, cells)


def percent(value: Value | None, floor: float | None = None) -> str:
    """A relative error."""
    if value is None:
        return "-"
    text = f"{CENT * value.value:.2g} %"
    return text if floor is None else f"{text} ({CENT * floor:.2g} %)"


def plain(value: Value | None, floor: float | None = None) -> str:
    """A distance of densities."""
    if value is None:
        return "-"
    return f"{value.value:.2g}" if floor is None else f"{value.value:.2g} ({floor:.2g})"


def grids(solved: Sequence[Solved]) -> Grid:
    """What each solver took and how wrong it is."""
    header = ("bosons, g", "solver", "size", "step", "own estimate", "density L1", "converged", "CPU s")
    cells = []
    for each in solved:
        if not each.entrant.reference:
            continue
        case, entry = each.entrant.case, next(iter(each.entries), None)
        how = {} if entry is None else entry.stored.attributes.get("observables", {})
        size = next((f"{how[name]:,} {name}" for name in ("states", "points") if name in how), "-")
        distance = each.value(METRICS[2])
        cells.append(
            [
                f"{case.particles}, {case.g:g}",
                each.entrant.method,
                size,
                shown(how.get("dt")),
                shown(how.get("error_density")),
                "-" if each.entrant.method == of.EXACT else plain(distance),
                "-" if "converged" not in how else "yes" if how["converged"] else "no",
                shown(each.seconds) if entry is not None else each.reason or "-",
            ]
        )
    return Grid(header, cells)


def difference_of_grids(solved: Sequence[Solved], found: Found) -> list[Words]:
    """How far the two published grids of four bosons are from each other."""
    tasks = {
        each.entrant.method: each.entrant.tasks[0] for each in solved if each.entrant.case.particles == 4
    }
    pair = [tasks.get(f"{of.GRID}, {points} points as published") for points in (50, 60)]
    if pair[0] is None or pair[1] is None:
        return []
    entry = found.entry(pair[0], pair[1])
    if entry is None:
        return []
    apart = float(entry.errors["density_l1_max"])
    return [
        Words(f"Four bosons: the densities on the grids of 50 and 60 points differ by up to {apart:.2g}.")
    ]
