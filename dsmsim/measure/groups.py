"""Groups of units: standard errors of large arrays at a small price.

The spread of an array with many entries (a density, a pair density) between all single units (`units.py`)
would cost more than the samples themselves. So units that follow each other are put together in groups, at
most `MOST` in a batch, each of them as independent of the others as units are, and

    value = (1/G) sum_g a_g ,      stderr^2 = sum_g (a_g - value)^2 / (G (G - 1))

with a_g the average over group g. Groups of one batch differ in size by one unit at most; each counts the
same, which leaves averages unbiased. With G groups the standard error is itself known to 1 / sqrt(2 G):
thirty blocks of samples, 960 groups, give it to 2 %.

Shapes: B samples, G groups, T times.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsmsim.measure.units import mean_and_stderr

Array = NDArray[np.float64]

MOST = 32


@dataclass(frozen=True)
class Groups:
    """Which group each sample of a batch is in.

    Attributes:
        index: (B,) number of the group, increasing.
        sizes: (G,) samples in each group, float64.
    """

    index: Tensor
    sizes: Tensor

    @staticmethod
    @lru_cache(maxsize=8)
    def of(samples: int, unit: int, device: torch.device) -> Groups:
        """At most `MOST` groups of whole units of consecutive samples."""
        units = samples // unit
        count = min(units, MOST)
        index = (torch.arange(units, device=device) * count // units).repeat_interleave(unit)
        return Groups(index, torch.bincount(index, minlength=count).to(torch.float64))

    def __len__(self) -> int:
        return len(self.sizes)

    def means(self, values: Tensor) -> Tensor:
        """Averages (G, ...) over each group of values (..., B), whose last index is the sample."""
        flat = values.reshape(-1, values.shape[-1])
        sums = flat.new_zeros(len(flat), len(self)).index_add_(1, self.index, flat)
        return (sums / self.sizes).t().reshape(len(self), *values.shape[:-1])


class GroupSums:
    """Sums over groups of an array and of its square, at every time.

    Attributes:
        count: (T,) groups.
        sums: (T, 2, ...) of the averages over a group, and of their squares.
    """

    def __init__(self, times: int, shape: tuple[int, ...], device: torch.device) -> None:
        self.count = torch.zeros(times, dtype=torch.float64, device=device)
        self.sums = torch.zeros(times, 2, *shape, dtype=torch.float64, device=device)

    def add(self, index: int, means: Tensor) -> None:
        """Add averages over groups (G, ...) at one time."""
        self.count[index].add_(len(means))
        self.sums[index].add_(torch.stack((means, means.square()), 1).sum(0))

    def tensors(self) -> list[Tensor]:
        """The sums, to be added over ranks in place."""
        return [self.count, self.sums]

    def finish(self) -> tuple[Array, Array]:
        """Averages and their standard errors, (T, ...) each; NaN at times without samples."""
        count, sums = (tensor.cpu().numpy() for tensor in self.tensors())
        with np.errstate(divide="ignore", invalid="ignore"):
            return mean_and_stderr(count, sums[:, 0], sums[:, 1])
