"""Equations of motion of the parameters of a wave function, from samples of its density.

The parameters theta move so that the state follows the Schroedinger equation as closely as it can,

    theta' = argmin < | E - <E> - i hbar sum_k (O_k - <O_k>) theta'_k |^2 >
    i hbar S theta' = F ,    S_kl = < O_k* (O_l - <O_l>) > ,    F_k = < O_k* (E - <E>) >

with the log-derivatives O_k = d log psi/d theta_k, the local energy E = (H psi)/psi and averages over
|psi|^2. S is the quantum geometric tensor: theta'^H S theta' is the squared speed of the state in Hilbert
space. What is left of the minimum is the residual: the part of the motion that the ansatz cannot make. The
equations are a least-squares problem: if the residual vanishes, any samples and weights give the exact
theta'.

They are solved as `dsmsim.tdvp.least_squares` says, with a target of E - <E> and i hbar theta' as unknowns.

Source: Carleo, Cevolani, Sanchez-Palencia, Holzmann, Phys. Rev. X 7, 031026 (2017).

Shapes: W samples (of this rank), P parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from dsmsim.tdvp.least_squares import (
    Array,
    ComplexArray,
    NormalEquations,
    RealOrComplex,
    Regularisation,
    Solution,
)

ROUNDING = 1e-13


@dataclass(frozen=True)
class Averages:
    """How averages over all samples are made from those of this rank.

    Attributes:
        add: sums an array of float64 over the ranks, in place or not, and returns it.
        biggest: the same, the elementwise maximum.
    """

    add: Callable[[Array], Array]
    biggest: Callable[[Array], Array]


ALONE = Averages(lambda values: values, lambda values: values)


@dataclass(frozen=True)
class Equations:
    """Averages over the samples of all ranks, and what this rank needs to take more.

    Attributes:
        s: (P, P) quantum geometric tensor, real if O is.
        force: (P,) F.
        energy: mean local energy; its imaginary part is 0 but for sampling errors.
        energy_variance: < |E - <E>|^2 >.
        effective: effective fraction of the samples, (sum w)^2 / (W sum w^2).
        weights: (W,) of this rank's samples, of sum 1 over all ranks.
        centred: (W, P) O - <O>.
        fluctuation: (W,) E - <E>.
    """

    s: RealOrComplex
    force: ComplexArray
    energy: complex
    energy_variance: float
    effective: float
    weights: Array
    centred: RealOrComplex
    fluctuation: ComplexArray

    def solve(
        self, hbar: float, rule: Regularisation, over: Averages = ALONE, *, with_snr: bool = False
    ) -> Solution:
        """theta' and how well it is known.

        Args:
            hbar: of the input.
            rule: what is damped.
            over: the ranks; all must call this together.
            with_snr: measure the signal-to-noise ratios even where `rule` does not need them.

        Returns:
            All of it not a number where the averages are not finite: the same on every rank.
        """
        solution = self._normal.solve(
            rule, lambda directions, force: self._noise(directions, force, over), with_snr=with_snr
        )
        rate: ComplexArray = -1j / hbar * np.asarray(solution.rate, dtype=np.complex128)
        return replace(solution, rate=rate)

    @cached_property
    def _normal(self) -> NormalEquations:
        return NormalEquations(self.s, self.force, self.energy_variance)

    def _noise(self, directions: RealOrComplex, force: RealOrComplex, over: Averages) -> Array:
        """Squared standard errors of the force along each direction (a column)."""
        each = np.conj(self.centred @ directions) * self.fluctuation[:, None]
        return over.add((self.weights**2) @ _squares(each - force))

    def distance(self, change: ComplexArray) -> float:
        """Distance in Hilbert space (an angle) that a small `change` (P,) of theta moves the state by."""
        return self._normal.distance(change)


def averages(log_weights: Array, o: RealOrComplex, energy: ComplexArray, over: Averages = ALONE) -> Equations:
    """The equations of motion from this rank's samples and those of all the others.

    Args:
        log_weights: (W,) logarithm of |psi|^2 over the density of the samples, up to a common constant.
        o: (W, P) log-derivatives.
        energy: (W,) local energies.
        over: the ranks; all must call this together, with at least one sample among them.
    """
    # a rank without samples knows no maximum
    top = float(over.biggest(np.array([log_weights.max() if len(log_weights) else -np.inf]))[0])
    w = np.exp(log_weights - top)
    parameters = o.shape[1]
    is_complex = np.iscomplexobj(o)
    first = over.add(
        np.concatenate(
            (
                [w.sum(), w @ w, float(len(w))],
                w @ _parts(energy),
                w @ o.real,
                w @ o.imag if is_complex else np.zeros(0),
            )
        )
    )
    total, squares, count = float(first[0]), float(first[1]), float(first[2])
    w = w / total
    mean_energy = complex(float(first[3]), float(first[4])) / total
    mean_o = first[5 : 5 + parameters] / total
    if is_complex:
        mean_o = mean_o + 1j * first[5 + parameters :] / total
    centred, fluctuation = o - mean_o, energy - mean_energy
    weighted = np.conj(w[:, None] * centred).T
    s: Any = weighted @ centred
    # a real matrix times the two parts, which numpy would otherwise make complex first
    parted: Any = weighted @ (fluctuation[:, None] if is_complex else _parts(fluctuation))
    force: Any = parted[:, 0] if is_complex else parted[:, 0] + 1j * parted[:, 1]
    variance = float(w @ _squares(fluctuation))
    parts = [np.array([variance]), force.real, force.imag, s.real.ravel()]
    parts += [s.imag.ravel()] if is_complex else []
    second = over.add(np.concatenate(parts))
    variance = float(second[0])
    force = second[1 : 1 + parameters] + 1j * second[1 + parameters : 1 + 2 * parameters]
    rest = second[1 + 2 * parameters :].reshape(-1, parameters, parameters)
    s = rest[0] + 1j * rest[1] if is_complex else rest[0]
    # what varies by rounding only, such as a constant, is no direction
    dead = np.diagonal(s).real <= (ROUNDING * np.abs(mean_o)) ** 2
    s[dead, :], s[:, dead], force[dead] = 0.0, 0.0, 0.0
    effective = float(total**2 / (count * squares))
    return Equations(s, force, mean_energy, variance, effective, w, centred, fluctuation)


def _parts(values: ComplexArray) -> Array:
    """Real and imaginary parts (W, 2) of contiguous numbers (W,)."""
    return np.ascontiguousarray(values).view(np.float64).reshape(len(values), 2)


def _squares(values: RealOrComplex) -> Array:
    """|values|^2, without the care for overflow that abs takes."""
    return np.asarray(values.real**2 + values.imag**2)
