"""Orbital models of one problem: which frame, which points of x, and whether parity is kept.

A classical cloud does not tunnel. Where V is as low as where the cloud is, but behind a barrier, the orbitals
and the points of x must reach too: `_reach` finds such wells.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from baselines.fock_space.model import Family
from baselines.fock_space.orbital_frame import (
    StartFit,
    best_resting_frame,
    fit_start,
    moving_frame,
    wells_quanta,
)
from baselines.fock_space.orbital_hamiltonian import OrbitalHamiltonian, one_body_potential
from baselines.fock_space.orbital_model import OrbitalModel
from baselines.fock_space.orbital_state import one_boson_start, start_coefficients
from baselines.fock_space.quanta import relative_quanta
from baselines.fock_space.spread import POINTS_PER_WIDTH, fastest, points_between
from baselines.frame import Cloud, Frame, classical_cloud, resting_frame
from dsmsim.system import InitialState, System

Array = NDArray[np.float64]

# half width of the points of x in standard deviations: of the cloud, of the start around other wells
REACH, WELL_REACH = 7.0, 4.0
# half width, in standard deviations, of what belongs to the cloud itself
CLOUD_REACH = 2.0
# standard deviations of the momentum that a boson may fly with
FLIGHT = 3.0
# the frame at rest is taken unless the other has less than this part of its quanta: in it errors fall faster
# with the cutoff, and steps in time are longer
RESTING_WEIGHT = 0.5
# points of x for a look at V, and times between two breakpoints
LOOK_POINTS, LOOK_TIMES = 2001, 5
# elements that change parity, relative to the largest, that rounding may leave; and E where this is measured
ODD, PARITY_CUTOFF = 1e-13, 60


class OrbitalFamily(Family):
    """Models of one problem.

    Args:
        system: D = 1.
        initial: the same state for every boson.
        times: (T,) saved times.
        end: last time.
        basis: "lab" for orbitals at rest, "breathing" for those that follow the cloud; None for the better.
    """

    # errors alternate from one multiple of four to the next, and fall ever more slowly
    cutoff_step = 8
    fastest_fall = 0.5
    krylov_share = 0.001

    def __init__(
        self, system: System, initial: InitialState, times: Array, end: float, basis: str | None
    ) -> None:
        self.system, self._initial = system, initial
        start = fit_start(system, initial)
        looks = _look_times(system, end)
        _require_finite(system, resting_frame(start.length, float(initial.mean[0])), looks)
        cloud = classical_cloud(system, initial, end, relative=False)
        reach, wells = _reach(system, initial, cloud, start, looks)
        choices: dict[str, Callable[[], tuple[Frame, float]]] = {
            "breathing": lambda: _following(cloud, system, start, wells),
            "lab": lambda: best_resting_frame(cloud, system, start, reach),
        }
        wanted = {name: choice() for name, choice in choices.items() if basis in (None, name)}
        weight = {"breathing": 1.0, "lab": RESTING_WEIGHT}
        self.basis = min(wanted, key=lambda name: weight[name] * wanted[name][1])
        self.frame, self.quanta = wanted[self.basis]
        self.even_only = _is_even(system, initial, self.frame, looks)
        self.fastest = fastest(cloud)
        self.x = _points(system, cloud, wells, self.fastest)

    def model(self, cutoff: int) -> OrbitalModel:
        return OrbitalModel(self.system, self._initial, self.frame, cutoff, even_only=self.even_only)


def _require_finite(system: System, frame: Frame, looks: Array) -> None:
    """Refuse singular potentials before classical particles meet them."""
    hamiltonian = OrbitalHamiltonian(system, frame, PARITY_CUTOFF)
    for t in looks:
        hamiltonian.one_body(float(t))


def _following(
    cloud: Cloud, system: System, start: StartFit, wells: tuple[float, float] | None
) -> tuple[Frame, float]:
    frame = moving_frame(cloud, system, start)
    quanta = relative_quanta(cloud, frame, system.hbar, system.mass)
    return frame, quanta if wells is None else max(quanta, wells_quanta(frame, cloud.times, wells))


def _look_times(system: System, end: float) -> Array:
    """Times strictly between breakpoints."""
    stops = [0.0, *system.breakpoints, end]
    inside = (np.arange(LOOK_TIMES) + 0.5) / LOOK_TIMES
    return np.concatenate([first + (last - first) * inside for first, last in itertools.pairwise(stops)])


def _reach(
    system: System, initial: InitialState, cloud: Cloud, start: StartFit, looks: Array
) -> tuple[tuple[float, float], tuple[float, float] | None]:
    """Lowest and highest x of the cloud and of all other wells, and of the wells alone (None without).

    A well is where V is below the energy that one boson of the start may have, apart from the cloud, and near
    enough to fly there in the time.
    """
    half = CLOUD_REACH * np.sqrt(cloud.position_variance)
    own = float((cloud.mean - half).min()), float((cloud.mean + half).max())
    flight = FLIGHT * math.sqrt(float(cloud.momentum_variance.max())) / system.mass * float(cloud.times[-1])
    x = np.linspace(own[0] - flight, own[1] + flight, LOOK_POINTS)
    density = np.abs(one_boson_start(initial, x)) ** 2
    extra = start.kinetic + _energy_of_one(system, initial, float(looks[0]))
    wells: list[float] = []
    for t in looks:
        potential = one_body_potential(system, x, float(t))
        energy = float(potential @ density / density.sum()) + extra
        # parts of x where V is below the energy, by their first and last points
        low = np.concatenate([[False], np.nan_to_num(potential, nan=np.inf) < energy, [False]])
        edges = np.flatnonzero(low[1:] != low[:-1]).reshape(-1, 2) - [0, 1]
        for first, last in x[edges]:
            if last < own[0] or first > own[1]:
                wells += [float(first), float(last)]
    reach = min([own[0], *wells]), max([own[1], *wells])
    return reach, (min(wells), max(wells)) if wells else None


def _energy_of_one(system: System, initial: InitialState, t: float) -> float:
    """Mean interaction energy of one boson with all others at the start."""
    if system.interaction is None or system.particles == 1:
        return 0.0
    sample = initial.sample(np.random.default_rng(0), 4096)
    r = torch.from_numpy(sample[:, :1] - sample[:, 1:2])
    with torch.no_grad():
        pair = float(system.interaction.value(r, r.new_full((len(r),), t)).mean())
    return max(0.0, (system.particles - 1) * pair)


def _is_even(system: System, initial: InitialState, frame: Frame, looks: Array) -> bool:
    """Whether the matrices and the start are even about the centre of the frame, which rests."""
    hamiltonian = OrbitalHamiltonian(system, frame, PARITY_CUTOFF)
    odd = np.add.outer(np.arange(PARITY_CUTOFF + 1), np.arange(PARITY_CUTOFF + 1)) % 2 == 1
    state = frame(0.0)
    coefficients = np.abs(start_coefficients(system, initial, state, hamiltonian.quadrature))
    if coefficients[1::2].max() > ODD * coefficients.max():
        return False
    for t in looks:
        if frame(float(t)).center != state.center:
            return False
        h = np.abs(hamiltonian.one_body(float(t)))
        if h[odd].max() > ODD * h.max():
            return False
    return True


def _points(system: System, cloud: Cloud, wells: tuple[float, float] | None, momentum: float) -> Array:
    """Equidistant x around everything that is expected, fine enough for the finest fringes of a density."""
    width = np.sqrt(cloud.position_variance)
    low, high = float((cloud.mean - REACH * width).min()), float((cloud.mean + REACH * width).max())
    if wells is not None:
        low = min(low, wells[0] - WELL_REACH * float(width[0]))
        high = max(high, wells[1] + WELL_REACH * float(width[0]))
    # fringes of opposite momenta have twice the wavenumber, and two points per wave show them
    fringe = math.pi * system.hbar / (2.0 * momentum)
    return points_between(low, high, min(float(width.min()), POINTS_PER_WIDTH * fringe))
