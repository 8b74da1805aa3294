"""What every observable must be for the closed-form states of `ensembles.py`, which are Gaussian.

Averages over cells are integrals by Gauss-Legendre points in every cell.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from ensembles import draw, exact_form
from numpy.typing import NDArray
from scipy.stats import multivariate_normal, norm

from dsmsim.config import Config
from dsmsim.config.output_table import DEFAULT_OBSERVABLES, sample_variables
from dsmsim.measure import Context, EnsembleSums, Extent, build_observables, correlation_times, density_edges
from dsmsim.system import build_initial, build_system, closed_form

Array = NDArray[np.float64]

POINTS, WEIGHTS = np.polynomial.legendre.leggauss(6)
EXPRESSIONS = {"squared_distance": "(x1 - x2)**2"}


def context_of(config: Config, times: Array, bins: int = 16, blocks: int = 1, size: int = 400) -> Context:
    """The context of ensembles of these states, with cells for 4 standard deviations."""
    form, initial, dimensions = exact_form(config), build_initial(config), config.system.dimensions
    mean, spread = form.mean(times)[:, 0], np.sqrt(form.variance(times)[:, 0])
    low, high = mean - 4.0 * spread, mean + 4.0 * spread
    edges = [density_edges(low[:, a].min(), high[:, a].max(), bins) for a in range(dimensions)]
    center, width = form.center_of_mass_mean(times)[:, 0], np.sqrt(form.center_of_mass_variance(times)[:, 0])
    extent = Extent(
        low,
        high,
        float((center - 4.0 * width).min()),
        float((center + 4.0 * width).max()),
        4.0 * np.sqrt(2.0 * dimensions) * float(spread.max()),
        float(np.abs(mean - initial.mean[:dimensions]).max() + 2.0 * spread.max()),
        np.zeros(len(times)),
        np.ones(len(times)),
    )
    keys = {(0, number): size for number in range(blocks)}
    kept = correlation_times(len(times), 2)
    return Context(
        build_system(config), times, kept, edges, extent, initial.mean, initial.variance, keys, False, 3
    )


def sums_of(config: Config, context: Context) -> EnsembleSums:
    """Empty sums with all observables that need no wave function."""
    variables = sample_variables(config.system.particles, config.system.dimensions)
    expressions = EXPRESSIONS if config.system.particles > 1 else {}
    observables = build_observables(list(DEFAULT_OBSERVABLES), expressions, variables, context)
    return EnsembleSums(
        context.system,
        context.times,
        1,
        context.edges,
        mean=context.mean,
        variance=context.variance,
        exact=closed_form(config),
        observables=list(observables.values()),
    )


def add_batch(
    sums: EnsembleSums,
    config: Config,
    count: int,
    rng: np.random.Generator,
    block: int = 0,
    unit: int = 1,
) -> None:
    """Add exact samples at all times; those of a unit have most of their fluctuations in common."""
    form = exact_form(config)
    for index, time in enumerate(sums.times.tolist()):
        x = draw(config, time, count // unit, rng)
        if unit > 1:
            mean, own = torch.from_numpy(form.mean([time])[0].reshape(-1)), draw(config, time, count, rng)
            x = mean + 0.8**0.5 * (x.repeat_interleave(unit, 0) - mean) + 0.2**0.5 * (own - mean)
        t = torch.full_like(x[:, :1], time)
        sums.add(index, 0, x, form.u(x, t), form.v(x, t), time, block=block, unit=unit)


def truths(config: Config, context: Context) -> dict[str, dict[str, Array]]:
    """By group and name, for a cloud in one dimension."""
    form, times, system = exact_form(config), context.times, config.system
    assert system.dimensions == 1
    particles, mass, omega = system.particles, system.mass, system.trap.omega  # type: ignore[union-attr]
    mean, variance = form.mean(times)[:, 0, 0], form.variance(times)[:, 0, 0]
    spread = np.sqrt(variance)
    center, s_c = form.center_of_mass_mean(times)[:, 0], form.center_of_mass_variance(times)[:, 0]
    covariance = form.covariance(times)
    between = covariance[:, 0, 1, 0] if particles > 1 else variance
    trap = 0.5 * mass * omega**2 * particles * (variance + mean**2)
    pairs = particles * (particles - 1) / 2
    squared = 2.0 * (variance - between)
    edges, start = context.edges[0], context.mean[0]
    x = 0.5 * (edges[1:] + edges[:-1])
    rho = norm(mean[:, None], spread[:, None])
    found: dict[str, dict[str, Array]] = {
        "observables": {
            "mean": form.mean(times),
            "variance": form.variance(times),
            "covariance": covariance,
            "center_of_mass_mean": form.center_of_mass_mean(times),
            "center_of_mass_variance": form.center_of_mass_variance(times),
            "energy": np.full(len(times), form.energy()),
            "energy_trap": trap,
        },
        "density": {
            "density": _cells(edges, lambda y: rho.pdf(y)),
            "density_smooth": rho.pdf(x),
            "current": _cells(edges, lambda y: rho.pdf(y) * _velocity(config, context, y)),
        },
        "distributions": {
            "center_of_mass_density": _cells(
                context_edges(context.extent.center_low, context.extent.center_high, len(x)),
                lambda y: norm(center[:, None], np.sqrt(s_c)[:, None]).pdf(y),
            ),
            "quantile": rho.ppf([0.05, 0.25, 0.5, 0.75, 0.95])[..., None],
        },
    }
    threshold = np.linspace(0.0, context.extent.reach, 13)[1:]
    found["distributions"]["escape"] = rho.sf(start + threshold) + rho.cdf(start - threshold)
    if particles > 1:
        g = system.interaction.g  # type: ignore[union-attr]
        found["observables"]["energy_interaction"] = 0.5 * g * pairs * squared
        half = norm(0.0, np.sqrt(squared)[:, None])
        far = context_edges(0.0, context.extent.distance, len(x))
        found["distributions"]["distance_density"] = _cells(far, lambda y: 2.0 * half.pdf(y))
        found["user"] = {"squared_distance": squared}
        found["correlations"] = _pairs(context, mean, variance, between)
    return found


def context_edges(low: float, high: float, cells: int) -> Array:
    """Equidistant edges."""
    return np.linspace(low, high, cells + 1)


def _cells(edges: Array, function: Any) -> Array:
    """Averages over cells (T, C) of a function of positions (1, P) with values (T, P)."""
    nodes = _nodes(edges)
    values = function(nodes.reshape(1, -1))
    return np.asarray((values.reshape(len(values), *nodes.shape) * WEIGHTS).sum(-1) * 0.5)


def _nodes(edges: Array) -> Array:
    """(C, 6) positions in every cell."""
    return np.asarray(0.5 * (edges[1:] + edges[:-1])[:, None] + 0.5 * np.diff(edges)[:, None] * POINTS)


def _velocity(config: Config, context: Context, y: Array) -> Array:
    """E[v_1 | x_1 = y] (T, P): v is linear, so the others stand at their conditional means."""
    form, rows = exact_form(config), []
    for time in context.times.tolist():
        mean, covariance = form.mean([time])[0, :, 0], form.covariance([time])[0, :, :, 0]
        others = mean + np.outer(y[0] - mean[0], covariance[:, 0] / covariance[0, 0])
        x = torch.from_numpy(others)
        rows.append(form.v(x, torch.full_like(x[:, :1], time))[:, 0].numpy())
    return np.array(rows)


def _pairs(context: Context, mean: Array, variance: Array, between: Array) -> dict[str, Array]:
    edges = context.coarse_edges
    nodes = _nodes(edges)
    flat, weights = nodes.reshape(-1), np.tile(WEIGHTS / 2.0, len(nodes))
    both = np.stack(np.meshgrid(flat, flat, indexing="ij"), -1)
    pair, g2 = [], []
    for k in context.kept:
        law = [[variance[k], between[k]], [between[k], variance[k]]]
        density = multivariate_normal([mean[k]] * 2, law).pdf(both) * np.outer(weights, weights)
        cells = density.reshape(len(nodes), len(POINTS), len(nodes), len(POINTS)).sum((1, 3))
        one = _cells(edges, lambda y, k=k: norm(mean[k], np.sqrt(variance[k])).pdf(y))[0]
        pair.append(cells)
        g2.append(cells / np.outer(one, one))
    return {"pair_density": np.array(pair), "g2": np.array(g2)}
