"""What the Fock solver asks of a model of the bosons, and of a family of models of growing cutoff.

A model is one space: its states, the action of the Hamiltonian on them, and what is read off a state. Two are
there: `relative_model`, where the centre of mass can be split off, and `orbital_model`, for everything else.

Shapes: `S` states, `M` points of x, `K` configurations, `N` bosons, `E` cutoff.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baselines.fock_space.propagation import Apply, Wave
from baselines.fock_space.removal import number_of_entries
from baselines.fock_space.states import BosonStates, number_of_states
from dsmsim.system import System

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]

# bytes per entry of the columns of pairs (index, factor), and of those of one boson
ENTRY = 5


class Model(ABC):
    """One space.

    Saved times are given by their index and the time itself.

    Attributes:
        system: of the input.
        states: all below the cutoff.
        start_norm_missing: probability of the start that the space does not hold.
    """

    system: System
    states: BosonStates
    start_norm_missing: float = 0.0

    @property
    def cutoff(self) -> int:
        """E."""
        return self.states.cutoff

    @abstractmethod
    def start(self) -> Wave:
        """The state at t = 0 (S,), of norm 1."""

    @abstractmethod
    def matrices(self, t: float) -> tuple[ComplexArray, ...]:
        """The small matrices that the Hamiltonian at time t is linear in."""

    @abstractmethod
    def action(self, matrices: tuple[ComplexArray, ...]) -> Apply:
        """What the Hamiltonian of such matrices does to a state."""

    @abstractmethod
    def moments(self, index: int, t: float, psi: Wave) -> dict[str, Any]:
        """Moments and energies, by the names of the results file."""

    @abstractmethod
    def density(self, index: int, t: float, psi: Wave, x: Array) -> Array:
        """One-body density at x (M,)."""

    @abstractmethod
    def density_matrix(self, index: int, t: float, psi: Wave, x: Array, wavenumber: float) -> ComplexArray:
        """rho(x, x') (M, M), of bosons with at most about this wavenumber."""

    @abstractmethod
    def pair_density(self, index: int, t: float, psi: Wave, x: Array) -> Array | None:
        """rho_2(x, x') (M, M) at equidistant x; None for a single boson."""

    @abstractmethod
    def velocity_fields(
        self, index: int, t: float, psi: Wave, rng: np.random.Generator
    ) -> tuple[Array, Array, Array]:
        """Positions drawn from |psi|^2, osmotic and current velocity there: (K, N) each."""

    def last_shells(self, psi: Wave) -> float:
        """Probability in the highest tenth of the energies."""
        first = self.states.offsets[max(1, self.cutoff - max(2, self.cutoff // 10))]
        return float((np.abs(psi[first:]) ** 2).sum())


class Family(ABC):
    """Models of one problem that differ by their cutoff alone.

    Attributes:
        system: of the input.
        basis: the orbitals, in a word: "breathing" or "lab".
        cutoff_step: quanta between two cutoffs that are compared.
        krylov_share: of the tolerance, that all Krylov spaces of a run together may use up.
        quanta: above the vacuum, as many as 99 % of the states need that a classical cloud goes through.
        even_only: whether states of odd energy are left out.
        x: points of the density, equidistant around everything that is expected.
        fastest: a momentum that no boson exceeds, but for a part that can be neglected.
    """

    system: System
    basis: str
    cutoff_step: int
    krylov_share: float
    quanta: float
    even_only: bool
    x: Array
    fastest: float

    @abstractmethod
    def model(self, cutoff: int) -> Model:
        """The model with this E."""

    @property
    def dx(self) -> float:
        """Spacing of x."""
        return float(self.x[1] - self.x[0])

    def states(self, cutoff: int) -> int:
        """S, without making the states."""
        return number_of_states(self.system.particles, cutoff, even_only=self.even_only)

    def entries(self, cutoff: int) -> int:
        """Entries of the largest columns: those of pairs, or of a single boson."""
        particles = self.system.particles
        return number_of_entries(particles, cutoff, min(particles, 2), even_only=self.even_only)

    def bytes_needed(self, cutoff: int, krylov: int) -> int:
        """Memory of one such space, `krylov` vectors included."""
        particles = self.system.particles
        entries = sum(
            number_of_entries(particles, cutoff, count, even_only=self.even_only)
            for count in range(1, min(particles, 2) + 1)
        )
        # the columns of one energy of the others are held at a time, three times over
        return int(16 * self.states(cutoff) * (krylov + 6) + ENTRY * entries + 16 * entries // 2)
