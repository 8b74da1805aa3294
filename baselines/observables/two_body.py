"""The two-body density along the first axis, and the whole group `correlations` of the results file.

    rho_2(x, x') = density of finding one particle at x and another at x', of integral 1
    g2(x, x')    = rho_2(x, x') / (rho(x) rho(x'))         1 for independent particles

A group holds at most 11 of the saved times and 81 points of x. Occupations, orbitals and the momentum
density are taken from all points first; what is stored is then the band-limited interpolation

    f(y) = sum_j f(x_j) sinc((y - x_j)/dx)

which loses nothing of a state that the points resolve and that vanishes at their ends. Of a density they
may lose something: its largest wavenumber is twice that of the state.

Shapes: `T` times, `M` points of x, `S` stored points.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from baselines.grids.product import Array, Wave
from baselines.observables.one_body import coherence, natural_orbitals, visible

# of a stored group
MOST_TIMES = 11
MOST_X = 81
# of the peak of a density
NEGLIGIBLE = 1e-8
ORBITALS = 10

Group = dict[str, npt.NDArray[Any]]


def pair_correlation(
    pair_density: npt.NDArray[np.floating[Any]], density: npt.NDArray[np.floating[Any]]
) -> Array:
    """g2(x, x') (M, M) from rho_2 (M, M) and rho (M,); NaN where rho is below 1e-6 of its peak."""
    seen = visible(density)
    return np.asarray(pair_density / np.outer(seen, seen))


def correlation_times(times: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.int64]:
    """Indices of the saved times that get correlations: at most 11, the first and the last among them.

    They are equidistant in index, as nearly as whole numbers allow.
    """
    count = min(len(times), MOST_TIMES)
    return np.rint(np.linspace(0, len(times) - 1, count)).astype(np.int64)


def stored_points(x: Array) -> tuple[Array, Array]:
    """The points (S,) at which correlations are stored, and the interpolation (S, M) onto them.

    The points themselves where there are few enough.
    """
    return (x, np.eye(len(x))) if len(x) <= MOST_X else resampled(x)


def resampled(x: Array, shown: tuple[float, float] | None = None) -> tuple[Array, Array]:
    """As many points as may be stored (S,), and the interpolation (S, M) onto them.

    Args:
        x: (M,) equidistant.
        shown: lowest and highest of the new points, within those of x; all of x by default.
    """
    dx = (x[-1] - x[0]) / (len(x) - 1)
    low, high = (x[0], x[-1]) if shown is None else shown
    stored = np.linspace(max(low, x[0]), min(high, x[-1]), MOST_X)
    return stored, np.sinc((stored[:, None] - x) / dx)


def where_it_is(x: Array, density: Array) -> tuple[float, float]:
    """The part of x (M,) beyond which a density (T, M) is below 1e-8 of its peak at all times."""
    highest = density.max(axis=0)
    seen = np.flatnonzero(highest > NEGLIGIBLE * highest.max())
    return float(x[seen[0]]), float(x[seen[-1]])


def correlations_at(
    x: Array,
    density_matrix: npt.NDArray[np.inexact[Any]],
    pair_density: npt.NDArray[np.floating[Any]] | None,
    density: npt.NDArray[np.floating[Any]] | None = None,
) -> Group:
    """The variables of one time, with their coordinates.

    Args:
        x: (M,) equidistant.
        density_matrix: (M, M).
        pair_density: (M, M), or None for a single particle.
        density: (M,) one-body density; the diagonal of the matrix where it is not given.
    """
    dx = (x[-1] - x[0]) / (len(x) - 1)
    occupation, orbitals = natural_orbitals(density_matrix, dx, ORBITALS)
    _, thin = stored_points(x)
    # the sinc of one index at a time: each of them is as smooth as psi
    matrix = np.asarray(thin @ density_matrix @ thin.T, dtype=np.complex128)
    pair = None if pair_density is None else np.asarray(thin @ pair_density @ thin.T)
    one = np.real(np.diagonal(matrix)) if density is None else np.asarray(thin @ density)
    return stored_correlations(matrix, occupation, orbitals @ thin.T, pair, one)


def stored_correlations(
    matrix: Wave, occupation: Array, orbitals: Wave, pair_density: Array | None, density: Array
) -> Group:
    """The variables of one time from what is already on the stored points (S,): matrices (S, S)."""
    g1 = coherence(matrix)
    found: Group = {
        "density_matrix_re": matrix.real,
        "density_matrix_im": matrix.imag,
        "g1_re": g1.real,
        "g1_im": g1.imag,
        "occupation": occupation,
        "natural_orbital_re": orbitals.real,
        "natural_orbital_im": orbitals.imag,
    }
    if pair_density is not None:
        found |= {"pair_density": pair_density, "g2": pair_correlation(pair_density, density)}
    return found


def assemble(times: Array, x: Array, states: Sequence[Group]) -> Group:
    """The group `correlations` from those of single times, all on the stored points x (S,)."""
    series = {name: np.array([state[name] for state in states]) for name in states[0]}
    orbital = np.arange(series["occupation"].shape[1])
    return {"time": times, "x": x, "x_prime": x, "orbital": orbital} | series
