"""What a run is worth: errors against references, tables and figures."""

from __future__ import annotations

from dsmsim.analysis.compare import closed_form_like, closed_form_results, compare
from dsmsim.analysis.entries import Entry, entries_table
from dsmsim.analysis.plots import plot_entries, plot_run
from dsmsim.analysis.report import write_report
from dsmsim.analysis.tables import checks_table, errors_table, verdict

__all__ = [
    "Entry",
    "checks_table",
    "closed_form_like",
    "closed_form_results",
    "compare",
    "entries_table",
    "errors_table",
    "plot_entries",
    "plot_run",
    "verdict",
    "write_report",
]
