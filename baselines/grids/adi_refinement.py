"""The choice of box, step and spacing for Crank-Nicolson runs, and the error that is left.

Orders are known, so that two runs at steps s > s' tell the error of the finer one (Richardson),

    error(s') = change/((s/s')^p - 1),

and how much finer the next must be. The box comes first: it grows until the state stays inside, and is then
cut to where the state has been. Then the step, on a coarse grid, where it is cheap; then the spacing, at that
step. The error estimate is the sum of the errors of both.

What the user gave stays: the error of a given step is measured with half of it, that of a given number of
points with fewer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from baselines.change import Change
from baselines.grids.adi import BLANES_MOAN_PADE, STRANG_PADE, Scheme
from baselines.grids.adi_run import Run, Trial, change_between, run
from baselines.grids.fold import centered
from baselines.grids.problem import Outgrown, Problem
from baselines.grids.product import Box
from baselines.solution import Progress
from dsmsim.errors import ConfigError

# of the tolerance
TIME_SHARE, SPACE_SHARE = 0.25, 0.6
# of one evolution: points times directions times sweeps; about ten minutes of one core
MOST_WORK = 2e11
# a change of more than this is too large for Richardson's formula
ASYMPTOTIC = 0.1
MOST_ROUNDS = 20
# a coarse grid must tell apart this much more than the wavenumbers of the state
RESOLVED = 1.1
# psi and three phases with their padding, for each stored point; for each recorded one what observables need
BYTES_PER_POINT, BYTES_PER_RECORDED_POINT = 72, 160


def bytes_needed(points: int, coordinates: int, every: int = 2, *, folded: bool = False) -> int:
    """Memory of an evolution on M points per coordinate that records every so many of them."""
    recorded = math.ceil(points / every) ** coordinates
    stored = points**coordinates // (2 if folded else 1)
    return int(BYTES_PER_POINT * stored + BYTES_PER_RECORDED_POINT * recorded)


def richardson(change: Change, ratio: float, order: int) -> Change:
    """The error of the finer of two runs whose steps have this ratio; of a large change no less than that."""
    gain = ratio**order - 1.0
    return change * (1.0 / (min(gain, 1.0) if change.worst > ASYMPTOTIC else gain))


@dataclass
class Refinement:
    """Looks for the cheapest grid and step that are good enough.

    Attributes:
        problem: what is solved; says what was given.
        tolerance: of the result.
        space_order: 2 or 4.
        scheme: None: chosen between the two with fourth-order factors.
        threads: to be used.
        progress: called with a line of text after each run.
        box: walls, at first.
        spacing: of the coarse grid, at first.
        points: M, where it was given.
        dt: longest step, at first.
        fold: whether one half of the wave is enough, on an even number of points around its mean.
    """

    problem: Problem
    tolerance: float
    space_order: int
    scheme: Scheme | None
    threads: int
    progress: Progress
    box: Box
    spacing: float
    points: int | None
    dt: float
    fold: bool = False
    limited: str = field(default="", init=False)
    _trimmed: bool = field(default=False, init=False)
    _wavenumber: float = field(default=math.inf, init=False)

    def solve(self) -> tuple[Run, Change]:
        """The best run, with its groups, and its error.

        Raises:
            ConfigError: the state leaves every box.
        """
        self._trimmed = self.problem.fixed_box
        for _ in range(MOST_ROUNDS):
            try:
                return self._attempt()
            except Outgrown as outgrown:
                # after it was cut only a little is missing
                self._widen(outgrown.ends, 0.1 if self._trimmed else 0.4)
        raise ConfigError(
            f"time.end = {self.problem.end}: the state reaches the edge of every box that was tried; shorten "
            "the time, or add a trap that holds it",
            key="time.end",
        )

    def least_points(self) -> int:
        """Of the grid that will hold the result, as far as that is known at first."""
        return self.points or self._coarse()

    def _attempt(self) -> tuple[Run, Change]:
        scheme = self.scheme or STRANG_PADE
        seen: Run | None = self._run(self._coarse(), self.dt, scheme, spectrum=True)
        if not self._trimmed:
            assert seen is not None
            self._trim(seen)
            seen = None
        while self.points is None and self._wavenumber * self._spacing(self._coarse()) > math.pi / RESOLVED:
            finer = self._coarse(1.4)
            if finer == self._coarse():
                break
            self.spacing /= 1.4
            seen = self._run(finer, self.dt, scheme, spectrum=True)
        best, time_error = self._settle_step(scheme, seen)
        final, space_error = self._settle_spacing(best)
        return final, time_error + space_error

    def _settle_step(self, scheme: Scheme, older: Run | None) -> tuple[Run, Change]:
        """The coarse run whose step is good enough, and the error of that step."""
        points, goal = self._coarse(), TIME_SHARE * self.tolerance
        older = older or self._run(points, self.dt, scheme)
        newer = self._run(points, 0.5 * older.dt, scheme)
        while True:
            change, ratio = self._change(older, newer), older.dt / newer.dt
            error = richardson(change, ratio, scheme.order)
            error_before = error * (ratio**scheme.order)
            if self.problem.fixed_dt or error_before.worst <= goal:
                return older, error_before
            if error.worst <= goal:
                return newer, error
            finer = min(8.0, 1.1 * (error.worst / goal) ** (1.0 / scheme.order))
            if self.scheme is None and scheme is STRANG_PADE and finer > 2.5:
                scheme = BLANES_MOAN_PADE
                older = self._run(points, self.dt, scheme)
                newer = self._run(points, 0.5 * older.dt, scheme)
                continue
            if self._work(points, newer.dt / finer, scheme) > MOST_WORK:
                self._stop("steps that short would take too long")
                return newer, error
            older, newer = newer, self._run(points, newer.dt / finer, scheme)

    def _settle_spacing(self, older: Run) -> tuple[Run, Change]:
        """The run whose spacing is good enough, recorded, and the error of the spacing."""
        goal, scheme, dt = SPACE_SHARE * self.tolerance, older.trial.scheme, older.trial.dt
        most = self._most_points(dt, scheme)
        points = self.points or min(most, self._count(1.3 * older.trial.points))
        if points <= older.trial.points:  # the coarse grid is too large already
            older = self._run(self._fewer(points, 1.4), dt, scheme)
        while True:
            # a second refinement was aimed at the goal
            hopeful = self.points is not None or points == most or older.trial.points > self._coarse()
            newer = self._run(points, dt, scheme, record=hopeful)
            ratio = (newer.trial.points + 1) / (older.trial.points + 1)
            error = richardson(self._change(older, newer), ratio, self.space_order)
            if self.points is not None or not error.worst > goal or points >= most:
                break
            finer = min(2.2, max(1.15, 1.05 * (error.worst / goal) ** (1.0 / self.space_order)))
            older, points = newer, min(most, self._count(finer * points))
        if error.worst > goal and points >= most and self.points is None:
            self._stop("a finer grid would take too much memory or time")
        if newer.groups is None:
            newer = self._run(points, dt, scheme, record=True)
        return newer, error

    def _run(
        self, points: int, dt: float, scheme: Scheme, *, record: bool = False, spectrum: bool = False
    ) -> Run:
        trial = Trial(self.box, points, dt, scheme, self.space_order)
        every = self._every(points) if record else None
        found = run(self.problem, trial, self.threads, every=every, spectrum=spectrum)
        if spectrum:
            self._wavenumber = found.wavenumber
        self.progress(
            f"{scheme.name}: {points}^{found.grid.coordinates} points, dt {found.dt:.3g}, "
            f"probability at the edge {found.edge:.1g}"
        )
        return found

    def _change(self, older: Run, newer: Run) -> Change:
        change = change_between(older, newer)
        self.progress(
            f"from {older.trial.points} points, dt {older.dt:.3g} to {newer.trial.points} points, "
            f"dt {newer.dt:.3g}: change {change.worst:.2g}"
        )
        return change

    def _stop(self, reason: str) -> None:
        self.limited = reason
        self.progress(reason)

    def _coarse(self, finer: float = 1.0) -> int:
        """Points of the coarse grid."""
        if self.points is not None:
            return max(6, self._fewer(self.points, 1.5))
        return self._count(max(24.0, *((high - low) * finer / self.spacing for low, high in self.box)))

    def _count(self, wanted: float) -> int:
        """No fewer points than wanted: odd, so that one is in the middle of the box, or even to be folded."""
        count = math.ceil(wanted)
        return count + (count % 2 != self._odd)

    def _fewer(self, points: int, ratio: float) -> int:
        """Points of a coarser grid than the given one, folded where that is."""
        fewer = round(points / ratio)
        return fewer + fewer % 2 if self.fold else fewer

    @property
    def _odd(self) -> int:
        return 0 if self.fold else 1

    def _spacing(self, points: int) -> float:
        return max((high - low) / (points + 1) for low, high in self.box)

    def _every(self, points: int) -> int:
        """The coarsest thinning of what is recorded that loses nothing of the state."""
        every = max(1, int(math.pi / (RESOLVED * self._wavenumber * self._spacing(points))))
        least = every
        coordinates = self.problem.system.coordinates
        while bytes_needed(points, coordinates, every, folded=self.fold) > self.problem.memory:
            every += 1
        if every > least:
            self._stop(f"memory is enough to record every {every}th point only")
        return every

    def _most_points(self, dt: float, scheme: Scheme) -> int:
        """The most points that fit into memory and time."""
        coordinates = self.problem.system.coordinates
        per_point = bytes_needed(1000, coordinates, folded=self.fold) / 1000.0**coordinates
        most = int((self.problem.memory / per_point) ** (1.0 / coordinates))
        if dt < math.inf:
            most = min(most, int((MOST_WORK / self._work(1, dt, scheme)) ** (1.0 / coordinates)))
        return max(8 - self._odd, self._count(most - 1))

    def _work(self, points: int, dt: float, scheme: Scheme) -> float:
        coordinates = self.problem.system.coordinates
        steps = max(self.problem.end / dt, self.problem.times.size)
        solved = float(points) ** coordinates * (0.5 if self.fold else 1.0)
        return solved * coordinates * scheme.cost * steps

    def _shaped(self, box: Box) -> Box:
        """The box, around the mean where the grid is folded."""
        middle = self.problem.initial.mean[: self.problem.system.dimensions]
        return centered(box, middle) if self.fold else box

    def _widen(self, ends: np.ndarray[tuple[int, int], np.dtype[np.bool_]], share: float) -> None:
        wider = tuple(
            (low - share * (high - low) * float(at_low), high + share * (high - low) * float(at_high))
            for (low, high), (at_low, at_high) in zip(self.box, ends, strict=True)
        )
        self.box = self._shaped(wider)
        self.progress(f"the state reaches the edge; the box is now {self.box}")

    def _trim(self, seen: Run) -> None:
        """Cut what the state reached with less than a hundredth of what is allowed at the edge."""
        limit = 1e-2 * self.problem.edge_limit
        box = []
        for axis, reach in enumerate(seen.reach):
            x, h = seen.grid.positions(axis), seen.grid.spacing(axis)
            kept = np.flatnonzero((np.cumsum(reach) > limit) & (np.cumsum(reach[::-1])[::-1] > limit))
            # the band at the edge that is watched is 1/32 of the box
            margin = 2.0 * h + (x[kept[-1]] - x[kept[0]]) / 28.0
            low, high = self.box[axis]
            left, right = float(x[kept[0]]) - margin, float(x[kept[-1]]) + margin
            box.append((max(low, left), min(high, right)))
        self.box = self._shaped(tuple(box))
        self._trimmed = True
