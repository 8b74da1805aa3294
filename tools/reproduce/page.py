"""The page: every section's words, tables and pictures, and what the numbers say of themselves."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from PIL import Image
from rich.console import Console
from rich.table import Table

from tools.reproduce.chapter import Chapter, Grid, Picture, RowsTable, Words
from tools.reproduce.found import Found
from tools.reproduce.judging import competitions, sentence, summary_lines
from tools.reproduce.profile import Profile
from tools.reproduce.rows import Row, best
from tools.reproduce.sections import section
from tools.reproduce.wording import costs, number, published, published_time, table, task_input

SEED = re.compile(r"-seed\d+| --set seed=\d+")
PAGE, PICTURES = "published.md", "published"
DOTS, QUALITY = 160, 88  # per inch; of WebP
HEADER = ("metric", "method", "published", "ours", "exact", "sampling alone", "CPU s", "published time")

INTRODUCTION = """\
# Published results, reproduced

Every experiment of the publications this program stands on, run again, and some beyond them. All numbers and
figures on this page are computed from the HDF5 files of `{command}` by
`python -m tools.reproduce page{options}`; only the column "published" is quoted: from E. Orlova et al., "Deep
Stochastic Mechanics" (ICML 2024) and its authors' notebooks unless another source is named.

- **Errors** stand with their spread over seeds (±, standard deviation) or, of one seed, over trials;
  "sampling alone" is what an exact sampler of as many samples would show.
- **CPU s** are all CPU seconds of a run on one core, with sampling and measuring, and in brackets those of
  training or propagation alone. The factor beside a published time is that time over our CPU seconds.
- **bold**: the smallest error of its metric, exact and grid solvers left out of the competition. Two methods
  "cannot be told apart" where their errors are closer than their bars, or where neither is further above what
  sampling alone shows than its bar or a fifth."""


def write_page(
    profile: Profile, names: Sequence[str], found: Found, target: Path, console: Console
) -> list[Row]:
    """Write TARGET/published.md and TARGET/published/*.webp, and print the tables.

    Returns:
        All rows with a published value, for those who want to judge them.
    """
    import matplotlib

    matplotlib.use("agg")
    from dsmsim.analysis.figures import style

    with style():
        chapters = [section(name).chapter(profile, found) for name in names]
        (target / PICTURES).mkdir(parents=True, exist_ok=True)
        for picture in (block for chapter in chapters for block in chapter.blocks):
            if isinstance(picture, Picture):
                save(picture, target / PICTURES)
    rows = [row for chapter in chapters for row in rows_of(chapter)]
    make = "make reproduce" if profile.name == "full" else f"make reproduce-{profile.name}"
    options = "" if profile.name == "full" else f" --profile {profile.name}"
    parts = [INTRODUCTION.format(command=make, options=options), summary(rows, found, names, profile)]
    parts += [markdown(chapter) for chapter in chapters]
    parts.append(sources(profile, names, found))
    (target / PAGE).write_text("\n\n".join(parts).rstrip() + "\n", encoding="utf-8")
    for case, group in groupby(rows, key=lambda row: row.case):
        console.print(terminal_table(case, list(group)))
    console.print(f"{target / PAGE}", highlight=False)
    return [row for row in rows if row.published is not None]


def rows_of(chapter: Chapter) -> list[Row]:
    """All rows of a chapter's tables."""
    return [row for block in chapter.blocks if isinstance(block, RowsTable) for row in block.rows]


def save(picture: Picture, directory: Path) -> None:
    """A figure as WebP."""
    data = io.BytesIO()
    picture.figure.savefig(data, format="png", dpi=DOTS)
    with Image.open(data) as image:
        image.convert("RGB").save(directory / f"{picture.name}.webp", quality=QUALITY, method=6)


def summary(rows: Sequence[Row], found: Found, names: Sequence[str], profile: Profile) -> str:
    """What the tables say altogether, and how much stands behind them."""
    tasks = [task for name in names for task in section(name).tasks(profile)]
    origins = [origin for task in tasks if (origin := found.origin(task)) is not None]
    gaps = len(tasks) - len(origins)
    stands = f"- {len(origins)} of {len(tasks)} tasks stand behind this page"
    stands += f"; of the other {gaps} the table at the end says why." if gaps else "."
    return "\n".join(["## In short", "", *summary_lines(rows), stands, *made(origins)])


def made(origins: Sequence[Mapping[str, Any]]) -> list[str]:
    """When and by what the results were made, and what they cost together."""
    if not origins:
        return []
    days = sorted({str(origin["finished"])[:10] for origin in origins})
    spent = sum(float(origin.get("cpu_seconds", 0.0)) for origin in origins)
    versions = [
        f"{package} {', '.join(sorted({str(origin[f'{package}_version']) for origin in origins}))}"
        for package in ("dsmsim", "torch", "numpy")
    ]
    when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    return [f"- Made on {when} by {', '.join(versions)}, in {spent / 60.0:.0f} CPU minutes altogether."]


def markdown(chapter: Chapter) -> str:
    """A chapter as Markdown."""
    parts = [f"## {chapter.title}"]
    for block in chapter.blocks:
        if isinstance(block, Words):
            parts.append(block.markdown.strip())
        elif isinstance(block, Grid):
            parts.append(table(block.header, block.cells))
        elif isinstance(block, Picture):
            parts.append(f"![{block.name}]({PICTURES}/{block.name}.webp)\n\n*{block.caption}*")
        else:
            for case, group in groupby(block.rows, key=lambda row: row.case):
                parts += rows_markdown(case, list(group))
    return "\n\n".join(parts)


def rows_markdown(case: str, rows: Sequence[Row]) -> list[str]:
    """The table of one case, and who is best in it."""
    cells, notes = [], []
    ordered = sorted(rows, key=lambda row: [each.metric for each in rows].index(row.metric))
    for metric, group in groupby(ordered, key=lambda row: row.metric):
        lines = list(group)
        winner = best(lines) if sum(row.ours is not None and not row.reference for row in lines) > 1 else None
        for k, row in enumerate(lines):
            _, method, quoted, ours, *rest = cells_of(row)
            shown = f"**{ours}**" if row is winner else ours
            cells.append([metric if k == 0 else "", method, quoted, shown, *rest, task_input(row.task)])
            if row.note:
                notes.append(f"{row.method}: {row.note.rstrip('.')}.")
    sentences = [sentence(own, winner) for own, winner in competitions(rows)]
    parts = [f"### {case}", table((*HEADER, "input"), cells)]
    return [
        *parts,
        *([" ".join(sentences)] if sentences else []),
        *([" ".join(dict.fromkeys(notes))] if notes else []),
    ]


def cells_of(row: Row) -> list[str]:
    """A row in the columns of `HEADER`."""
    return [
        row.metric,
        row.method,
        published(row.published),
        number(row.ours, 3 if row.exact is None else 6),  # to as many digits as the exact value beside it
        "-" if row.exact is None else f"{row.exact:.6g}",
        "-" if row.floor is None else f"{row.floor:.2g}",
        costs(row),
        published_time(row),
    ]


def sources(profile: Profile, names: Sequence[str], found: Found) -> str:
    """Every task with the command that repeats it alone, and what came of it."""
    cells = []
    for name in names:
        for task in section(name).tasks(profile):
            state = found.state(task)
            why = "" if state == "done" else f"{state}: {found.reason(task)}"
            cells.append([f"`{task.key}`", f"`{task.command}`", why.replace("|", "/")])
    words = (
        "Each line can be typed at the root of the project and has the same numbers, on the same versions "
        "and kind of processor, by itself. Where a seed is the only difference, one line stands for all."
    )
    return (
        f"## Inputs and commands\n\n{words}\n\n{table(('task', 'command', 'why there is none'), once(cells))}"
    )


def once(cells: list[list[str]]) -> list[list[str]]:
    """The lines without those that differ from one before by their seed alone, unless they failed."""
    kept: dict[str, list[str]] = {}
    for line in cells:
        kept.setdefault(line[0] if line[2] else SEED.sub("", line[1]), line)
    return list(kept.values())


def terminal_table(case: str, rows: Sequence[Row]) -> Table:
    """A case for the terminal."""
    shape = Table(title=case, title_justify="left")
    for name in HEADER:
        shape.add_column(name, justify="left" if name in ("metric", "method") else "right", overflow="fold")
    for row in rows:
        shape.add_row(*cells_of(row))
    return shape
