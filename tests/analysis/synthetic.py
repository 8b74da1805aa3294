"""Results with known errors, for the tests of `dsmsim.analysis`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
import torch
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from dsmsim.analysis import closed_form_results
from dsmsim.config import Config, parse_config
from dsmsim.measure import EnsembleSums, density_edges
from dsmsim.store import RunDirectory, write_results
from dsmsim.system import build_system, closed_form

Results = dict[str, dict[str, NDArray[Any]]]

TIMES = np.linspace(0.0, 1.0, 11)
EDGES = density_edges(-1.5, 1.5, 40)


def moving_gaussian(particles: int = 1, dimensions: int = 1, mean: Any = 0.3, phase: Any = -2.0) -> Config:
    """A Gaussian that moves and breathes in a harmonic trap; a closed form exists."""
    system = {
        "particles": particles,
        "dimensions": dimensions,
        "hbar": 0.1,
        "trap": {"kind": "harmonic", "omega": 1.3},
    }
    initial = {"kind": "gaussian", "mean": mean, "variance": 0.07, "phase": phase}
    return parse_config({"title": "A test", "system": system, "initial": initial, "time": {"end": 1.0}})


def exact_results(
    config: Config, times: NDArray[np.float64] = TIMES, edges: NDArray[np.float64] = EDGES
) -> dict[str, dict[str, NDArray[Any]]]:
    """The closed form as results; it must exist."""
    results = closed_form_results(config, times, [edges] * config.system.dimensions)
    assert results is not None
    return results


def sampled_results(
    config: Config, samples: int, trials: int, rng: np.random.Generator, times: NDArray[np.float64] = TIMES
) -> dict[str, dict[str, NDArray[Any]]]:
    """Results of a perfect sampler: exact and independent at every time (velocities are left at 0)."""
    form, system = closed_form(config), build_system(config)
    assert form is not None
    edges = [EDGES] * config.system.dimensions
    sums = EnsembleSums(system, times, trials, edges, mean=0.0, variance=0.1)
    mean, sigma = form.mean(times), np.sqrt(form.variance(times))
    for trial in range(trials):
        for k, time in enumerate(times):
            noise = rng.standard_normal((samples // trials, *mean.shape[1:]))
            x = torch.from_numpy((mean[k] + sigma[k] * noise).reshape(len(noise), -1))
            sums.add(k, trial, x, torch.zeros_like(x), torch.zeros_like(x), float(time))
    return {"observables": sums.observables(), "density": sums.density()}


def pairs(
    x: NDArray[np.float64],
    p: NDArray[np.float64],
    times: NDArray[np.float64],
    correlation: float = 0.3,
    orbitals: int = 4,
) -> dict[str, dict[str, NDArray[Any]]]:
    """Groups `correlations` and `momentum` of two particles with a Gaussian pair density."""
    width = 0.3 * (1.0 + times)
    a, b = (x / width[:, None] for _ in range(2))
    exponent = a[:, :, None] ** 2 - 2.0 * correlation * a[:, :, None] * b[:, None, :] + b[:, None, :] ** 2
    rest = 1.0 - correlation**2
    area = (2.0 * np.pi * np.sqrt(rest) * width**2)[:, None, None]
    pair = np.exp(-0.5 * exponent / rest) / area
    one = np.exp(-0.5 * a**2) / (np.sqrt(2.0 * np.pi) * width[:, None])
    with np.errstate(divide="ignore", invalid="ignore"):
        g2 = pair / (one[:, :, None] * one[:, None, :])
    g2[:, np.abs(x) > 1.2, :] = np.nan
    spread = 0.5 / width
    momentum = np.exp(-0.5 * (p / spread[:, None]) ** 2) / (np.sqrt(2.0 * np.pi) * spread[:, None])
    occupation = np.repeat((1.0 - correlation) * correlation ** np.arange(orbitals)[None], len(times), 0)
    return {
        "correlations": {
            "time": times,
            "x": x,
            "x_prime": x,
            "pair_density": pair,
            "g2": g2,
            "orbital": np.arange(orbitals),
            "occupation": occupation,
        },
        "momentum": {"time": times, "p": p, "momentum_density": momentum},
    }


def gaussian(x: NDArray[np.float64], mean: Any = 0.0, variance: Any = 1.0) -> NDArray[np.float64]:
    """The normal density."""
    return np.asarray(np.exp(-0.5 * (x - mean) ** 2 / variance) / np.sqrt(2.0 * np.pi * variance))


def observed(
    config: Config, x: NDArray[np.float64], times: NDArray[np.float64] = TIMES, seed: int | None = None
) -> Results:
    """Everything that is measured, of independent particles that are Gaussian along x: exact values.

    Args:
        x: positions, of the density and of both positions of correlations.
        seed: of noise that is added, with its standard errors; None: exact, without any.
    """
    form = closed_form(config)
    assert form is not None
    particles, few = config.system.particles, times[:: len(times) // 2]
    mean, variance = form.mean(times)[:, :1, 0], form.variance(times)[:, :1, 0]
    later, before = times + 1e-4, times - 1e-4
    rate = [(of(later) - of(before))[:, :1, 0] / 2e-4 for of in (form.mean, form.variance)]
    one = gaussian(x, mean, variance)
    at = [int(np.argmin(np.abs(times - time))) for time in few]
    shape = one[at] / one[at].max(1, keepdims=True)
    known = np.where(shape[:, :, None] * shape[:, None, :] > 1e-6, 1.0, np.nan)
    root = np.sqrt(one[at])
    orbitals = np.stack([root, 0.0 * root], axis=1)
    matrix = root[:, :, None] * root[:, None, :]
    p, distance = np.linspace(-3.0, 3.0, 61), np.linspace(0.05, 3.95, 40)
    center, probability, threshold = (
        np.linspace(-2.0, 2.0, 81),
        np.array([0.05, 0.5, 0.95]),
        np.linspace(0.1, 1.2, 12),
    )
    dimensions, ends = config.system.dimensions, np.linspace(0.0, 4.0, 41)
    quantiles = np.sqrt(variance) * ndtri(probability)
    away = [(side * threshold + mean[0] - mean) / np.sqrt(variance) for side in (-1.0, 1.0)]
    shots = np.random.default_rng(0).standard_normal((len(few), 20, particles, dimensions))
    exact: Results = {
        "density": {
            "density_smooth": one,
            "current": one * (rate[0] + 0.5 * rate[1] / variance * (x - mean)),
        },
        "correlations": {
            "pair_density": one[at][:, :, None] * one[at][:, None, :],
            "g2": known,
            "density_matrix_re": 0.6 * matrix,
            "density_matrix_im": 0.8 * matrix,
            "g1_re": 0.6 * known,
            "g1_im": 0.8 * known,
            "occupation": np.repeat([[1.0, 0.0]], len(few), 0),
            "natural_orbital_re": orbitals,
            "natural_orbital_im": orbitals,
        },
        "momentum": {"momentum_density": gaussian(p, 0.0, 0.1 / variance[at])},
        "distributions": {
            "distance_density": 2.0 * np.diff(ndtr(ends / np.sqrt(2.0 * variance)), axis=1) / 0.1,
            "center_of_mass_density": gaussian(center, mean, variance / particles),
            "quantile": np.repeat((mean + quantiles)[:, :, None], dimensions, 2),
            "escape": ndtr(away[0]) + 1.0 - ndtr(away[1]),
        },
        "user": {"dipole": mean[:, 0], "pair_$": variance[:, 0]},
    }
    if seed is not None:
        rng = np.random.default_rng(seed)
        for group in exact.values():
            for name, values in list(group.items()):
                group[f"{name}_stderr"] = 0.01 * (np.abs(values) + 0.01)
                group[name] = values + group[f"{name}_stderr"] * rng.standard_normal(values.shape)
    axes = {"particle": np.arange(particles), "axis": np.arange(dimensions)}
    exact["density"] |= {"time": times, "x": x, "density": one}
    exact["correlations"] |= {"time": few, "x": x, "x_prime": x, "orbital": np.arange(2)}
    exact["momentum"] |= {"time": few, "p": p}
    exact["distributions"] |= {"time": times, "distance": distance, "center": center, "axis": axes["axis"]}
    exact["distributions"] |= {"probability": probability, "threshold": threshold}
    exact["shots"] = {"time": few, "shot": np.arange(20), "position": 0.3 * shots, **axes}
    exact["user"]["time"] = times
    return exact


def training() -> dict[str, NDArray[Any]]:
    epoch = np.arange(0, 100, 10)
    falling = np.exp(-epoch / 30.0)
    return {
        "epoch": epoch,
        "loss": falling,
        "loss_newton": 0.7 * falling,
        "loss_score": 0.3 * falling,
        "loss_initial": np.zeros(10),
        "learning_rate": 1e-3 * falling,
        "gradient_norm": falling,
        "seconds": 0.1 * epoch,
    }


def new_run(path: Path, config: Config, results: Results) -> RunDirectory:
    """A run directory with results and the resolved input."""
    run = RunDirectory.create(path)
    run.resolved.write_text(tomli_w.dumps(config.to_dict()))
    write_results(run.results, results)
    return run
