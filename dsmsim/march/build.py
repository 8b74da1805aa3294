"""The model that an input lets march."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsmsim.config import Config, per_axis
from dsmsim.config.interactions import GaussianPair
from dsmsim.config.march_costs import one_body_functions
from dsmsim.config.terms import HarmonicTerm
from dsmsim.march.cluster import ClusterModel, Factors
from dsmsim.march.collective import CollectiveFactor
from dsmsim.march.model import Model
from dsmsim.march.network_model import build_network_model
from dsmsim.march.one_body import OneBodyFactor, QuadraticFactor
from dsmsim.march.pair_basis import PairBasis
from dsmsim.march.pairs import PairFactor, PairList
from dsmsim.system import InitialState, System, is_mirror_symmetric

LENGTH = 2.7  # of functions, in standard deviations of the first cloud
PAIR_LENGTH = 1.9  # of functions of a distance, in widths of a Gaussian interaction
REACH = 4.5  # of functions of a distance, in widths to which the cloud may grow; of a coordinate 3/4 of that
SAMPLES, TIMES = 512, 9  # configurations and times from which that width is found


def build_model(
    config: Config,
    system: System,
    initial: InitialState,
    arrays: Mapping[str, NDArray[Any]] | None = None,
) -> Model:
    """What [march] `ansatz` asks for.

    Args:
        arrays: what `Model.arrays` gave, to have the same model again.

    Raises:
        ConfigError: a key of [network] with which it cannot march.
        StoreError: arrays of another model.
    """
    if config.march.ansatz == "network":
        return build_network_model(config, system, initial, arrays)
    return build_cluster(config, system, initial)


def build_cluster(config: Config, system: System, initial: InitialState) -> ClusterModel:
    """The cluster ansatz with the functions of [march]."""
    table, axes = config.march, system.dimensions
    sigma = np.sqrt(initial.variance[:axes])
    center = torch.from_numpy(initial.mean[:axes].copy())
    reach = REACH * widest(config, system, initial)
    length = float(np.exp(np.log(sigma).mean()))
    interaction = config.system.interaction
    near = LENGTH * length
    if isinstance(interaction, GaussianPair):
        near = min(near, PAIR_LENGTH * interaction.s2**0.5)
    basis = PairBasis(near, max(reach, 2.0 * near), max(table.pair_functions, table.collective_functions))
    pairs = PairList(system.particles)
    interacting = interaction is not None and system.particles > 1
    quadratic = QuadraticFactor(
        system.particles, center, linear=not is_mirror_symmetric(config.time.end, system, initial)
    )
    count = one_body_functions(config)
    one_body = None
    if count > 0:
        spread = torch.from_numpy(sigma)
        far = torch.clamp(torch.full_like(spread, 0.75 * reach), min=2.0 * LENGTH * spread)
        one_body = OneBodyFactor(center, LENGTH * spread, far, count)
    pair = PairFactor(pairs, table.pair_functions) if interacting and table.pair_functions else None
    collective = None
    if interacting and system.particles > 2 and table.collective_functions:
        collective = CollectiveFactor(pairs, table.collective_functions, table.collective_order)
    return ClusterModel(system, initial, Factors(quadratic, one_body, pair, collective, basis), pairs)


def widest(config: Config, system: System, initial: InitialState) -> float:
    """Root mean square to which a coordinate may grow by the end, by conservation of energy.

    All energy above the lowest V may become motion, from time 0 on: a width of sqrt(sigma^2 + (v T)^2). In a
    potential that stays as it is it cannot become more than a potential energy of that size: in a harmonic
    trap sqrt(2 E/(m omega^2)), elsewhere as far as V stays below E. The first cloud itself is the least.
    """
    x = torch.from_numpy(initial.sample(np.random.default_rng(0), SAMPLES))
    end, mass, sigma = config.time.end, system.mass, float(np.sqrt(initial.variance).max())
    u, v = initial.u(x), initial.v(x)
    kinetic = 0.5 * mass * float((u.square() + v.square()).sum(1).mean())
    heights = max(_height(system, x, float(t)) for t in np.linspace(0.0, end, TIMES))
    each = (kinetic + heights) / system.particles
    width = float(np.hypot(sigma, np.sqrt(2.0 * each / mass) * end))
    trap = config.system.trap
    # a quench at time 0 leaves V static, with other numbers than the table's
    if system.is_static and isinstance(trap, HarmonicTerm) and not trap.quench and not config.system.terms:
        stiffness = mass * min(per_axis(trap.omega, system.dimensions)) ** 2
        if stiffness > 0.0:
            width = min(width, float(np.sqrt(2.0 * each / stiffness)) + sigma)
    elif system.is_static and system.terms:
        width = min(width, _turning_point(system, x, each, width) + sigma)
    return max(width, sigma)


def _turning_point(system: System, x: Tensor, energy: float, most: float) -> float:
    """Largest distance from the mean, along an axis, at which the one-body V is below `energy` of a particle.

    Args:
        x: (W, n) configurations; V counts from the lowest of them.
        most: how far to look; what is returned where V stays below.
    """
    places = x.reshape(-1, 1, system.dimensions)
    bottom = _one_body(system, places)
    start, lowest = places[int(bottom.argmin()), 0], float(bottom.min())
    away = torch.linspace(-most, most, 2001, dtype=x.dtype)
    found = 0.0
    for axis in range(system.dimensions):
        line = start.repeat(len(away), 1, 1)
        line[:, 0, axis] = places[..., axis].mean() + away
        below = _one_body(system, line) <= lowest + energy
        found = max(found, float(away[below].abs().max()) if bool(below.any()) else 0.0)
    return found


def _one_body(system: System, places: Tensor) -> Tensor:
    """One-body potentials (W,) at places (W, 1, D), at time 0."""
    clock = places.new_zeros((len(places), 1))
    return sum((term.value(places, clock).sum(1) for term in system.terms.values()), clock[:, 0])


def _height(system: System, x: Tensor, t: float) -> float:
    """Mean potential energy of configurations (W, n) above what it falls to if each part finds its lowest."""
    clock = x.new_full((len(x), 1), t)
    places = x.reshape(len(x), system.particles, system.dimensions)
    total = 0.0
    for term in system.terms.values():
        energy = term.value(places, clock)
        total += float((energy - energy.min()).sum(1).mean())
    if system.interaction is not None and system.particles > 1:
        near, far = (system.interaction.value(system.pair_differences(scale * x), clock) for scale in (1, 6))
        total += float((near - torch.minimum(near.min(), far.min())).sum(1).mean())
    return total
