"""Train the four published single-particle cases and print their errors as the table of the README.

    python tools/published_cases.py [--out runs/published]

Each case is `inputs/oscillator_*.toml`, trained on one core and compared with its closed form. A case that
is there already is read, not trained again. Published figures: Orlova et al., "Deep Stochastic Mechanics"
(ICML 2024), from the authors' notebooks.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from dsmsim.store import RunDirectory, StoredResults, read_results

ROOT = Path(__file__).resolve().parents[1]

# name: (title, published E_m, published E_v, published cost); the singular start's E_m is absolute
CASES = {
    "oscillator_zero_phase": ("1-d trap, zero phase", "0.108", "0.0220", "3 h, GPU"),
    "oscillator_phase": ("1-d trap, phase -5x", "0.156", "0.0180", "1 h, GPU"),
    "oscillator_3d": ("3-d trap, zero phase", "0.087", "0.0131", "hours, GPU"),
    "oscillator_singular": ("1-d, singular start", "0.0093 (abs)", "0.0190", "6 min, GPU"),
}
COLUMNS = (
    "case", "E_m (10⁴ samples)", "floor", "published", "E_v (10⁴ samples)", "floor", "published",
    "E_v (all samples)", "floor", "training", "published",
)  # fmt: skip


def train(name: str, out: Path) -> StoredResults:
    """Run one case on one thread unless its results are there, and read them."""
    run = RunDirectory(out / name)
    if not run.results.is_file():
        command = "resume" if run.resolved.is_file() and any(run.checkpoints.glob("*.h5")) else "run"
        target = str(run.path) if command == "resume" else str(ROOT / "inputs" / f"{name}.toml")
        options = [] if command == "resume" else ["--out", str(run.path), "--overwrite"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        arguments = [sys.executable, "-m", "dsmsim", command, target, *options]
        subprocess.run(arguments, check=True, env=environment)
    return read_results(run.results)


def row(name: str, stored: StoredResults) -> list[str]:
    """One line of the table."""
    title, published_mean, published_variance, cost = CASES[name]
    errors = stored.results["errors/closed_form"]
    mean = "E_m" if "E_m" in errors else "E_m_abs"

    def number(key: str) -> str:
        return f"{float(errors[key]):.3g}"

    seconds = float(stored.results["training"]["seconds"][-1])
    return [
        title,
        f"{number(mean)} ± {number(mean + '_std')}",
        number(f"{mean}_floor"),
        published_mean,
        f"{number('E_v')} ± {number('E_v_std')}",
        number("E_v_floor"),
        published_variance,
        number("E_v_all"),
        number("E_v_all_floor"),
        f"{seconds:.0f} s, one core",
        cost,
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "published", help="where the runs go")
    out = parser.parse_args().out
    rows = [row(name, train(name, out)) for name in CASES]
    print("| " + " | ".join(COLUMNS) + " |")
    print("|" + "---|" * len(COLUMNS))
    for cells in rows:
        print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
