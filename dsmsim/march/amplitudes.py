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
    """What a factor adds to log psi, complex.

    Attributes:
        value: (W,) but for multiples of 2 pi i.
        gradient: (W, N, D).
        laplacian: (W,); None where it was not asked for.
    """

    value: Tensor
    gradient: Tensor
    laplacian: Tensor | None

    def __add__(self, other: tuple[object, ...]) -> LogWave:
        assert isinstance(other, LogWave)
        both = self.laplacian is not None and other.laplacian is not None
        return LogWave(
            self.value + other.value,
            self.gradient + other.gradient,
            self.laplacian + other.laplacian if both else None,  # type: ignore[operator]
        )


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
    if table.shape[-1] == 1:
        product = table[..., 0] * torch.view_as_real(weights[:, 0]).t().unsqueeze(1)
    else:
        parts = torch.view_as_real(weights).permute(2, 0, 1).unsqueeze(1)  # (2, 1, W, p)
        product = (table * parts).sum(-1)
    return torch.complex(product[0], product[1]).t()
