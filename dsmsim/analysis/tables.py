"""Errors and checks as tables for the terminal.

Each error stands beside its sampling floor: an error near the floor says that more samples, not more
training, would lower it. Where the reference is a solver, its own error estimate stands there too: a distance
near it says nothing about the run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray
from rich.table import Table

from dsmsim.measure import Check, checks_group

# scalar metrics in the order shown, with what they are
METRICS = {
    "E_m": "mean, relative L2 over time",
    "E_m_all": "the same, all trials together",
    "E_m_abs": "mean, rms over time (true mean 0)",
    "E_m_abs_all": "the same, all trials together",
    "E_v": "variance, relative L2 over time",
    "E_v_all": "the same, all trials together",
    "variance_error_mean": "variance, mean relative error over time",
    "density_l1_mean": "density L1, mean over time",
    "density_l1_max": "density L1, largest over time",
    "pair_density_l1_mean": "two-body density L1, mean over time",
    "pair_density_l1_max": "two-body density L1, largest over time",
    "momentum_l1_mean": "momentum density L1, mean over time",
    "momentum_l1_max": "momentum density L1, largest over time",
    "occupation_error": "natural occupation, largest difference",
    "energy_drift": "energy, largest relative change over time",
    "E_u": "osmotic velocity, relative L2",
    "E_v_field": "current velocity, relative L2",
}
TRAIN_MORE = "Raise train.epochs, then train.points or network.width"  # what helps a run
FLOORS = {"variance_error_mean": "variance_error_floor", "density_l1_mean": "density_l1_floor"}
FLOORS |= {f"{name}_mean": f"{name}_floor" for name in ("pair_density_l1", "momentum_l1")}
# the reference's own error of the same kind
OWN = {name: "reference_error_variance" for name in ("E_v", "E_v_all", "variance_error_mean")}
OWN |= {name: "reference_error_density" for name in ("density_l1_mean", "density_l1_max")}
OWN |= {name: "reference_error_pair" for name in ("pair_density_l1_mean", "pair_density_l1_max")}


def errors_table(
    errors: Mapping[str, NDArray[Any]], *, reference: str = "", published: Mapping[str, str] | None = None
) -> Table:
    """One row per metric of a group `errors/<reference>`.

    Args:
        errors: as `compare` gives it, or as read from results.h5.
        reference: its name, for the title.
        published: text of a published value by metric, shown in a column of its own.
    """
    table = Table(title=f"Errors against {reference}" if reference else "Errors", title_justify="left")
    table.add_column("metric", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("sampling\nfloor", justify="right", no_wrap=True)
    own = "reference_error" in errors
    if own:
        table.add_column("reference's\nerror", justify="right", no_wrap=True)
    if published:
        table.add_column("published", justify="right", no_wrap=True)
    table.add_column("what")
    for name, what in METRICS.items():
        if name not in errors:
            continue
        value = _number(errors[name])
        for spread in (f"{name}_std", f"{name}_stderr"):
            if spread in errors:
                value += f" ± {_number(errors[spread])}"
        floor = FLOORS.get(name, f"{name}_floor")
        row = [name, value, _number(errors[floor]) if floor in errors else ""]
        if own:
            row.append(_number(errors[OWN[name]]) if OWN.get(name, "") in errors else "")
        table.add_row(*row, *([published.get(name, "")] if published else []), what)
    if own:
        table.caption, table.caption_justify = _of_the_reference(errors), "left"
    return table


def _of_the_reference(errors: Mapping[str, NDArray[Any]]) -> str:
    """What the reference says of itself, with rich markup."""
    estimate = f"its own error estimate is {_number(errors['reference_error'])}"
    if "reference_tolerance" in errors:
        estimate += f", its tolerance {_number(errors['reference_tolerance'])}"
    if errors.get("reference_converged", 0):
        return f"the reference is converged: {estimate}"
    return f"[bold red]the reference is NOT converged[/bold red]: {estimate}; trust no distance below that"


def checks_table(checks: Sequence[Check] | Mapping[str, NDArray[Any]]) -> Table:
    """One row per check, from `EnsembleSums.checks` or from the group `checks` of results.h5."""
    group = checks if isinstance(checks, Mapping) else checks_group(checks)
    table = Table(title="Checks without a reference", title_justify="left")
    table.add_column("check", no_wrap=True)
    for column in ("value", "expected", "± stderr", "deviation", "tolerance"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    numbers = ("value", "expected", "stderr", "deviation", "tolerance")
    for k, name in enumerate(group["check"]):
        verdict = "[green]ok[/green]" if group["passed"][k] else "[bold red]FAILED[/bold red]"
        table.add_row(str(name), *(_number(group[column][k]) for column in numbers), verdict)
    return table


def verdict(checks: Sequence[Check] | Mapping[str, NDArray[Any]], remedy: str = TRAIN_MORE) -> str:
    """One line, with rich markup: how many checks passed, and what to do where some did not."""
    passed = (checks if isinstance(checks, Mapping) else checks_group(checks))["passed"]
    failed = len(passed) - int(sum(passed))
    if failed == 0:
        return f"[green]all {len(passed)} checks passed[/green]"
    return (
        f"[bold red]{failed} of {len(passed)} checks failed[/bold red]: the fields are not yet what "
        f"their own samples say. {remedy}"
    ).rstrip()


def _number(value: Any) -> str:
    return f"{float(value):.3g}"
