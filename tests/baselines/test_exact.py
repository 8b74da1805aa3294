"""The choice among the exact solvers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from exact_bosons import errors_of, interacting_bosons

from baselines import exact
from baselines.prediction import Prediction
from baselines.solution import Solution
from dsmsim.config import Config, parse_config
from dsmsim.errors import ConfigError
from dsmsim.store import read_results


def stand_in(solution: Solution, seconds: float | None, calls: list[str], name: str) -> Any:
    """A solver that returns a given solution, and its prediction."""

    def evolve(config: Config, *, tolerance: float, progress: Any) -> Solution:
        calls.append(name)
        return solution

    return evolve, lambda config: Prediction(name, "1 point", 1, seconds)


def a_solution(error: float, tolerance: float = 1e-4) -> Solution:
    converged = error <= tolerance
    how = {"error_estimate": error, "converged": converged, "warning": "" if converged else "too coarse"}
    return Solution(times=None, groups={}, how=how)  # type: ignore[arg-type]


@pytest.mark.parametrize("particles", [2, 3])
def test_bosons_in_a_harmonic_trap(particles: int, tmp_path: Path) -> None:
    lines: list[str] = []
    config = interacting_bosons(particles)
    path = exact.solve(config, tmp_path, progress=lines.append)
    stored = read_results(path)
    assert stored.attributes["density"]["chosen"] == "relative_grid"
    assert errors_of(stored.results, particles).density <= 1e-4
    assert any("relative_grid" in line for line in lines)


def test_other_traps_go_to_a_full_grid() -> None:
    trap = {"kind": "double_well", "barrier": 1.0, "half_distance": 1.0}
    initial = {"kind": "gaussian", "mean": -1.0, "variance": 0.1}
    config = parse_config(
        {
            "system": {"particles": 1, "trap": trap},
            "initial": initial,
            "time": {"end": 0.5, "save": 3},
        }
    )
    solution = exact.evolve(config)
    assert solution.converged
    assert solution.how["chosen"] in ("split_step", "crank_nicolson", "fock")


def test_many_bosons_go_to_fock_space() -> None:
    names = [candidate.name for candidate in exact.candidates(interacting_bosons(6, g=0.2))]
    assert names[0] == "fock"
    assert "crank_nicolson" not in names


def test_the_cheapest_comes_first_and_a_tie_goes_by_accuracy(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    good = a_solution(1e-5)
    solvers = {
        "slow": stand_in(good, 20.0, calls, "slow"),
        "first": stand_in(good, 1.5, calls, "first"),
        "second": stand_in(good, 0.1, calls, "second"),
        "unknown": stand_in(good, None, calls, "unknown"),
    }
    monkeypatch.setattr(exact, "SOLVERS", solvers)
    config = interacting_bosons(2)
    names = [candidate.name for candidate in exact.candidates(config)]
    assert names == ["first", "second", "slow", "unknown"]
    assert exact.predict(config).method.startswith("first")
    assert exact.evolve(config).how["chosen"] == "first"
    assert calls == ["first"]


def test_a_result_that_misses_its_tolerance_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    solvers = {
        "coarse": stand_in(a_solution(1e-2), 1.0, calls, "coarse"),
        "better": stand_in(a_solution(1e-3), 2.5, calls, "better"),
        "worse": stand_in(a_solution(5e-3), 3.0, calls, "worse"),
        "too_slow": stand_in(a_solution(1e-6), 1e4, calls, "too_slow"),
    }
    monkeypatch.setattr(exact, "SOLVERS", solvers)
    solution = exact.evolve(interacting_bosons(2))
    assert calls == ["coarse", "better", "worse"]
    # the best of those that missed it, marked
    assert solution.how["chosen"] == "better"
    assert not solution.converged
    assert solution.warning


def test_a_solver_that_gives_up_is_followed_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    _, prediction = stand_in(a_solution(1e-5), 1.0, calls, "")

    def give_up(config: Config, **options: Any) -> Solution:
        raise ConfigError("the state outgrows every grid", key="time.end")

    good = stand_in(a_solution(1e-5), 2.5, calls, "good")
    monkeypatch.setattr(exact, "SOLVERS", {"short": (give_up, prediction), "good": good})
    assert exact.evolve(interacting_bosons(2)).how["chosen"] == "good"
    monkeypatch.setattr(exact, "SOLVERS", {"short": (give_up, prediction)})
    with pytest.raises(ConfigError, match="outgrows every grid"):
        exact.evolve(interacting_bosons(2))


def test_nobody_can_treat_it(monkeypatch: pytest.MonkeyPatch) -> None:
    config = interacting_bosons(2)
    large = replace(Prediction("large", "many points", 1 << 60), seconds=1.0)
    monkeypatch.setattr(exact, "SOLVERS", {"large": (lambda config: None, lambda config: large)})
    with pytest.raises(ConfigError, match=r"no exact solver.*large.*baselines\.memory"):
        exact.candidates(config)
