"""The one-body density matrix along the first axis, from wave functions known point by point.

    rho(x, x') = E[ chi(x) chi*(x') ]                    trace 1, Hermitian, no negative eigenvalues
    rho(x, x') = sum_k n_k phi_k(x) phi_k*(x')           natural occupations n_k and orbitals phi_k
    g1(x, x')  = rho(x, x') / sqrt(rho(x, x) rho(x', x'))

with chi of `conditional.py`. All chi are kept: a thousand of them are fewer numbers than standard errors
would need otherwise. These follow from the delta method: a unit with d = chi chi* - rho and
c_k = int phi_k* chi dx moves

    g1 by  d(x, x') / sqrt(rho rho') - g1 (d(x, x) / rho + d(x', x') / rho') / 2
    n_k by  |c_k|^2 - n_k ,      phi_k by  sum_{j != k} phi_j c_j c_k* / (n_k - n_j) ,

and the spread of these moves between units is the error. Orbitals are real and positive where they are
largest. Occupations far below 1 % may come from a few rare samples; they and their errors are then rather too
small.

Löwdin, Phys. Rev. 97, 1474 (1955), for natural orbitals.

Shapes: T times, Q places of chi, U units, M points, S stored points, K orbitals.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsmsim.measure.conditional import Wave, WaveGrid
from dsmsim.measure.context import Context
from dsmsim.measure.observable import ByGroup, Sampled

Array = NDArray[np.float64]

ORBITALS = 10  # fewer than the fewest points
FAINT = 1e-4  # of the peak of the density: below it g1 is left out (NaN)
SAME = 1e-12  # difference of two occupations that are one: their orbitals turn into each other freely


class _State(NamedTuple):
    """What is read off one density matrix: matrix and g1 (S, S), occupation (K,), orbital (K, S)."""

    density_matrix: NDArray[Any]
    g1: NDArray[Any]
    occupation: Array
    natural_orbital: NDArray[Any]


class CoherenceSums:
    """The density matrix and what follows from it, in the group `correlations`.

    NaN at times that need too many points.

    Args:
        context: the problem, and the times at which functions of two positions are kept.
    """

    def __init__(self, context: Context) -> None:
        self._times, self._place, self._waves = context.times[context.kept], context.place, context.waves
        edges = context.coarse_edges
        self.x: Array = 0.5 * (edges[1:] + edges[:-1])
        places, grids = self._waves.places, self._waves.grids

        def zeros(columns: int) -> Tensor:
            return torch.zeros(places, columns, dtype=torch.float64, device=context.device)

        # every chi has a place of its own, so that sums over batches and ranks only put them there
        self._chi = {index: zeros(2 * len(grid.x)) for index, grid in grids.items()}
        # share of its unit, 0 where there is no chi, and the place where its unit begins
        self._shares = {index: zeros(2) for index in grids}

    def add(self, sampled: Sampled) -> None:
        """Add a batch."""
        found = self._waves.of(sampled)
        if found is None:
            return
        units, each = found.weights.shape
        here = slice(found.first, found.first + units * each)
        self._chi[sampled.index][here] += torch.view_as_real(found.chi).reshape(units * each, -1)
        shares = self._shares[sampled.index][here]
        shares[:, 0] += found.weights.flatten() / each
        begin = found.first + each * torch.arange(units, device=shares.device)
        shares[:, 1] += begin.repeat_interleave(each)

    def tensors(self) -> list[Tensor]:
        """The sums, to be added over ranks in place."""
        return [*self._chi.values(), *self._shares.values()]

    def results(self, units: Array) -> ByGroup:
        """Matrices (T, S, S), occupations (T, K) and orbitals (T, K, S), each with its standard error."""
        found = [self._at(index) for index in self._place]
        group = {name: np.stack([state[name] for state in found]) for name in found[0]}
        coordinates = {"time": self._times, "x": self.x, "x_prime": self.x, "orbital": np.arange(ORBITALS)}
        return {"correlations": coordinates | group}

    def _at(self, index: int) -> dict[str, Array]:
        """Everything at one time."""
        grid = self._waves.grids.get(index)
        shares, begins = np.zeros((2, 0))
        if grid is not None:
            shares, begins = self._shares[index].cpu().numpy().T
        if grid is None or not shares.any():
            unknown = _unknown(len(self.x))
            return _named(unknown, unknown)
        filled = shares > 0.0
        chi = np.ascontiguousarray(self._chi[index].cpu().numpy()[filled]).view(np.complex128)
        return _named(*_read(chi, _Units(shares[filled], begins[filled]), grid, self.x))


class _Units:
    """Averages over units and their spread, from values of single samples.

    Args:
        shares: (Q,) of each sample in its unit.
        begins: (Q,) number of its unit, increasing.
    """

    def __init__(self, shares: Array, begins: Array) -> None:
        self.shares = shares
        self._starts = np.flatnonzero(np.diff(begins, prepend=-1.0))

    def __len__(self) -> int:
        return len(self._starts)

    def stderr(self, values: NDArray[Any]) -> NDArray[Any]:
        """Standard error of the average of values (Q, ...); of both parts of complex ones."""
        shares = self.shares.reshape(-1, *([1] * (values.ndim - 1)))
        means = np.add.reduceat(shares * values, self._starts, axis=0)
        if np.iscomplexobj(means):
            return self._spread(means.real) + 1j * self._spread(means.imag)
        return self._spread(means)

    def _spread(self, means: Array) -> Array:
        if len(self) < 2:
            return np.full(means.shape[1:], np.nan)
        return np.asarray(means.std(0, ddof=1) / np.sqrt(len(self)))


def _read(chi: Wave, units: _Units, grid: WaveGrid, x: Array) -> tuple[_State, _State]:
    """Everything that chi (Q, M) say, with standard errors, at points x (S,)."""
    matrix = (units.shares[:, None] * chi).T @ chi.conj() / len(units)
    values, vectors = np.linalg.eigh(matrix)
    occupation, vectors = np.maximum(values[::-1] * grid.dx, 0.0), vectors[:, ::-1] / np.sqrt(grid.dx)
    onto = grid.onto(x)
    orbital, highest = (onto @ vectors).T, _highest((onto @ vectors).T)
    turn = np.exp(-1j * np.angle(orbital[np.arange(len(orbital)), highest]))
    vectors, orbital = vectors * turn, orbital * turn[:, None]
    amplitudes, orbital_error = chi @ vectors.conj() * grid.dx, []  # c_k, of all orbitals
    for k in range(ORBITALS):
        apart = occupation[k] - occupation
        weights = np.divide(1.0, apart, out=np.zeros_like(apart), where=np.abs(apart) > SAME)
        moves = (weights * amplitudes * amplitudes[:, k : k + 1].conj()) @ orbital
        # the phase moves too, so that the highest value stays real
        phase = moves[:, highest[k]].imag / orbital[k, highest[k]].real
        orbital_error.append(units.stderr(moves - 1j * phase[:, None] * orbital[k]))
    stored, chi = onto @ matrix @ onto.conj().T, chi @ onto.T
    coherences = _coherences(stored, chi, units)
    weight = amplitudes[:, :ORBITALS].real ** 2 + amplitudes[:, :ORBITALS].imag ** 2
    return (
        _State(stored, coherences[0], occupation[:ORBITALS], orbital[:ORBITALS]),
        _State(coherences[1], coherences[2], units.stderr(weight), np.array(orbital_error)),
    )


def _coherences(matrix: Wave, chi: Wave, units: _Units) -> tuple[Wave, Wave, Wave]:
    """g1 (S, S), and the errors of the matrix and of g1, from rho (S, S) and chi (Q, S)."""
    density = matrix.diagonal().real
    seen = np.where(density > FAINT * density.max(), density, np.nan)
    scale = 1.0 / np.sqrt(seen)
    g1 = matrix * np.outer(scale, scale)
    share = (chi.real**2 + chi.imag**2) / seen
    errors = []
    for row in range(len(matrix)):  # one at a time: all of them are many numbers
        product = chi[:, row : row + 1] * chi.conj()
        moves = product * (scale[row] * scale) - 0.5 * g1[row] * (share[:, row : row + 1] + share)
        errors.append((units.stderr(product), units.stderr(moves)))
    of_matrix, of_g1 = (np.array(rows) for rows in zip(*errors, strict=True))
    return g1, of_matrix, of_g1


def _highest(orbitals: Wave) -> NDArray[np.intp]:
    """Where orbitals (K, S) are largest, and therefore real and positive: (K,) indices."""
    size = np.abs(orbitals)
    # the humps of an odd orbital are equally high but for noise: the first of them
    return np.asarray((size > 0.99 * size.max(1, keepdims=True)).argmax(1))


def _unknown(points: int) -> _State:
    matrix = np.full((points, points), complex(np.nan, np.nan))
    return _State(matrix, matrix, np.full(ORBITALS, np.nan), matrix[:1].repeat(ORBITALS, 0))


def _named(state: _State, errors: _State) -> dict[str, Array]:
    """By the names of the results file, complex numbers in two parts."""
    named: dict[str, Array] = {}
    for name, value, error in zip(_State._fields, state, errors, strict=True):
        if np.iscomplexobj(value):
            for suffix, part, of_it in (("re", value.real, error.real), ("im", value.imag, error.imag)):
                named |= {f"{name}_{suffix}": part, f"{name}_{suffix}_stderr": of_it}
        else:
            named |= {name: value, f"{name}_stderr": error}
    return named
