"""What a section shows: words, tables and pictures, in their order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tools.reproduce.rows import Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Words:
    """Markdown."""

    markdown: str


@dataclass(frozen=True)
class RowsTable:
    """Rows with published values: one table, and a sentence on who is best, for every case and metric."""

    rows: Sequence[Row]


@dataclass(frozen=True)
class Grid:
    """Any other table: cells are Markdown."""

    header: Sequence[str]
    cells: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Picture:
    """A figure, saved under its name, unique over all sections."""

    name: str
    caption: str
    figure: Figure


@dataclass(frozen=True)
class Chapter:
    """One section of the page."""

    title: str
    blocks: Sequence[Words | RowsTable | Grid | Picture]
