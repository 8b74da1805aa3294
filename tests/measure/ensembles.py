"""Exact ensembles of the closed-form states, for the tests of `dsmsim.measure`.

Positions at different times are drawn independently of each other: the identities in time speak of averages
only, so any coupling of the times is as good as a trajectory, and there is no integrator to blame.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dsmsim.config import Config, parse_config
from dsmsim.measure import EnsembleSums, density_edges
from dsmsim.system import ClosedForm, build_initial, build_system, closed_form


def gaussian_config(
    particles: int, dimensions: int, g: float = 0.0, phase: float = -2.0, **system: Any
) -> Config:
    """Displaced, moving, breathing Gaussian in a trap, with a harmonic interaction of strength g."""
    table: dict[str, Any] = {
        "particles": particles,
        "dimensions": dimensions,
        "hbar": 0.1,
        "mass": 1.3,
        "trap": {"kind": "harmonic", "omega": 1.1},
    }
    if g != 0.0:
        table["interaction"] = {"kind": "harmonic", "g": g}
    initial = {"kind": "gaussian", "mean": 0.2, "variance": 0.07, "phase": phase}
    return parse_config({"system": table | system, "initial": initial, "time": {"end": 1.0}})


def exact_form(config: Config) -> ClosedForm:
    """The closed form, which must exist."""
    form = closed_form(config)
    assert form is not None
    return form


def new_sums(config: Config, times: NDArray[np.float64], trials: int = 1, bins: int = 30) -> EnsembleSums:
    """Empty sums with cells that hold the cloud."""
    initial = build_initial(config)
    edges = [density_edges(-1.5, 1.5, bins)] * config.system.dimensions
    system, exact = build_system(config), closed_form(config)
    return EnsembleSums(
        system, times, trials, edges, mean=initial.mean, variance=initial.variance, exact=exact
    )


def draw(config: Config, time: float, count: int, rng: np.random.Generator) -> torch.Tensor:
    """(count, n) exact samples of |psi(x, time)|^2."""
    form, shape = exact_form(config), (config.system.particles, config.system.dimensions)
    mean, covariance = form.mean(time)[0], form.covariance(time)[0]
    axes = [
        rng.multivariate_normal(mean[:, axis], covariance[:, :, axis], size=count) for axis in range(shape[1])
    ]
    return torch.from_numpy(np.stack(axes, axis=-1).reshape(count, -1))


def fill(
    sums: EnsembleSums,
    config: Config,
    count: int,
    rng: np.random.Generator,
    *,
    scale_u: float = 1.0,
    scale_v: float = 1.0,
) -> EnsembleSums:
    """Add `count` samples of every trial and time, with the exact velocities times the scales."""
    form = exact_form(config)
    for trial in range(sums.trials):
        for k, time in enumerate(sums.times):
            x = draw(config, float(time), count, rng)
            t = torch.full_like(x[:, :1], float(time))
            sums.add(k, trial, x, scale_u * form.u(x, t), scale_v * form.v(x, t), float(time))
    return sums
