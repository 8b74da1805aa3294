"""Equations of motion of the parameters of a wave function, from samples of its density.

The parameters theta move so that the state follows the Schroedinger equation as closely as it can,

    theta' = argmin < | E - <E> - i hbar sum_k (O_k - <O_k>) theta'_k |^2 >
    i hbar S theta' = F ,    S_kl = < O_k* (O_l - <O_l>) > ,    F_k = < O_k* (E - <E>) >

with the log-derivatives O_k = d log psi/d theta_k, the local energy E = (H psi)/psi and averages over
|psi|^2. S is the quantum geometric tensor: theta'^H S theta' is the squared speed of the state in Hilbert
space. What is left of the minimum is the residual: the part of the motion that the ansatz cannot make. The
equations are a least-squares problem: if the residual vanishes, any samples and weights give the exact
theta'.

S is nearly singular whenever parameters do similar things, so the equations are scaled to a unit diagonal,
solved in the eigenvectors of S, and every eigenvalue lambda_j is damped,

    1/lambda_j  ->  1/(lambda_j + shift) * 1/(1 + (cutoff lambda_max/lambda_j)^6) * 1/(1 + (snr/snr_j)^6)

with snr_j the force along eigenvector j over its standard error.

Sources: Carleo, Cevolani, Sanchez-Palencia, Holzmann, Phys. Rev. X 7, 031026 (2017); Schmitt, Heyl, Phys.
Rev. Lett. 125, 100503 (2020), for the cut-offs.

Shapes: W samples (of this rank), P parameters.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]
RealOrComplex = NDArray[np.float64] | NDArray[np.complex128]

ROUNDING = 1e-13
SHARPNESS = 6  # of the soft cut-offs, as in the second source


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
class Regularisation:
    """How directions that the samples do not determine are damped; see the module.

    Attributes:
        cutoff: relative to the largest eigenvalue of the scaled S; 0 for none.
        shift: added to every eigenvalue of the scaled S.
        snr: signal-to-noise ratio below which a direction is damped; 0 for none.
    """

    cutoff: float = 1e-5
    shift: float = 0.0
    snr: float = 0.0


@dataclass(frozen=True)
class Solution:
    """How the parameters move.

    Attributes:
        rate: (P,) theta'.
        residual: rms of what is left of the local energy, relative to its rms fluctuation: 0 for a state that
            moves as it should, 1 for one that does not move; 0 where the energy does not fluctuate.
        spectrum: (P,) eigenvalues of the scaled S, increasing.
        snr: (P,) signal-to-noise ratio of the force along each eigenvector; empty if it was not asked for.
    """

    rate: ComplexArray
    residual: float
    spectrum: Array
    snr: Array


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
        if not (np.isfinite(self.s).all() and np.isfinite(self.force).all()):
            nothing = np.full(len(self.force), np.nan)
            return Solution(nothing + 0j, math.nan, nothing, nothing if with_snr else np.zeros(0))
        scale, values, vectors = self._modes
        force = vectors.conj().T @ (scale * self.force)
        noisy = with_snr or rule.snr > 0.0
        snr = self._snr(force, scale[:, None] * vectors, over) if noisy else np.zeros(0)
        inverse = _damped(values, rule)
        if rule.snr > 0.0:
            inverse = inverse * _soft(snr, rule.snr)
        motion = scale * (vectors @ (inverse * force))  # i hbar theta'
        left = self.energy_variance - 2.0 * np.vdot(motion, self.force).real
        left += np.vdot(motion, self.s @ motion).real
        relative = max(0.0, float(left)) / self.energy_variance if self.energy_variance > 0.0 else 0.0
        return Solution(-1j / hbar * motion, math.sqrt(relative), values, snr)

    @cached_property
    def _modes(self) -> tuple[Array, Array, RealOrComplex]:
        """The scale (P,) that gives S a unit diagonal, and eigenvalues and eigenvectors of the scaled S."""
        diagonal = np.diagonal(self.s).real
        scale = np.where(diagonal > 0.0, 1.0 / np.sqrt(np.where(diagonal > 0.0, diagonal, 1.0)), 0.0)
        values, vectors = np.linalg.eigh(self.s * scale[:, None] * scale)
        return scale, values, vectors

    def _snr(self, force: ComplexArray, directions: RealOrComplex, over: Averages) -> Array:
        """|force| over its standard error, along each direction (a column)."""
        each = np.conj(self.centred @ directions) * self.fluctuation[:, None]
        noise = over.add((self.weights**2) @ _squares(each - force))
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio: Array = np.abs(force) / np.sqrt(noise)
        return np.nan_to_num(np.asarray(ratio), nan=0.0, posinf=np.finfo(np.float64).max)

    def distance(self, change: ComplexArray) -> float:
        """Distance in Hilbert space (an angle) that a small `change` (P,) of theta moves the state by."""
        return math.sqrt(max(0.0, float(np.vdot(change, self.s @ change).real)))


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


def _damped(values: Array, rule: Regularisation) -> Array:
    """What stands in the place of 1/values; 0 for eigenvalues that are 0 or, by rounding, below."""
    positive = values > 0.0
    safe = np.where(positive, values, 1.0)
    inverse = np.where(positive, 1.0 / (safe + rule.shift), 0.0)
    if rule.cutoff > 0.0 and len(values):
        inverse = inverse * _soft(np.where(positive, safe / safe[-1], 0.0), rule.cutoff)
    return np.asarray(inverse)


def _soft(values: Array, threshold: float) -> Array:
    """1/(1 + (threshold/value)^6), without overflow."""
    ratio = np.minimum(values / threshold, 1e6) ** SHARPNESS
    return np.asarray(ratio / (1.0 + ratio), dtype=np.float64)
