"""Several results beside each other: what each is worth against one reference, and what it cost.

A row is a result; errors stand with their spread over trials (or standard error) and their sampling floor;
"all" is the same error of all trials together, which has less noise.
CPU seconds are those of the whole solution, all ranks and threads together, and, where a method says so, of
training or propagation alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from numpy.typing import NDArray
from rich.markup import escape
from rich.table import Table

from dsmsim.store import StoredResults

Group = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Entry:
    """One result among several.

    Attributes:
        name: short, for tables and legends.
        stored: its arrays and attributes.
        errors: the group `errors/<reference>`, as `compare` gives it.
    """

    name: str
    stored: StoredResults
    errors: Group

    @property
    def method(self) -> str:
        """What it says it was made by."""
        return str(self.stored.attributes.get("observables", {}).get("method", "-"))

    @property
    def cpu_seconds(self) -> float | None:
        """CPU seconds of the whole solution, None where the file does not say."""
        return self._cost("cpu_seconds")

    @property
    def solve_cpu_seconds(self) -> float | None:
        """CPU seconds of training or propagation alone, None where the method does not say."""
        return self._cost("solve_cpu_seconds")

    def _cost(self, name: str) -> float | None:
        value = self.stored.attributes.get("provenance", {}).get(name)
        return None if value is None else float(value)

    def cells(self) -> dict[str, list[str]]:
        """Its row of the table by column, each cell in lines; "-" where there is nothing to say."""
        mean = "E_m" if "E_m" in self.errors else "E_m_abs"
        return {
            "result": [self.name],
            "method": [self.method],
            "E_m": self._lines(mean) + (["(absolute)"] if mean in self.errors and mean != "E_m" else []),
            "E_v": self._lines("E_v"),
            "density L1\nmean": self._lines("density_l1_mean", "density_l1_floor"),
            "density L1\nlargest": self._lines("density_l1_max"),
            "energy\ndrift": self._lines("energy_drift"),
            "CPU s": self._costs(),
            "checks": [self._checks()],
        }

    def _lines(self, name: str, floor: str = "") -> list[str]:
        """A metric with its error bar; below it its floor, and its value for all trials together."""
        if name not in self.errors:
            return ["-"]
        lines = [shown(self.errors[name])]
        spread = next((key for key in (f"{name}_std", f"{name}_stderr") if key in self.errors), None)
        lines += [] if spread is None else [f"± {shown(self.errors[spread], 2)}"]
        floor = floor or f"{name}_floor"
        lines += [f"floor {shown(self.errors[floor], 2)}"] if floor in self.errors else []
        together = f"{name}_all"
        return [*lines, f"all {shown(self.errors[together])}"] if together in self.errors else lines

    def _costs(self) -> list[str]:
        total, solving = self.cpu_seconds, self.solve_cpu_seconds
        lines = ["-" if total is None else shown(total)]
        return lines if solving is None else [*lines, f"solving {shown(solving)}"]

    def _checks(self) -> str:
        checks = self.stored.results.get("checks")
        return "-" if checks is None else f"{int(sum(checks['passed']))}/{len(checks['passed'])}"


def entries_table(entries: Sequence[Entry], *, reference: str) -> Table:
    """A table for the terminal, one row per result; there must be one at least.

    Args:
        reference: its name, for the title.
    """
    table = Table(title=f"Errors against {escape(reference)}", title_justify="left", show_lines=True)
    rows = [entry.cells() for entry in entries]
    for column in rows[0]:
        text = column in ("result", "method")
        justify: Literal["left", "right"] = "left" if text else "right"
        width = 8 if text else None
        table.add_column(column, justify=justify, no_wrap=not text, overflow="fold", min_width=width)
    for row in rows:
        table.add_row(*(escape("\n".join(lines)) for lines in row.values()))
    return table


def shown(value: Any, digits: int = 3) -> str:
    """A number with so many digits."""
    return f"{float(value):.{digits}g}"
