"""The exact solver that is right for a problem: the cheapest of those that can treat it.

Every solver says what it would cost (`predict`); the cheapest begins, and among those that take about a
second the most accurate. Where its own error estimate stays above the tolerance the next one is tried, and of
several results that all miss it the best is kept, marked.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from baselines import crank_nicolson, fock, relative_grid, split_step
from baselines.prediction import Prediction, require_memory
from baselines.solution import Progress, Solution
from dsmsim.config import Config
from dsmsim.errors import ConfigError
from dsmsim.store import Stopwatch

# a result that missed its tolerance is tried again by a solver that takes at most this much longer
PATIENCE = 30.0
# predictions are rough: below this they do not decide
SECONDS_THAT_DECIDE = 2.0


@dataclass(frozen=True)
class Candidate:
    """A solver that can treat the problem, and what it would cost."""

    name: str
    evolve: Callable[..., Solution]
    prediction: Prediction

    @property
    def seconds(self) -> float:
        """Predicted; infinite where nobody can tell."""
        return math.inf if self.prediction.seconds is None else self.prediction.seconds


# in the order of their accuracy for the work
SOLVERS: dict[str, tuple[Callable[..., Solution], Callable[[Config], Prediction]]] = {
    "relative_grid": (relative_grid.evolve, relative_grid.predict),
    "fock": (fock.evolve, fock.predict),
    "split_step": (split_step.evolve, split_step.predict),
    "crank_nicolson": (crank_nicolson.evolve, crank_nicolson.predict),
}


def candidates(config: Config) -> list[Candidate]:
    """The solvers that can treat the input within its memory, the cheapest first.

    Raises:
        ConfigError: none can; with the reason of each.
    """
    found, reasons = [], []
    for name, (evolve_by, predict_by) in SOLVERS.items():
        try:
            prediction = predict_by(config)
            require_memory(prediction, config, f"baselines.{name}")
        except ConfigError as error:
            reasons.append(f"{name}: {error}")
            continue
        found.append(Candidate(name, evolve_by, prediction))
    if not found:
        raise ConfigError(
            "no exact solver can treat this problem; " + "; ".join(reasons), key="system.particles"
        )
    return sorted(found, key=lambda candidate: max(candidate.seconds, SECONDS_THAT_DECIDE))


def evolve(config: Config, *, tolerance: float = 1e-4, progress: Progress | None = None) -> Solution:
    """Solve the input by the cheapest solver that reaches the tolerance.

    Args:
        config: the input; what else there is to choose is chosen by measurement.
        tolerance: largest error estimate to accept.
        progress: called with one line of text after each refinement.

    Raises:
        ConfigError: no solver can treat the input, or all of those that should gave up.
    """
    say = progress or (lambda line: None)
    best: Solution | None = None
    refused: ConfigError | None = None
    choices = candidates(config)
    for candidate in choices:
        if best is not None and candidate.seconds > PATIENCE * max(choices[0].seconds, 1.0):
            break
        say(f"{candidate.name}, {candidate.prediction.points}")
        try:
            solution = candidate.evolve(config, tolerance=tolerance, progress=progress)
        except ConfigError as error:
            # a state that outgrows its grid is seen only while it runs
            say(f"{candidate.name} gave up: {error}")
            refused = error
            continue
        solution = _chosen(solution, candidate.name)
        if solution.converged:
            return solution
        say(f"{candidate.name}: {solution.warning}")
        if best is None or _error(solution) < _error(best):
            best = solution
    if best is None:
        assert refused is not None, "there is at least one candidate"
        raise refused
    return best


def solve(config: Config, out: Path, *, progress: Progress | None = None) -> Path:
    """Solve the input to the tolerance of [baselines.exact], and write `out/results.h5`; that path.

    Raises:
        ConfigError: as `evolve`.
        StoreError: the file cannot be written.
    """
    started = Stopwatch.start()
    solution = evolve(config, tolerance=config.baselines.exact.tolerance, progress=progress)
    return solution.write(config, out, started)


def predict(config: Config) -> Prediction:
    """What the cheapest solver would cost.

    Raises:
        ConfigError: no solver can treat the input.
    """
    first = candidates(config)[0]
    return replace(first.prediction, method=f"{first.name}: {first.prediction.method}")


def _chosen(solution: Solution, name: str) -> Solution:
    how: dict[str, Any] = {**solution.how, "chosen": name}
    return replace(solution, how=how)


def _error(solution: Solution) -> float:
    return math.inf if math.isnan(solution.error_estimate) else solution.error_estimate
