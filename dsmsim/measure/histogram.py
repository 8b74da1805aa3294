"""One-body density as a histogram, with standard errors that know which particles move together.

    rho_1(x in cell) = (1 / M) sum_i c_i / (N w)

with c_i the particles of trajectory i in the cell and w its width. Trajectories are independent of each
other; the particles inside one are not (they repel). So the standard error comes from the spread of the
counts c_i between trajectories, never from the total count. Cells are half open, [e_k, e_{k+1}). Units:
1 / length.

Shapes: B trajectories, N particles, T times, C cells.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]


def density_edges(low: float, high: float, bins: int) -> Array:
    """(bins + 1,) equidistant cell edges from low to high, length.

    Raises:
        ValueError: if the interval is empty or not finite, or there are no cells.
    """
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise ValueError(f"a histogram needs low < high, both finite, got {low} and {high}")
    if bins < 1:
        raise ValueError(f"a histogram needs at least one cell, got bins = {bins}")
    return np.linspace(low, high, bins + 1)


class HistogramSums:
    """Counts along one axis: over particles, and squared per trajectory.

    Attributes:
        edges: (C + 1,) increasing cell edges, length.
        counts, squares: (T, C) sum over trajectories of c_i and of c_i^2.
        outside: (T,) particles outside the edges.
    """

    def __init__(self, edges: Array, times: int, device: torch.device) -> None:
        self.edges = np.asarray(edges, dtype=np.float64)
        if self.edges.ndim != 1 or len(self.edges) < 2 or not np.all(np.diff(self.edges) > 0.0):
            raise ValueError("histogram edges must be at least two increasing numbers")
        self._edges = torch.as_tensor(self.edges, device=device)
        cells = len(self.edges) - 1
        self.counts = torch.zeros(times, cells, dtype=torch.float64, device=device)
        self.squares = torch.zeros_like(self.counts)
        self.outside = torch.zeros(times, dtype=torch.float64, device=device)

    def add(self, time_index: int, positions: Tensor) -> None:
        """Count positions (B, N) along this axis."""
        batch, cells = len(positions), len(self.edges) - 1
        # cell 0 gathers what lies below, cell `cells + 1` what lies above (and what is not a number)
        index = torch.bucketize(positions.contiguous(), self._edges, right=True)
        rows = torch.arange(batch, device=positions.device)[:, None] * (cells + 2)
        flat = torch.bincount((rows + index).reshape(-1), minlength=batch * (cells + 2))
        per_trajectory = flat.reshape(batch, cells + 2).to(torch.float64)
        inside = per_trajectory[:, 1:-1]
        self.counts[time_index] += inside.sum(0)
        self.squares[time_index] += inside.square().sum(0)
        self.outside[time_index] += per_trajectory[:, 0].sum() + per_trajectory[:, -1].sum()

    def tensors(self) -> list[Tensor]:
        """The sums, to be added over ranks in place."""
        return [self.counts, self.squares, self.outside]

    def density(self, trajectories: Array, particles: int) -> tuple[Array, Array, Array]:
        """Density (T, C), its standard error (T, C), and the fraction of particles outside (T,).

        The density integrates to 1 minus the fraction outside.

        Args:
            trajectories: (T,) number M of trajectories at each time.
            particles: N.
        """
        m = trajectories[:, None]
        mean = self.counts.cpu().numpy() / m
        spread = np.maximum(self.squares.cpu().numpy() / m - mean**2, 0.0)
        unit = particles * np.diff(self.edges)
        with np.errstate(divide="ignore", invalid="ignore"):
            stderr = np.sqrt(spread / (m - 1.0)) / unit
        return mean / unit, stderr, self.outside.cpu().numpy() / (trajectories * particles)
