"""Figures of a run as PNG files: density, moments, training, energy.

matplotlib is loaded only here and in `figures`, only when a figure is asked for, and without pyplot, so
that no window system and no global state is involved.
"""

from __future__ import annotations

import importlib.util
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dsmsim.analysis.compare import cell_edges, closed_form_results
from dsmsim.config import Config, load_config, parse_config
from dsmsim.errors import ConfigError, StoreError
from dsmsim.store import Results, RunDirectory, StoredResults, read_results
from dsmsim.system import CenterOfMass, center_of_mass

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLOSED_FORM = "closed form"
DOTS_PER_INCH = 150


@dataclass(frozen=True)
class RunToPlot:
    """What the figures are drawn from.

    Attributes:
        results: of the run.
        references: results by name, the one to prefer first.
        config: the input, or None for a file that does not say.
        center_of_mass: its exact motion, where Kohn's theorem applies.
    """

    results: Results
    references: dict[str, Results]
    config: Config | None
    center_of_mass: CenterOfMass | None


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
    from dsmsim.analysis import figures

    directory = RunDirectory(path) if Path(path).is_dir() else RunDirectory(Path(path).parent)
    run = load_run(directory.results if Path(path).is_dir() else Path(path))
    target = directory.figures if out_dir is None else Path(out_dir)
    drawings: dict[str, Callable[[RunToPlot], Figure | None]] = {
        "density": figures.density_figure,
        "moments": figures.moments_figure,
        "training": figures.training_figure,
        "energy": figures.energy_figure,
    }
    written = []
    with figures.style():
        for name, draw in drawings.items():
            figure = draw(run)
            if figure is not None:
                written.append(_save(figure, target / f"{name}.png"))
    return written


def load_run(results_file: Path) -> RunToPlot:
    """The results in a file, with the input and the references that lie beside it."""
    stored = read_results(results_file)
    directory = RunDirectory(results_file.parent)
    config = _config(stored, directory)
    references: dict[str, Results] = {}
    exact = None if config is None else _exact(config, stored.results)
    if exact is not None:
        references[CLOSED_FORM] = exact
    for file in sorted(directory.references.glob(f"*/{directory.results.name}")):
        references[file.parent.name] = read_results(file).results
    return RunToPlot(stored.results, references, config, None if config is None else center_of_mass(config))


def _config(stored: StoredResults, directory: RunDirectory) -> Config | None:
    """The input of the results: what the file itself says, else the resolved input beside it."""
    text = stored.attributes.get("provenance", {}).get("resolved_input")
    if text is not None:
        return parse_config(tomllib.loads(str(text)), environment=False)
    return load_config(directory.resolved, environment=False) if directory.resolved.is_file() else None


def _exact(config: Config, results: Results) -> Results | None:
    if "observables" not in results:
        return None
    density = results.get("density", {})
    edges = [cell_edges(density[axis]) for axis in "xyz" if axis in density]
    return closed_form_results(config, results["observables"]["time"], edges)


def _save(figure: Figure, path: Path) -> Path:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=DOTS_PER_INCH)
    except OSError as error:
        raise StoreError(f"cannot write the figure {path}: {error}") from error
    return path
