"""The method "wigner": classical trajectories from the Wigner function of the initial state.

    dX = P/m dt,    dP = -grad V(X, t) dt,    (X, P)(0) ~ Wigner function of psi_0

The truncated Wigner approximation (Steel et al., Phys. Rev. A 58, 4824 (1998)): exact where V is quadratic,
an approximation elsewhere. Here for Gaussians, whose Wigner function is a Gaussian, with X and P independent
but for the mean momentum.

Shapes: K trajectories, N particles, D axes, n = N D coordinates, T saved times, C cells.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from dsmsim.config import Config
from dsmsim.errors import ConfigError
from dsmsim.store import Stopwatch, provenance, write_results
from dsmsim.system import GaussianState, build_initial, build_system

TRAJECTORIES = 20_000
STEPS = 400  # of the leapfrog over [0, end]
CELLS = 80


def solve(config: Config, out: Path, *, progress: Callable[[str], None] = print) -> None:
    """Solve the input and write out/results.h5.

    Raises:
        ConfigError: the initial state is not a Gaussian.
    """
    started = Stopwatch.start()
    system, initial = build_system(config), build_initial(config)
    if not isinstance(initial, GaussianState):
        raise ConfigError("wigner needs a Gaussian at t = 0: initial.kind = 'gaussian'", key="initial.kind")
    rng = np.random.default_rng(config.seed)
    x = initial.sample(rng, TRAJECTORIES)
    with torch.no_grad():
        velocity = initial.v(torch.from_numpy(x)).numpy()
    spread = 0.5 * system.hbar / np.sqrt(initial.variance)
    p = system.mass * velocity + spread * rng.standard_normal(x.shape)

    def force(x: np.ndarray, t: float) -> np.ndarray:
        rows = torch.from_numpy(x)
        with torch.no_grad():
            return -system.gradient(rows, rows.new_full((len(rows), 1), t)).numpy()

    times = np.asarray(config.time.save_times)
    positions = np.empty((len(times), *x.shape))  # T K n
    for k, time in enumerate(times):
        start = times[k - 1] if k else 0.0
        steps = math.ceil(STEPS * (time - start) / config.time.end)
        dt = (time - start) / steps if steps else 0.0
        for step in range(steps):
            p = p + 0.5 * dt * force(x, start + step * dt)
            x = x + dt / system.mass * p
            p = p + 0.5 * dt * force(x, start + (step + 1) * dt)
        positions[k] = x
        progress(f"wigner, t = {time:.3g} of {config.time.end:.3g}")

    how = {"method": "wigner", "samples": TRAJECTORIES}
    groups = {
        "observables": _moments(config, times, positions),
        "density": _density(config, times, positions),
    }
    attributes = dict.fromkeys(groups, how) | {"provenance": provenance(config, started=started)}
    out.mkdir(parents=True, exist_ok=True)
    write_results(out / "results.h5", groups, attributes)


def _moments(config: Config, times: np.ndarray, x: np.ndarray) -> dict[str, np.ndarray]:
    """Mean and variance (T, N, D) with their standard errors."""
    shape = (len(times), config.system.particles, config.system.dimensions)
    count = x.shape[1]
    mean, variance = x.mean(1), x.var(1, ddof=1)
    fourth = ((x - mean[:, None]) ** 4).mean(1)
    errors = np.sqrt(variance / count), np.sqrt(np.maximum(fourth - variance**2, 0.0) / count)
    arrays = {"mean": mean, "mean_stderr": errors[0], "variance": variance, "variance_stderr": errors[1]}
    indices = {"particle": np.arange(shape[1]), "axis": np.arange(shape[2])}
    return {"time": times, **indices, **{name: array.reshape(shape) for name, array in arrays.items()}}


def _density(config: Config, times: np.ndarray, x: np.ndarray) -> dict[str, np.ndarray]:
    """One-body density along x (T, C) with its standard error."""
    along = x[:, :, :: config.system.dimensions]  # T K N
    edges = np.linspace(along.min(), along.max(), CELLS + 1)
    width, (count, particles) = edges[1] - edges[0], along.shape[1:]
    cells = np.clip(np.digitize(along, edges) - 1, 0, CELLS - 1)
    density, stderr = np.empty((2, len(times), CELLS))
    for k in range(len(times)):
        # the particles of one trajectory are not independent: the spread between trajectories counts
        each = np.zeros((count, CELLS))
        np.add.at(each, (np.arange(count)[:, None], cells[k]), 1.0 / (particles * width))
        density[k], stderr[k] = each.mean(0), each.std(0, ddof=1) / np.sqrt(count)
    x_centres = 0.5 * (edges[1:] + edges[:-1])
    return {"time": times, "x": x_centres, "density": density, "density_stderr": stderr}
