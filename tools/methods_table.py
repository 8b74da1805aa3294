"""Every method on every case, one table: errors with error bars and floors, energy drift, CPU seconds.

    python tools/methods_table.py [--out runs/methods] [--cases two_bosons ...] [--methods dsm tvmc ...]
                                  [--limit 1800] [--quick]

A case is a file of `inputs/`, taken as it is; a method solves it on one core with its own defaults, as
`dsmsim run` or `dsmsim baseline` does. Results lie in OUT/CASE/METHOD. What is there is kept, what was
interrupted is resumed where the method can be, the rest is run: delete a directory to have it made again.
Errors are against the closed form where there is one, else against `exact`. "-" stands where a method refuses
the problem, would take longer than --limit seconds by its own prediction, or failed; the reasons stand below
the table. --quick makes everything small, in OUT/quick: a trial of the program, not of the methods.

The table is printed and written to OUT/methods.md, every number to OUT/methods.csv.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import tomli_w

from dsmsim.analysis import Entry
from dsmsim.config import Config, load_config
from dsmsim.errors import ConfigError, DsmsimError
from dsmsim.methods.comparing import compare_several
from dsmsim.methods.installed import entry_of, predict
from dsmsim.methods.references import CLOSED_FORM, has_closed_form, require_memory, shown_seconds
from dsmsim.store import RunDirectory

ROOT = Path(__file__).resolve().parents[1]
CASES = {
    "oscillator_zero_phase": "1-d trap, zero phase",
    "oscillator_phase": "1-d trap, phase -5x",
    "oscillator_3d": "3-d trap, zero phase",
    "two_bosons": "2 bosons, g = 1",
    "three_bosons": "3 bosons, g = 1",
    "four_bosons": "4 bosons, g = 1",
    "five_bosons": "5 bosons, g = 1",
}
METHODS = ("dsm", "tvmc", "pinn", "gaussian_sampling", "crank_nicolson", "fock")
TITLES = {"dsm": "DSM", "tvmc": "t-VMC", "pinn": "PINN", "gaussian_sampling": "Gaussian sampling"}
TITLES |= {"crank_nicolson": "Crank-Nicolson", "fock": "Fock space"}
QUICK: dict[str, dict[str, Any]] = {
    "time": {"save": 11},
    "train": {"epochs": 20},
    "evaluation": {"samples": 4000, "trials": 10, "bins": 40},
    "baselines": {
        "crank_nicolson": {"tolerance": 0.02},
        "fock": {"tolerance": 0.01},
        "tvmc": {"walkers": 512},
        "pinn": {"epochs": 20},
    },
}
REASON = "reason.txt"  # why there are no results, in a method's directory


def merged(data: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Tables with other values in them."""
    nested = {
        key: merged(data.get(key, {}), value) if isinstance(value, dict) else value
        for key, value in changes.items()
    }
    return data | nested


def input_of(case: str, directory: Path, quick: bool) -> Path:
    """The input of a case, without references and figures of its own, in its directory."""
    data = load_config(ROOT / "inputs" / f"{case}.toml").to_dict()
    data = merged(data, {"compare": {"with": []}, "output": {"figures": False}})
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / "input.toml"
    file.write_text(tomli_w.dumps(merged(data, QUICK) if quick else data), encoding="utf-8")
    return file


def refusal(method: str, config: Config, limit: float) -> str:
    """Why a method is not run, "" if it is."""
    if method == "dsm":
        return ""
    if entry_of(method) is None:
        return "not installed"
    try:
        prediction = predict(method, config)
        if prediction is None:
            return ""
        require_memory(config, method, prediction)
    except ConfigError as error:
        return f"not applicable: {error}"
    if prediction.seconds is not None and prediction.seconds > limit:
        return f"not run: {prediction.points} would take {shown_seconds(prediction.seconds)}"
    return ""


def solve(method: str, file: Path, directory: Path) -> str:
    """Have results in a directory; why there are none, or "".

    The program is started anew for each method, with one thread, so that no method's caches or imports are
    another one's gain.
    """
    run, reason = RunDirectory(directory), directory / REASON
    if run.results.is_file():
        return ""
    if reason.is_file():
        return reason.read_text(encoding="utf-8")
    if any(run.checkpoints.glob("*.h5")):
        command = ["resume", str(directory)]
    else:
        name = ["run"] if method == "dsm" else ["baseline", method]
        command = [*name, str(file), "--out", str(directory), "--overwrite"]
    print(f"{directory}: dsmsim {command[0]}", file=sys.stderr, flush=True)
    done = subprocess.run(
        [sys.executable, "-m", "dsmsim", *command],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    if done.returncode == 0:
        return ""
    said = (done.stderr.strip().splitlines() or [""])[-1].removeprefix("dsmsim: ")
    text = f"{'not applicable' if done.returncode == 2 else f'failed with code {done.returncode}'}: {said}"
    if done.returncode in (2, 3):  # it would end the same way again
        directory.mkdir(parents=True, exist_ok=True)
        reason.write_text(text, encoding="utf-8")
    return text


def entry_of_case(method: str, file: Path, limit: float) -> Entry | str:
    """The errors of a method on a case, or why there are none."""
    config, directory = load_config(file), file.parent / method
    if not RunDirectory(directory).results.is_file():
        reason = refusal(method, config, limit) or solve(method, file, directory)
        if reason:
            return reason
    reference = Path(CLOSED_FORM)
    if not has_closed_form(config):
        reference = file.parent / "exact"
        reason = solve("exact", file, reference)
        if reason:
            return f"no reference: {reason}"
    try:
        (entry,) = compare_several([directory], reference)
    except DsmsimError as error:
        return str(error)
    return entry


def one_line(lines: Sequence[str]) -> str:
    """A cell: the value, its error bar, and in brackets its floor and the like."""
    value = [line for line in lines[1:] if line.startswith("±")]
    rest = [line.strip("()") for line in lines[1:] if not line.startswith("±")]
    return " ".join([lines[0], *value, *([f"({', '.join(rest)})"] if rest else [])])


def numbers(entry: Entry) -> dict[str, Any]:
    """Everything that can be said of a result in one row of numbers."""
    found: dict[str, Any] = {name: float(value) for name, value in entry.errors.items() if value.ndim == 0}
    found |= {"cpu_seconds": entry.cpu_seconds, "solve_cpu_seconds": entry.solve_cpu_seconds}
    checks = entry.stored.results.get("checks")
    if checks is not None:
        found |= {"checks_passed": int(sum(checks["passed"])), "checks": len(checks["passed"])}
    return found


def rows(
    out: Path, cases: Sequence[str], methods: Sequence[str], limit: float, quick: bool
) -> Iterator[tuple[str, str, Entry | str]]:
    """Case, method and what came of it; whatever is missing is computed on the way."""
    for case in cases:
        file = input_of(case, out / case, quick)
        for method in methods:
            yield case, method, entry_of_case(method, file, limit)


def main() -> None:
    """Print and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "methods", help="where results are kept")
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument(
        "--limit", type=float, default=1800.0, help="seconds a method may be predicted to take"
    )
    parser.add_argument("--quick", action="store_true", help="small settings, to try the program")
    args = parser.parse_args()
    out = args.out / "quick" if args.quick else args.out

    table, notes, records = [], [], []
    header: list[str] = []
    for case, method, found in rows(out, args.cases, args.methods, args.limit, args.quick):
        record: dict[str, Any] = {"case": case, "method": method}
        if isinstance(found, str):
            notes.append(f"- {CASES[case]}, {TITLES[method]}: {found}")
            table.append([CASES[case], TITLES[method]])
            record["reason"] = found
        else:
            cells = {name.replace("\n", " "): one_line(lines) for name, lines in found.cells().items()}
            how = found.stored.attributes.get("observables", {})
            if how.get("warning"):
                notes.append(f"- {CASES[case]}, {TITLES[method]}: {how['warning']}")
            del cells["result"], cells["method"]
            header = ["case", "method", *cells]
            table.append([CASES[case], TITLES[method], *cells.values()])
            record |= numbers(found)
        records.append(record)
    header = header or ["case", "method"]
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join([*row, *["-"] * (len(header) - len(row))]) + " |" for row in table]
    text = "\n".join([*lines, *(["", *notes] if notes else [])])
    print(text)
    out.mkdir(parents=True, exist_ok=True)
    (out / "methods.md").write_text(f"{text}\n", encoding="utf-8")
    names = list(dict.fromkeys(name for record in records for name in record))
    with (out / "methods.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(records)


if __name__ == "__main__":
    main()
