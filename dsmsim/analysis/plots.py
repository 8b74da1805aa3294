"""Figures of a run as PNG files: density, moments, training, ranks, energy, pairs, coherence.

matplotlib is loaded only here, in `figures`, `correlation_figures` and `entries_figure`, only when a figure
is asked for, and without pyplot, so that no window system and no global state is involved.
"""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dsmsim.analysis.entries import Entry
from dsmsim.analysis.loading import RunToPlot, load_run
from dsmsim.config import Config
from dsmsim.errors import ConfigError, StoreError
from dsmsim.store import Results, RunDirectory
from dsmsim.store.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DOTS_PER_INCH = 150


def plot_run(path: str | Path, out_dir: str | Path | None = None) -> list[Path]:
    """Draw every figure that the results have the data for; a figure that is there is replaced.

    Args:
        path: a run directory, or a results.h5.
        out_dir: where the PNG files go; `figures` of the run directory (beside the file) by default.

    Returns:
        The files written.

    Raises:
        ConfigError: matplotlib is not installed.
        StoreError: the results cannot be read, or the figures not written.
    """
    require_matplotlib()
    from dsmsim.analysis import correlation_figures, figures

    directory = RunDirectory(path) if Path(path).is_dir() else RunDirectory(Path(path).parent)
    run = load_run(directory.results if Path(path).is_dir() else Path(path))
    target = directory.figures if out_dir is None else Path(out_dir)
    drawings: dict[str, Callable[[RunToPlot], Figure | None]] = {
        "density": figures.density_figure,
        "moments": figures.moments_figure,
        "training": figures.training_figure,
        "ranks": figures.ranks_figure,
        "energy": figures.energy_figure,
        "pairs": correlation_figures.pairs_figure,
        "coherence": correlation_figures.coherence_figure,
    }
    written = []
    with figures.style():
        for name, draw in drawings.items():
            figure = draw(run)
            if figure is not None:
                written.append(save_figure(figure, target / f"{name}.png"))
    return written


def plot_entries(
    entries: Sequence[Entry], reference: Results, name: str, file: Path, config: Config | None
) -> Path:
    """Draw several results beside each other into `file` (PNG), replacing what is there; its path.

    Args:
        entries, reference, name, config: as of `entries_figure.entries_figure`.

    Raises:
        ConfigError: matplotlib is not installed.
        StoreError: the file cannot be written.
    """
    require_matplotlib()
    from dsmsim.analysis import entries_figure, figures

    with figures.style():
        return save_figure(entries_figure.entries_figure(entries, reference, name, config), file)


def require_matplotlib() -> None:
    """Raise ConfigError where matplotlib is not installed."""
    if importlib.util.find_spec("matplotlib") is None:
        raise ConfigError("figures need matplotlib: pip install 'dsmsim[plot]'")


def save_figure(figure: Figure, path: Path) -> Path:
    """Write a figure as a PNG file, in a directory that is made where it is missing; its path.

    Raises:
        StoreError: it cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    image = io.BytesIO()
    figure.savefig(image, dpi=DOTS_PER_INCH, format=path.suffix[1:] or "png")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot write the figure {path}: {error}") from error
    write_atomically(path, image.getbuffer())
    return path
