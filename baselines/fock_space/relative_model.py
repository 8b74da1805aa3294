"""Bosons in a harmonic trap: the relative motion in Fock space, the centre of mass exactly.

The frame follows the relative motion alone. In it the state starts as the vacuum, all bosons in the lowest
orbital, and the centre of mass stays there for ever, because its part of the Hamiltonian is left out: the
truth is put in its place when something is read off.

Shapes: `T` saved times, `M` points of x.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baselines.fock_space.hamiltonian import RelativeHamiltonian
from baselines.fock_space.model import Family, Model
from baselines.fock_space.positions import (
    Moment,
    one_body_density,
    one_body_matrix,
    pair_density,
    with_center_of_mass,
)
from baselines.fock_space.propagation import Apply, Wave
from baselines.fock_space.quanta import relative_quanta
from baselines.fock_space.reduced import ReducedStates
from baselines.fock_space.removal import removal
from baselines.fock_space.single_shots import SingleShots
from baselines.fock_space.spread import fastest, points_between
from baselines.fock_space.states import boson_states
from baselines.frame import Cloud, Frame, classical_cloud, following_frame, resting_frame
from baselines.trap_motion import TrapMotion, trap_at, trap_motion
from dsmsim.system import InitialState, System

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]

# half width of the points of x in standard deviations
REACH = 7.0


class RelativeModel(Model):
    """One space: its states, its Hamiltonian, and what is read off.

    Args:
        system: D = 1, a harmonic trap or none.
        frame: of the relative motion; of length sqrt(2 s0) and without shear at t = 0.
        motion: of the centre of mass at the saved times.
        cutoff: E.
    """

    def __init__(self, system: System, frame: Frame, motion: TrapMotion, cutoff: int) -> None:
        self.system, self.frame, self.motion = system, frame, motion
        self.states = boson_states(system.particles, cutoff, even_only=True)
        self._hamiltonian = RelativeHamiltonian(system, frame, cutoff)
        self._one = ReducedStates(removal(self.states, 1))
        self._shots = SingleShots(self._one.removal)

    def start(self) -> Wave:
        """All bosons in the lowest orbital (S,)."""
        psi = np.zeros(self.states.size, dtype=np.complex128)
        psi[0] = 1.0
        return psi

    def matrices(self, t: float) -> tuple[ComplexArray, ...]:
        """That of a pair, alone."""
        return self._hamiltonian.matrices(t)

    def action(self, matrices: tuple[ComplexArray, ...]) -> Apply:
        """What the Hamiltonian of these matrices does to a state."""
        (h,) = matrices
        return lambda psi: self.pairs.apply(h, psi)

    def moments(self, index: int, t: float, psi: Wave) -> dict[str, Any]:
        """Moments and energies at one saved time, by the names of the results file."""
        system, number = self.system, self.system.particles
        mean, velocity = self.motion.mean[index], self.motion.velocity[index]
        center, rate = self.motion.variance[index], self.motion.variance_rate[index]
        of_pairs = self.pairs.relative_density(psi)

        def expectation(h: ComplexArray | Array) -> float:
            return float(np.einsum("kl,lk->", h, of_pairs).real)

        relative = expectation(self._hamiltonian.spread(t)) / (number - 1)
        # normal modes: sqrt(N) X with variance `center`, N - 1 others with `relative`
        covariance = relative * np.eye(number)[:, :, None] + (center - relative) / number
        parts = self._hamiltonian.energies(t)
        kinetic, trap, interaction = (
            expectation(part) for part in (parts.kinetic, parts.trap, parts.interaction)
        )
        kinetic += float(
            0.5 * number * system.mass * velocity[0] ** 2
            + system.hbar**2 / (8.0 * system.mass * center[0])
            + 0.125 * system.mass * rate[0] ** 2 / center[0]
        )
        square, middle = trap_at(system, t)
        trap += float(0.5 * system.mass * square[0] * (center[0] + number * (mean[0] - middle[0]) ** 2))
        return {
            "mean": np.tile(mean, (number, 1)),
            "variance": np.einsum("iia->ia", covariance).copy(),
            "covariance": covariance,
            "center_of_mass_mean": mean,
            "center_of_mass_variance": center / number,
            "energy": kinetic + trap + interaction,
            "energy_kinetic": kinetic,
            "energy_potential": trap + interaction,
            "energy_trap": trap,
            "energy_interaction": interaction,
            "norm": float(np.vdot(psi, psi).real),
        }

    def density(self, index: int, t: float, psi: Wave, x: Array) -> Array:
        """One-body density at x (M,)."""
        return one_body_density(self._one.density_matrix(psi)[1], x, self._moment(index, t))

    def density_matrix(self, index: int, t: float, psi: Wave, x: Array, wavenumber: float) -> ComplexArray:
        """rho(x, x') (M, M), of bosons with at most about this wavenumber."""
        return one_body_matrix(self._one.density_matrix(psi)[1], x, self._moment(index, t), wavenumber)

    def pair_density(self, index: int, t: float, psi: Wave, x: Array) -> Array:
        """rho_2(x, x') (M, M)."""
        names, matrix = ReducedStates(self.pairs.removal, self.pairs).density_matrix(psi)
        return pair_density(names, matrix, x, self._moment(index, t))

    def velocity_fields(
        self, index: int, t: float, psi: Wave, rng: np.random.Generator
    ) -> tuple[Array, Array, Array]:
        """Positions drawn from |psi|^2, osmotic and current velocity there: (K, N) each."""
        y, slopes = self._shots.draw(psi, rng)
        return with_center_of_mass(y, slopes, self._moment(index, t), rng)

    def _moment(self, index: int, t: float) -> Moment:
        system = self.system
        return Moment(self.frame(t), self.motion, index, system.particles, system.hbar, system.mass)


class RelativeFamily(Family):
    """Relative models of one problem.

    Args:
        system: as of the model.
        initial: a Gaussian.
        times: (T,) saved times.
        end: last time.
        basis: "lab" for orbitals at rest, else they follow the cloud.
    """

    cutoff_step = 6
    fastest_fall = 0.2
    krylov_share = 0.02
    even_only = True

    def __init__(
        self, system: System, initial: InitialState, times: Array, end: float, basis: str | None
    ) -> None:
        self.system = system
        self.basis = basis or "breathing"
        length = math.sqrt(2.0 * float(initial.variance[0]))
        cloud = classical_cloud(system, initial, end, relative=True)
        self.frame = resting_frame(length)
        if basis != "lab":
            self.frame = following_frame(
                cloud, system.hbar, system.mass, start_length=length, moving_center=False
            )
        self._motion = trap_motion(system, initial, times)
        self.quanta = relative_quanta(cloud, self.frame, system.hbar, system.mass)
        self.x = _points(system, cloud, self._motion)
        self.fastest = fastest(cloud)

    def model(self, cutoff: int) -> RelativeModel:
        return RelativeModel(self.system, self.frame, self._motion, cutoff)


def _points(system: System, cloud: Cloud, motion: TrapMotion) -> Array:
    """Equidistant x around everything that is expected, fine enough for the narrowest density."""
    particles = system.particles
    center = motion.variance[:, 0] / particles
    relative = np.interp(motion.times, cloud.times, cloud.position_variance) * (particles - 1) / particles
    width = np.sqrt(center + relative)
    low = float((motion.mean[:, 0] - REACH * width).min())
    high = float((motion.mean[:, 0] + REACH * width).max())
    return points_between(low, high, float(width.min()))
