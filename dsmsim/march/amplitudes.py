"""Amplitudes that are linear in complex coefficients, and products of them.

A factor of the wave function is a product over its members (pairs of particles, single particles, or one for
all together) of

    f = 1 + sum_k c_k phi_k

with real functions phi of the member's coordinates. The coefficients are complex, so f can come close to
zero, as wave functions do where waves interfere; its logarithm, which is what moves, could not be expanded
there. What a factor adds to log psi and to the derivatives d log psi/dc_k = sum over members of phi_k/f
follows here from f and its derivatives.

Shapes: W configurations, p members, n coordinates (N particles, D axes), K functions; tables of functions are
(K + 1, W, p), with the constant 1 first.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class LogWave(NamedTuple):
    """What a factor adds to log psi = R + i S.

    Attributes:
        log_density: (W,) 2 R.
        phase: (W,) S, but for multiples of 2 pi.
        gradient: (W, N, D) of log psi, complex.
        laplacian: (W,) of log psi, complex.

    Phase and Laplacian are None where they were not asked for.
    """

    log_density: Tensor
    phase: Tensor | None
    gradient: Tensor
    laplacian: Tensor | None

    def __add__(self, other: tuple[object, ...]) -> LogWave:
        assert isinstance(other, LogWave)
        return LogWave(
            self.log_density + other.log_density,
            _sum(self.phase, other.phase),
            self.gradient + other.gradient,
            _sum(self.laplacian, other.laplacian),
        )


def _sum(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    return None if a is None or b is None else a + b


class Wanted(NamedTuple):
    """What of log psi is needed besides |psi|^2 and the gradient."""

    phase: bool = False
    laplacian: bool = False


def logarithm(f: Tensor, wanted: Wanted) -> tuple[Tensor, Tensor | None]:
    """log |f|^2 and, where it is wanted, the phase of complex f (W, p), summed over p; or of f (W,)."""
    square, angle = (f.real.square() + f.imag.square()).log(), f.angle() if wanted.phase else None
    if f.ndim == 1:
        return square, angle
    return square.sum(1), None if angle is None else angle.sum(1)


def combine(coefficients: Tensor, table: Tensor) -> Tensor:
    """sum_k c_k phi_k, with c_0 = 1 for the constant: complex (W, p) of c (K,) and a real table (K + 1, ...).

    One real matrix product: torch would turn the whole table complex.
    """
    return mix(torch.cat([coefficients.new_ones(1), coefficients]), table)


def mix(coefficients: Tensor, table: Tensor) -> Tensor:
    """sum_k c_k phi_k: complex (...) of c (K,) complex and a real table (K, ...)."""
    parts = torch.view_as_real(coefficients).t() @ table.reshape(len(table), -1)
    return torch.complex(parts[0], parts[1]).reshape(table.shape[1:])


def project(table: Tensor, weights: Tensor) -> Tensor:
    """sum over members of phi_k w: complex (W, K) of a real table (K, W, p) and complex w (W, p)."""
    parts = torch.view_as_real(weights).permute(2, 0, 1).unsqueeze(1)  # (2, 1, W, p)
    product = (table * parts).sum(-1)
    return torch.complex(product[0], product[1]).t()
