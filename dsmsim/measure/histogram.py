"""One-body density as a histogram, with standard errors that know which particles move together.

    rho_1(x in cell) = (1 / U) sum_k c_k / (N w)

with c_k the particles of a trajectory in the cell, on average over unit k, and w its width. Units are
independent of each other; the particles inside a trajectory are not (they repel). So the standard error
comes from the spread of the c_k between units, never from the total count. Cells are half open,
[e_k, e_{k+1}). Lengths are those of the input, densities one over length.

Shapes: B trajectories, N particles, T times, C cells, U units (see `units.py`).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsmsim.measure.units import mean_and_stderr

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
    """Counts along one axis: over particles, and squared per unit.

    Attributes:
        edges: (C + 1,) increasing cell edges, length.
        counts, squares: (T, C) sum over units of c_k and of c_k^2.
        outside: (T,) sum over units of the particles of a trajectory outside the edges.
    """

    def __init__(self, edges: Array, times: int, device: torch.device) -> None:
        self.edges = np.asarray(edges, dtype=np.float64)
        if self.edges.ndim != 1 or len(self.edges) < 2 or not np.all(np.diff(self.edges) > 0.0):
            raise ValueError("histogram edges must be at least two increasing numbers")
        self._edges = torch.as_tensor(self.edges, device=device)
        cells = len(self.edges) - 1
        # of all cells, the outer ones too; nothing is beyond what is not a number
        self._ends = torch.nn.functional.pad(self._edges, (1, 1), value=np.nan)
        widths = np.diff(self.edges)
        self._even = bool(np.allclose(widths, widths.mean(), rtol=1e-6, atol=0.0))
        self.counts = torch.zeros(times, cells, dtype=torch.float64, device=device)
        self.squares = torch.zeros_like(self.counts)
        self.outside = torch.zeros(times, dtype=torch.float64, device=device)

    def add(self, time_index: int, positions: Tensor, unit: int = 1, weights: Tensor | None = None) -> None:
        """Count positions (B, N) along this axis, in units of `unit` consecutive ones, with weights (B,)."""
        units, cells = len(positions) // unit, len(self.edges) - 1
        columns = positions.t()  # the batch is the last index in memory wherever this is called from
        index = self._cells(columns)
        if units > 1:
            rows = torch.arange(units, device=positions.device).repeat_interleave(unit)
            index = index + rows * (cells + 2)
        each = None if weights is None else weights.expand_as(columns).reshape(-1)
        flat = torch.bincount(index.reshape(-1), each, minlength=units * (cells + 2))
        per_unit = flat.reshape(units, cells + 2).to(torch.float64) / unit
        inside = per_unit[:, 1:-1]
        self.counts[time_index] += inside.sum(0)
        self.squares[time_index] += inside.square().sum(0)
        self.outside[time_index] += per_unit[:, 0].sum() + per_unit[:, -1].sum()

    def _cells(self, positions: Tensor) -> Tensor:
        """Cells of positions: 0 is all that lies below, C + 1 what lies above or is not a number."""
        if not self._even:
            return torch.bucketize(positions.contiguous(), self._edges, right=True)
        # no search: the cell by division, put right by one where rounding has moved it across an edge
        last = len(self.edges)
        scale = (last - 1) / (self.edges[-1] - self.edges[0])
        guess = torch.nan_to_num((positions - self.edges[0]) * scale + 1.0, nan=last, posinf=last, neginf=0.0)
        cell = guess.clamp_(0.0, last).to(torch.int64)
        cell += positions >= self._ends[cell + 1]
        cell -= (positions < self._ends[cell]).to(torch.int64)
        return cell

    def tensors(self) -> list[Tensor]:
        """The sums, to be added over ranks in place."""
        return [self.counts, self.squares, self.outside]

    def density(self, units: Array, particles: int) -> tuple[Array, Array, Array]:
        """Density (T, C), its standard error (T, C), and the fraction of particles outside (T,).

        The density integrates to 1 minus the fraction outside.

        Args:
            units: (T,) number of units at each time.
            particles: N.
        """
        mean, stderr = mean_and_stderr(units, self.counts.cpu().numpy(), self.squares.cpu().numpy())
        cell = particles * np.diff(self.edges)
        return mean / cell, stderr / cell, self.outside.cpu().numpy() / (units * particles)
