"""States of N bosons in oscillator orbitals, up to a total number of quanta.

A state is a multiset of orbitals p_1 >= p_2 >= ... >= p_N >= 0, its energy the sum e of all p. So the states
of one energy are the partitions of e into at most N parts, and a state's place among them is a sum of
partition counts: no dictionary is needed,

    place = sum_i C[N - i + 1, e_i, p_i - 1],       e_1 = e,  e_{i+1} = e_i - p_i,
    C[k, e, m] = number of partitions of e into at most k parts, none larger than m.

The parity of a state is that of e. Shapes: `N` particles, `E` cutoff, `S` states.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from baselines.compiling import compiled

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class BosonStates:
    """All states of N bosons with at most E quanta, ordered by energy; of one parity, or of both.

    Attributes:
        particles: N >= 0.
        cutoff: E.
        step: 2 where only energies 0, 2, 4 ... are kept, else 1.
        offsets: (E + 2,) first state of each energy; an energy that is left out has none.
        counts: (N + 1, E + 1, E + 2) the table C, its last index shifted by one (m = -1 first).
        orbitals: (S, N) uint8, descending in each row.
        energies: (S,).
    """

    particles: int
    cutoff: int
    step: int
    offsets: Counts
    counts: Counts
    orbitals: NDArray[np.uint8]
    energies: NDArray[np.int64]

    @property
    def size(self) -> int:
        """S."""
        return int(self.offsets[-1])


def boson_states(particles: int, cutoff: int, *, even_only: bool) -> BosonStates:
    """The states of `particles` bosons (0 or more) with at most `cutoff` quanta (less than 256)."""
    counts = partition_counts(particles, cutoff)
    step = 2 if even_only else 1
    offsets = _offsets(counts, cutoff, step)
    orbitals = np.empty((int(offsets[-1]), particles), dtype=np.uint8)
    _enumerate(counts, offsets, orbitals)
    energies = np.repeat(np.arange(cutoff + 1), np.diff(offsets))
    return BosonStates(particles, cutoff, step, offsets, counts, orbitals, energies)


def number_of_states(particles: int, cutoff: int, *, even_only: bool) -> int:
    """S, without making the states."""
    return int(_offsets(partition_counts(particles, cutoff), cutoff, 2 if even_only else 1)[-1])


def partition_counts(parts: int, cutoff: int) -> Counts:
    """C[k, e, m + 1] for k <= parts, e <= cutoff, -1 <= m <= cutoff: (parts + 1, E + 1, E + 2)."""
    counts = np.zeros((parts + 1, cutoff + 1, cutoff + 2), dtype=np.int64)
    counts[:, 0, 1:] = 1  # nothing is one partition of 0, whatever the bound m >= 0
    for k in range(1, parts + 1):
        for m in range(1, cutoff + 1):
            counts[k, :, m + 1] = counts[k, :, m]
            # with a part of exactly m: the rest in k - 1 parts, none larger than m
            counts[k, m:, m + 1] += counts[k - 1, : cutoff + 1 - m, m + 1]
    return counts


def _offsets(counts: Counts, cutoff: int, step: int) -> Counts:
    sizes = counts[-1, :, -1].copy()
    sizes[np.arange(cutoff + 1) % step != 0] = 0
    return np.concatenate([[0], np.cumsum(sizes)])


@compiled
def place(counts, offsets, orbitals, energy):  # type: ignore[no-untyped-def]
    """Index of the state with these orbitals (N,), descending, of total `energy`."""
    parts = orbitals.size
    index = offsets[energy]
    for i in range(parts):
        p = orbitals[i]
        index += counts[parts - i, energy, p]
        energy -= p
    return index


@compiled
def _enumerate(counts, offsets, orbitals):  # type: ignore[no-untyped-def]
    parts = orbitals.shape[1]
    for energy in range(offsets.size - 1):
        for index in range(offsets[energy], offsets[energy + 1]):
            rank, left = index - offsets[energy], energy
            for i in range(parts):
                p = 0
                while counts[parts - i, left, p + 1] <= rank:
                    p += 1
                rank -= counts[parts - i, left, p]
                orbitals[index, i] = p
                left -= p
