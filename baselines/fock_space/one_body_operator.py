"""Operators of one boson, applied without storing a matrix, and the density matrix of one boson.

    H = sum_i h_i,      H |psi> = put back [ h Psi ],      Psi the columns of `removal` (s = 1),

one dense product per energy of the other bosons.

Shapes: `E` cutoff, `S` states.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from baselines.compiling import compiled
from baselines.fock_space.removal import Removal, Wave, gather_block, put_back_block

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]


class OneBodyOperator:
    """Applies operators of one boson to states of one space.

    Args:
        removal: of one boson.
    """

    def __init__(self, removal: Removal) -> None:
        self.removal = removal

    def apply(self, h: ComplexArray | Array, psi: Wave) -> Wave:
        """H |psi> for the matrix h (E + 1, E + 1): (S,)."""
        out = np.zeros_like(psi)
        is_complex = bool(np.any(np.imag(h)))
        _apply(h.astype(np.complex128), is_complex, psi, self.removal.arrays, self.removal.states.step, out)
        return out

    def density_matrix(self, psi: Wave) -> ComplexArray:
        """gamma[p, q] = <a_q^+ a_p>/N (E + 1, E + 1), of trace 1 where psi has norm 1."""
        return orbital_matrix(self.removal, psi) / self.removal.states.particles


def orbital_matrix(removal: Removal, psi: Wave) -> ComplexArray:
    """<a_q^+ a_p> (E + 1, E + 1) of a state of any norm."""
    size = removal.states.cutoff + 1
    gamma = np.zeros((size, size), dtype=np.complex128)
    _orbital_matrix(psi, removal.arrays, removal.states.step, gamma)
    return gamma


@compiled
def _apply(h, is_complex, psi, arrays, step, out):  # type: ignore[no-untyped-def]
    sizes = arrays[4]
    for energy in range(sizes.shape[0]):
        labels, count = sizes[energy]
        if labels == 0 or count == 0:
            continue
        given = np.empty((labels, count), np.complex128)
        gather_block(psi, arrays, energy, given)
        lowest = energy % 2 if step == 2 else 0
        end = lowest + step * labels
        block = np.ascontiguousarray(h[lowest:end:step, lowest:end:step])
        turned = np.empty_like(given)
        if is_complex:
            np.dot(block, given, turned)
        else:
            real = np.ascontiguousarray(block.real)
            np.dot(real, given.view(np.float64), turned.view(np.float64))
        put_back_block(turned, arrays, energy, out)


@compiled
def _orbital_matrix(psi, arrays, step, gamma):  # type: ignore[no-untyped-def]
    sizes = arrays[4]
    for energy in range(sizes.shape[0]):
        labels, count = sizes[energy]
        if labels == 0 or count == 0:
            continue
        columns = np.empty((labels, count), np.complex128)
        gather_block(psi, arrays, energy, columns)
        products = np.dot(columns, np.ascontiguousarray(columns.conj().T))
        lowest = energy % 2 if step == 2 else 0
        for a in range(labels):
            for b in range(labels):
                gamma[lowest + step * a, lowest + step * b] += products[a, b]
