"""How good and how dear a sampled baseline is, over several seeds.

    OMP_NUM_THREADS=1 python tools/bench/rivals.py tvmc inputs/two_bosons.toml inputs/five_bosons.toml
                      [--seeds 5] [--set baselines.tvmc.walkers=4096 ...] [--keep DIR]

Solves each input with each seed by the baseline (`tvmc` or `pinn`), compares with an exact solution, and
prints for each seed and as the median over the seeds:

    CPU seconds of the solution itself, and with the sampling and measuring of its observables
    largest and mean relative error of Var x_1 over the saved times, and that at the end
    largest and mean density L1, with the floor that sampling alone would give
    largest change of the energy, relative to its first value
    how many of the checks without a reference failed

Seeds run one after the other in one process, after a very short solution that compiles what has to be. The
exact solution is that of `dsmsim baseline exact`.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import tempfile
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from settings import changed

from baselines.exact import evolve as exact_evolve
from dsmsim.analysis import compare
from dsmsim.config import Config, parse_config
from dsmsim.errors import DivergedError
from dsmsim.store import read_results

COLUMNS = "   solve   total | Var max    mean     end | L1 max    mean   floor | energy | failed"


def row(config: Config, method: str, directory: Path, exact: dict[str, Any]) -> list[float]:
    """The numbers of one seed, in the order of `COLUMNS`."""
    import_module(f"baselines.{method}").solve(config, directory)
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
    settings = [f"evaluation.samples={20 * trials}", "baselines.pinn.epochs=2"]
    config = parse_config(changed({**copy.deepcopy(data), **small}, settings))
    import_module(f"baselines.{method}").solve(config, directory)


def line(values: list[float]) -> str:
    """One line of the table."""
    solve, total, *errors, l1_max, l1_mean, floor, energy, failed = values
    shown = " ".join(f"{value:7.3f}" for value in errors)
    return (
        f"{solve:8.2f}{total:8.2f} | {shown} | {l1_max:6.4f} {l1_mean:7.4f} {floor:7.4f} "
        f"| {energy:6.3f} | {failed:3.0f}"
    )


def main() -> None:
    """Read the arguments, solve, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("method", choices=["tvmc", "pinn"])
    parser.add_argument("inputs", nargs="+", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--keep", type=Path, help="directory for the results")
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        place = arguments.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for file in arguments.inputs:
            data = changed(tomllib.loads(file.read_text(encoding="utf-8")), arguments.set)
            exact = dict(exact_evolve(parse_config(data)).groups)
            print(f"\n{file.stem}, {arguments.method}: errors of Var and energy in per cent\nseed {COLUMNS}")
            rows = []
            warm_up(data, arguments.method, place / "warm-up")
            for seed in range(1, arguments.seeds + 1):
                config = parse_config({**data, "seed": seed})
                try:
                    rows.append(row(config, arguments.method, place / f"{file.stem}-{seed}", exact))
                    print(f"{seed:4d} {line(rows[-1])}", flush=True)
                except DivergedError as error:
                    print(f"{seed:4d} {error}", flush=True)
            if rows:
                print(f" med {line(np.median(np.array(rows), axis=0).tolist())}", flush=True)


if __name__ == "__main__":
    main()
