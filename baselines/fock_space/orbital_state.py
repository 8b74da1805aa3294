"""A product state in orbitals of a frame, and functions of orbitals as functions of x.

    psi(x) = exp(i p0 z/hbar) exp(i mass c z^2/(2 hbar)) phi(z/a)/sqrt(a),      z = x - x0,   p0 = mass x0'

Shapes: `M` points of x, `N` bosons, `S` states, `E` cutoff.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from baselines.fock_space.oscillators import Quadrature, oscillator_functions
from baselines.fock_space.positions import at_pairs, middles_and_differences
from baselines.fock_space.propagation import Wave
from baselines.fock_space.states import BosonStates
from baselines.frame import FrameState
from dsmsim.system import InitialState, System

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]


def one_boson_start(initial: InitialState, x: Array) -> ComplexArray:
    """The wave function of each boson at t = 0 (M,); 0 where its formula has no value."""
    rows = torch.from_numpy(np.repeat(x[:, None], initial.particles, axis=1))
    with torch.no_grad():
        logarithm = initial.log_density(rows).numpy() / initial.particles
        phase = initial.phase(rows).numpy() / initial.particles
    psi = np.exp(0.5 * logarithm + 1j * phase)
    return np.where(np.isfinite(psi), psi, 0.0)


def start_coefficients(
    system: System, initial: InitialState, frame: FrameState, quadrature: Quadrature
) -> ComplexArray:
    """<phi_p|psi_1> of each boson at t = 0 (E + 1,)."""
    x = frame.center + frame.length * quadrature.y
    psi = one_boson_start(initial, x) * math.sqrt(frame.length)
    return quadrature.overlaps(psi * frame_phase(system, frame, x).conj())


def product_state(states: BosonStates, coefficients: ComplexArray) -> Wave:
    """All bosons in sum_p c_p phi_p: amplitudes sqrt(N!/prod n_p!) prod c_p^n_p (S,), of at most norm 1."""
    orbitals = states.orbitals
    amplitudes = np.full(states.size, math.sqrt(math.factorial(states.particles)), dtype=np.complex128)
    run = np.ones(states.size)
    for k in range(states.particles):
        amplitudes *= coefficients[orbitals[:, k]]
        if k:
            # how many bosons of this orbital have been met: their product is prod n_p!
            run = np.where(orbitals[:, k] == orbitals[:, k - 1], run + 1.0, 1.0)
            amplitudes /= np.sqrt(run)
    return amplitudes


def frame_phase(system: System, frame: FrameState, x: Array) -> ComplexArray:
    """exp(i p0 z/hbar + i mass c z^2/(2 hbar)) at x (M,)."""
    z = x - frame.center
    return np.asarray(
        np.exp(1j * system.mass / system.hbar * (frame.velocity * z + 0.5 * frame.shear * z**2))
    )


def orbitals_at(frame: FrameState, x: Array, count: int) -> Array:
    """phi_p(z/a)/sqrt(a) at x (M,), without the frame's phase: (count, M)."""
    return oscillator_functions((x - frame.center) / frame.length, count) / math.sqrt(frame.length)


def pair_density(tables: ComplexArray, frame: FrameState, x: Array) -> Array:
    """rho_2(x, x') (M, M) at equidistant x.

    Args:
        tables: (R, E + 1, E//2 + 1) states of a pair: amplitudes of K quanta of its centre and k = 0, 2, ...
            of its difference; the densities of all R are added.
        frame: at this time.
        x: (M,).
    """
    middle, difference = middles_and_differences(x)
    length = frame.length
    size = tables.shape[1]
    phi_middle = oscillator_functions((middle - math.sqrt(2.0) * frame.center) / length, size)
    phi_difference = oscillator_functions(difference / length, size)[::2]
    found = np.zeros((len(middle), len(difference)))
    for table in tables:
        found += np.abs(phi_middle.T @ table @ phi_difference) ** 2
    return at_pairs(found / length**2)
