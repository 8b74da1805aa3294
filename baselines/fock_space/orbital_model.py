"""Bosons in any smooth potential in one dimension: all of their motion in Fock space.

The frame may follow the mean and the width of the cloud, or rest. Where the Hamiltonian and the start are
even about the frame's centre, only states of even energy are kept.

Shapes: `M` points of x, `E` cutoff, `S` states, `L` labels of pairs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from baselines.fock_space.model import Model
from baselines.fock_space.one_body_operator import OneBodyOperator
from baselines.fock_space.orbital_hamiltonian import OrbitalHamiltonian
from baselines.fock_space.orbital_state import (
    frame_phase,
    orbitals_at,
    pair_density,
    product_state,
    start_coefficients,
)
from baselines.fock_space.oscillators import position_squared
from baselines.fock_space.positions import FAINT_PAIR, strong
from baselines.fock_space.propagation import Apply, Wave
from baselines.fock_space.removal import removal
from baselines.fock_space.single_shots import SingleShots
from baselines.fock_space.states import boson_states
from baselines.frame import Frame
from dsmsim.system import InitialState, System

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]


class OrbitalModel(Model):
    """One space: its states, its Hamiltonian, and what is read off.

    Args:
        system: D = 1.
        initial: the same state for every boson.
        frame: with its centre.
        cutoff: E.
        even_only: leave out states of odd energy: the Hamiltonian and the start must allow it.
    """

    def __init__(
        self, system: System, initial: InitialState, frame: Frame, cutoff: int, *, even_only: bool
    ) -> None:
        self.system, self.frame = system, frame
        self.states = boson_states(system.particles, cutoff, even_only=even_only)
        self._hamiltonian = OrbitalHamiltonian(system, frame, cutoff)
        self._one = OneBodyOperator(removal(self.states, 1))
        self._shots = SingleShots(self._one.removal)
        coefficients = start_coefficients(system, initial, frame(0.0), self._hamiltonian.quadrature)
        psi = product_state(self.states, coefficients)
        norm = float(np.linalg.norm(psi))
        self.start_norm_missing = max(0.0, 1.0 - norm**2)
        self._start = psi / norm

    def start(self) -> Wave:
        """The product state, cut and normalised."""
        return self._start.copy()

    def matrices(self, t: float) -> tuple[ComplexArray, ...]:
        """Of one boson and, where there is an interaction, of a pair."""
        return self._hamiltonian.matrices(t)

    def action(self, matrices: tuple[ComplexArray, ...]) -> Apply:
        one, *pair = matrices

        def apply(psi: Wave) -> Wave:
            out = self._one.apply(one, psi)
            for matrix in pair:
                out += self.pairs.apply(matrix, psi)
            return out

        return apply

    def moments(self, index: int, t: float, psi: Wave) -> dict[str, Any]:
        number, frame, of = self.system.particles, self.frame(t), self._hamiltonian.ladder
        gamma = self._one.density_matrix(psi)

        def of_one(h: ComplexArray | Array) -> float:
            return float(np.einsum("pq,qp->", h, gamma).real)

        shift, square = of_one(of.position), of_one(of.position_squared)
        parts = self._hamiltonian.energies(t)
        together, interaction = self._of_pairs(psi, square, parts.interaction)
        variance, shared = (frame.length**2 * (value - shift**2) for value in (square, together))
        covariance = (variance - shared) * np.eye(number)[:, :, None] + shared
        kinetic, trap = number * of_one(parts.kinetic), number * of_one(parts.trap)
        mean = np.array([frame.center + frame.length * shift])
        return {
            "mean": np.tile(mean, (number, 1)),
            "variance": np.einsum("iia->ia", covariance).copy(),
            "covariance": covariance,
            "center_of_mass_mean": mean,
            "center_of_mass_variance": np.array([(variance + (number - 1) * shared) / number]),
            "energy": kinetic + trap + interaction,
            "energy_kinetic": kinetic,
            "energy_potential": trap + interaction,
            "energy_trap": trap,
            "energy_interaction": interaction,
            "norm": float(np.vdot(psi, psi).real),
        }

    def density(self, index: int, t: float, psi: Wave, x: Array) -> Array:
        phi = orbitals_at(self.frame(t), x, self.cutoff + 1)
        # the imaginary part of gamma is odd under exchange of p and q
        return np.asarray(np.einsum("px,px->x", phi, self._one.density_matrix(psi).real @ phi))

    def density_matrix(self, index: int, t: float, psi: Wave, x: Array, wavenumber: float) -> ComplexArray:
        frame = self.frame(t)
        phi = orbitals_at(frame, x, self.cutoff + 1) * frame_phase(self.system, frame, x)
        return np.asarray(phi.T @ self._one.density_matrix(psi) @ phi.conj())

    def pair_density(self, index: int, t: float, psi: Wave, x: Array) -> Array | None:
        if self.system.particles == 1:
            return None
        return pair_density(self._pair_states(psi), self.frame(t), x)

    def velocity_fields(
        self, index: int, t: float, psi: Wave, rng: np.random.Generator
    ) -> tuple[Array, Array, Array]:
        frame, unit = self.frame(t), self.system.hbar / self.system.mass
        y, slopes = self._shots.draw(psi, rng)
        u = unit / frame.length * slopes.real
        v = unit / frame.length * slopes.imag + frame.velocity + frame.shear * frame.length * y
        return frame.center + frame.length * y, u, v

    def _of_pairs(self, psi: Wave, square: float, w: Array) -> tuple[float, float]:
        """<y_1 y_2> and the interaction energy, from <y^2> and the matrix of a pair; 0 for a single boson."""
        number = self.system.particles
        if number == 1:
            return 0.0, 0.0
        relative = self.pairs.relative_density(psi)
        quanta = np.arange(0, self.cutoff + 1, 2)
        # (y_1 - y_2)^2/2, summed over all pairs
        apart = float(np.einsum("kl,lk->", position_squared(quanta), relative).real)
        energy = float(np.einsum("kl,lk->", w, relative).real)
        return square - 2.0 * apart / (number * (number - 1)), energy

    def _pair_states(self, psi: Wave) -> ComplexArray:
        """States of a pair whose densities add up to that of pairs, as tables (R, E + 1, E//2 + 1) of K, k.

        One for each state of the others; the eigenvectors of the density matrix of pairs where these are
        fewer.
        """
        number, size = self.system.particles, self.cutoff + 1
        columns = [self.pairs.relative_columns(psi, energy) for energy in range(size)]
        shape = (size, self.pairs.size)
        flat = [names[:, 0] * shape[1] + names[:, 1] // 2 for names, _ in columns]
        used = np.unique(np.concatenate(flat))
        if self.pairs.removal.rest.size <= len(used):
            vectors = np.zeros((size * shape[1], self.pairs.removal.rest.size), dtype=np.complex128)
            offsets = self.pairs.removal.rest.offsets
            for energy, (rows, (_, block)) in enumerate(zip(flat, columns, strict=True)):
                vectors[rows, offsets[energy] : offsets[energy + 1]] = block
        else:
            matrix = np.zeros((len(used), len(used)), dtype=np.complex128)
            for rows, (_, block) in zip(flat, columns, strict=True):
                at = np.searchsorted(used, rows)
                matrix[np.ix_(at, at)] += block @ block.conj().T
            weights, found = strong(matrix, FAINT_PAIR)
            vectors = np.zeros((size * shape[1], len(weights)), dtype=np.complex128)
            vectors[used] = found * np.sqrt(weights)
        scale = np.sqrt(0.5 * number * (number - 1))
        return np.ascontiguousarray((vectors / scale).T.reshape(-1, *shape))
