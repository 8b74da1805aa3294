"""Unitary factors of exp(-i tau K/hbar) for the finite-difference kinetic energy K along one axis.

    K = -hbar^2/(2 mass h^2) A^{-1} d2,    d2 = tridiag(1, -2, 1),    A = 1 + c d2

c = 0 is the second-order difference, c = 1/12 the compact (Numerov) one of fourth order; both are zero
beyond walls at the points -1 and M. A and d2 commute, so that K is symmetric and Y = tau K/hbar = -lambda
A^{-1} d2, lambda = tau hbar/(2 mass h^2), has real eigenvalues y. For a pole Y_s in the upper half plane

    f_s(y) = (Y_s/Y_s*) (y - Y_s*)/(y - Y_s)

has modulus 1, and products of such factors approximate e^{-iy}:

    Crank-Nicolson (Cayley)          Y = 2i                 (1 - iy/2)/(1 + iy/2)       error y^3/12
    generalised Crank-Nicolson       Y = 3i +- sqrt(3)      the (2,2) Pade form         error y^5/720

(W. van Dijk & F. M. Toyama, Phys. Rev. E 75 (2007) 036707). With A = (lambda/c - S)/(lambda/c + Y_s) for S =
-lambda d2 - Y_s A, one tridiagonal solve is one factor:

    f_s = alpha (1 + gamma T^{-1}),    T = S/s_1 = tridiag(1, r, 1),    s_1 = -lambda - c Y_s,
    r = (2 lambda - (1 - 2c) Y_s)/s_1,    gamma = (Y_s - Y_s*) lambda/((lambda + c Y_s*) s_1),
    alpha = (Y_s/Y_s*) (lambda + c Y_s*)/(lambda + c Y_s),    |alpha| = 1.

The alphas are left out of the sweeps and kept as one number for the whole state.

Shapes: `M` points; a table (3, M + 8) holds p_{j-1}, gamma p_j and p_j at 4 + j, and zeros and kappa around
them, as `baselines.grids.tridiagonal` wants them.
"""

from __future__ import annotations

import math

import numpy as np

from baselines.grids.buffer import PAD
from baselines.grids.product import Wave

# c of the second difference, by its order
COMPACT = {2: 0.0, 4: 1.0 / 12.0}
# least |lambda| for which psi + gamma v is not taken from v alone, which then loses digits by cancellation
STABLE = 100.0
# poles of the factors of one drift, by its order in tau
POLES = {2: (2.0j,), 4: (math.sqrt(3.0) + 3.0j, -math.sqrt(3.0) + 3.0j)}


def factor(points: int, length: float, pole: complex, compact: float) -> tuple[Wave, complex]:
    """The table (3, M + 8) of one factor, and its alpha.

    Args:
        points: M.
        length: lambda = tau hbar/(2 mass h^2); negative for a step backwards in time.
        pole, compact: Y_s and c.
    """
    table = np.zeros((3, points + 2 * PAD), dtype=np.complex128)
    if length == 0.0:
        return table, 1.0 + 0.0j
    mirrored = pole.conjugate()
    off = -length - compact * pole
    ratio = (2.0 * length - (1.0 - 2.0 * compact) * pole) / off
    gamma = (pole - mirrored) * length / ((length + compact * mirrored) * off)
    p, found = 0.0 + 0.0j, []
    for _ in range(points):
        p = 1.0 / (ratio - p)
        found.append(p)
    table[2, PAD : PAD + points] = found
    table[1] = gamma * table[2]
    table[0, PAD + 1 : PAD + points] = table[2, PAD : PAD + points - 1]
    if abs(length) < STABLE:
        table[0, -1] = ratio + gamma
    alpha = pole / mirrored * (length + compact * mirrored) / (length + compact * pole)
    return table, alpha / abs(alpha)
