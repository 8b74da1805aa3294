"""How good and how dear sampled solutions are, over several seeds.

    OMP_NUM_THREADS=1 python tools/bench/rivals.py tvmc inputs/two_bosons.toml inputs/five_bosons.toml
                      [--seeds 5] [--set baselines.tvmc.walkers=4096 ...] [--keep DIR]
    OMP_NUM_THREADS=1 python tools/bench/rivals.py march,tvmc inputs/march_five_bosons.toml
                      [--set march.walkers=1024 --set march.dt=0.03125 --set evaluation.samples=163840]

Solves each input with each seed by each method (`march`: `dsmsim run` with train.mode = "march"; the
baselines `tvmc` and `pinn`), which take turns, compares with an exact solution, and prints for each seed and
as the median over the seeds:

    CPU seconds of the solution itself, and with the sampling and measuring of its observables
    largest and mean relative error of Var x_1 over the saved times, and that at the end
    largest and mean density L1, with the floor that sampling alone would give
    largest change of the energy, relative to its first value
    how many of the checks without a reference failed

Seeds run one after the other in one process, after a very short solution that compiles what has to be. The
exact solution is that of `dsmsim baseline exact`. Of several methods the ratio of the first one's seconds to
those of each other, run beside it with the same seed, ends the output: median and range.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from baselines.exact import evolve as exact_evolve
from dsmsim.analysis import compare
from dsmsim.config import Config, parse_config, with_settings
from dsmsim.errors import DivergedError
from dsmsim.store import read_results

MODULES = {"march": "dsmsim.training.dsm", "tvmc": "baselines.tvmc", "pinn": "baselines.pinn"}
COLUMNS = "   solve   total | Var max    mean     end | L1 max    mean   floor | energy | failed"


def row(config: Config, method: str, directory: Path, exact: dict[str, Any]) -> list[float]:
    """The numbers of one seed, in the order of `COLUMNS`."""
    import_module(MODULES[method]).solve(config, directory)
    stored = read_results(directory / "results.h5")
    errors = compare(stored.results, exact)
    observables = stored.results["observables"]
    error, energy = errors["variance_error"], observables["energy"]
    true = np.interp(
        observables["time"], exact["observables"]["time"], exact["observables"]["variance"][:, 0, 0]
    )
    last = float(observables["variance"][-1].mean() / true[-1] - 1.0)
    costs = stored.attributes["provenance"]
    return [
        float(costs["solve_cpu_seconds"]),
        float(costs["cpu_seconds"]),
        *(100.0 * float(value) for value in (error.max(), error.mean(), last)),
        *(float(errors[f"density_l1_{name}"]) for name in ("max", "mean", "floor")),
        100.0 * float(np.abs(energy / energy[0] - 1.0).max()),
        float(np.count_nonzero(stored.results["checks"]["passed"] == 0)),
    ]


def warm_up(data: dict[str, Any], method: str, directory: Path) -> None:
    """Compile, or fetch from disk, what the solution needs, by one over a very short time."""
    small = {"time": {**data["time"], "end": 1e-3 * data["time"]["end"], "save": 2}}
    trials = data.get("evaluation", {}).get("trials", 10)
    settings = [f"evaluation.samples={20 * trials}", "baselines.pinn.epochs=2", 'march.dt="auto"']
    config = parse_config(with_settings({**data, **small}, settings))
    import_module(MODULES[method]).solve(config, directory)


def line(values: list[float]) -> str:
    """One line of the table."""
    solve, total, *errors, l1_max, l1_mean, floor, energy, failed = values
    shown = " ".join(f"{value:7.3f}" for value in errors)
    return (
        f"{solve:8.2f}{total:8.2f} | {shown} | {l1_max:6.4f} {l1_mean:7.4f} {floor:7.4f} "
        f"| {energy:6.3f} | {failed:3.0f}"
    )


def take_turns(data: dict[str, Any], methods: list[str], seeds: int, place: Path) -> None:
    """One problem: every seed by every method in turn, and the table."""
    exact = dict(exact_evolve(parse_config(data)).groups)
    print(f"errors of Var and energy in per cent\nseed method {COLUMNS}")
    for method in methods:
        warm_up(data, method, place / f"warm-up-{method}")
    rows: dict[str, dict[int, list[float]]] = {method: {} for method in methods}
    for seed in range(1, seeds + 1):
        for method in methods:
            config = parse_config({**data, "seed": seed})
            try:
                rows[method][seed] = row(config, method, place / f"{method}-{seed}", exact)
                print(f"{seed:4d} {method:6} {line(rows[method][seed])}", flush=True)
            except DivergedError as error:
                print(f"{seed:4d} {method:6} {error}", flush=True)
    for method, found in rows.items():
        if found:
            print(f" med {method:6} {line(np.median(list(found.values()), axis=0).tolist())}", flush=True)
    first, *others = methods
    for other in others:
        both = rows[first].keys() & rows[other].keys()
        ratios = [rows[first][seed][0] / rows[other][seed][0] for seed in both]
        if ratios:
            print(
                f"seconds of {first} / {other}: {np.median(ratios):.2f} "
                f"({min(ratios):.2f} to {max(ratios):.2f})"
            )


def main() -> None:
    """Read the arguments, solve, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("methods", help=f"one or several of {', '.join(MODULES)}, separated by commas")
    parser.add_argument("inputs", nargs="+", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--keep", type=Path, help="directory for the results, which must be empty")
    arguments = parser.parse_args()
    methods = arguments.methods.split(",")
    unknown = [method for method in methods if method not in MODULES]
    if unknown:
        parser.error(f"no method {unknown[0]}: there are {', '.join(MODULES)}")
    settings = [*arguments.set, *(['train.mode="march"'] if "march" in methods else [])]
    with contextlib.ExitStack() as stack:
        place = arguments.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for file in arguments.inputs:
            print(f"\n{file.stem}: ", end="")
            data = with_settings(tomllib.loads(file.read_text(encoding="utf-8")), settings)
            take_turns(data, methods, arguments.seeds, place / file.stem)


if __name__ == "__main__":
    main()
