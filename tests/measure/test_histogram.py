"""Cells and counts of the density histogram."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dsmsim.measure import density_edges
from dsmsim.measure.histogram import HistogramSums


def test_edges_are_equidistant() -> None:
    np.testing.assert_allclose(density_edges(-1.0, 1.0, 4), [-1.0, -0.5, 0.0, 0.5, 1.0])


@pytest.mark.parametrize(
    ("low", "high", "bins", "message"),
    [(1.0, 1.0, 8, "low < high"), (0.0, np.nan, 8, "finite"), (0.0, 1.0, 0, "at least one cell")],
)
def test_edges_that_cannot_be(low: float, high: float, bins: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        density_edges(low, high, bins)


def test_counts_by_hand() -> None:
    histogram = HistogramSums(np.array([0.0, 1.0, 3.0]), 1, torch.device("cpu"))
    nowhere = float("nan")
    histogram.add(0, torch.tensor([[0.0, 0.5], [1.0, 2.9], [-0.1, 3.0], [0.9, nowhere]], dtype=torch.float64))
    assert histogram.counts.tolist() == [[3.0, 2.0]]
    assert histogram.squares.tolist() == [[5.0, 4.0]]
    assert histogram.outside.tolist() == [3.0]
    density, stderr, outside = histogram.density(np.array([4.0]), particles=2)
    np.testing.assert_allclose(density, [[3 / 8, 2 / 16]])
    np.testing.assert_allclose(outside, [3 / 8])
    # counts per trajectory 2, 0, 0, 1 in the first cell
    np.testing.assert_allclose(stderr[0, 0], np.std([2, 0, 0, 1], ddof=1) / 2 / 2)


@pytest.mark.parametrize(("low", "high", "bins"), [(-1.3, 2.1, 80), (0.1, 0.7, 7), (-1e-9, 1e9, 33)])
def test_cells_of_equal_width_are_found_as_by_a_search(low: float, high: float, bins: int) -> None:
    """On every edge, one rounding below and above it, far outside, and for what is not a number."""
    edges = density_edges(low, high, bins)
    values = np.concatenate((edges, np.nextafter(edges, -np.inf), np.nextafter(edges, np.inf)))
    values = np.append(values, [low - 1e300, high + 1e300, -np.inf, np.inf, np.nan])
    histogram = HistogramSums(edges, len(values), torch.device("cpu"))
    for k, value in enumerate(values):
        histogram.add(k, torch.tensor([[value]], dtype=torch.float64))
    expected = np.searchsorted(edges, values, side="right")
    for k, cell in enumerate(expected):
        inside = np.zeros(bins)
        if 0 < cell <= bins:
            inside[cell - 1] = 1.0
        assert np.array_equal(histogram.counts[k].numpy(), inside), values[k]
        assert histogram.outside[k] == 1.0 - inside.sum()


def test_edges_must_increase() -> None:
    with pytest.raises(ValueError, match="increasing"):
        HistogramSums(np.array([0.0, 0.0, 1.0]), 1, torch.device("cpu"))
