"""A run as the figures need it: its results, its references, and what of its physics is known exactly."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from dsmsim.analysis.compare import cell_edges, closed_form_results
from dsmsim.config import Config, load_config, parse_config
from dsmsim.store import Results, RunDirectory, StoredResults, read_results
from dsmsim.system import CenterOfMass, center_of_mass

CLOSED_FORM = "closed form"


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
