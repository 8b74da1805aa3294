"""Observables of the user's own are tried before anything is computed: on a few samples of the initial state.

What fails here would else fail after hours of training.
"""

from __future__ import annotations

import numpy as np
import torch

from dsmsim.config import Config
from dsmsim.errors import ConfigError, DsmsimError
from dsmsim.measure import Context, Extent, Observable, Sampled, correlation_times, density_edges
from dsmsim.measure.build import BUILDERS, KEY, build_observables
from dsmsim.parallel import random_stream
from dsmsim.store import schema
from dsmsim.system import InitialState, build_initial, build_system

SAMPLES = 64


def foreign_observables(config: Config) -> list[str]:
    """Names of the observables that are not the program's own, without those of expressions."""
    return [
        name
        for name in config.output.observables
        if name not in BUILDERS and name not in config.output.expressions
    ]


def rehearse_observables(config: Config) -> None:
    """Build, feed and read the user's observables once.

    Raises:
        ConfigError: there is none of this name, it fails, or its results do not fit results.h5.
    """
    names = foreign_observables(config)
    if not names:
        return
    initial = build_initial(config)
    x = torch.from_numpy(initial.sample(random_stream(config.seed, "rehearsal", 0, 0), SAMPLES))
    context = _context(config, initial, x)
    for name in names:
        try:
            (observable,) = build_observables([name], {}, [], context).values()
            _try(observable, context, initial, x)
        except DsmsimError:
            raise
        except Exception as error:
            raise ConfigError(
                f"{KEY}: the observable {name!r} fails on samples of the initial state with "
                f"{type(error).__name__}: {error}; correct it",
                key=KEY,
            ) from error


def _context(config: Config, initial: InitialState, x: torch.Tensor) -> Context:
    times, dimensions = np.asarray(config.time.save_times), config.system.dimensions
    reach = float((x - torch.as_tensor(initial.mean)).abs().max())
    low, high = (np.full(dimensions, end) for end in (float(x.min()) - reach, float(x.max()) + reach))
    every = np.ones((len(times), 1))
    extent = Extent(
        every * low,
        every * high,
        float(low[0]),
        float(high[0]),
        float(np.linalg.norm(high - low)),
        reach,
        0.0 * every[:, 0],
        every[:, 0] * config.system.hbar / reach,
    )
    return Context(
        build_system(config),
        times,
        correlation_times(len(times), config.output.correlation_times),
        [density_edges(a, b, config.evaluation.bins) for a, b in zip(low, high, strict=True)],
        extent,
        initial.mean,
        initial.variance,
        {(0, 0): SAMPLES},
        True,
        config.seed,
    )


def _try(observable: Observable, context: Context, initial: InitialState, x: torch.Tensor) -> None:
    """Feed it, and check that its results are in the catalogue of results.h5.

    Raises:
        ValueError: they are not.
    """

    def log_psi(y: torch.Tensor) -> torch.Tensor:
        return torch.stack([0.5 * initial.log_density(y), initial.phase(y)], -1)

    times = range(len(context.times)) if len(context.times) <= SAMPLES else context.kept.tolist()
    for index in times:
        y, u, v = (a.t().contiguous().t() for a in (x, initial.u(x), initial.v(x)))
        observable.add(Sampled(index, float(context.times[index]), y, u, v, log_psi=log_psi))
    for tensor in observable.tensors():
        if tensor.dtype != torch.float64:
            raise ValueError(f"tensors() must be float64, not {tensor.dtype}")
    units = np.full(len(context.times), float(SAMPLES))
    with np.errstate(all="ignore"):
        found = observable.results(units)
    for group, arrays in found.items():
        for name, values in arrays.items():
            dims = schema.variable(group, name).dims
            if np.ndim(values) != len(dims):
                raise ValueError(f"{group}/{name} has {np.ndim(values)} dimensions, not {', '.join(dims)}")
