"""What an observable of the samples is, and what it is shown of them.

An observable adds up what it needs of every batch, as sums in float64 that may be added over batches, blocks
and ranks in any order, and says at the end what they amount to. `build.py` lists those there are.

Errors come from the spread between groups of samples that are independent of each other (`groups.py`).

Shapes: B samples, N particles, D axes, n = N D coordinates, T times, G groups.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dsmsim.measure.groups import Groups

Array = NDArray[np.float64]
ByGroup = dict[str, dict[str, NDArray[Any]]]


@dataclass(frozen=True)
class Sampled:
    """A batch of samples at one of the saved times.

    Attributes:
        index: of the saved time.
        time: of the system, in units of the input.
        x, u, v: (B, n) positions, osmotic and current velocities, float64; the batch is the last index in
            memory, so that x.t() is contiguous.
        unit: consecutive samples that are independent of all others only together; divides B.
        weights: (B,) of mean 1 in every unit, which multiply whatever is averaged; None: all 1.
        trial, block: which samples these are: the same numbers at every time, others in every batch.
        log_psi: (R, S) (M, 2) of psi = exp(R + iS) at this time, up to a constant and S modulo 2 pi, at
            positions (M, n); float64. None where the fields know no wave function.
    """

    index: int
    time: float
    x: Tensor
    u: Tensor
    v: Tensor
    unit: int = 1
    weights: Tensor | None = None
    trial: int = 0
    block: int = 0
    log_psi: Callable[[Tensor], Tensor] | None = None

    @cached_property
    def groups(self) -> Groups:
        """The groups of samples whose spread gives standard errors."""
        return Groups.of(len(self.x), self.unit, self.x.device)


class Observable(Protocol):
    """Something that is measured on samples."""

    def add(self, sampled: Sampled) -> None:
        """Add a batch; those of one block come in the order of the saved times."""

    def tensors(self) -> list[Tensor]:
        """Every sum (float64), always in the same order and of the same shapes, to be changed in place."""

    def results(self, units: Array) -> ByGroup:
        """Arrays for results.h5 by group and name, NAME_stderr beside NAME, once all sums are added.

        Args:
            units: (T,) number of independent units at each saved time.
        """


@runtime_checkable
class Describing(Protocol):
    """An observable that says more of its results than the catalogue of results.h5 does."""

    def attributes(self) -> Mapping[str, Mapping[str, Any]]:
        """By "user/NAME" its `units` and `long_name`; by group any attributes."""
