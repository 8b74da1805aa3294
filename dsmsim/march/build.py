"""The model that an input lets march."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dsmsim.config import Config
from dsmsim.config.interactions import GaussianPair
from dsmsim.config.terms import HarmonicTerm
from dsmsim.march.cluster import ClusterModel, Factors
from dsmsim.march.collective import CollectiveFactor
from dsmsim.march.model import Model
from dsmsim.march.network_model import build_network_model
from dsmsim.march.one_body import OneBodyFactor, QuadraticFactor
from dsmsim.march.pair_basis import PairBasis
from dsmsim.march.pairs import PairFactor, PairList
from dsmsim.system import InitialState, System, is_mirror_symmetric

AUTOMATIC_ONE_BODY = 8  # functions of a coordinate where the trap is not harmonic
LENGTH, REACH = 2.7, 20.0  # of functions, in standard deviations of the first cloud
PAIR_LENGTH = 1.9  # of functions of a distance, in widths of a Gaussian interaction


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
    length = float(np.exp(np.log(sigma).mean()))
    interaction = config.system.interaction
    near = LENGTH * length
    if isinstance(interaction, GaussianPair):
        near = min(near, PAIR_LENGTH * interaction.s2**0.5)
    basis = PairBasis(near, REACH * length, max(table.pair_functions, table.collective_functions))
    pairs = PairList(system.particles)
    interacting = interaction is not None and system.particles > 1
    quadratic = QuadraticFactor(
        system.particles, center, linear=not is_mirror_symmetric(config.time.end, system, initial)
    )
    count = one_body_count(config)
    one_body = None
    if count > 0:
        spread = torch.from_numpy(sigma)
        one_body = OneBodyFactor(center, LENGTH * spread, REACH * spread, count)
    pair = PairFactor(pairs, table.pair_functions) if interacting and table.pair_functions else None
    collective = None
    if interacting and system.particles > 2 and table.collective_functions:
        collective = CollectiveFactor(pairs, table.collective_functions, table.collective_order)
    return ClusterModel(system, initial, Factors(quadratic, one_body, pair, collective, basis), pairs)


def one_body_count(config: Config) -> int:
    """Functions of a coordinate that an input asks for."""
    asked = config.march.one_body_functions
    if not isinstance(asked, str):
        return asked
    terms = config.system.one_body_terms().values()
    return 0 if all(isinstance(term, HarmonicTerm) for term in terms) else AUTOMATIC_ONE_BODY
