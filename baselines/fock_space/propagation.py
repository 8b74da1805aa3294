"""Steps in time of a state under a Hamiltonian that is only known by its action.

Fourth-order Magnus step without commutators (Blanes & Moan, Appl. Numer. Math. 56 (2006) 1519), from H at the
two Gauss points t + (1/2 -+ sqrt(3)/6) dt:

    psi <- exp(-i dt (w H_1 + v H_2)/hbar) exp(-i dt (v H_1 + w H_2)/hbar) psi,   v, w = 1/4 +- sqrt(3)/6

Each exponential is taken in a Krylov space (Lanczos), made as large as the tolerance asks. Of a Hamiltonian
that is linear in small matrices only those matrices are combined. The norm is kept to the tolerance.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh_tridiagonal

Wave = NDArray[np.complex128]
Matrices = TypeVar("Matrices")
Apply = Callable[[Wave], Wave]

EARLY, LATE = 0.5 - math.sqrt(3.0) / 6.0, 0.5 + math.sqrt(3.0) / 6.0
LARGE, SMALL = 0.25 + math.sqrt(3.0) / 6.0, 0.25 - math.sqrt(3.0) / 6.0
MOST_KRYLOV = 60


def magnus_step(
    psi: Wave,
    t: float,
    dt: float,
    hbar: float,
    matrices: Callable[[float], tuple[NDArray[np.complex128], ...]],
    action: Callable[[tuple[NDArray[np.complex128], ...]], Apply],
    tolerance: float,
) -> Wave:
    """psi at t + dt.

    Args:
        psi: state at t (S,).
        t, dt: start and length of the step.
        hbar: of the system.
        matrices: the small matrices of H at a time.
        action: from small matrices to what the Hamiltonian made of them does.
        tolerance: largest error of each exponential, relative to the norm.
    """
    early, late = matrices(t + EARLY * dt), matrices(t + LATE * dt)
    for first, second in ((LARGE, SMALL), (SMALL, LARGE)):
        mixed = tuple(first * a + second * b for a, b in zip(early, late, strict=True))
        psi = exponential(action(mixed), psi, dt / hbar, tolerance)
    return psi


def exponential(apply: Apply, psi: Wave, time: float, tolerance: float) -> Wave:
    """exp(-i time H) psi for the Hermitian `apply`, in one Krylov space or in several, one after another."""
    while True:
        psi, done = _krylov(apply, psi, time, tolerance)
        time -= done
        if time <= 0.0:
            return psi


def _krylov(apply: Apply, psi: Wave, time: float, tolerance: float) -> tuple[Wave, float]:
    """psi after `done` <= time, as far as one space of at most MOST_KRYLOV vectors reaches."""
    norm = float(np.linalg.norm(psi))
    basis = np.empty((MOST_KRYLOV, psi.size), dtype=np.complex128)
    basis[0] = psi / norm
    diagonal, beside = np.zeros(MOST_KRYLOV), np.zeros(MOST_KRYLOV)
    for size in range(1, MOST_KRYLOV + 1):
        vector = apply(basis[size - 1])
        diagonal[size - 1] = np.vdot(basis[size - 1], vector).real
        vector -= diagonal[size - 1] * basis[size - 1]
        if size > 1:
            vector -= beside[size - 2] * basis[size - 2]
        beside[size - 1] = np.linalg.norm(vector)
        values, vectors = eigh_tridiagonal(diagonal[:size], beside[: size - 1])
        weights = vectors @ (np.exp(-1j * time * values) * vectors[0])
        # what leaves the space is proportional to the last component (Saad 1992)
        if time * beside[size - 1] * abs(weights[-1]) <= tolerance or beside[size - 1] == 0.0:
            return norm * (weights @ basis[:size]), time
        if size < MOST_KRYLOV:
            basis[size] = vector / beside[size - 1]
    done = time
    while done * beside[-1] * abs(weights[-1]) > tolerance * done / time:
        done *= 0.7
        weights = vectors @ (np.exp(-1j * done * values) * vectors[0])
    return norm * (weights @ basis), done
