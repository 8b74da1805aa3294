"""Errors and checks as tables for the terminal.

Each error stands beside its sampling floor: an error near the floor says that more samples, not more
training, would lower it.
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
    "E_u": "osmotic velocity, relative L2",
    "E_v_field": "current velocity, relative L2",
}
FLOORS = {"variance_error_mean": "variance_error_floor", "density_l1_mean": "density_l1_floor"}


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
    table.add_column("sampling floor", justify="right", no_wrap=True)
    if published:
        table.add_column("published", justify="right", no_wrap=True)
    table.add_column("what")
    for name, what in METRICS.items():
        if name not in errors:
            continue
        value = _number(errors[name])
        if f"{name}_std" in errors:
            value += f" ± {_number(errors[f'{name}_std'])}"
        floor = FLOORS.get(name, f"{name}_floor")
        row = [name, value, _number(errors[floor]) if floor in errors else ""]
        table.add_row(*row, *([published.get(name, "")] if published else []), what)
    return table


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


def verdict(checks: Sequence[Check] | Mapping[str, NDArray[Any]]) -> str:
    """One line, with rich markup: how many checks passed, and what to do where some did not."""
    passed = (checks if isinstance(checks, Mapping) else checks_group(checks))["passed"]
    failed = len(passed) - int(sum(passed))
    if failed == 0:
        return f"[green]all {len(passed)} checks passed[/green]"
    return (
        f"[bold red]{failed} of {len(passed)} checks failed[/bold red]: the fields are not yet what "
        "their own samples say. Raise train.epochs, then train.points or network.width"
    )


def _number(value: Any) -> str:
    return f"{float(value):.3g}"
