"""Units of independence: what standard errors are made of.

Samples need not be independent of each other: both halves of an antithetic pair are not, nor are the points
of a low-discrepancy set. A unit is a set of samples that is independent of all other units and has the same
distribution: one sample, one pair, one whole set. Every average is the plain average over U units of the
averages within them, and its error comes from their spread,

    value = (1/U) sum_k a_k ,      stderr^2 = sum_k (a_k - value)^2 / (U (U - 1)).

Units of one ensemble may differ a little in size; each counts the same, which leaves averages unbiased.
Samples with weights, of mean 1 in their unit, make a_k a weighted average.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]


def unit_means(values: Tensor, unit: int, dim: int = 0) -> Tensor:
    """Averages over every `unit` consecutive samples along `dim`, whose length is a multiple of `unit`."""
    if unit == 1:
        return values
    return grouped(values, unit, dim).mean(dim + 1)


def grouped(values: Tensor, unit: int, dim: int) -> Tensor:
    """`dim` (>= 0) of length U * unit as two dimensions, U and unit."""
    shape = values.shape
    return values.reshape(*shape[:dim], shape[dim] // unit, unit, *shape[dim + 1 :])


def weighted(values: Tensor, weights: Tensor | None, dim: int = 0) -> Tensor:
    """Values times the weights of their samples (B,), which run along `dim`; None: all 1."""
    if weights is None:
        return values
    return values * weights.reshape(-1, *([1] * (values.dim() - 1 - dim)))


def mean_and_stderr(count: Array, first: Array, second: Array) -> tuple[Array, Array]:
    """Mean over count (T,) units and its standard error, from sums (T, ...) of their values and squares.

    The error is not a number where there is one unit only.
    """
    m = count.reshape(-1, *([1] * (first.ndim - 1)))
    mean = first / m
    with np.errstate(divide="ignore", invalid="ignore"):
        return mean, np.sqrt(np.maximum(second / m - mean**2, 0.0) / (m - 1.0))
