"""Errors of a run against a reference, and what a perfect sampler of the same size would get.

Over the T times of the run, per coordinate, averaged over coordinates and over trials (mean and standard
deviation over the trials):

    E_m, E_v           |m - m_true|_2 / |m_true|_2 of the mean and of the variance, |.|_2 the norm over times
    E_m_abs            |m|_2 / sqrt(T) for the coordinates whose true mean is 0 at all times; length
    variance_error     |s - s_true| / s_true at each time, all samples together
    density_l1         int |rho_1 - rho_1_true| dx at each time, one-body density along the first axis
    energy_drift       max_t |E(t) - E(0)| / |E(0)| of the run itself, where the energy is conserved

The distances of correlations and momentum densities are in `correlations_error`, those of learnt velocities
in `fields_error`.

With several trials, E_m_all, E_v_all and E_m_abs_all are the same numbers of all samples together.

`*_floor` is the sampling floor, the same number for exact fields sampled in the same way: what the standard
errors sigma of the run alone would make. For E_m, E_v and E_m_abs it is the root mean square
sqrt(sum_t sigma^2) / |true|_2, which holds however the samples of different times are correlated (the mean
itself lies between 0.8 and 1 times that); for variance_error and density_l1 it is the mean absolute deviation
sqrt(2/pi) sigma of a Gaussian, averaged over time.

Source: Orlova et al., ICML 2024, for E_m and E_v.

Shapes: T times, N particles, D axes, K trials, C cells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator, make_interp_spline

from dsmsim.analysis.correlations_error import MEAN_ABSOLUTE, cell_edges, correlation_errors
from dsmsim.config import Config
from dsmsim.errors import ConfigError
from dsmsim.system import closed_form

Array = NDArray[np.float64]
Group = Mapping[str, NDArray[Any]]
Results = Mapping[str, Group]

ZERO_MEAN = 1e-6  # of the standard deviation: a mean that small at all times is zero by symmetry


def compare(
    results: Results, reference: Results, how: Mapping[str, Any] | None = None, *, conserved: bool = True
) -> dict[str, NDArray[Any]]:
    """The results group `errors/<reference>`: arrays over `time`, and scalars as arrays of shape ().

    Times of the run beyond the end of the reference are left out; between its times the reference is
    interpolated with cubic splines. Its density is integrated over the cells of the run.

    Args:
        results: at least `observables` with mean and variance; by_trial arrays and standard errors are used
            where they are.
        reference: the same groups; a density without `outside` holds point values, one with it averages over
            cells. Correlations and momentum densities are compared where both have them.
        how: attributes of the reference's observables: what a solver says of its own error is kept beside
            the distances, as `reference_*`.
        conserved: whether the energy is, so that its drift is an error.

    Raises:
        ConfigError: if the two are not about the same particles, or have no time in common.
    """
    run, truth = _observables(results, "the run"), _observables(reference, "the reference")
    if run["mean"].shape[1:] != truth["mean"].shape[1:]:
        raise ConfigError(
            f"the run has (particles, axes) = {run['mean'].shape[1:]}, the reference"
            f" {truth['mean'].shape[1:]}: compare runs of the same system"
        )
    inside = _common(run["time"], truth["time"])
    times = run["time"][inside]
    mean, variance = (at_times(truth["time"], truth[name], times) for name in ("mean", "variance"))
    errors: dict[str, NDArray[Any]] = {"time": times}
    scalars = _mean_errors(run, truth, mean, variance, inside)
    scalars |= _variance_errors(run, variance, inside)
    relative = np.abs(run["variance"][inside] - variance) / variance
    errors["variance_error"] = relative.mean((1, 2))
    scalars["variance_error_mean"] = float(errors["variance_error"].mean())
    if "density" in results and "density" in reference:
        density, more = _density_errors(results, reference, inside)
        errors["density_l1"] = density
        scalars |= more
    scalars |= correlation_errors(results, reference)
    if conserved:
        scalars |= energy_drift(run)
    errors |= {name: np.asarray(value, dtype=np.float64) for name, value in scalars.items()}
    return errors | _own_error(how or {})


# what a reference says of itself: attribute by name in the group of errors
_OWN = {
    "reference_error": "error_estimate",
    "reference_error_variance": "error_variance",
    "reference_error_density": "error_density",
    "reference_error_pair": "error_pair_distance",
    "reference_tolerance": "tolerance",
}


def _own_error(how: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    if "error_estimate" not in how:
        return {}
    found = {name: np.asarray(float(how[attribute])) for name, attribute in _OWN.items() if attribute in how}
    return found | {"reference_converged": np.asarray(int(bool(how.get("converged", False))))}


def energy_drift(run: Group) -> dict[str, float]:
    """`energy_drift` of the group `observables`, empty where it has no energy or that is 0 at first.

    The standard error is that of the difference at the worst time, as if both energies were independent: an
    upper bound where they are measured on the same samples.
    """
    energy = np.asarray(run.get("energy", ()), dtype=np.float64)
    if energy.size == 0 or energy[0] == 0.0:
        return {}
    away = np.abs(energy - energy[0]) / np.abs(energy[0])
    worst = int(np.argmax(away))
    found = {"energy_drift": float(away[worst])}
    if "energy_stderr" in run:
        stderr = np.asarray(run["energy_stderr"], dtype=np.float64)
        both = np.hypot(stderr[worst], stderr[0]) if worst else 0.0
        found["energy_drift_stderr"] = float(both / np.abs(energy[0]))
    return found


def closed_form_results(
    config: Config, times: Array, edges: Sequence[Array]
) -> dict[str, dict[str, NDArray[Any]]] | None:
    """`observables` and `density` of the exact solution, or None where there is none.

    Args:
        config: the input.
        times: (T,) times.
        edges: cell edges (C + 1,) for each axis, at most D of them.
    """
    form = closed_form(config)
    if form is None:
        return None
    times = np.asarray(times, dtype=np.float64)
    observables: dict[str, NDArray[Any]] = {
        "time": times,
        "particle": np.arange(config.system.particles),
        "particle_prime": np.arange(config.system.particles),
        "axis": np.arange(config.system.dimensions),
        "energy": np.full(len(times), form.energy()),
    }
    for name in ("mean", "variance", "covariance", "center_of_mass_mean", "center_of_mass_variance"):
        observables[name] = getattr(form, name)(times)
    density: dict[str, NDArray[Any]] = {"time": times}
    for axis, cells in enumerate(edges):
        name, suffix = "xyz"[axis], ("", "_y", "_z")[axis]
        density[name] = 0.5 * (cells[1:] + cells[:-1])
        density[f"density{suffix}"] = form.density(cells, times, axis)
        density[f"outside{suffix}"] = 1.0 - density[f"density{suffix}"] @ np.diff(cells)
    return {"observables": observables, "density": density}


def closed_form_like(config: Config, results: Results) -> dict[str, dict[str, NDArray[Any]]] | None:
    """`closed_form_results` at the times and in the density cells of a run."""
    density = results.get("density", {})
    edges = [cell_edges(density[axis]) for axis in "xyz" if axis in density]
    return closed_form_results(config, results["observables"]["time"], edges)


def cell_averages(density: Group, centers: Array) -> Array:
    """(times of `density`, C) averages of its one-body density over equidistant cells with these centres.

    Point values are integrated as a spline of fifth order, averages over other cells through their running
    sum.
    """
    edges, x = cell_edges(centers), density["x"]
    values = np.asarray(density["density"], dtype=np.float64)
    if "outside" not in density:
        spline = make_interp_spline(x, values, k=min(5, len(x) - 1), axis=1)
        cumulative = spline.antiderivative()(np.clip(edges, x[0], x[-1]))
    elif len(x) == len(centers) and np.allclose(x, centers, rtol=0.0, atol=1e-9 * (edges[1] - edges[0])):
        return values
    else:
        own = cell_edges(x)
        sums = np.concatenate((np.zeros((len(values), 1)), np.cumsum(values * np.diff(own), axis=1)), axis=1)
        cumulative = PchipInterpolator(own, sums, axis=1)(np.clip(edges, own[0], own[-1]))
    return np.asarray(np.diff(cumulative, axis=1) / np.diff(edges))


def _observables(results: Results, whose: str) -> Group:
    group = results.get("observables", {})
    missing = [name for name in ("time", "mean", "variance") if name not in group]
    if missing:
        raise ConfigError(f"{whose} has no {', '.join(f'observables/{m}' for m in missing)} to compare")
    return group


def _common(times: Array, reference: Array) -> NDArray[np.bool_]:
    slack = 1e-9 * max(float(np.ptp(reference)), 1e-300)
    inside: NDArray[np.bool_] = (times >= reference[0] - slack) & (times <= reference[-1] + slack)
    if not inside.any():
        raise ConfigError(
            f"the times of the run, {times[0]:g} to {times[-1]:g}, and of the reference, {reference[0]:g} to"
            f" {reference[-1]:g}, do not overlap"
        )
    return inside


def at_times(times: Array, values: NDArray[Any], wanted: Array) -> Array:
    """Cubic interpolation along the first axis; no interpolation where the times are the same."""
    values = np.asarray(values, dtype=np.float64)
    if len(times) == len(wanted) and np.allclose(times, wanted, rtol=0.0, atol=1e-12 * (1.0 + times[-1])):
        return values
    if len(times) == 1:
        return np.repeat(values, len(wanted), axis=0)
    spline = make_interp_spline(times, values, k=min(3, len(times) - 1), axis=0)
    return np.asarray(spline(np.clip(wanted, times[0], times[-1])))


def _trials(run: Group, name: str, inside: NDArray[np.bool_]) -> Array:
    """(K, T, N, D): by trial where there are trials, else one trial with everything."""
    by_trial = run.get(f"{name}_by_trial")
    values = run[name][None] if by_trial is None else by_trial
    return np.asarray(values, dtype=np.float64)[:, inside]


def _sampled(run: Group) -> bool:
    """Whether the moments come from samples; those of a solver have no standard errors, or none but 0."""
    stderr = run.get("mean_stderr")
    return stderr is not None and bool(np.any(stderr > 0.0))


def _l2(values: Array) -> Array:
    """Norm over the times: (..., T, coordinates) -> (..., coordinates)."""
    return np.asarray(np.sqrt(np.sum(values**2, axis=-2)))


def _mean_errors(
    run: Group, truth: Group, mean: Array, variance: Array, inside: NDArray[np.bool_]
) -> dict[str, float]:
    threshold = ZERO_MEAN * np.sqrt(variance)
    if "mean_stderr" in truth:  # a sampled reference has a mean of zero within its noise
        threshold = np.maximum(threshold, 5.0 * np.max(truth["mean_stderr"]))
    zero = np.all(np.abs(mean) <= threshold, axis=0)
    noise = np.asarray(run["mean_stderr"])[inside].reshape(mean.shape) if _sampled(run) else None
    found: dict[str, float] = {}
    for name, chosen in (("E_m", ~zero), ("E_m_abs", zero)):
        if chosen.any():
            true = mean[:, chosen]
            unit = _l2(true) if name == "E_m" else np.sqrt(len(mean))
            trials, whole = _trials(run, "mean", inside)[:, :, chosen], run["mean"][inside][:, chosen]
            spread = None if noise is None else noise[:, chosen]
            found |= _norms(name, trials - true, whole - true, spread, unit)
    return found


def _variance_errors(run: Group, variance: Array, inside: NDArray[np.bool_]) -> dict[str, float]:
    noise, found = None, {}
    if _sampled(run):
        # Var of a sample variance is s^2 (kurtosis - 1) / n; the kurtosis is the run's own
        relative = np.asarray(run["variance_stderr"] / run["variance"])[inside]
        noise = (relative * variance).reshape(len(variance), -1)
        found["variance_error_floor"] = float(MEAN_ABSOLUTE * np.mean(relative))
    true = variance.reshape(len(variance), -1)
    trials = _trials(run, "variance", inside)
    whole = np.asarray(run["variance"])[inside].reshape(true.shape)
    return found | _norms(
        "E_v", trials.reshape(len(trials), *true.shape) - true, whole - true, noise, _l2(true)
    )


def _norms(
    name: str, trials: Array, whole: Array, noise: Array | None, unit: Array | float
) -> dict[str, float]:
    """A metric, its spread over trials, its floor, and the same for all samples together.

    Args:
        trials: (K, T, coordinates) errors of each trial.
        whole, noise: (T, coordinates) error and standard error of all samples together.
        unit: (coordinates,) or a number: what the norms over time are divided by.
    """
    count = len(trials)
    per_trial = (_l2(trials) / unit).mean(-1)
    found = {name: float(per_trial.mean())}
    floor = None if noise is None else float(np.mean(_l2(noise) / unit))
    if floor is not None:
        found[f"{name}_floor"] = float(np.sqrt(count)) * floor
    if count > 1:
        found[f"{name}_std"] = float(per_trial.std(ddof=1))
        found[f"{name}_all"] = float(np.mean(_l2(whole) / unit))
        if floor is not None:
            found[f"{name}_all_floor"] = floor
    return found


def _density_errors(
    results: Results, reference: Results, inside: NDArray[np.bool_]
) -> tuple[Array, dict[str, float]]:
    run, truth = results["density"], reference["density"]
    times = results["observables"]["time"][inside]
    width = float(np.diff(cell_edges(run["x"]))[0])
    p_true = at_times(truth["time"], cell_averages(truth, run["x"]), times) * width
    # of a solver on a grid the point values, of samples the averages they are
    p_run = cell_averages(run, run["x"])[inside] * width
    # everything beyond the cells counts as one more cell
    beyond = np.abs(p_run.sum(1) - p_true.sum(1))
    l1 = np.abs(p_run - p_true).sum(1) + beyond
    found = {"density_l1_max": float(l1.max()), "density_l1_mean": float(l1.mean())}
    if _sampled(results["observables"]) and "density_stderr" in run:
        spread = np.asarray(run["density_stderr"], dtype=np.float64)[inside] * width
        # sigma^2 = p (1 - p) / n_eff, n_eff from the run: particles of one trajectory are not independent
        effective = (p_run * (1.0 - p_run)).sum(1) / (spread**2).sum(1)
        p = np.clip(p_true, 0.0, 1.0)
        sigma = np.sqrt(p * (1.0 - p) / effective[:, None]).sum(1)
        found["density_l1_floor"] = float(MEAN_ABSOLUTE * sigma.mean())
    return l1, found
