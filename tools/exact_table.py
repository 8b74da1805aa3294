"""What exact answers cost: interacting bosons by every solver that can treat them, as the table of the docs.

    OMP_NUM_THREADS=1 python tools/exact_table.py [--bosons 2 3 4 5 6] [--g 1.0] [--tolerance 1e-4]
                                                  [--solvers relative_grid fock] [--limit 60]

The benchmark: hbar = 0.1, mass = omega = 1, Gaussian interaction with s2 = 0.1, from the non-interacting
ground state to t = 1, 101 saved times with everything that is read off them. A solver whose own prediction
is above --limit seconds is left out. "Distance" is the largest L1 distance over time of the one-body density
from that of the first solver in the list; "estimate" is the solver's own, which knows nothing of the others.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
from scipy.interpolate import CubicSpline

from baselines.exact import SOLVERS
from baselines.solution import Solution
from dsmsim.config import Config, parse_config
from dsmsim.errors import ConfigError


def bosons(particles: int, g: float) -> Config:
    """The benchmark."""
    system = {
        "particles": particles,
        "hbar": 0.1,
        "trap": {"kind": "harmonic", "omega": 1.0},
        "interaction": {"kind": "gaussian", "g": g, "s2": 0.1},
    }
    return parse_config({"system": system, "time": {"end": 1.0}})


def distance(one: Solution, other: Solution) -> float:
    """Largest L1 distance over time of two one-body densities."""
    ours, theirs = one.groups["density"], other.groups["density"]
    x = np.linspace(min(ours["x"][0], theirs["x"][0]), max(ours["x"][-1], theirs["x"][-1]), 2001)

    def at(group: Any) -> Any:
        values = CubicSpline(group["x"], group["density"], axis=1)(x)
        return np.where((x >= group["x"][0]) & (x <= group["x"][-1]), values, 0.0)

    return float(np.abs(at(ours) - at(theirs)).sum(axis=1).max() * (x[1] - x[0]))


def row(
    particles: int, g: float, name: str, args: argparse.Namespace, first: Solution | None
) -> Solution | None:
    """Solve by one solver and print its line; the solution, or None where it was left out."""
    evolve, predict = SOLVERS[name]
    start = f"| {particles} | {g:g} | {name} |"
    config = bosons(particles, g)
    try:
        prediction = predict(config)
        if prediction.seconds is not None and prediction.seconds > args.limit:
            print(f"{start} {prediction.points} | predicted {prediction.seconds:.0f} s |")
            return None
        started = time.perf_counter()
        solution = evolve(config, tolerance=args.tolerance)
    except ConfigError as error:
        print(f"{start} refused: {error} |")
        return None
    seconds = time.perf_counter() - started
    away = "" if first is None else f"{distance(solution, first):.1e}"
    variance = solution.groups["observables"]["variance"][-1, 0, 0]
    size = next((f"{solution.how[key]:,} {key}" for key in ("states", "points") if key in solution.how), "")
    mark = "" if solution.converged else " (not converged)"
    print(
        f"{start} {size} | {variance:.7f} | {solution.error_estimate:.1e}{mark} | {away} | {seconds:.1f} s |",
        flush=True,
    )
    return solution


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bosons", type=int, nargs="+", default=[2, 3, 4, 5, 6])
    parser.add_argument("--g", type=float, nargs="+", default=[1.0])
    parser.add_argument("--tolerance", type=float, default=1e-4)
    parser.add_argument("--solvers", nargs="+", choices=list(SOLVERS), default=list(SOLVERS))
    parser.add_argument("--limit", type=float, default=60.0, help="seconds a solver may be predicted to take")
    args = parser.parse_args()
    print("| bosons | g | solver | size | Var x1 at the end | estimate | distance | wall |")
    print("|---|---|---|---|---|---|---|---|")
    for particles in args.bosons:
        for g in args.g:
            first: Solution | None = None
            for name in args.solvers:
                solution = row(particles, g, name, args, first)
                first = first or solution


if __name__ == "__main__":
    main()
