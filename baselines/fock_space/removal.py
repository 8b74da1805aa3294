"""Taking one or two bosons out of a state, and putting them back.

For a state |psi> of N bosons, a state I of M = N - s others and an orbital p (s = 1) or a pair of orbitals p
>= q (s = 2) let

    s = 1   Psi[p, I]  = <I| a_p |psi>
    s = 2   Psi[pq, I] = <I| a_p a_q |psi> / sqrt(1 + delta_pq)

These are the columns on which operators of one or two particles act as plain matrices. With the energy cut
off at E, an I of energy e_I has the labels of energy <= E - e_I: all I of one energy share their labels, so
that Psi is one dense matrix (labels x states I) per e_I. The labels are ordered by energy.

Only an index (4 bytes) and the square of the factor (an integer, one byte) are kept per entry.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baselines.compiling import compiled
from baselines.fock_space.states import BosonStates, boson_states, partition_counts, place

Wave = NDArray[np.complex128]

# square roots of the squared factors: n_p n_q or n_p (n_p - 1)/2, at most (N/2)^2 or N (N - 1)/2
ROOTS = np.sqrt(np.arange(256.0))
MOST_PARTICLES = 22


@dataclass(frozen=True)
class Removal:
    """The map between |psi> and its columns Psi.

    Attributes:
        states: of N bosons.
        rest: of the M = N - s others: all energies up to the cutoff.
        labels: (L, s) orbitals taken out, ordered by their energy, p >= q.
        label_energies: (L,).
        offsets: (E + 2,) where the matrix of each e_I begins in the flat arrays below.
        sizes: (E + 1, 2) its numbers of labels and of states I.
        index, square: (entries,) the place of I + label among the states, and the squared factor.
    """

    states: BosonStates
    rest: BosonStates
    labels: NDArray[np.int64]
    label_energies: NDArray[np.int64]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    index: NDArray[np.int32]
    square: NDArray[np.uint8]

    def labels_of(self, rest_energy: int) -> NDArray[np.int64]:
        """Numbers of the labels that go with states I of this energy, ordered by energy."""
        return labels_below(
            self.label_energies, self.states.cutoff - rest_energy, rest_energy, self.states.step
        )

    @property
    def arrays(self) -> tuple[NDArray[Any], ...]:
        """What compiled functions take: index, square, square roots, offsets, sizes."""
        return self.index, self.square, ROOTS, self.offsets, self.sizes

    def columns(self, psi: Wave) -> Wave:
        """Psi, flat (entries,): for each e_I a matrix (labels, states I), row by row."""
        out = np.empty(self.index.size, dtype=np.complex128)
        _gather(psi, self.index, self.square, ROOTS, out)
        return out

    def matrix(self, columns: Wave, rest_energy: int) -> Wave:
        """The view (labels, states I) of one e_I in flat columns."""
        start, stop = self.offsets[rest_energy : rest_energy + 2]
        labels, states = self.sizes[rest_energy]
        return columns[start:stop].reshape(labels, states)


def labels_below(energies: NDArray[np.int64], most: int, rest_energy: int, step: int) -> NDArray[np.int64]:
    """Numbers of the labels of energy <= `most`, of the parity of `rest_energy` where step is 2."""
    allowed = energies <= most
    if step == 2:
        allowed &= energies % 2 == rest_energy % 2
    return np.nonzero(allowed)[0]


def removal(states: BosonStates, count: int) -> Removal:
    """The map that takes `count` (1 or 2) bosons out of `states`, which must have as many."""
    rest = boson_states(states.particles - count, states.cutoff, even_only=False)
    labels = label_table(states.cutoff, count)
    energies = labels.sum(1)
    chosen = [labels_below(energies, states.cutoff - e, e, states.step) for e in range(states.cutoff + 1)]
    sizes = np.array([(len(those), n) for those, n in zip(chosen, np.diff(rest.offsets), strict=True)])
    offsets = np.concatenate([[0], np.cumsum(sizes.prod(1))])
    index = np.empty(offsets[-1], dtype=np.int32)
    square = np.empty(offsets[-1], dtype=np.uint8)
    for e, those in enumerate(chosen):
        block = slice(offsets[e], offsets[e + 1])
        shape = tuple(sizes[e])
        members = rest.orbitals[rest.offsets[e] : rest.offsets[e + 1]]
        _fill(
            members,
            labels[those],
            e,
            states.counts,
            states.offsets,
            index[block].reshape(shape),
            square[block].reshape(shape),
        )
    return Removal(states, rest, labels, energies, offsets, sizes, index, square)


def label_table(cutoff: int, count: int) -> NDArray[np.int64]:
    """Orbitals p (count 1) or pairs p >= q (count 2) of at most `cutoff` quanta, by energy: (L, s)."""
    if count == 1:
        return np.arange(cutoff + 1)[:, None]
    pairs = [(e - q, q) for e in range(cutoff + 1) for q in range(e // 2 + 1)]
    return np.array(pairs, dtype=np.int64)


def number_of_entries(particles: int, cutoff: int, count: int, *, even_only: bool) -> int:
    """Entries of the flat columns, without making them."""
    members = partition_counts(particles - count, cutoff)[-1, :, -1]
    energies = label_table(cutoff, count).sum(1)
    step = 2 if even_only else 1
    labels = [len(labels_below(energies, cutoff - e, e, step)) for e in range(cutoff + 1)]
    return int(members @ np.array(labels))


@compiled
def _fill(members, labels, energy, counts, offsets, index, square):  # type: ignore[no-untyped-def]
    rest = members.shape[1]
    taken = labels.shape[1]
    state = np.empty(rest + taken, dtype=np.int64)
    for label in range(labels.shape[0]):
        total = energy
        for k in range(taken):
            total += labels[label, k]
        for i in range(members.shape[0]):
            # merge two descending lists
            a, b = 0, 0
            for position in range(rest + taken):
                if b == taken or (a < rest and members[i, a] >= labels[label, b]):
                    state[position] = members[i, a]
                    a += 1
                else:
                    state[position] = labels[label, b]
                    b += 1
            index[label, i] = place(counts, offsets, state, total)
            p = labels[label, 0]
            n_p = 0
            for position in range(rest + taken):
                n_p += state[position] == p
            if taken == 1:
                square[label, i] = n_p
            elif labels[label, 1] == p:
                square[label, i] = n_p * (n_p - 1) // 2
            else:
                q = labels[label, 1]
                n_q = 0
                for position in range(rest + taken):
                    n_q += state[position] == q
                square[label, i] = n_p * n_q


@compiled
def _gather(psi, index, square, roots, out):  # type: ignore[no-untyped-def]
    for k in range(index.size):
        out[k] = roots[square[k]] * psi[index[k]]


@compiled
def gather_block(psi, arrays, energy, given):  # type: ignore[no-untyped-def]
    """Psi at one energy of the others, into `given` (labels, states I)."""
    index, square, roots, offsets, _ = arrays
    entry = offsets[energy]
    for label in range(given.shape[0]):
        for i in range(given.shape[1]):
            given[label, i] = roots[square[entry]] * psi[index[entry]]
            entry += 1


@compiled
def put_back_block(turned, arrays, energy, out):  # type: ignore[no-untyped-def]
    """Add what columns (labels, states I) at one energy of the others stand for to a state."""
    index, square, roots, offsets, _ = arrays
    entry = offsets[energy]
    for label in range(turned.shape[0]):
        for i in range(turned.shape[1]):
            out[index[entry]] += roots[square[entry]] * turned[label, i]
            entry += 1
