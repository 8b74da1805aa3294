"""Trajectories that an evaluation would store, kept in memory."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dsmsim.config import Config


class KeptPaths:
    """The `keep` of an evaluation; threads of one process may share it.

    Attributes:
        positions: (T, trajectories, n), NaN where nothing came.
    """

    def __init__(self, config: Config) -> None:
        shape = len(config.time.save_times), config.output.trajectories, config.system.coordinates
        self.positions: npt.NDArray[np.float64] = np.full(shape, np.nan)

    def __call__(self, first: int, index: int, positions: npt.NDArray[np.float64]) -> None:
        place = self.positions[index, first : first + len(positions)]
        assert place.shape == positions.shape
        assert np.isnan(place).all(), "kept twice"
        place[:] = positions
