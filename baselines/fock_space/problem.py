"""One input for the Fock solver, and the family of models that treats it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from baselines.fock_space.model import Family
from baselines.fock_space.orbital_family import OrbitalFamily
from baselines.fock_space.relative_model import RelativeFamily
from baselines.fock_space.removal import MOST_PARTICLES
from baselines.trap_motion import why_not_separable
from dsmsim.config import Config
from dsmsim.errors import ConfigError
from dsmsim.system import InitialState, System, build_initial, build_system

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Problem:
    """What does not depend on cutoff and step.

    Attributes:
        system: D = 1.
        times: (T,) saved times.
        family: the models.
        tolerance: of the result.
        seed: of the configurations that are drawn.
    """

    system: System
    times: Array
    family: Family
    tolerance: float
    seed: int


def make_problem(config: Config, basis: str | None, tolerance: float) -> Problem:
    """The problem of an input.

    Args:
        config: the input.
        basis: "lab" for orbitals at rest, "breathing" for those that follow the cloud; None for the better.
        tolerance: of the result.

    Raises:
        ConfigError: the Fock solver cannot treat it.
    """
    system, initial = build_system(config), build_initial(config)
    _require_treatable(system)
    times = np.asarray(config.time.save_times, dtype=np.float64)
    family = _family(config, initial)(system, initial, times, config.time.end, basis)
    return Problem(system, times, family, tolerance, config.seed)


def _family(config: Config, initial: InitialState) -> type[RelativeFamily] | type[OrbitalFamily]:
    """Without the centre of mass where it can be split off."""
    if config.system.particles > 1 and not why_not_separable(config, initial):
        return RelativeFamily
    return OrbitalFamily


def _require_treatable(system: System) -> None:
    """Refuse what is not a few bosons in one dimension."""
    others = "use split_step, crank_nicolson or relative_grid"
    if system.dimensions != 1:
        raise ConfigError(
            f"system.dimensions = {system.dimensions}: the Fock solver is for 1; {others}",
            key="system.dimensions",
        )
    if system.particles > MOST_PARTICLES:
        raise ConfigError(
            f"system.particles = {system.particles}: the Fock solver is for at most {MOST_PARTICLES}; "
            f"{others}",
            key="system.particles",
        )
