"""Figures of a run as PNG files: density, moments, training, energy, pairs, coherence.

matplotlib is loaded only here, in `figures` and in `correlation_figures`, only when a figure is asked for,
and without pyplot, so that no window system and no global state is involved.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from dsmsim.analysis.loading import RunToPlot, load_run
from dsmsim.errors import ConfigError, StoreError
from dsmsim.store import RunDirectory

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
    if importlib.util.find_spec("matplotlib") is None:
        raise ConfigError("figures need matplotlib: pip install 'dsmsim[plot]'")
    from dsmsim.analysis import correlation_figures, figures

    directory = RunDirectory(path) if Path(path).is_dir() else RunDirectory(Path(path).parent)
    run = load_run(directory.results if Path(path).is_dir() else Path(path))
    target = directory.figures if out_dir is None else Path(out_dir)
    drawings: dict[str, Callable[[RunToPlot], Figure | None]] = {
        "density": figures.density_figure,
        "moments": figures.moments_figure,
        "training": figures.training_figure,
        "energy": figures.energy_figure,
        "pairs": correlation_figures.pairs_figure,
        "coherence": correlation_figures.coherence_figure,
    }
    written = []
    with figures.style():
        for name, draw in drawings.items():
            figure = draw(run)
            if figure is not None:
                written.append(_save(figure, target / f"{name}.png"))
    return written


def _save(figure: Figure, path: Path) -> Path:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=DOTS_PER_INCH)
    except OSError as error:
        raise StoreError(f"cannot write the figure {path}: {error}") from error
    return path
