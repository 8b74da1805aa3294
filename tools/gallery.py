"""The gallery of the documentation: docs/gallery.md with its pictures, made from real runs.

    OMP_NUM_THREADS=1 python tools/gallery.py [--out runs/gallery] [--only well two_bosons ...] [--draw]

Runs every case below as `dsmsim run` does, into OUT; a run that is finished there is kept (delete it to have
it made again), one that was interrupted is resumed. Then draws the figures anew, takes those that a case
names into docs/gallery/, and writes docs/gallery.md: the opening comment of the input, the errors that the
run itself found, and the pictures. --draw runs nothing. About five minutes on one core.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from dsmsim.analysis import plot_run
from dsmsim.config import load_config
from dsmsim.store import StoredResults, read_results

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
QUALITY = 90  # of WebP

HEADER = """\
# Gallery

Made from real runs by `python tools/gallery.py`, each from its input alone; all numbers were measured by the
runs themselves. Errors are against the exact solution, beside what an exact sampler of as many samples would
show.
"""


@dataclass(frozen=True)
class Case:
    """One input and what of it is shown.

    Attributes:
        input: path from the root of the project.
        figures: names, without ending, and what there is to see.
    """

    input: str
    figures: dict[str, str]

    @property
    def name(self) -> str:
        """The name of the input."""
        return Path(self.input).stem


CASES = (
    Case(
        "docs/examples/well.toml",
        {"density": "The cloud parts: the run, the exact solution, their difference."},
    ),
    Case(
        "inputs/two_bosons.toml",
        {
            "density": "A trained network: density over time beside the exact one.",
            "training": "Loss of the training.",
        },
    ),
    Case(
        "inputs/march_five_bosons.toml",
        {
            "density": "Five bosons push each other apart.",
            "moments": "Means and variances with bands of two standard errors.",
            "march": "What marched: residual, energy, walkers.",
        },
    ),
    Case(
        "inputs/march_moving_trap.toml",
        {
            "density": "The cloud follows the trap and splits meanwhile.",
            "energy": "Energy, which changes while the trap moves, and the centre of mass.",
        },
    ),
    Case(
        "docs/examples/correlations.toml",
        {
            "trajectories": "Some trajectories of the flow without noise, two bosons each.",
            "pair_density": "Where two bosons are found together.",
            "g2": "The same relative to independent particles: 1.",
            "distributions": "Distance, centre of mass, quantiles.",
            "density_matrix": "One-body density matrix.",
            "occupations": "How many states the bosons are in.",
            "momentum": "Distribution of the momenta.",
        },
    ),
    Case("inputs/march_two_dimensions.toml", {"density": "Three bosons in a plane: density along x."}),
)


def main() -> None:
    """Run, draw, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "gallery", help="where the runs are")
    parser.add_argument("--only", nargs="+", help="cases to run; all are drawn")
    parser.add_argument("--draw", action="store_true", help="run nothing")
    options = parser.parse_args()
    if not options.draw:
        for case in CASES:
            if options.only is None or case.name in options.only:
                run(case, options.out / case.name)
    sections = [section(case, options.out / case.name) for case in CASES]
    (DOCS / "gallery.md").write_text("\n".join([HEADER, *sections]).rstrip() + "\n", encoding="utf-8")


def run(case: Case, out: Path) -> None:
    """`dsmsim run` of the case, unless it is there."""
    command = [sys.executable, "-m", "dsmsim", "run", str(ROOT / case.input), "--out", str(out), "--resume"]
    subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})


def section(case: Case, directory: Path) -> str:
    """The part of the page about one case, its pictures made."""
    if not (directory / "results.h5").is_file():
        raise SystemExit(f"{directory} has no results: run the case first")
    lines = [f"## {load_config(ROOT / case.input).title}", "", physics(ROOT / case.input), ""]
    lines += [
        "```text",
        f"$ dsmsim run {case.input}",
        "```",
        "",
        verdict(read_results(directory / "results.h5")),
        "",
    ]
    files = {file.stem: file for file in plot_run(directory)}
    for name, caption in case.figures.items():
        if name not in files:
            raise SystemExit(f"{directory} has no figure {name!r}, but {', '.join(files)}")
        picture = DOCS / "gallery" / f"{case.name}_{name}.webp"
        shrink(files[name], picture)
        lines += [f"```{{figure}} gallery/{picture.name}", f":alt: {case.name}: {name}", ":width: 640px", ""]
        lines += [caption, "```", ""]
    return "\n".join(lines)


def physics(file: Path) -> str:
    """The opening comment of an input without its commands, as Markdown."""
    comment = []
    for line in file.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        comment.append(line.removeprefix("# ").removeprefix("#"))
    return "\n".join(line for line in comment if "dsmsim " not in line).strip()


def verdict(stored: StoredResults) -> str:
    """Errors against the exact solution beside their floors, and how many checks passed, in one sentence."""
    passed = np.asarray(stored.results["checks"]["passed"])
    text = f"{int(passed.sum())} of {len(passed)} checks passed."
    errors = next((group for name, group in stored.results.items() if name.startswith("errors/")), None)
    if errors is None:
        return text
    parts = [
        f"{words} {percent(errors[f'{name}_mean'])} (sampling alone {percent(errors[f'{name}_floor'])})"
        for name, words in (("variance_error", "variance"), ("density_l1", "L1 distance of the density"))
        if f"{name}_floor" in errors
    ]
    return f"Errors, averaged over time: {', '.join(parts)}. {text}" if parts else text


def percent(value: object) -> str:
    """A relative error in words."""
    return f"{100.0 * float(np.asarray(value)):.2g} %"


def shrink(file: Path, picture: Path) -> None:
    """A smaller copy of a picture."""
    picture.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(file) as image:
        image.convert("RGB").save(picture, quality=QUALITY, method=6)


if __name__ == "__main__":
    main()
