"""report.html: a run on one page that needs no network, for the browser, the phone and the printer.

    content      the verdict, errors, checks, settings and origin, in words and tables
    equations    the problem as formulas
    blocks       which drawings of the state there are
    history      which drawings of how it was found
    charts       what they look like, and `moving` those with a slider
    page         all of it in one file

plotly and jinja2 are loaded only when a report is written; plotly's script is part of every report.
"""

from __future__ import annotations

from dsmsim.analysis.report.page import write_report

__all__ = ["write_report"]
