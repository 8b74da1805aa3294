"""A run as the figures need it: its results, its references, and what of its physics is known exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dsmsim.analysis.compare import closed_form_like
from dsmsim.config import Config, load_config
from dsmsim.errors import ConfigError
from dsmsim.store import (
    Attributes,
    Results,
    RunDirectory,
    Trajectories,
    open_trajectories,
    read_results,
    stored_config,
)
from dsmsim.system import CenterOfMass, center_of_mass

CLOSED_FORM = "closed form"
SNAPSHOTS = 3  # how many, unless times are chosen


@dataclass(frozen=True)
class RunToPlot:
    """What the figures are drawn from.

    Attributes:
        results: of the run.
        references: results by name, the one to prefer first.
        config: the input, or None for a file that does not say.
        center_of_mass: its exact motion, where Kohn's theorem applies.
        trajectories: those that were kept, None without any.
        times: at which to show what has a picture per moment, or how many equidistant ones.
        attributes: of the results, by group.
    """

    results: Results
    references: dict[str, Results]
    config: Config | None
    center_of_mass: CenterOfMass | None
    trajectories: Trajectories | None = None
    times: int | tuple[float, ...] = SNAPSHOTS
    attributes: Attributes = field(default_factory=dict)

    def snapshots(self, times: NDArray[np.float64]) -> list[int]:
        """Increasing indices of those of `times` (T,) that are shown: the nearest to the chosen."""
        if isinstance(self.times, int):
            return sorted({int(k) for k in np.linspace(0, len(times) - 1, self.times)})
        return sorted({int(np.argmin(np.abs(times - time))) for time in self.times})


def load_run(results_file: Path, times: int | Sequence[float] = SNAPSHOTS) -> RunToPlot:
    """The results in a file, with the input, the references and the trajectories that lie beside it.

    Args:
        results_file: a results.h5.
        times: of the snapshots, or how many, one at least.

    Raises:
        ConfigError: one of the times is not within those of the results.
        StoreError: a file is missing or damaged.
    """
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
    chosen = times if isinstance(times, int) else tuple(times) or SNAPSHOTS
    _require_inside(chosen, stored.results)
    kept = "manifest_sha256" in stored.attributes.get("trajectories", {}) and directory.trajectories.is_dir()
    return RunToPlot(
        stored.results,
        references,
        config,
        None if config is None else center_of_mass(config),
        open_trajectories(directory.path) if kept and results_file == directory.results else None,
        chosen,
        stored.attributes,
    )


def _require_inside(times: int | tuple[float, ...], results: Results) -> None:
    saved = [group["time"] for group in results.values() if "time" in group and len(group["time"])]
    if not saved or isinstance(times, int):
        return
    first, last = float(min(t[0] for t in saved)), float(max(t[-1] for t in saved))
    slack = 1e-9 * (abs(last) + abs(first))
    for time in times:
        if not first - slack <= time <= last + slack:
            raise ConfigError(
                f"--times: {time:g} is not within the saved times; choose from {first:g} to {last:g}"
            )
