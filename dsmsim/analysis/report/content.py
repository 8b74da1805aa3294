"""What a report says in words and tables: verdict, errors, checks, settings, and where it all comes from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dsmsim.analysis.tables import FLOORS, METRICS, OWN, TRAIN_MORE
from dsmsim.config import Config
from dsmsim.config.defaults import settings_of
from dsmsim.config.problems import shown
from dsmsim.store import Attributes, Results

Group = Mapping[str, NDArray[Any]]
Outcome = Literal["passed", "failed", "unchecked"]

CHECKS_IN_WORDS = {
    "score": "The osmotic velocity u is the logarithmic gradient of the density that the samples have: "
    "E[div f + (2m/ħ) u·f] = 0 for every function f.",
    "continuity": "Averages change as the current velocity v moves the samples: the continuity equation.",
    "newton": "Momenta change as the forces say: Newton's law for averages.",
    "curl": "Both velocities are gradients: their curls vanish.",
    "kohn": "The centre of mass moves as Kohn's theorem says, whatever the interaction.",
    "energy drift": "The energy changes only where the potential does.",
}
_HEADLINES = {
    "variance_error_mean": "mean relative error of the variance {}",
    "density_l1_mean": "mean L1 distance of the densities {}",
}


@dataclass(frozen=True)
class Verdict:
    """Whether the results can be trusted, as far as they can tell.

    Attributes:
        outcome: of the checks.
        headline: in one line.
        sentences: the reasons, with numbers.
    """

    outcome: Outcome
    headline: str
    sentences: list[str]


def verdict(results: Results, attributes: Attributes) -> Verdict:
    """The verdict on results from their checks, their errors and what a solver says of itself."""
    sentences = [sentence for name, group in errors_of(results).items() for sentence in _errors(name, group)]
    own = attributes.get("observables", {})
    estimate = own.get("error_estimate")
    if isinstance(estimate, float) and not math.isnan(estimate):
        sentences.insert(0, f"The solver's own error estimate is {number(estimate)}.")
    if own.get("warning"):
        sentences.insert(0, str(own["warning"]))
    checks = results.get("checks")
    if checks is not None:
        return _of_checks(checks, sentences, TRAIN_MORE + "." if "training" in results else "")
    if not own.get("converged", True):
        return Verdict("failed", "Not converged: do not trust this result", sentences)
    headline = "Converged" if "converged" in own else "No checks were made"
    return Verdict("passed" if "converged" in own else "unchecked", headline, sentences)


def _of_checks(checks: Group, sentences: list[str], remedy: str) -> Verdict:
    passed = np.asarray(checks["passed"], dtype=bool)
    if passed.all():
        return Verdict("passed", f"All {len(passed)} checks passed", sentences)
    failed = [str(name) for name in np.asarray(checks["check"])[~passed]]
    worst = f"The fields are not yet what their own samples say: {', '.join(failed)}. {remedy}"
    return Verdict("failed", f"{len(failed)} of {len(passed)} checks failed", [worst, *sentences])


def errors_of(results: Results) -> dict[str, Group]:
    """The errors by name of the reference."""
    return {
        group.partition("/")[2]: arrays for group, arrays in results.items() if group.startswith("errors/")
    }


def _errors(reference: str, errors: Group) -> list[str]:
    parts = []
    for name, text in _HEADLINES.items():
        if name in errors:
            percent = name.startswith("variance")
            floor = errors.get(FLOORS[name])
            beside = "" if floor is None else f" (sampling alone: {_amount(floor, percent)})"
            parts.append(text.format(_amount(errors[name], percent)) + beside)
    found = [f"Against {reference}: {', '.join(parts)}."] if parts else []
    if "reference_error" in errors and not errors.get("reference_converged", 0):
        found.append(reference_note(errors))
    return found


def reference_note(errors: Group) -> str:
    """What a reference says of itself; empty where it says nothing."""
    if "reference_error" not in errors:
        return ""
    estimate = f"its own error estimate is {number(errors['reference_error'])}"
    if errors.get("reference_converged", 0):
        return f"The reference is converged: {estimate}."
    return f"The reference is NOT converged: {estimate}; trust no distance below that."


def _amount(value: Any, percent: bool) -> str:
    return f"{100.0 * float(value):.2g} %" if percent else number(value)


def number(value: Any) -> str:
    """Three digits, as in the terminal."""
    return f"{float(value):.3g}"


@dataclass(frozen=True)
class ErrorRow:
    """One metric: its name and meaning, its value with its spread, and what to hold it against."""

    name: str
    words: str
    value: str
    spread: str
    floor: str
    ratio: str
    own: str


def error_rows(errors: Group) -> list[ErrorRow]:
    """The errors against one reference, in the order of the terminal's table."""
    rows = []
    for name, words in METRICS.items():
        if name not in errors:
            continue
        spread = next((errors[s] for s in (f"{name}_std", f"{name}_stderr") if s in errors), None)
        floor = errors.get(FLOORS.get(name, f"{name}_floor"))
        ratio = "" if floor is None or not float(floor) > 0.0 else number(errors[name] / floor)
        rows.append(
            ErrorRow(
                name,
                words,
                number(errors[name]),
                "" if spread is None else number(spread),
                "" if floor is None else number(floor),
                ratio,
                number(errors[OWN[name]]) if OWN.get(name, "") in errors else "",
            )
        )
    return rows


@dataclass(frozen=True)
class CheckRow:
    """One check: its numbers as text, the part of the tolerance that it uses, and whether it passed."""

    name: str
    value: str
    expected: str
    deviation: str
    tolerance: str
    used: float
    passed: bool


def check_families(checks: Group) -> list[tuple[str, list[CheckRow]]]:
    """The checks with what each family of them is about, in the order in which they were made."""
    families: dict[str, list[CheckRow]] = {}
    for k, name in enumerate(map(str, checks["check"])):
        deviation, tolerance = float(checks["deviation"][k]), float(checks["tolerance"][k])
        row = CheckRow(
            name,
            f"{number(checks['value'][k])} ± {number(checks['stderr'][k])}",
            number(checks["expected"][k]),
            number(deviation),
            number(tolerance),
            min(1.0, deviation / tolerance) if tolerance > 0.0 else float(deviation > 0.0),
            bool(checks["passed"][k]),
        )
        families.setdefault(name.partition(":")[0], []).append(row)
    return [(CHECKS_IN_WORDS.get(family, ""), rows) for family, rows in families.items()]


@dataclass(frozen=True)
class SettingRow:
    """A setting as TOML writes it, and whether a user chose it."""

    key: str
    value: str
    default: str
    meaning: str
    chosen: bool


def setting_rows(config: Config) -> list[SettingRow]:
    """All settings, in the order of the input."""
    return [
        SettingRow(
            s.key, _shown(s.value), _shown(s.default), s.meaning, not s.is_default and not s.is_physics
        )
        for s in settings_of(config)
    ]


def _shown(value: Any) -> str:
    return "absent" if value is None else shown(value)


def solved_by(results: Results, attributes: Attributes) -> list[str]:
    """Sentences about the method, the samples and the work."""
    own, source = attributes.get("observables", {}), attributes.get("provenance", {})
    sentences = [f"Method: {own['method']}."] if "method" in own else []
    march = attributes.get("march", {})
    if "parameters" in march:
        steps = len(results.get("march", {}).get("step", [0])) - 1
        ansatz = str(march.get("ansatz", ""))
        sentences.append(
            f"{march['parameters']:,} parameters{f' ({ansatz})' if ansatz else ''} followed their equations "
            f"of motion in {steps:,} steps, by {march.get('walkers', 0):,} walkers."
        )
    training = results.get("training", {})
    if "epoch" in training and len(training["epoch"]):
        count = sum(
            array.size for name, group in results.items() if _is_network(name) for array in group.values()
        )
        sentences.append(
            f"Networks of {count:,} numbers were trained for {int(training['epoch'][-1]):,} epochs."
            if count
            else f"{int(training['epoch'][-1]):,} epochs of training."
        )
    if "samples" in own:
        how = ", drawn from Sobol points" if own.get("draws") == "sobol" else ""
        sentences.append(
            f"Averages are over {int(own['samples']):,} samples{how}; bands are ±2 standard errors."
        )
    if "wall_seconds" in source:
        ranks = int(source.get("world_size", 1))
        cpu = f", {duration(source['cpu_seconds'])} of CPU time" if "cpu_seconds" in source else ""
        sentences.append(
            f"It took {duration(source['wall_seconds'])} on {ranks} rank{'s' if ranks > 1 else ''}{cpu}."
        )
    return sentences


def _is_network(group: str) -> bool:
    return group.startswith("model/") and group != "model/march"


def duration(seconds: float) -> str:
    """A time in seconds, minutes or hours."""
    if seconds < 100.0:
        return f"{seconds:.3g} s"
    return f"{seconds / 60.0:.3g} min" if seconds < 6000.0 else f"{seconds / 3600.0:.3g} h"


_SOURCES = {
    "finished": "finished",
    "command": "command",
    "seed": "seed",
    "hosts": "hosts",
    "devices": "devices",
    "world_size": "ranks",
    "launcher": "launcher",
    "platform": "platform",
    "git_commit": "commit of the source",
    "git_changed": "source changed since that commit",
    "changes": "changes of the input on the way",
    "physics_hash": "sha256 of the physics",
}


def origin_rows(attributes: Attributes) -> list[tuple[str, str]]:
    """Where the results come from: what and its value."""
    source = attributes.get("provenance", {})
    rows = [(words, _text(name, source[name])) for name, words in _SOURCES.items() if name in source]
    versions = [
        f"{name.removesuffix('_version')} {value}"
        for name, value in source.items()
        if name.endswith("_version")
    ]
    rows += [("versions", ", ".join(versions))] if versions else []
    rows += [(name, str(value)) for name, value in source.items() if name.startswith("slurm_")]
    return rows


def _text(name: str, value: Any) -> str:
    if name == "git_changed":
        return "yes" if value else "no"
    if isinstance(value, Sequence) and not isinstance(value, str):
        unique = list(dict.fromkeys(map(str, value)))
        return ", ".join(unique)
    return str(value)
