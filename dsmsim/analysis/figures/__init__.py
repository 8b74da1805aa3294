"""The drawings of `plots.plot_run`: each takes a run and returns a Figure, or None where data are lacking."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from dsmsim.analysis.figures import correlations, density, distributions, moments, solving
from dsmsim.analysis.figures.canvas import style
from dsmsim.analysis.figures.entries import entries_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from dsmsim.analysis.loading import RunToPlot

__all__ = ["FIGURES", "entries_figure", "style"]

# by the name of the file
FIGURES: Mapping[str, Callable[[RunToPlot], Figure | None]] = {
    "density": density.density_figure,
    "density_y": partial(density.density_figure, axis=1),
    "density_z": partial(density.density_figure, axis=2),
    "current": density.current_figure,
    "current_y": partial(density.current_figure, axis=1),
    "current_z": partial(density.current_figure, axis=2),
    "trajectories": density.trajectories_figure,
    "moments": moments.moments_figure,
    "energy": moments.energy_figure,
    "distributions": distributions.distributions_figure,
    "pair_density": correlations.pair_density_figure,
    "g2": correlations.g2_figure,
    "density_matrix": correlations.density_matrix_figure,
    "g1": correlations.g1_figure,
    "occupations": correlations.occupations_figure,
    "momentum": correlations.momentum_figure,
    "user": moments.user_figure,
    "march": solving.march_figure,
    "training": solving.training_figure,
    "ranks": solving.ranks_figure,
}
