"""The fields that an input asks for."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import nn

from dsmsim.config import Config, NetworkTable
from dsmsim.config.interactions import GaussianPair
from dsmsim.config.run_tables import POTENTIAL_KINDS
from dsmsim.networks.equivariant import Equivariant
from dsmsim.networks.fields import Fields, VelocityFields
from dsmsim.networks.frame import Frame, natural_frame
from dsmsim.networks.functional_tt import FunctionalTT
from dsmsim.networks.mlp import MLP
from dsmsim.networks.pair_potential import PairPotential
from dsmsim.networks.potential import Potential
from dsmsim.networks.potential_fields import PotentialFields
from dsmsim.networks.sorted_mlp import SortedMLP
from dsmsim.system import InitialState, System

VELOCITY_KINDS: dict[str, Callable[[NetworkTable, int, int], nn.Module]] = {
    "mlp": MLP,
    "equivariant": Equivariant,
    "sorted": SortedMLP,
}


def build_fields(config: Config, system: System, initial: InitialState) -> Fields:
    """Fields of the kind the input asks for, initialised from `seed` alone (the same on every rank)."""
    dtype = getattr(torch, config.train.precision)
    frame = natural_frame(config, system, initial)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        if config.network.kind in POTENTIAL_KINDS:
            potential = _potential(config, system, frame)
            fields: Fields = PotentialFields(potential, initial, frame, system.hbar, system.mass)
        else:
            make = VELOCITY_KINDS[config.network.kind]
            net_u, net_v = (make(config.network, system.particles, system.dimensions) for _ in range(2))
            fields = VelocityFields(net_u, net_v, initial, frame, config.network.initial == "exact")
    return fields.to(dtype)


def _potential(config: Config, system: System, frame: Frame) -> Potential:
    sigma = frame.sigma.tolist()
    length = math.exp(sum(map(math.log, sigma)) / len(sigma))
    stretch = [s / length for s in sigma[: system.dimensions]]
    sizes = system.particles, system.dimensions
    if config.network.kind == "functional_tt":
        return FunctionalTT(config.network, *sizes, stretch)
    widths = _pair_widths(config, length)
    return PairPotential(config.network, *sizes, widths, stretch, interacting=system.interaction is not None)


def _pair_widths(config: Config, length: float) -> tuple[float, float]:
    """Widths of the Gaussian pair features in units of `length`: the interaction's, else the initial state's.

    Features are functions of (x_i - x_j) / sqrt(2), hence the factor.
    """
    interaction = config.system.interaction
    width = math.sqrt(interaction.s2) if isinstance(interaction, GaussianPair) else math.sqrt(2.0) * length
    narrow = width / length / math.sqrt(2.0)
    return narrow, 2.0 * narrow
