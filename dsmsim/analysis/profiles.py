"""What figures show over time and position: of the run, and of what is held to be the truth.

The truth is that of the first reference that knows the quantity, or from which it follows:

    density           averaged over the cells of the run, interpolated in time
    current           j(x, t) = -d/dt of the probability below x: the continuity equation
    g2(x, x')         rho_2(x, x') / (rho_1(x) rho_1(x')), rho_1 the marginal of rho_2
    g1(x, x')         rho_1(x, x') / sqrt(rho_1(x, x) rho_1(x', x'))
    distance          P(r) = 2 int rho_2(X - r/2, X + r/2) dX, in one dimension
    centre of mass    the Gaussian of Kohn's theorem, where it applies

Of functions of two positions, momenta and distances, references are compared at the times that both have.

Shapes: T times, C cells or points of the run, M points of a reference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import RectBivariateSpline, make_interp_spline
from scipy.special import ndtr

from dsmsim.analysis.compare import at_times, cell_averages
from dsmsim.analysis.correlations_error import cell_edges, common_times, onto

if TYPE_CHECKING:
    from dsmsim.analysis.loading import RunToPlot

Array = NDArray[np.float64]
Group = Mapping[str, NDArray[Any]]

SUFFIXES = ("", "_y", "_z")
DEGREE = 5  # of splines
LEAST_TIMES = DEGREE + 1  # from which a rate of change is taken
KOHN = "Kohn's theorem"
UNCLEAR = 0.25  # standard error beyond which g1 and g2 are not shown


@dataclass(frozen=True)
class Profile:
    """One quantity at several times.

    Attributes:
        time: (T,).
        x: (C,) centres of cells, points, momenta or distances.
        values: (T, C), or (T, C, C) over pairs of positions.
        stderr: like `values`; None of what is exact.
        reference: name of what is held to be the truth; "" where nothing is.
        true: like `values`, NaN at times of which nothing is known; None where nothing is known at all.
    """

    time: Array
    x: Array
    values: Array
    stderr: Array | None = None
    reference: str = ""
    true: Array | None = None


def density(run: RunToPlot, axis: int = 0) -> Profile | None:
    """One-body density along an axis; None, here and below, where the results have none."""
    found = _own(run, "density", f"density{SUFFIXES[axis]}", "xyz"[axis])
    return found and _from_densities(run, found, axis, 1, _density_of)


def smooth_density(run: RunToPlot, axis: int = 0) -> Profile | None:
    """The one-body density as it follows from the osmotic velocity."""
    return _own(run, "density", f"density_smooth{SUFFIXES[axis]}", "xyz"[axis])


def current(run: RunToPlot, axis: int = 0) -> Profile | None:
    """One-body current along an axis."""
    found = _own(run, "density", f"current{SUFFIXES[axis]}", "xyz"[axis])
    return found and _from_densities(run, found, axis, LEAST_TIMES, current_of)


def current_of(group: Group, centers: Array, times: Array) -> Array:
    """The current that carries a one-body density.

    Args:
        group: `time` (six at least), `x` and `density`, maybe `outside`.
        centers: (C,) of equidistant cells, over which the current is averaged.
        times: (T,) within those of the density.

    Returns:
        (T, C), 1/time.
    """
    edges = cell_edges(centers)
    width = edges[1] - edges[0]
    in_cells = cell_averages(group, centers) * width
    at_edges = np.concatenate((np.zeros((len(in_cells), 1)), np.cumsum(in_cells, axis=1)), axis=1)
    summed = make_interp_spline(edges, at_edges, k=min(DEGREE, len(centers)), axis=1).antiderivative()
    below = np.diff(summed(edges), axis=1) / width
    rate = make_interp_spline(group["time"], below, k=DEGREE, axis=0).derivative()
    return -np.asarray(rate(times))


def pair_density(run: RunToPlot) -> Profile | None:
    """Two-body density rho_2(x, x')."""
    found = _own(run, "correlations", "pair_density", "x")
    return found and _from_correlations(run, found, ("pair_density",), _pair_density_of)


def g2(run: RunToPlot) -> Profile | None:
    """Pair correlation g2(x, x'), where it is known."""
    found, pairs = _own(run, "correlations", "g2", "x"), _own(run, "correlations", "pair_density", "x")
    if found is not None and found.stderr is not None and pairs is not None:
        found = _without(found, _noise_of_counts(found, pairs) > UNCLEAR)
    return found and _from_correlations(run, found, ("pair_density",), _g2_of)


def density_matrix(run: RunToPlot) -> Profile | None:
    """Absolute value of the one-body density matrix rho_1(x, x')."""
    found = _own_complex(run, "density_matrix")
    return found and _from_correlations(run, found, ("density_matrix_re", "density_matrix_im"), _matrix_of)


def g1(run: RunToPlot) -> Profile | None:
    """Absolute value of the first-order coherence g1(x, x'), where it is known."""
    found = _own_complex(run, "g1")
    if found is not None and found.stderr is not None:
        found = _without(found, found.stderr > UNCLEAR)
    return found and _from_correlations(run, found, ("density_matrix_re", "density_matrix_im"), _g1_of)


def distances(run: RunToPlot) -> Profile | None:
    """Density of the distance of two particles."""
    found = _own(run, "distributions", "distance_density", "distance")
    if found is None or (run.config is not None and run.config.system.dimensions > 1):
        return found
    return _from_correlations(run, found, ("pair_density",), _distances_of)


def center_of_mass(run: RunToPlot) -> Profile | None:
    """Density of the centre of mass along the first axis."""
    found = _own(run, "distributions", "center_of_mass_density", "center")
    if found is None or run.center_of_mass is None:
        return found
    mean = run.center_of_mass.mean(found.time)[:, :1]
    width = np.sqrt(run.center_of_mass.variance(found.time)[:, :1])
    edges = cell_edges(found.x)
    true = np.diff(ndtr((edges - mean) / width), axis=1) / np.diff(edges)
    return replace(found, reference=KOHN, true=true)


def momentum(run: RunToPlot) -> Profile | None:
    """One-body momentum density along the first axis."""
    found = _own(run, "momentum", "momentum_density", "p")
    return found and _from_correlations(run, found, ("momentum_density",), _momentum_of, "momentum")


def _own(run: RunToPlot, group: str, name: str, x: str) -> Profile | None:
    arrays = run.results.get(group, {})
    if name not in arrays:
        return None
    stderr = arrays.get(f"{name}_stderr")
    return Profile(
        np.asarray(arrays["time"], dtype=np.float64),
        np.asarray(arrays[x], dtype=np.float64),
        np.asarray(arrays[name], dtype=np.float64),
        None if stderr is None else np.asarray(stderr, dtype=np.float64),
    )


def _own_complex(run: RunToPlot, name: str) -> Profile | None:
    """Absolute value of a complex function; its standard error is along the value, to first order."""
    real, imaginary = (_own(run, "correlations", f"{name}_{part}", "x") for part in ("re", "im"))
    if real is None or imaginary is None:
        return None
    size = np.hypot(real.values, imaginary.values)
    stderr = None
    if real.stderr is not None and imaginary.stderr is not None:
        with np.errstate(divide="ignore", invalid="ignore"):
            stderr = np.hypot(real.values * real.stderr, imaginary.values * imaginary.stderr) / size
    return replace(real, values=size, stderr=stderr)


def _without(found: Profile, unclear: NDArray[np.bool_]) -> Profile:
    stderr = None if found.stderr is None else np.where(unclear, np.nan, found.stderr)
    return replace(found, values=np.where(unclear, np.nan, found.values), stderr=stderr)


def _noise_of_counts(found: Profile, pairs: Profile) -> Array:
    """(T, C, C) the standard error that counting pairs gives a g2 of 1.

    Its own standard error does not say it where g2 is small: 0 where no pair was found. Of counts,
    stderr^2 rho_1 rho_1 / g2 is the same everywhere.
    """
    assert found.stderr is not None
    one = pairs.values.sum(2) * (pairs.x[1] - pairs.x[0])
    product = one[:, :, None] * one[:, None, :]
    with np.errstate(divide="ignore", invalid="ignore"):
        each = np.where(found.stderr > 0.0, found.stderr**2 * product / found.values, np.nan)
        unit = [np.median(k[np.isfinite(k)]) if np.isfinite(k).any() else 0.0 for k in each]
        return np.asarray(np.sqrt(np.asarray(unit)[:, None, None] / product))


def _from_densities(
    run: RunToPlot,
    found: Profile,
    axis: int,
    least: int,
    truth: Callable[[Group, Array, Array], Array],
) -> Profile:
    """With the truth from the first reference that has a density along the axis at enough times."""
    for name, results in run.references.items():
        arrays = results.get("density", {})
        own = {"time": "time", "density": f"density{SUFFIXES[axis]}", "outside": f"outside{SUFFIXES[axis]}"}
        group = {key: arrays[place] for key, place in own.items() if place in arrays}
        if "density" in group and len(group["time"]) >= least:
            group["x"] = arrays["xyz"[axis]]
            last = group["time"][-1]
            true = truth(group, found.x, np.minimum(found.time, last))
            late = found.time > last * (1.0 + 1e-9)
            return replace(found, reference=name, true=np.where(late[:, None], np.nan, true))
    return found


def _density_of(group: Group, centers: Array, times: Array) -> Array:
    return at_times(group["time"], cell_averages(group, centers), times)


def _from_correlations(
    run: RunToPlot,
    found: Profile,
    names: tuple[str, ...],
    truth: Callable[[Profile, Group, int], Array],
    group: str = "correlations",
) -> Profile:
    """With the truth from the first reference that has these arrays, at the times that both have."""
    for name, results in run.references.items():
        arrays = results.get(group, {})
        same = common_times(found.time, arrays["time"]) if set(names) <= set(arrays) else []
        if same:
            true = np.full(found.values.shape, np.nan)
            for i, j in same:
                true[i] = truth(found, arrays, j)
            # where the run is a ratio of nothing, so is the truth
            return replace(found, reference=name, true=np.where(np.isnan(found.values), np.nan, true))
    return found


def _pair_density_of(found: Profile, group: Group, index: int) -> Array:
    # what is sampled is counted in cells
    to = onto(group["x"], found.x, found.stderr is not None)
    return np.asarray(to @ group["pair_density"][index] @ to.T)


def _g2_of(found: Profile, group: Group, index: int) -> Array:
    x = group["x"]
    to = onto(x, found.x, found.stderr is not None)
    one = to @ (group["pair_density"][index].sum(1) * (x[1] - x[0]))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(_pair_density_of(found, group, index) / (one[:, None] * one))


def _matrix_of(found: Profile, group: Group, index: int) -> Array:
    to = onto(group["x"], found.x, averages=False)
    matrix = group["density_matrix_re"][index] + 1j * group["density_matrix_im"][index]
    return np.asarray(np.abs(to @ matrix @ to.T))


def _g1_of(found: Profile, group: Group, index: int) -> Array:
    matrix = _matrix_of(found, group, index)
    one = np.diagonal(matrix)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(matrix / np.sqrt(one[:, None] * one))


def _distances_of(found: Profile, group: Group, index: int) -> Array:
    x = np.asarray(group["x"], dtype=np.float64)
    rho = RectBivariateSpline(x, x, group["pair_density"][index], kx=3, ky=3)
    half = 0.5 * (found.x[1] - found.x[0])
    total = np.zeros(len(found.x))
    for node in (-1.0, 1.0):  # two Gauss points average over a cell
        r = found.x + node * half / np.sqrt(3.0)
        first, second = x[:, None] - 0.5 * r, x[:, None] + 0.5 * r
        inside = (first >= x[0]) & (second <= x[-1])
        total += np.where(inside, rho.ev(first, second), 0.0).sum(0) * (x[1] - x[0])
    return np.asarray(total)  # twice the average over both nodes


def _momentum_of(found: Profile, group: Group, index: int) -> Array:
    return np.asarray(onto(group["p"], found.x, averages=False) @ group["momentum_density"][index])
