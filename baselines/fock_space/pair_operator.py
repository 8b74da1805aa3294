"""Operators of two bosons that depend on their difference alone, applied without storing a matrix.

    W = sum_{i<j} h_ij,      <K k| h |K' k'> = delta_KK' h[k, k'],      k, k' = 0, 2, 4, ...

(K, k: quanta of the pair's centre and of its difference). With Psi of `removal` (s = 2) the columns,

    W |psi> = put back [ U (1_K x h) U^T Psi ],         U = <{p q} | K k>, block by block in p + q,

so the work is a few dense products per energy of the other bosons, and the memory that of the columns' index.
A stored sparse matrix of W would have the square of the number of labels per state of the others.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from baselines.fock_space.oscillators import pair_rotation
from baselines.fock_space.removal import ROOTS, Removal, Wave

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]


class PairOperator:
    """Applies pair operators to states of one space.

    Args:
        removal: of two bosons.
    """

    def __init__(self, removal: Removal) -> None:
        self.removal = removal
        blocks = [pair_rotation(e) for e in range(removal.states.cutoff + 1)]
        self._rotation = np.concatenate([block.ravel() for block in blocks])
        self._rotation_transposed = np.concatenate([block.T.ravel() for block in blocks])
        self._starts = np.concatenate([[0], np.cumsum([block.size for block in blocks])])
        self.size = removal.states.cutoff // 2 + 1

    def apply(self, h: ComplexArray | Array, psi: Wave) -> Wave:
        """W |psi> for the matrix h (E//2 + 1, E//2 + 1) of k, k' = 0, 2, ...: (S,)."""
        out = np.zeros_like(psi)
        r = self.removal
        _apply(
            h.astype(np.complex128),
            bool(np.any(np.imag(h))),
            psi,
            r.index,
            r.square,
            ROOTS,
            r.offsets,
            r.sizes,
            r.states.step,
            r.states.cutoff,
            self._rotation,
            self._rotation_transposed,
            self._starts,
            out,
        )
        return out

    def relative_density(self, psi: Wave) -> ComplexArray:
        """R (E//2 + 1, E//2 + 1) with <psi| W |psi> = sum of h[k, k'] R[k', k] for every h."""
        r = self.removal
        out = np.zeros((self.size, self.size), dtype=np.complex128)
        columns = r.columns(psi)
        for energy in range(r.states.cutoff + 1):
            if not r.sizes[energy].all():
                continue
            names, matrix = self.relative_columns(columns, energy)
            for centre in np.unique(names[:, 0]):
                # ordered by K + k, so by k for one K
                rows = matrix[names[:, 0] == centre]
                out[: len(rows), : len(rows)] += rows @ rows.conj().T
        return out

    def relative_columns(self, columns: Wave, rest_energy: int) -> tuple[NDArray[np.int64], Wave]:
        """Columns of `removal`, at one energy of the others, in the basis |K, k>.

        Returns:
            K and k of the labels (L, 2), and the matrix (L, states I).
        """
        r = self.removal
        matrix = r.matrix(columns, rest_energy)
        labels = r.labels_of(rest_energy)
        energies = r.label_energies[labels]
        out = np.empty_like(matrix)
        names = np.empty((len(labels), 2), dtype=np.int64)
        for e in np.unique(energies):
            rows = np.nonzero(energies == e)[0]
            block = self._rotation[self._starts[e] : self._starts[e + 1]].reshape(len(rows), len(rows))
            out[rows] = block.T @ matrix[rows]
            k = 2 * np.arange(len(rows))
            names[rows] = np.stack([e - k, k], axis=1)
        return names, out


@numba.njit(cache=True)
def _apply(  # type: ignore[no-untyped-def]
    h, is_complex, psi, index, square, roots, offsets, sizes, step, cutoff, rotation, transposed, starts, out
):
    h_real = np.ascontiguousarray(h.real)
    most = 0
    for e in range(cutoff + 1):
        most = max(most, sizes[e, 0] * sizes[e, 1])
    first, second = np.empty(most, np.complex128), np.empty(most, np.complex128)
    third = np.empty(most, np.complex128)
    place_of = np.empty(cutoff + 2, np.int64)
    for rest in range(cutoff + 1):
        labels, count = sizes[rest]
        if labels == 0 or count == 0:
            continue
        start = offsets[rest]
        most_energy = cutoff - rest
        lowest = rest % 2 if step == 2 else 0
        a = first[: labels * count]
        for j in range(labels * count):
            a[j] = roots[square[start + j]] * psi[index[start + j]]
        a_rows = a.reshape(labels, count)
        b_rows = second[: labels * count].reshape(labels, count)
        c_rows = third[: labels * count].reshape(labels, count)
        # rows of |K, k> ordered by K, where h is one block for each K
        total = 0
        for centre in range(lowest, most_energy + 1, step):
            place_of[centre] = total
            total += (most_energy - centre) // 2 + 1
        row = 0
        for e in range(lowest, most_energy + 1, step):
            size = e // 2 + 1
            block = transposed[starts[e] : starts[e] + size * size].reshape(size, size)
            turned = c_rows[row : row + size]
            _times_real(block, a_rows[row : row + size], turned)
            for k in range(size):
                b_rows[place_of[e - 2 * k] + k] = turned[k]
            row += size
        for centre in range(lowest, most_energy + 1, step):
            size = (most_energy - centre) // 2 + 1
            rows = slice(place_of[centre], place_of[centre] + size)
            if is_complex:
                np.dot(np.ascontiguousarray(h[:size, :size]), b_rows[rows], c_rows[rows])
            else:
                _times_real(np.ascontiguousarray(h_real[:size, :size]), b_rows[rows], c_rows[rows])
        row = 0
        for e in range(lowest, most_energy + 1, step):
            size = e // 2 + 1
            block = rotation[starts[e] : starts[e] + size * size].reshape(size, size)
            for k in range(size):
                b_rows[row + k] = c_rows[place_of[e - 2 * k] + k]
            _times_real(block, b_rows[row : row + size], a_rows[row : row + size])
            row += size
        for j in range(labels * count):
            out[index[start + j]] += roots[square[start + j]] * a[j]


@numba.njit(cache=True)
def _times_real(block, columns, out):  # type: ignore[no-untyped-def]
    """out = block @ columns, a real matrix on complex columns: half the work of a complex product."""
    np.dot(block, columns.view(np.float64), out.view(np.float64))
