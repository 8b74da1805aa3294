"""The network of an input as something that can march."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from dsmsim.config import Config
from dsmsim.config.run_tables import POTENTIAL_KINDS
from dsmsim.march.potential_model import PotentialModel
from dsmsim.march.velocity_model import VelocityModel
from dsmsim.system import InitialState, System


def build_network_model(
    config: Config,
    system: System,
    initial: InitialState,
    arrays: Mapping[str, NDArray[Any]] | None = None,
) -> PotentialModel | VelocityModel:
    """The model of [network], started from `seed` alone (the same on every rank).

    Args:
        config, system, initial: the problem.
        arrays: what `Model.arrays` gave, to have the same model again whatever drew its start.

    Raises:
        ConfigError: a key of [network] with which it cannot march.
        StoreError: arrays of another network.
    """
    make = PotentialModel if config.network.kind in POTENTIAL_KINDS else VelocityModel
    model: PotentialModel | VelocityModel = make(config, system, initial)
    if arrays is None:
        return model
    return make(config, system, initial, model.parameters.loaded(arrays))
