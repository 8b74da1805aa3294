"""Distances of two results' correlations and momentum densities, at the times that both have.

    pair_density_l1    int int |rho_2 - rho_2_true| dx dx'
    momentum_l1        int |n - n_true| dp
    occupation_error   largest |n_k - n_k_true| of the natural occupations

Both are interpolated by splines of fifth order onto one grid, as fine as the finer of the two, and are zero
beyond their own points. The pair density of samples is one of averages over cells: there it is the reference
that is averaged over them. Beside what is sampled stands the distance that sampling alone would give.

Shapes: T times, M points, K orbitals.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import make_interp_spline

Array = NDArray[np.float64]
Group = Mapping[str, NDArray[Any]]
Results = Mapping[str, Group]

DEGREE = 5
MEAN_ABSOLUTE = float(np.sqrt(2.0 / np.pi))  # E|z| of a standard normal z
# of a common grid: a momentum axis may be long and fine
MOST_POINTS = 20_000


def correlation_errors(results: Results, reference: Results) -> dict[str, float]:
    """The metrics of the groups `correlations` and `momentum` that both have; empty where there are none."""
    found: dict[str, float] = {}
    for name, group, axes, value, in_cells in (
        ("pair_density_l1", "correlations", ("x", "x_prime"), "pair_density", True),
        ("momentum_l1", "momentum", ("p",), "momentum_density", False),
    ):
        run, truth = results.get(group, {}), reference.get(group, {})
        if value not in run or value not in truth:
            continue
        noise, other_noise = (each.get(f"{value}_stderr") for each in (run, truth))
        averages = in_cells and noise is not None and other_noise is None
        measure = _distance_in_cells if averages else _distance
        own, others = [run[a] for a in axes], [truth[a] for a in axes]
        pairs = [
            (i, j) for i, j in common_times(run["time"], truth["time"]) if np.isfinite(run[value][i]).all()
        ]
        if pairs:
            distances = [measure(own, run[value][i], others, truth[value][j]) for i, j in pairs]
            found[f"{name}_max"] = float(np.max(distances))
            found[f"{name}_mean"] = float(np.mean(distances))
            if noise is not None:
                cell = float(np.prod([x[1] - x[0] for x in own]))
                floors = [MEAN_ABSOLUTE * noise[i].sum() * cell for i, _ in pairs]
                found[f"{name}_floor"] = float(np.mean(floors))
    run, truth = results.get("correlations", {}), reference.get("correlations", {})
    if "occupation" in run and "occupation" in truth:
        largest = [
            np.abs(np.subtract(*_as_long(run["occupation"][i], truth["occupation"][j]))).max()
            for i, j in common_times(run["time"], truth["time"])
        ]
        if largest:
            found["occupation_error"] = float(np.max(largest))
    return found


def common_times(times: Array, others: Array) -> list[tuple[int, int]]:
    """Indices of equal times in both."""
    slack = 1e-9 * (1.0 + max(abs(times[-1]), abs(others[-1])))
    return [
        (i, int(j))
        for i, t in enumerate(times)
        if abs(others[j := int(np.argmin(np.abs(others - t)))] - t) <= slack
    ]


def _distance(axes: list[Array], values: Array, other_axes: list[Array], others: Array) -> float:
    """The integral of |values - others| over their common range of every axis."""
    cell = 1.0
    for axis, (x, y) in enumerate(zip(axes, other_axes, strict=True)):
        if len(x) == len(y) and np.allclose(x, y, rtol=0.0, atol=1e-9 * (x[1] - x[0])):
            cell *= float(x[1] - x[0])
            continue
        grid = _common_grid(x, y)
        cell *= float(grid[1] - grid[0])
        values, others = _onto(grid, x, values, axis), _onto(grid, y, others, axis)
    return float(np.abs(values - others).sum() * cell)


def _distance_in_cells(axes: list[Array], values: Array, other_axes: list[Array], others: Array) -> float:
    """The same for averages over the cells around the points of `axes`, and values at points of others."""
    cell = 1.0
    for axis, (x, y) in enumerate(zip(axes, other_axes, strict=True)):
        others = np.moveaxis(np.tensordot(onto(y, x, averages=True), others, (1, axis)), 0, axis)
        cell *= float(x[1] - x[0])
    return float(np.abs(values - others).sum() * cell)


def cell_edges(centers: Array) -> Array:
    """(C + 1,) edges of equidistant cells from their centres (C,), C >= 2."""
    half = 0.5 * (centers[-1] - centers[0]) / (len(centers) - 1)
    return np.linspace(centers[0] - half, centers[-1] + half, len(centers) + 1)


def onto(x: Array, centers: Array, averages: bool) -> Array:
    """The matrix (C, M) from values at the points x to those elsewhere, or to averages over cells there."""
    spline = make_interp_spline(x, np.eye(len(x)), k=min(DEGREE, len(x) - 1))
    if not averages:
        inside = (centers >= x[0]) & (centers <= x[-1])
        return np.where(inside[:, None], spline(np.clip(centers, x[0], x[-1])), 0.0)
    edges = cell_edges(centers)
    return np.diff(spline.antiderivative()(np.clip(edges, x[0], x[-1])), axis=0) / np.diff(edges)[:, None]


def _common_grid(x: Array, y: Array) -> Array:
    """Points over both ranges, as fine as the finer of two equidistant axes."""
    low, high = min(x[0], y[0]), max(x[-1], y[-1])
    step = min(x[1] - x[0], y[1] - y[0])
    return np.linspace(low, high, min(MOST_POINTS, int(np.ceil((high - low) / step)) + 1))


def _onto(grid: Array, x: Array, values: Array, axis: int) -> Array:
    """Interpolated along one axis, zero beyond its points."""
    spline = make_interp_spline(x, values, k=min(DEGREE, len(x) - 1), axis=axis)
    shown = np.asarray(spline(np.clip(grid, x[0], x[-1])))
    inside = (grid >= x[0]) & (grid <= x[-1])
    return np.asarray(shown * np.expand_dims(inside, tuple(k for k in range(shown.ndim) if k != axis)))


def _as_long(first: Array, second: Array) -> tuple[Array, Array]:
    """Both with zeros for the orbitals that only the other has."""
    count = max(len(first), len(second))
    padded = (np.pad(values, (0, count - len(values))) for values in (first, second))
    return next(padded), next(padded)
