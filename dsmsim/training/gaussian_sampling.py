"""The method "gaussian_sampling": deep stochastic mechanics without its own trajectories.

    x ~ N( mean of psi_0, (gaussian_width * deviation of psi_0)^2 )   for every coordinate, at all times

are the points at which Nelson's equations are solved, in place of points on trajectories of the networks.
Networks, loss, optimiser, evaluation and files are those of a run with `train.points_from = "gaussian"`: what
differs between the two methods is where the points lie, and the time that trajectories cost. Points that do
not follow the density miss it where it goes, and in many coordinates hardly any falls where it is.

Source: Orlova et al., "Deep Stochastic Mechanics", ICML 2024, ablation of the sampling.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from dsmsim.config import Config
from dsmsim.parallel import World
from dsmsim.training.dsm import solve_in

LINE_EVERY = 5.0  # seconds between lines of progress


class Lines:
    """An observer that tells progress in lines of text.

    Args:
        tell: called with one line at a time.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self.message = tell
        self._told = time.monotonic()

    def training(self, done: int, total: int, loss: float) -> None:
        """`done` of `total` epochs are trained."""
        self._now_and_then(f"training {done}/{total} epochs, loss {loss:.2e}", done == total)

    def marching(self, time: float, end: float, residual: float) -> None:
        """The march has come to `time` of `end`."""
        self._now_and_then(f"marching, t = {time:.4g} of {end:.4g}, residual {residual:.3f}", time >= end)

    def distilling(self, done: int, total: int, loss: float) -> None:
        """`done` of `total` epochs in which networks learn known fields are done."""
        self._now_and_then(f"learning {done}/{total} epochs, loss {loss:.2e}", done == total)

    def sampling(self, done: int, total: int) -> None:
        """`done` of `total` samples of this rank are drawn."""
        self._now_and_then(f"sampling {done}/{total} samples", done == total)

    def _now_and_then(self, line: str, last: bool) -> None:
        if last or time.monotonic() - self._told >= LINE_EVERY:
            self.message(line)
            self._told = time.monotonic()


def solve(
    config: Config,
    out: Path,
    *,
    progress: Callable[[str], None] = lambda line: None,
    world: World | None = None,
) -> Path:
    """Train on points of a fixed Gaussian; `out` becomes the directory of a run, which can be resumed.

    Args:
        progress: called on rank 0 with one line of text at a time.
        world: the ranks that call this together; None: this process alone.

    Returns:
        The path of `results.h5`. What an earlier solution left in `out` is replaced.

    Raises:
        ConfigError, DivergedError, StoreError, LaunchError, StoppedEarly: see `dsmsim.errors`.
    """
    config = with_gaussian_points(config)
    solve_in(
        world or World(),
        config,
        out,
        input_text=config.to_toml(),
        overwrite=True,
        observer=lambda started: Lines(progress),
    )
    return out / "results.h5"


def with_gaussian_points(config: Config) -> Config:
    """The input with `train.points_from = "gaussian"`."""
    return config.model_copy(update={"train": config.train.model_copy(update={"points_from": "gaussian"})})
