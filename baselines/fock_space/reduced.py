"""What one or two bosons do relative to all: reduced density matrices with the centre of mass split off.

The state that is propagated has its centre of mass in the lowest oscillator state of the basis, whatever the
true one is. Take s = 1 or 2 bosons; with A their own centre (a boson's position, or a pair's centre) and B
that of the M = N - s others, both normalised, a rotation leads to the centre of mass C of all and to

    zeta = cos A - sin B,   C = sin A + cos B,      cos^2 = M/N.

With no quanta in C, a state of k quanta of zeta has the amplitude cos^k for "k quanta of A and none of B". So
with P0 the projection of the others on "no quanta of B", and Psi[k, I] the columns of `removal`,

    beta_k = cos^(-k) P0 Psi[k, .] / norm

are the states of everything else that go with k quanta of zeta: their overlaps are the density matrix of zeta
(and, for pairs, of the difference r), well conditioned and without the centre of mass.

P0 = 1 - b^+ (b b^+)^-1 b with b = M^(-1/2) sum_p sqrt(p+1) a_p^+ a_{p+1}, which takes one quantum out of B;
b b^+ has eigenvalues 1, 2, 3, ..., so that conjugate gradients need few steps.

Shapes: `E` cutoff, `L` labels.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import scipy.sparse as sparse
from numpy.typing import NDArray
from scipy.special import gammaln

from baselines.compiling import compiled
from baselines.fock_space.one_body_operator import OneBodyOperator
from baselines.fock_space.pair_operator import PairOperator
from baselines.fock_space.removal import Removal, Wave
from baselines.fock_space.states import BosonStates, place

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]

# largest part of the trace of a density matrix that rounding may change on the short way
MOST_ROUNDING = 1e-9
CG_TOLERANCE = 1e-12
MOST_CG_STEPS = 200


class RestProjector:
    """P0 on the states of the others, one energy after another.

    Args:
        rest: states of M bosons, all energies up to the cutoff.
    """

    def __init__(self, rest: BosonStates) -> None:
        self._lowering = [_lowering(rest, energy) for energy in range(rest.cutoff + 1)]

    def __call__(self, energy: int, states: ComplexArray) -> ComplexArray:
        """P0 on columns (states I of this energy, any number)."""
        if energy == 0:
            return states
        lower = self._lowering[energy]
        if lower is None:
            return np.zeros_like(states)
        # real matrices on real and imaginary parts side by side
        flat = np.ascontiguousarray(states).view(np.float64)
        solved = _conjugate_gradients(lower, lower @ flat)
        return np.ascontiguousarray(flat - lower.T @ solved).view(np.complex128)


class ReducedStates:
    """The states beta that go with one boson's, or one pair's, relative quanta.

    Args:
        removal: of one or two bosons.
        pairs: for two: gives the columns in the basis of pair centre and difference.
    """

    def __init__(self, removal: Removal, pairs: PairOperator | None = None) -> None:
        self.removal = removal
        self._pairs = pairs
        particles = removal.states.particles
        count = removal.labels.shape[1]
        self._others = particles - count
        self._cos_squared = self._others / particles
        # sum over labels and others of |Psi|^2
        self._norm = np.sqrt(particles if count == 1 else particles * (particles - 1) / 2)

    @cached_property
    def _project(self) -> RestProjector:
        return RestProjector(self.removal.rest)

    def density_matrix(self, psi: Wave) -> tuple[NDArray[np.int64], ComplexArray]:
        """Quanta of the labels and their density matrix (L, L), of trace 1.

        The quanta are (L, 1): of zeta; or (L, 2): of zeta and of the difference r. The matrix is the sum over
        the others of beta beta^*.
        """
        names, found = self._labels()
        if self._pairs is None:
            matrix = self._from_orbitals(psi)
            if matrix is not None:
                return names, matrix
        matrix = np.zeros((len(names), len(names)), dtype=np.complex128)
        columns = self.removal.columns(psi) if self._pairs is None else psi
        for energy in range(self.removal.states.cutoff + 1):
            if self._others == 0 and energy > 0:
                break
            rows, beta = self._beta(psi, columns, energy, found)
            if rows.size:
                matrix[np.ix_(rows, rows)] += beta @ beta.conj().T
        return names, matrix

    def _from_orbitals(self, psi: Wave) -> ComplexArray | None:
        """The same for one boson from the density matrix of its orbitals; None where rounding forbids it.

        With gamma[p, p'] = sum_I Psi[p, I] Psi[p', I]^*/N and D that of zeta, the quanta of a boson are those
        of zeta, each kept with the probability cos^2 (a binomial loss), which is undone term by term:

            D[k, k+d] = sum_r (-1)^r sqrt(C(k+r, k) C(k+d+r, k+d)) tan^2r cos^(-2k-d) gamma[k+r, k+d+r]
        """
        removal = self.removal
        size = removal.states.cutoff + 1
        gamma = OneBodyOperator(removal).density_matrix(psi)
        # amplitudes are known to rounding of the norm
        noise = np.finfo(np.float64).eps * np.sqrt(np.abs(np.diagonal(gamma)))
        if self._others == 0 or float(np.sum(np.abs(self._undo[0]) @ noise)) > MOST_ROUNDING:
            return None
        out = np.zeros_like(gamma)
        for d in range(0, size, removal.states.step):
            values = self._undo[d] @ np.diagonal(gamma, d)
            rows = np.arange(size - d)
            out[rows, rows + d] = values
            out[rows + d, rows] = values.conj()
        return out

    @cached_property
    def _undo(self) -> list[Array]:
        """For every d the matrix (E + 1 - d, E + 1 - d) that undoes the loss on that diagonal."""
        size = self.removal.states.cutoff + 1
        kept = self._cos_squared
        k, n = np.arange(size)[:, None], np.arange(size)[None, :]
        upper = n >= k
        r = np.where(upper, n - k, 0)
        sign = np.where(r % 2 == 1, -1.0, 1.0)

        def half_log_binomial(top: NDArray[np.int64], bottom: NDArray[np.int64]) -> Array:
            return np.asarray(
                0.5 * (gammaln(top + 1.0) - gammaln(bottom + 1.0) - gammaln(top - bottom + 1.0))
            )

        matrices = []
        for d in range(size):
            log = half_log_binomial(k + r, k) + half_log_binomial(k + d + r, k + d)
            log = log + r * np.log1p(-kept) - (k + r + 0.5 * d) * np.log(kept)
            whole = np.where(upper, sign * np.exp(log), 0.0)
            matrices.append(np.ascontiguousarray(whole[: size - d, : size - d]))
        return matrices

    def _labels(self) -> tuple[NDArray[np.int64], dict[tuple[int, ...], int]]:
        removal = self.removal
        if self._pairs is None:
            names = removal.labels
        else:
            # of a pair p >= q with e quanta, q stands for k = 2 q
            q = removal.labels[:, 1]
            names = np.stack([removal.label_energies - 2 * q, 2 * q], axis=1)
        if self._others == 0:
            # nobody else: the centre of the pair is that of all
            names = names[names[:, 0] == 0]
        return names, {tuple(name): row for row, name in enumerate(names.tolist())}

    def _beta(
        self, psi: Wave, columns: Wave, energy: int, found: dict[tuple[int, ...], int]
    ) -> tuple[NDArray[np.int64], ComplexArray]:
        """Rows of the density matrix and beta (rows, states I) that one energy of the others adds to."""
        removal = self.removal
        if self._pairs is None:
            names, matrix = removal.labels[removal.labels_of(energy)], removal.matrix(columns, energy)
        else:
            names, matrix = self._pairs.relative_columns(psi, energy)
        if self._others == 0:
            inside = names[:, 0] == 0
            names, matrix = names[inside], matrix[inside]
            projected = matrix
        else:
            projected = self._project(energy, matrix.T).T
        if not matrix.size:
            return np.empty(0, dtype=np.int64), matrix
        amplitude = self._cos_squared ** (-0.5 * names[:, 0]) if self._others else np.ones(len(names))
        rows = np.array([found[tuple(name)] for name in names.tolist()])
        return rows, projected * (amplitude / self._norm)[:, None]


def _lowering(rest: BosonStates, energy: int) -> sparse.csr_array | None:
    """b from the states of one energy to those of the next lower one; None where there are none."""
    upper = rest.orbitals[rest.offsets[energy] : rest.offsets[energy + 1]]
    if energy == 0 or not len(upper) or rest.particles == 0:
        return None
    below = int(rest.offsets[energy] - rest.offsets[energy - 1])
    rows = np.empty(upper.size, dtype=np.int64)
    columns, values = np.empty_like(rows), np.empty(upper.size)
    used = _lower(upper, energy, rest.counts, rest.offsets, rows, columns, values)
    entries = (values[:used], (rows[:used] - rest.offsets[energy - 1], columns[:used]))
    return sparse.csr_array(entries, shape=(below, len(upper)))


@compiled
def _lower(upper, energy, counts, offsets, rows, columns, values):  # type: ignore[no-untyped-def]
    particles = upper.shape[1]
    state = np.empty(particles, dtype=np.int64)
    used = 0
    for i in range(upper.shape[0]):
        for j in range(particles):
            p = upper[i, j]
            # the last boson in each occupied orbital p + 1 >= 1 goes one down: the order stays descending
            if p == 0 or (j + 1 < particles and upper[i, j + 1] == p):
                continue
            n_p, n_below = 0, 1
            for k in range(particles):
                state[k] = upper[i, k]
                n_p += upper[i, k] == p
                n_below += upper[i, k] == p - 1
            state[j] = p - 1
            rows[used] = place(counts, offsets, state, energy - 1)
            columns[used] = i
            values[used] = np.sqrt(p * n_p * n_below / particles)
            used += 1
    return used


def _conjugate_gradients(lower: sparse.csr_array, right: NDArray[np.float64]) -> NDArray[np.float64]:
    """(b b^+)^-1 on many columns at once, to rounding."""
    solution = np.zeros_like(right)
    residual = right.copy()
    direction = residual.copy()
    squared = float((residual**2).sum())
    enough = CG_TOLERANCE**2 * squared
    for _ in range(MOST_CG_STEPS):
        if squared <= enough or squared == 0.0:
            break
        image = lower @ (lower.T @ direction)
        step = squared / float((direction * image).sum())
        solution += step * direction
        residual -= step * image
        after = float((residual**2).sum())
        direction = residual + (after / squared) * direction
        squared = after
    return solution
