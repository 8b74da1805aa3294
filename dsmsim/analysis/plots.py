"""Figures of a run as files: PNG, or PDF and SVG for print.

matplotlib is loaded only here and in `figures`, only when a figure is asked for, and without pyplot, so that
no window system and no global state is involved.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dsmsim.analysis.entries import Entry
from dsmsim.analysis.loading import SNAPSHOTS, load_run
from dsmsim.config import Config
from dsmsim.errors import ConfigError, StoreError
from dsmsim.store import Results, RunDirectory
from dsmsim.store.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DOTS_PER_INCH = 300
FORMATS = ("png", "pdf", "svg")


def plot_run(
    path: str | Path,
    out_dir: str | Path | None = None,
    *,
    format: str = "png",
    times: int | Sequence[float] = SNAPSHOTS,
) -> list[Path]:
    """Draw every figure that the results have the data for; a figure that is there is replaced.

    Args:
        path: a run directory, or a results.h5.
        out_dir: where the files go; `figures` of the run directory (beside the file) by default.
        format: one of `FORMATS`.
        times: of which there is a picture per moment (the nearest saved ones), or how many equidistant ones.

    Returns:
        The files written.

    Raises:
        ConfigError: there is no such format or time, or matplotlib is not installed.
        StoreError: the results cannot be read, or the figures not written.
    """
    if format not in FORMATS:
        raise ConfigError(f"--format {format}: there is no such format; choose one of {', '.join(FORMATS)}")
    require_matplotlib()
    from dsmsim.analysis import figures

    directory = RunDirectory(path) if Path(path).is_dir() else RunDirectory(Path(path).parent)
    run = load_run(directory.results if Path(path).is_dir() else Path(path), times)
    target = directory.figures if out_dir is None else Path(out_dir)
    written = []
    with figures.style():
        for name, draw in figures.FIGURES.items():
            figure = draw(run)
            if figure is not None:
                written.append(save_figure(figure, target / f"{name}.{format}"))
    return written


def plot_entries(
    entries: Sequence[Entry], reference: Results, name: str, file: Path, config: Config | None
) -> Path:
    """Draw several results beside each other into `file`, replacing what is there; its path.

    Args:
        file: its ending says the format, PNG where there is none.
        entries, reference, name, config: as of `figures.entries_figure`.

    Raises:
        ConfigError: there is no such format, or matplotlib is not installed.
        StoreError: the file cannot be written.
    """
    require_matplotlib()
    from dsmsim.analysis import figures

    with figures.style():
        return save_figure(figures.entries_figure(entries, reference, name, config), file)


def require_matplotlib() -> None:
    """Raise ConfigError where matplotlib is not installed."""
    if importlib.util.find_spec("matplotlib") is None:
        raise ConfigError("figures need matplotlib: pip install 'dsmsim[plot]'")


def save_figure(figure: Figure, path: Path) -> Path:
    """Write a figure, in a directory that is made where it is missing; its path.

    Raises:
        ConfigError: the ending of the file is none of `FORMATS`.
        StoreError: it cannot be written.
    """
    format = path.suffix[1:].lower() or "png"
    if format not in FORMATS:
        raise ConfigError(f"{path}: there is no such format; end the name in {', '.join(FORMATS)}")
    image = io.BytesIO()
    # without a date, the same results give the same file
    metadata = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}.get(format)
    with _quiet_fonts():
        figure.savefig(image, dpi=DOTS_PER_INCH, format=format, metadata=metadata)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot write the figure {path}: {error}") from error
    write_atomically(path, image.getbuffer())
    return path


@contextlib.contextmanager
def _quiet_fonts() -> Iterator[None]:
    """Without the warnings of fontTools, about the dates of fonts that it embeds in a PDF."""
    log = logging.getLogger("fontTools")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)
