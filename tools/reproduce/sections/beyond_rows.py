"""Numbers of the physics beyond the sources, read off the results of runs and exact solvers.

Shapes: T times, C cells or points, S seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import make_interp_spline
from scipy.optimize import curve_fit

from dsmsim.analysis import Entry
from dsmsim.analysis.compare import at_times
from dsmsim.store import StoredResults
from tools.reproduce.found import Found
from tools.reproduce.rows import MEAN_ABSOLUTE, Row, Value, over_seeds
from tools.reproduce.sections import beyond_cases as of
from tools.reproduce.sections.beyond_cases import Breathing, Case

Array = NDArray[np.float64]

LEAST_TIMES = 8  # from which a damped cosine is fitted


@dataclass(frozen=True)
class Breath:
    """A damped cosine, mean + amplitude exp(-damping t) cos(frequency t + phase), t from the quench on.

    Attributes:
        mean, amplitude: length^2.
        damping, frequency: 1/time.
        phase: radian.
    """

    mean: float
    amplitude: float
    damping: float
    frequency: float
    phase: float

    def __call__(self, t: Array) -> Array:
        """Its values at times (T,)."""
        return wave(t, self.mean, self.amplitude, self.damping, self.frequency, self.phase)


def wave(t: Array, mean: float, amplitude: float, damping: float, frequency: float, phase: float) -> Array:
    """The damped cosine at times (T,)."""
    return np.asarray(mean + amplitude * np.exp(-damping * t) * np.cos(frequency * t + phase))


def breath(time: Array, variance: Array, each: Breathing) -> Breath | None:
    """The best damped cosine through a variance (T,) after the quench; None where there is none."""
    after = time >= each.start - 1e-9
    t, values = time[after] - each.start, variance[after]
    if len(t) < LEAST_TIMES:
        return None
    first = (values.mean(), 0.5 * np.ptp(values), 0.05, 1.5 * each.omega, 0.0)
    bounds = ((0.0, 0.0, -2.0, 0.5 * each.omega, -np.pi), (np.inf, np.inf, 5.0, 4.0 * each.omega, np.pi))
    try:
        found, _ = curve_fit(wave, t, values, p0=first, bounds=bounds)
    except RuntimeError:  # no minimum found
        return None
    return Breath(*(float(value) for value in found))


def mean_variance(stored: StoredResults) -> tuple[Array, Array]:
    """Times (T,) and the variance of a coordinate (T,), averaged over bosons and axes, which are alike."""
    group = stored.results["observables"]
    return group["time"], group["variance"].mean(axis=(1, 2))


def end_error(stored: StoredResults) -> float | None:
    """Standard error of that variance at the last time, as if bosons and axes were independent."""
    stderr = stored.results["observables"].get("variance_stderr")
    return None if stderr is None else float(np.sqrt((stderr[-1] ** 2).mean() / stderr[-1].size))


def breath_of(stored: StoredResults | None, each: Breathing) -> Breath | None:
    """The breathing of a result."""
    return None if stored is None else breath(*mean_variance(stored), each)


def breath_errors(stored: StoredResults, each: Breathing) -> tuple[float | None, float | None]:
    """Standard errors of frequency and amplitude, from fits to every trial of the samples alone."""
    group = stored.results["observables"]
    if "variance_by_trial" not in group:
        return None, None
    trials = group["variance_by_trial"].mean(axis=(2, 3))
    fits = [fit for v in trials if (fit := breath(group["time"], v, each)) is not None]
    if len(fits) < 2:
        return None, None
    values = np.array([[fit.frequency, fit.amplitude] for fit in fits])
    frequency, amplitude = values.std(axis=0, ddof=1) / np.sqrt(len(fits))
    return float(frequency), float(amplitude)


def on_the_right(stored: StoredResults) -> tuple[Array, Array, Array | None]:
    """Times (T,), probability of a particle to be at x > 0 (T,), and its standard error where it is sampled.

    Runs average it over their samples; of an exact solver's density it is the integral of a spline.
    """
    group = stored.results.get("user", {})
    if "right" in group:
        return group["time"], group["right"], group.get("right_stderr")
    density = stored.results["density"]
    x = density["x"]
    below = make_interp_spline(x, density["density"], k=5, axis=1).antiderivative()
    return density["time"], below(x[-1]) - below(0.0), None


@dataclass(frozen=True)
class Solved:
    """What is there of one method on one case.

    Attributes:
        case: the problem.
        method: by which.
        stored: results of the seeds that are there.
        entries: their errors against the exact solution; empty without one.
        truth: the exact results, None where there are none.
        reason: why there is nothing.
    """

    case: Case
    method: str
    stored: Sequence[StoredResults]
    entries: Sequence[Entry]
    truth: StoredResults | None
    reason: str

    def row(
        self, metric: str, ours: Value | None, exact: float | None = None, floor: float | None = None
    ) -> Row:
        """A line with the costs of this method."""
        task = self.case.tasks(self.method)[0]
        note = self.reason if not self.stored else ""
        return Row(
            self.case.title,
            self.method,
            metric,
            task,
            ours,
            None,
            exact,
            floor,
            self.cost("cpu_seconds"),
            self.cost("solve_cpu_seconds"),
            note=note,
        )

    def cost(self, name: str) -> float | None:
        """CPU seconds, the mean of the seeds."""
        found = [s.attributes.get("provenance", {}).get(name) for s in self.stored]
        values = [float(value) for value in found if value is not None]
        return float(np.mean(values)) if values else None

    def error(self, metric: str, name: str, floor: str = "", bar: str = "") -> Row:
        """A line of an error against the exact solution."""
        values = [float(e.errors[name]) for e in self.entries if name in e.errors]
        bars = [float(e.errors[bar]) for e in self.entries if bar in e.errors]
        floors = [float(e.errors[floor]) for e in self.entries if floor in e.errors]
        return self.row(
            metric,
            over_seeds(values, bars[0] if bars else None),
            floor=float(np.mean(floors)) if floors else None,
        )


def solved(case: Case, method: str, found: Found) -> Solved:
    """What is there of one method on one case."""
    tasks, reference = case.tasks(method), case.reference
    done = [task for task in tasks if found.state(task) == "done"]
    stored = [results for task in done if (results := found.results(task)) is not None]
    entries = [] if reference is None else [e for t in done if (e := found.entry(t, reference)) is not None]
    truth = None if reference is None else found.results(reference)
    states = [found.state(task) for task in tasks]
    reason = found.reason(tasks[states.index("refused")]) if "refused" in states else ""
    return Solved(case, method, stored, entries, truth, reason)


def breathing_rows(each: Breathing, found: Found) -> list[Row]:
    """Frequency and amplitude of the breathing, and how far variance and density are off."""
    rows = []
    for method in each.case.methods:
        one = solved(each.case, method, found)
        exact = breath_of(one.truth, each)
        fits = [fit for s in one.stored if (fit := breath_of(s, each)) is not None]
        frequency_bar, amplitude_bar = breath_errors(one.stored[0], each) if one.stored else (None, None)
        relative_bar = None if frequency_bar is None else frequency_bar / each.omega
        rows += [
            one.row(
                "frequency over omega",
                over_seeds([fit.frequency / each.omega for fit in fits], relative_bar),
                None if exact is None else exact.frequency / each.omega,
            ),
            one.row(
                "amplitude of Var x1",
                over_seeds([fit.amplitude for fit in fits], amplitude_bar),
                None if exact is None else exact.amplitude,
            ),
            one.error("Var x1, mean relative error", "variance_error_mean", "variance_error_floor"),
            one.error("density L1, mean", "density_l1_mean", "density_l1_floor"),
            one.error("density L1, largest", "density_l1_max"),
        ]
    return rows


def tunnelling_rows(case: Case, found: Found) -> list[Row]:
    """Where the particle is at the end, and how far the way there is off."""
    one = solved(case, of.MARCH, found)
    ends, bars, worst, noise = [], [], [], []
    exact = None if one.truth is None else on_the_right(one.truth)
    for stored in one.stored:
        time, right, stderr = on_the_right(stored)
        ends.append(float(right[-1]))
        bars += [] if stderr is None else [float(stderr[-1])]
        noise += [] if stderr is None else [MEAN_ABSOLUTE * float(stderr.max())]
        if exact is not None:
            worst.append(float(np.abs(right - at_times(exact[0], exact[1][:, None], time)[:, 0]).max()))
    return [
        one.row(
            "probability on the right at the end",
            over_seeds(ends, bars[0] if bars else None),
            None if exact is None else float(exact[1][-1]),
        ),
        one.row("the same, largest error over time", over_seeds(worst), floor=max(noise) if noise else None),
        one.error("mean of x, E_m", "E_m_all", "E_m_all_floor"),
        one.error("density L1, mean", "density_l1_mean", "density_l1_floor"),
        one.error("density L1, largest", "density_l1_max"),
    ]


def plane_rows(case: Case, found: Found) -> list[Row]:
    """Variance, densities and energy in two dimensions by every method."""
    rows = []
    for method in case.methods:
        one = solved(case, method, found)
        exact = None if one.truth is None else float(mean_variance(one.truth)[1][-1])
        ends = [float(mean_variance(stored)[1][-1]) for stored in one.stored]
        bar = end_error(one.stored[0]) if one.stored else None
        rows += [
            one.row("Var x1 at the end", over_seeds(ends, bar), exact),
            one.error("Var x1, mean relative error", "variance_error_mean", "variance_error_floor"),
            one.error("density L1, mean", "density_l1_mean", "density_l1_floor"),
            one.error("density L1, largest", "density_l1_max"),
            one.error("pair density L1, mean", "pair_density_l1_mean", "pair_density_l1_floor"),
            one.error("energy drift", "energy_drift", bar="energy_drift_stderr"),
        ]
    return rows
