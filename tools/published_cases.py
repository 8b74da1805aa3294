"""Train the four published single-particle cases and print their errors as the table of the README.

    python tools/published_cases.py [--out runs/published]

Each case is `inputs/oscillator_*.toml`, trained on one core and compared with its closed form. A case that
is there already is read, not trained again. "Exact" puts the closed-form velocities in place of the trained
ones and samples with the same random numbers: what is left of an error then is the noise of the samples.
Published figures: Orlova et al., "Deep Stochastic Mechanics" (ICML 2024), from the authors' notebooks.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dsmsim.analysis import closed_form_like, compare
from dsmsim.config import Config, load_config
from dsmsim.parallel import World
from dsmsim.store import RunDirectory, StoredResults, read_results
from dsmsim.system import ClosedForm, closed_form
from dsmsim.training.evaluate import evaluate
from dsmsim.training.state import new_state

ROOT = Path(__file__).resolve().parents[1]

# name: (title, published E_m, published E_v, published cost); the singular start's E_m is absolute
CASES = {
    "oscillator_zero_phase": ("1-d trap, zero phase", "0.108", "0.0220", "3 h, GPU"),
    "oscillator_phase": ("1-d trap, phase -5x", "0.156", "0.0180", "1 h, GPU"),
    "oscillator_3d": ("3-d trap, zero phase", "0.087", "0.0131", "hours, GPU"),
    "oscillator_singular": ("1-d, singular start", "0.0093", "0.0190", "6 min, GPU"),
}
HEADER = (
    *("case", "E_m", "exact", "published", "E_v", "exact", "published", "E_v, all samples", "exact"),
    *("E_u", "E_v_field", "training, one core", "published"),
)


class ExactFields(nn.Module):
    """The closed form's (u, v) in the place of trained fields."""

    def __init__(self, exact: ClosedForm, frame: nn.Module) -> None:
        super().__init__()
        self.exact, self.frame = exact, frame

    def forward(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """(u, v), each (B, n), at x (B, n) and t (B, 1)."""
        return self.exact.u(x, t), self.exact.v(x, t)


def train(name: str, out: Path) -> StoredResults:
    """Run one case on one thread unless its results are there, and read them."""
    run = RunDirectory(out / name)
    if not run.results.is_file():
        command = "resume" if any(run.checkpoints.glob("*.h5")) else "run"
        target = str(run.path) if command == "resume" else str(ROOT / "inputs" / f"{name}.toml")
        options = [] if command == "resume" else ["--out", str(run.path)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        arguments = [sys.executable, "-m", "dsmsim", command, target, *options]
        subprocess.run(arguments, check=True, env=environment)
    return read_results(run.results)


def exact_errors(config: Config) -> Mapping[str, Any]:
    """Errors of the exact solution, sampled with the random numbers of the trained run."""
    exact, world = closed_form(config), World()
    assert exact is not None, "the four cases have closed forms"
    state: Any = new_state(config, world)
    state.fields = ExactFields(exact, state.fields.frame)
    sums = evaluate(config, state, world, lambda done, total: None).sums
    results = {"observables": sums.observables(), "density": sums.density()}
    reference = closed_form_like(config, results)
    assert reference is not None
    return compare(results, reference)


def row(name: str, stored: StoredResults, exact: Mapping[str, Any]) -> list[str]:
    """One line of the table."""
    title, published_mean, published_variance, cost = CASES[name]
    errors = stored.results["errors/closed_form"]
    mean = "E_m" if "E_m" in errors else "E_m_abs"

    def number(group: Mapping[str, Any], key: str) -> str:
        value = f"{float(group[key]):.3g}" if key in group else "-"
        return f"{value} ± {float(group[key + '_std']):.2g}" if f"{key}_std" in group else value

    return [
        title,
        number(errors, mean),
        number(exact, mean),
        published_mean,
        number(errors, "E_v"),
        number(exact, "E_v"),
        published_variance,
        number(errors, "E_v_all"),
        number(exact, "E_v_all"),
        number(errors, "E_u"),
        number(errors, "E_v_field"),
        f"{float(stored.results['training']['seconds'][-1]):.0f} s",
        cost,
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "published", help="where the runs go")
    out = parser.parse_args().out
    torch.set_num_threads(1)
    rows = []
    for name in CASES:
        stored = train(name, out)
        rows.append(row(name, stored, exact_errors(load_config(ROOT / "inputs" / f"{name}.toml"))))
    print("| " + " | ".join(HEADER) + " |")
    print("|" + "---|" * len(HEADER))
    for cells in rows:
        print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
