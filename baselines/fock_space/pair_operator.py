"""Operators of two bosons that depend on their difference alone, applied without storing a matrix.

    W = sum_{i<j} h_ij,      <K k| h |K' k'> = delta_KK' h[k, k'],      k, k' = 0, 2, 4, ...

(K, k: quanta of the pair's centre and of its difference). With Psi of `removal` (s = 2) the columns,

    W |psi> = put back [ U (1_K x h) U^T Psi ],         U = <{p q} | K k>, block by block in p + q,

so the work is a few dense products per energy of the other bosons, and the memory that of the columns' index.
A stored sparse matrix of W would have the square of the number of labels per state of the others.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from baselines.compiling import compiled
from baselines.fock_space.oscillators import pair_rotation
from baselines.fock_space.removal import Removal, Wave, gather_block, put_back_block

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]


class PairOperator:
    """Applies pair operators to states of one space.

    Args:
        removal: of two bosons.
    """

    def __init__(self, removal: Removal) -> None:
        self.removal = removal
        cutoff, step = removal.states.cutoff, removal.states.step
        blocks = [pair_rotation(e) for e in range(cutoff + 1)]
        starts = np.concatenate([[0], np.cumsum([block.size for block in blocks])])
        rotation = np.concatenate([block.ravel() for block in blocks])
        transposed = np.concatenate([block.T.ravel() for block in blocks])
        self._turning = (step, cutoff, rotation, transposed, starts)
        self.size = cutoff // 2 + 1

    def apply(self, h: ComplexArray | Array, psi: Wave) -> Wave:
        """W |psi> for the matrix h (E//2 + 1, E//2 + 1) of k, k' = 0, 2, ...: (S,)."""
        out = np.zeros_like(psi)
        is_complex = bool(np.any(np.imag(h)))
        _apply(h.astype(np.complex128), is_complex, psi, self.removal.arrays, self._turning, out)
        return out

    def relative_density(self, psi: Wave) -> ComplexArray:
        """R (E//2 + 1, E//2 + 1) with <psi| W |psi> = sum of h[k, k'] R[k', k] for every h."""
        out = np.zeros((self.size, self.size), dtype=np.complex128)
        _relative_density(psi, self.removal.arrays, self._turning, out)
        return out

    def relative_columns(self, psi: Wave, rest_energy: int) -> tuple[NDArray[np.int64], Wave]:
        """Columns of `removal`, at one energy of the others, in the basis |K, k>.

        Returns:
            K and k of the labels (L, 2), and the matrix (L, states I).
        """
        cutoff, step = self.removal.states.cutoff, self.removal.states.step
        out = np.empty(tuple(self.removal.sizes[rest_energy]), dtype=np.complex128)
        spare = np.empty_like(out)
        places = np.empty(cutoff + 1, dtype=np.int64)
        _turn(psi, rest_energy, self.removal.arrays, self._turning, spare, np.empty_like(out), out, places)
        lowest = rest_energy % 2 if step == 2 else 0
        names = [
            (centre, k)
            for centre in range(lowest, cutoff - rest_energy + 1, step)
            for k in range(0, cutoff - rest_energy - centre + 1, 2)
        ]
        return np.array(names, dtype=np.int64).reshape(-1, 2), out


@compiled
def _turn(psi, rest, arrays, turning, given, spare, turned, places):  # type: ignore[no-untyped-def]
    """Columns at one energy of the others: `given` by pairs, `turned` by K and k; `places` of the K."""
    step, cutoff, _, transposed, starts = turning
    gather_block(psi, arrays, rest, given)
    lowest = rest % 2 if step == 2 else 0
    total = 0
    for centre in range(lowest, cutoff - rest + 1, step):
        places[centre] = total
        total += (cutoff - rest - centre) // 2 + 1
    row = 0
    for e in range(lowest, cutoff - rest + 1, step):
        size = e // 2 + 1
        block = transposed[starts[e] : starts[e] + size * size].reshape(size, size)
        _times_real(block, given[row : row + size], spare[row : row + size])
        for k in range(size):
            turned[places[e - 2 * k] + k] = spare[row + k]
        row += size


@compiled
def _apply(h, is_complex, psi, arrays, turning, out):  # type: ignore[no-untyped-def]
    sizes = arrays[4]
    step, cutoff, rotation, _, starts = turning
    h_real = np.ascontiguousarray(h.real)
    most = 0
    for e in range(cutoff + 1):
        most = max(most, sizes[e, 0] * sizes[e, 1])
    first, second = np.empty(most, np.complex128), np.empty(most, np.complex128)
    third = np.empty(most, np.complex128)
    places = np.empty(cutoff + 1, np.int64)
    for rest in range(cutoff + 1):
        labels, count = sizes[rest]
        if labels == 0 or count == 0:
            continue
        a_rows = first[: labels * count].reshape(labels, count)
        b_rows = second[: labels * count].reshape(labels, count)
        c_rows = third[: labels * count].reshape(labels, count)
        _turn(psi, rest, arrays, turning, a_rows, c_rows, b_rows, places)
        lowest = rest % 2 if step == 2 else 0
        # for each K the same matrix, cut to the k that the energy left allows
        for centre in range(lowest, cutoff - rest + 1, step):
            size = (cutoff - rest - centre) // 2 + 1
            rows = slice(places[centre], places[centre] + size)
            if is_complex:
                np.dot(np.ascontiguousarray(h[:size, :size]), b_rows[rows], c_rows[rows])
            else:
                _times_real(np.ascontiguousarray(h_real[:size, :size]), b_rows[rows], c_rows[rows])
        row = 0
        for e in range(lowest, cutoff - rest + 1, step):
            size = e // 2 + 1
            block = rotation[starts[e] : starts[e] + size * size].reshape(size, size)
            for k in range(size):
                b_rows[row + k] = c_rows[places[e - 2 * k] + k]
            _times_real(block, b_rows[row : row + size], a_rows[row : row + size])
            row += size
        put_back_block(a_rows, arrays, rest, out)


@compiled
def _relative_density(psi, arrays, turning, out):  # type: ignore[no-untyped-def]
    sizes = arrays[4]
    step, cutoff = turning[0], turning[1]
    places = np.empty(cutoff + 1, np.int64)
    for rest in range(cutoff + 1):
        labels, count = sizes[rest]
        if labels == 0 or count == 0:
            continue
        given, spare = np.empty((labels, count), np.complex128), np.empty((labels, count), np.complex128)
        turned = np.empty((labels, count), np.complex128)
        _turn(psi, rest, arrays, turning, given, spare, turned, places)
        for centre in range(rest % 2 if step == 2 else 0, cutoff - rest + 1, step):
            size = (cutoff - rest - centre) // 2 + 1
            rows = turned[places[centre] : places[centre] + size]
            out[:size, :size] += np.dot(rows, np.ascontiguousarray(rows.conj().T))


@compiled
def _times_real(block, columns, out):  # type: ignore[no-untyped-def]
    """out = block @ columns, a real matrix on complex columns: half the work of a complex product."""
    np.dot(block, columns.view(np.float64), out.view(np.float64))
