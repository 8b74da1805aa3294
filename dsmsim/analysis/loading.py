"""A run as the figures need it: its results, its references, and what of its physics is known exactly."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dsmsim.analysis.compare import closed_form_like
from dsmsim.config import Config, load_config
from dsmsim.store import Results, RunDirectory, read_results, stored_config
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
    config = stored_config(stored.attributes)
    if config is None and directory.resolved.is_file():
        config = load_config(directory.resolved, environment=False)
    references: dict[str, Results] = {}
    if config is not None and "observables" in stored.results:
        exact = closed_form_like(config, stored.results)
        if exact is not None:
            references[CLOSED_FORM] = exact
    for file in sorted(directory.references.glob(f"*/{directory.results.name}")):
        references[file.parent.name] = read_results(file).results
    return RunToPlot(stored.results, references, config, None if config is None else center_of_mass(config))
