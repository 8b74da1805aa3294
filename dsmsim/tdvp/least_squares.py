"""Regularised linear least squares by its normal equations.

    x = argmin < |b - A x|^2 > ,    S x = F ,    S = < A^H A > ,    F = < A^H b >

with averages over samples. S is nearly singular whenever two columns of A do similar things, so the equations
are scaled to a unit diagonal, solved in the eigenvectors of S, and every eigenvalue lambda_j is damped,

    1/lambda_j  ->  1/(lambda_j + shift) * 1/(1 + (cutoff lambda_max/lambda_j)^6) * 1/(1 + (snr/snr_j)^6)

with snr_j the force along eigenvector j over its standard error.

Source: Schmitt, Heyl, Phys. Rev. Lett. 125, 100503 (2020), for the cut-offs.

Shapes: P parameters.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]
RealOrComplex = NDArray[np.float64] | NDArray[np.complex128]
# squared standard errors (K,) of the force (K,) along directions (P, K)
Noise = Callable[[RealOrComplex, RealOrComplex], Array]
# eigenvalues, increasing, and eigenvectors of a Hermitian matrix
Decompose = Callable[[RealOrComplex], tuple[Array, RealOrComplex]]

SHARPNESS = 6  # of the soft cut-offs, as in the source


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
        residual: rms of what is left of the target, relative to its rms: 0 for a state that moves as it
            should, 1 for one that does not move; 0 where the target is 0.
        spectrum: (P,) eigenvalues of the scaled S, increasing; not a number where the solver finds none.
        snr: (P,) signal-to-noise ratio of the force along each eigenvector; empty if it was not asked for.
    """

    rate: RealOrComplex
    residual: float
    spectrum: Array
    snr: Array

    @classmethod
    def unknown(cls, parameters: int, with_snr: bool, dtype: type = np.float64) -> Solution:
        """Nothing but what is not a number."""
        nothing = np.full(parameters, np.nan)
        return cls(nothing.astype(dtype), math.nan, nothing, nothing if with_snr else np.zeros(0))


def _eigh(matrix: RealOrComplex) -> tuple[Array, RealOrComplex]:
    values, vectors = np.linalg.eigh(matrix)
    return values, vectors


@dataclass
class NormalEquations:
    """S x = F, from averages over all samples.

    Attributes:
        s: (P, P) Hermitian, real if A is.
        force: (P,) F.
        target_square: < |b|^2 >.
        decompose: finds eigenvalues and eigenvectors; asked once.
    """

    s: RealOrComplex
    force: RealOrComplex
    target_square: float
    decompose: Decompose = _eigh
    _modes: tuple[Array, Array, RealOrComplex] | None = field(default=None, init=False, repr=False)

    def solve(self, rule: Regularisation, noise: Noise, *, with_snr: bool = False) -> Solution:
        """x and how well it is known.

        Args:
            rule: what is damped.
            noise: asked for where signal-to-noise ratios are needed, by `rule` or `with_snr`.
            with_snr: measure the signal-to-noise ratios even where `rule` does not need them.

        Returns:
            All of it not a number where the averages are not finite.
        """
        measured = with_snr or rule.snr > 0.0
        if not (np.isfinite(self.s).all() and np.isfinite(self.force).all()):
            return Solution.unknown(len(self.force), measured, np.result_type(self.s, self.force).type)
        scale, values, vectors = self._scale_and_modes()
        force = vectors.conj().T @ (scale * self.force)
        snr = np.zeros(0)
        if measured:
            snr = signal_to_noise(force, noise(scale[:, None] * vectors, force))
        inverse = damped_inverse(values, rule, snr)
        rate = scale * (vectors @ (inverse * force))
        left = self.target_square - 2.0 * np.vdot(rate, self.force).real
        left += np.vdot(rate, self.s @ rate).real
        return Solution(rate, relative_rms(float(left), self.target_square), values, snr)

    def distance(self, change: RealOrComplex) -> float:
        """Root of < |A change|^2 >: how far a change (P,) of x moves what A x stands for."""
        square = float(np.vdot(change, self.s @ change).real)
        return 0.0 if square <= 0.0 else math.sqrt(square)

    def _scale_and_modes(self) -> tuple[Array, Array, RealOrComplex]:
        """The scale (P,) that gives S a unit diagonal, and eigenvalues and eigenvectors of the scaled S."""
        if self._modes is None:
            scale = unit_scale(np.diagonal(self.s).real)
            self._modes = scale, *self.decompose(self.s * scale[:, None] * scale)
        return self._modes


def unit_scale(diagonal: Array) -> Array:
    """The scale that makes a positive diagonal 1; 0 where it is not positive."""
    positive = diagonal > 0.0
    return np.where(positive, 1.0 / np.sqrt(np.where(positive, diagonal, 1.0)), 0.0)


def signal_to_noise(force: RealOrComplex, noise: Array) -> Array:
    """|force| over the root of its squared standard error; 0 where both are 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.abs(force) / np.sqrt(noise)
    return np.nan_to_num(np.asarray(ratio), nan=0.0, posinf=np.finfo(np.float64).max)


def damped_inverse(values: Array, rule: Regularisation, snr: Array) -> Array:
    """What stands in the place of 1/values; 0 for eigenvalues that are 0 or, by rounding, below.

    Args:
        values: eigenvalues, increasing.
        snr: their signal-to-noise ratios, read if `rule` damps by them.
    """
    positive = values > 0.0
    safe = np.where(positive, values, 1.0)
    inverse = np.where(positive, 1.0 / (safe + rule.shift), 0.0)
    if rule.cutoff > 0.0 and len(values):
        inverse = inverse * _soft(np.where(positive, safe / safe[-1], 0.0), rule.cutoff)
    if rule.snr > 0.0:
        inverse = inverse * _soft(snr, rule.snr)
    return np.asarray(inverse)


def relative_rms(left: float, target_square: float) -> float:
    """Root of left/target_square; 0 for a target of 0, and where rounding made `left` negative."""
    if target_square == 0.0:
        return 0.0
    relative = left / target_square
    return 0.0 if relative <= 0.0 else math.sqrt(relative)


def _soft(values: Array, threshold: float) -> Array:
    """1/(1 + (threshold/value)^6), without overflow."""
    ratio = np.minimum(values / threshold, 1e6) ** SHARPNESS
    return np.asarray(ratio / (1.0 + ratio), dtype=np.float64)
