"""Results with known errors, for the tests of `dsmsim.analysis`."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dsmsim.analysis import closed_form_results
from dsmsim.config import Config, parse_config
from dsmsim.measure import EnsembleSums, density_edges
from dsmsim.system import build_system, closed_form

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
