"""Bosons in Fock space: oscillator orbitals that follow the cloud, all states up to an energy cutoff.

One dimension, any smooth potential and interaction of differences, both possibly quenched, from a product
state. In a harmonic trap (or none), from a Gaussian, the centre of mass is exact and only the relative motion
is a vector in the space of `baselines.fock_space`; else all bosons are. Fourth-order Magnus steps move it.
Step and cutoff are refined until moments and densities stop changing: the error falls by a constant factor
with every few quanta, which the last two changes measure.

Shapes: `T` saved times, `M` points of x, `E` cutoff.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from baselines.fock_space.model import Family
from baselines.fock_space.problem import Problem, make_problem
from baselines.fock_space.propagation import MOST_KRYLOV
from baselines.fock_space.run import Difference, Run, Snapshots
from baselines.prediction import Prediction, require_memory
from baselines.solution import Progress, Solution
from dsmsim.config import Config
from dsmsim.errors import ConfigError
from dsmsim.store import Stopwatch

CUTOFF_KEY = "baselines.fock.cutoff"
LARGEST_CUTOFF = 200
# pair entries of a space: about an hour of one core
MOST_ENTRIES = 40_000_000
# share of the tolerance that the steps in time may use up, and how often they are halved at most
STEP_SHARE = 0.2
MOST_HALVINGS = 8
# states of the space in which steps are chosen
STATES_FOR_STEPS = 1000
# the fall of the error from one cutoff to the next: the slowest that is believed, and the first guess
SLOWEST_FALL, GUESSED_FALL = 0.9, 0.5
# pair entries per second and core, all products included, for predictions
SPEED = 3.0e7


def evolve(
    config: Config,
    *,
    cutoff: int | None = None,
    basis: str | None = None,
    tolerance: float = 1e-4,
    progress: Progress | None = None,
) -> Solution:
    """Solve the input; what is None is chosen by measurement.

    Args:
        config: the input.
        cutoff: E, most quanta of a state.
        basis: "breathing": orbitals that follow the cloud; "lab": orbitals at rest; None: the better of both.
        tolerance: largest error estimate to accept, of variances (relative) and densities (L1).
        progress: called with one line of text after each run.

    Raises:
        ConfigError: more than one dimension, a potential that is not finite where the orbitals are, motion
            that needs too many quanta, or a space that does not fit into the memory.
    """
    say = progress or (lambda line: None)
    problem = make_problem(config, basis, tolerance)
    ladder = _ladder(problem, cutoff)
    require_memory(_prediction(problem, ladder[-1] if cutoff else ladder[1]), config, CUTOFF_KEY)
    stepping = _choose_step(problem, say)
    convergence = _Convergence(problem.family)
    for used, following in itertools.zip_longest(ladder, ladder[1:]):
        # everything is read off where this run is likely to be the last
        expected = convergence.expected_error + stepping.error
        run = Run(problem, used, stepping.dt, everything=used == cutoff or expected <= tolerance)
        convergence.add(run.snapshots)
        error = convergence.error + stepping.error
        say(f"cutoff {used}, {run.model.states.size:,} states, dt {stepping.dt:.3g}: error {error:.2g}")
        if used == cutoff or (cutoff is None and error <= tolerance):
            break
        if following is None or not _fits(problem, following, config):
            break
    if not run.everything:
        run = Run(problem, used, stepping.dt, everything=True)
    how = _how(problem, run, stepping, convergence, fixed=cutoff is not None)
    return Solution(problem.times, run.groups(), how)


def solve(config: Config, out: Path, *, progress: Progress | None = None) -> Path:
    """Solve the input as [baselines.fock] says, and write `out/results.h5`; the path of that file.

    Raises:
        ConfigError: as `evolve`.
        StoreError: the file cannot be written.
    """
    started = Stopwatch.start()
    table = config.baselines.fock
    solution = evolve(
        config,
        cutoff=None if table.cutoff == "auto" else int(table.cutoff),
        basis=None if table.basis == "auto" else table.basis,
        tolerance=table.tolerance,
        progress=progress,
    )
    return solution.write(config, out, started)


def predict(config: Config) -> Prediction:
    """What `solve` would cost, as far as that is known before cutoffs have been compared.

    Raises:
        ConfigError: as `evolve`, memory apart.
    """
    table = config.baselines.fock
    problem = make_problem(config, None if table.basis == "auto" else table.basis, table.tolerance)
    ladder = _ladder(problem, None if table.cutoff == "auto" else int(table.cutoff))
    # most problems need three or four cutoffs
    return _prediction(problem, ladder[min(3, len(ladder) - 1)])


def first_cutoff(problem: Problem) -> int:
    """Where the search begins: a little above the quanta of all but one in a hundred classical states."""
    return 2 * math.ceil(0.5 * (1.1 * problem.family.quanta + 8.0))


def _ladder(problem: Problem, cutoff: int | None) -> Sequence[int]:
    """Cutoffs to try, smallest first; where one is given, it and a smaller space to measure its error."""
    family = problem.family
    if cutoff is None:
        ladder = range(first_cutoff(problem), LARGEST_CUTOFF, family.cutoff_step)
        if len(ladder) < 2:
            raise ConfigError(
                f"time.end = {problem.times[-1]:g}: the motion needs more than {LARGEST_CUTOFF} quanta; "
                "shorten the time, or use split_step, crank_nicolson or relative_grid",
                key="time.end",
            )
        return ladder
    if cutoff > LARGEST_CUTOFF:
        raise ConfigError(f"{CUTOFF_KEY} = {cutoff}: must be at most {LARGEST_CUTOFF}", key=CUTOFF_KEY)
    smaller = max(0, cutoff - family.cutoff_step)
    return [smaller, cutoff] if family.states(smaller) < family.states(cutoff) else [cutoff]


@dataclass(frozen=True)
class _Stepping:
    """The longest step in time, and what it changes."""

    dt: float
    error: float


class _Convergence:
    """The error of the last of several runs of growing cutoff, from what the last steps changed."""

    def __init__(self, family: Family) -> None:
        self._dx, self._fastest_fall = family.dx, family.fastest_fall
        self._last: Snapshots | None = None
        self._changes: list[Difference] = []

    def add(self, snapshots: Snapshots) -> None:
        """The next run."""
        if self._last is not None:
            self._changes.append(self._last.change(snapshots, self._dx))
        self._last = snapshots

    @property
    def fall(self) -> float:
        """By which the error is multiplied from one cutoff to the next."""
        if len(self._changes) < 2:
            return GUESSED_FALL
        before, after = (max(change.variance, change.density) for change in self._changes[-2:])
        return min(max(after / before, self._fastest_fall), SLOWEST_FALL)

    @property
    def parts(self) -> Difference:
        """What is left; NaN before two runs. The changes yet to come form a geometric series."""
        if not self._changes:
            return Difference(math.nan, math.nan, math.nan)
        rest = self.fall / (1.0 - self.fall)
        return Difference(*(rest * part for part in self._changes[-1]))

    @property
    def error(self) -> float:
        """Of what the tolerance is for: variances and one-body densities."""
        return max(self.parts.variance, self.parts.density)

    @property
    def expected_error(self) -> float:
        """Of a next run; infinite where nothing is known."""
        return self.error * self.fall if self._changes else math.inf


def _choose_step(problem: Problem, say: Progress) -> _Stepping:
    """Halve the step, in a small space, until it matters no more."""
    small = min(first_cutoff(problem), LARGEST_CUTOFF)
    while problem.family.states(small) > STATES_FOR_STEPS and small > 4:
        small -= 2
    dt = problem.times[-1] / 8.0 if problem.times[-1] > 0.0 else 1.0
    dx = problem.family.dx
    before = Run(problem, small, dt, everything=False).snapshots
    error = math.inf
    for _ in range(MOST_HALVINGS):
        dt *= 0.5
        after = Run(problem, small, dt, everything=False).snapshots
        # fourth order: what is left is a fifteenth of the change
        error = max(before.change(after, dx)[:2]) / 15.0
        say(f"choosing steps: dt {dt:.3g}, error {error:.2g}")
        if error <= STEP_SHARE * problem.tolerance:
            break
        before = after
    return _Stepping(dt, error)


def _fits(problem: Problem, cutoff: int, config: Config) -> bool:
    """Whether a space may be used."""
    needed = problem.family.bytes_needed(cutoff, MOST_KRYLOV // 2)
    return problem.family.entries(cutoff) <= MOST_ENTRIES and needed <= config.baselines.memory_bytes


def _prediction(problem: Problem, cutoff: int) -> Prediction:
    family, particles = problem.family, problem.system.particles
    who = "1 boson" if particles == 1 else f"{particles} bosons"
    # eight products per step and more for what is read off; all smaller spaces together cost as much again
    products = 20.0 * max(20, len(problem.times))
    return Prediction(
        method="fock",
        points=f"{family.states(cutoff):,} states of {who}, cutoff {cutoff}",
        memory=family.bytes_needed(cutoff, MOST_KRYLOV // 2),
        seconds=2.0 + products * family.entries(cutoff) / SPEED,
    )


def _how(
    problem: Problem, run: Run, stepping: _Stepping, convergence: _Convergence, *, fixed: bool
) -> dict[str, Any]:
    parts = convergence.parts
    error = convergence.error + stepping.error
    warnings = []
    if not error <= problem.tolerance:
        fix = f"raise {CUTOFF_KEY}" if fixed else "raise baselines.memory, shorten the time, or weaken g"
        limit = problem.tolerance
        warnings.append(f"the error estimate, {error:.2g}, is above the tolerance, {limit:.2g}: {fix}")
    missing = run.model.start_norm_missing
    if missing > problem.tolerance:
        warnings.append(f"the space lacks a probability of {missing:.2g} of the start: raise {CUTOFF_KEY}")
    if run.edge_probability > problem.tolerance:
        warnings.append(f"a probability of {run.edge_probability:.2g} lies beyond the stored points of x")
    return {
        "method": f"bosonic Fock space, {problem.family.basis} orbitals, Magnus order 4",
        "error_estimate": error,
        "error_variance": parts.variance,
        "error_density": parts.density,
        "error_pair_distance": parts.distance,
        "error_step": stepping.error,
        "tolerance": problem.tolerance,
        "converged": not warnings,
        "warning": "; ".join(warnings),
        "cutoff": run.model.cutoff,
        "states": run.model.states.size,
        "dt": run.longest_step,
        "last_shells_probability": run.last_shells,
        "start_norm_missing": missing,
        "edge_probability": run.edge_probability,
    }
