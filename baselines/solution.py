"""What every solver hands back, and its form in the results file.

Shapes: `N` particles, `D` dimensions, `M` points per coordinate, `T` saved times.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from baselines.grids.product import Array, Box, Wave
from dsmsim.config import Config
from dsmsim.store import Stopwatch, provenance, write_results

Group = Mapping[str, np.ndarray[Any, Any]]
# called with one line of text after each refinement
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Solution:
    """The evolution at the saved times.

    Attributes:
        times: (T,).
        groups: `observables`, `density`, `correlations`, `momentum`, `velocity_fields` of the results file
            (`dsmsim.store.schema`), as far as the solver has them.
        how: how the numbers were obtained, the attributes of every group: text, numbers and truth values.
            Always there: `method` (text), `error_estimate` (the worst over times of what the last refinements
            changed: NaN where nothing was refined) and its parts `error_variance` (relative) and
            `error_density` (L1), `tolerance`, `converged` (whether the result can be trusted to that
            tolerance) and `warning` (why not and what to change; empty otherwise). Where there is an edge:
            `edge_probability`, the largest found there.
    """

    times: Array
    groups: Mapping[str, Group]
    how: Mapping[str, Any]

    @property
    def error_estimate(self) -> float:
        """The worst over observables and times; NaN where nothing was refined."""
        return float(self.how["error_estimate"])

    @property
    def converged(self) -> bool:
        """Whether the result can be trusted to its tolerance."""
        return bool(self.how["converged"])

    @property
    def warning(self) -> str:
        """Why the result cannot be trusted, and what to change; empty where it can."""
        return str(self.how["warning"])

    def write(
        self,
        config: Config,
        out: Path,
        started: Stopwatch,
        *,
        costs: Sequence[float] = (),
        world_size: int = 1,
    ) -> Path:
        """Write `out/results.h5`, with its directory; the path of that file.

        Args:
            config: the input that was solved.
            out: the directory.
            started: when the solution was begun, for the provenance.
            costs: CPU seconds of all ranks, without evaluation and in all, where they are known.
            world_size: number of ranks.

        Raises:
            StoreError: the file cannot be written.
        """
        directory = Path(out)
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / "results.h5"
        attributes: dict[str, dict[str, Any]] = {group: dict(self.how) for group in self.groups}
        attributes["provenance"] = provenance(
            config,
            started=started,
            world_size=world_size,
            solve_cpu_seconds=costs[0] if costs else None,
            cpu_seconds=costs[1] if costs else None,
        )
        write_results(path, self.groups, attributes)
        return path


@dataclass(frozen=True)
class GridSolution(Solution):
    """A solution on one product grid for the whole wave function.

    Attributes:
        box, points, dt: of the grid, and the longest step taken.
        psi: (T, M, ..., M) where it was asked for.
    """

    box: Box
    points: int
    dt: float
    psi: Wave | None = None

    @property
    def x(self) -> Array:
        """Grid points along the first axis (M,)."""
        return np.asarray(self.groups["density"]["x"])

    @property
    def density(self) -> Array:
        """One-body density along the first axis (T, M)."""
        return np.asarray(self.groups["density"]["density"])

    @property
    def densities(self) -> list[Array]:
        """One-body density along each axis: D arrays (T, M)."""
        density = self.groups["density"]
        names = ("density", "density_y", "density_z")
        return [np.asarray(density[name]) for name in names if name in density]
