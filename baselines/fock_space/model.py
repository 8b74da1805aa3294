"""What the Fock solver asks of a model of the bosons, and of a family of models of growing cutoff.

A model is one space: its states, the action of the Hamiltonian on them, and what is read off a state. Two are
there: `relative_model`, where the centre of mass can be split off, and `orbital_model`, for everything else.

Shapes: `S` states, `M` points of x, `K` configurations, `N` bosons, `E` cutoff.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baselines.fock_space.oscillators import oscillator_functions
from baselines.fock_space.pair_operator import PairOperator
from baselines.fock_space.propagation import Apply, Wave
from baselines.fock_space.removal import number_of_entries, removal
from baselines.fock_space.states import BosonStates, number_of_states
from baselines.frame import Frame
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
        frame: of the orbitals, at all times.
        states: all below the cutoff.
        pairs: operators of two bosons; there must be two.
        start_norm_missing: probability of the start that the space does not hold.
    """

    system: System
    frame: Frame
    states: BosonStates
    start_norm_missing: float = 0.0

    @property
    def cutoff(self) -> int:
        """E."""
        return self.states.cutoff

    @cached_property
    def pairs(self) -> PairOperator:
        """Operators of two bosons on these states."""
        return PairOperator(removal(self.states, 2))

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

    def distance_density(self, t: float, psi: Wave, r: Array) -> Array:
        """Density of r = (x_1 - x_2)/sqrt(2) at given values (M,); nothing but zeros for a single boson."""
        number, length = self.system.particles, self.frame(t).length
        if number < 2:
            return np.zeros(len(r))
        of_pairs = self.pairs.relative_density(psi) / (0.5 * number * (number - 1) * length)
        phi = oscillator_functions(r / length, self.cutoff + 1)[::2]
        return np.asarray(np.einsum("kr,kl,lr->r", phi, of_pairs, phi, optimize=True).real)

    def last_shells(self, psi: Wave) -> float:
        """Probability in the highest tenth of the energies."""
        first = self.states.offsets[max(1, self.cutoff - max(2, self.cutoff // 10))]
        return float((np.abs(psi[first:]) ** 2).sum())


class Family(ABC):
    """Models of one problem that differ by their cutoff alone.

    Attributes:
        system: of the input.
        frame: of the orbitals, at all times.
        basis: the orbitals, in a word: "breathing" or "lab".
        cutoff_step: quanta between two cutoffs that are compared.
        fastest_fall: of the error from one cutoff to the next, that is believed.
        krylov_share: of the tolerance, that all Krylov spaces of a run together may use up.
        quanta: above the vacuum, as many as 99 % of the states need that a classical cloud goes through.
        even_only: whether states of odd energy are left out.
        x: points of the density, equidistant around everything that is expected.
        fastest: a momentum that no boson exceeds, but for a part that can be neglected.
    """

    system: System
    frame: Frame
    basis: str
    cutoff_step: int
    fastest_fall: float
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
