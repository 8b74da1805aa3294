"""The lowest state of a system on a Fourier grid, by imaginary time.

    psi <- exp(-tau H/hbar) psi / |...|,      H = A + B,   A = -hbar^2/(2 mass) Laplacian,   B = V(x, t)

Every state above the lowest one dies out as exp(-tau (E - E_0)/hbar). Steps of order 2 are Strang's; those of
order 4 need coefficients that are all positive, since exp(+A) has no bound, and therefore the force,

    B(h/6) A(h/2) B'(2h/3) A(h/2) B(h/6),      B' = V + (h^2/(48 mass)) |grad V|^2

(Suzuki, Phys. Lett. A 201 (1995) 425; Chin, Phys. Lett. A 226 (1997) 344). A step of length h has a
lowest state of its own, h^2 or h^4 away from that of H: once the energy no longer falls, the step is halved,
until the state is as sharp as was asked for.

The residual r = sqrt(<H^2> - <H>^2) tells how far that is: an eigenvalue lies within r of the energy, and
above the lowest one the energy is by at most r^2/gap.

Shapes: psi (M, ..., M), real.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.fft
import torch

from baselines.grids.product import Array, Box, Grid
from baselines.threads import thread_count
from dsmsim.errors import ConfigError
from dsmsim.system import InitialState, System

MOST_STEPS = 50_000
MOST_HALVINGS = 12


@dataclass(frozen=True)
class GroundState:
    """The lowest state on a grid.

    Attributes:
        psi: real and positive, (M, ..., M), of norm 1.
        box: of the grid.
        energy: <H>, an upper limit of the lowest energy of the grid.
        residual: sqrt(<H^2> - <H>^2): an eigenvalue lies that close to the energy.
        steps: of imaginary time.
        converged: whether the residual is below the tolerance.
        edge_probability, momentum_edge_probability: found at the ends of the grid, in x and in k.
    """

    psi: Array
    box: Box
    energy: float
    residual: float
    steps: int
    converged: bool
    edge_probability: float
    momentum_edge_probability: float


def ground_state(
    system: System,
    initial: InitialState,
    box: Box,
    points: int,
    *,
    t: float = 0.0,
    order: int = 4,
    tolerance: float = 1e-6,
    step: float | None = None,
) -> GroundState:
    """The ground state of the potential at one moment.

    Args:
        system: what is solved.
        initial: its density is the start; it only has to reach wherever the ground state lives.
        box, points: the grid.
        t: the moment at which the potential is taken.
        order: 2 or 4.
        tolerance: largest residual to accept, relative to the kinetic energy of the ground state.
        step: length h/hbar of a step of imaginary time, 1/energy; None halves it until the state is sharp.

    Raises:
        ConfigError: the potential is not finite on the grid.
        ValueError: another order.
    """
    if order not in (2, 4):
        raise ValueError(f"imaginary time has steps of order 2 and 4, not {order}")
    grid = Grid(box, points, system.particles)
    workers = thread_count() if points**system.coordinates >= 1 << 17 else 1
    with scipy.fft.set_workers(workers):
        guess = np.abs(grid.initial_wave(initial))
        return _ImaginaryTime(system, grid, t, order).run(guess, tolerance, step)


class _ImaginaryTime:
    """Steps of imaginary time on one grid; lengths are divided by hbar, so that 1/h is an energy."""

    def __init__(self, system: System, grid: Grid, t: float, order: int) -> None:
        self.grid = grid
        self.order = order
        self.potential = grid.potential(system, t)
        if not np.isfinite(self.potential).all():
            raise ConfigError(
                f"[system]: the potential is not finite everywhere at t = {t:.6g}; correct the formulas so "
                "that it is finite at every point of the box",
                key="system",
            )
        unit = system.hbar**2 / (2.0 * system.mass)
        self.kinetic = np.zeros((1,) * grid.coordinates)
        for k in range(grid.coordinates):
            self.kinetic = self.kinetic + grid.along(unit * grid.wavenumbers(k % grid.dimensions) ** 2, k)
        # a real function: the last axis of its transform has half the wavenumbers
        self.kinetic = self.kinetic[..., : grid.points // 2 + 1]
        self.force = np.zeros(1)
        if order == 4:

            def square(x: torch.Tensor) -> torch.Tensor:
                return (system.gradient(x, x.new_full((x.shape[0], 1), t)) ** 2).sum(-1)

            self.force = grid.values(square) * (system.hbar**2 / (48.0 * system.mass))

    def run(self, psi: Array, tolerance: float, fixed: float | None) -> GroundState:
        """From a first guess to the ground state."""
        energy, residual, kinetic = self._measure(psi)
        # the fastest decay that a first step shall resolve
        step = fixed or 0.5 / max(kinetic, residual)
        steps = 0
        for halving in range(1 if fixed else MOST_HALVINGS):
            factors = self._factors(step)
            # the same time between two looks, however short the steps
            stride, settled = 8 << halving, False
            while not settled and steps < MOST_STEPS:
                for _ in range(stride):
                    psi = self._step(psi, factors)
                steps += stride
                before = residual
                energy, residual, kinetic = self._measure(psi)
                # nothing but the error of the step is left: the other states have died out
                settled = residual > 0.99 * before or residual <= tolerance * kinetic
            if residual <= tolerance * kinetic or steps >= MOST_STEPS:
                break
            step *= 0.5
        # the sign is that of the first guess: positive
        probability = psi**2 * self.grid.cell
        return GroundState(
            psi=psi,
            box=self.grid.box,
            energy=energy,
            residual=residual,
            steps=steps,
            converged=residual <= tolerance * kinetic,
            edge_probability=float(self.grid.edge_probability(probability).max()),
            momentum_edge_probability=self.grid.momentum_edge_probability(psi.astype(np.complex128)),
        )

    def _factors(self, step: float) -> tuple[Array, Array, Array]:
        """Outer and inner factor of V, and that of half a step of the kinetic energy."""
        # a shift of V changes only the norm, and keeps exp(-h V) in range
        height = self.potential - self.potential.min()
        half = np.exp(-0.5 * step * self.kinetic)
        if self.order == 2:
            return np.ones(1), np.exp(-step * height), half
        inner = height + step**2 * self.force
        return np.exp(-step / 6.0 * height), np.exp(-2.0 * step / 3.0 * inner), half

    def _step(self, psi: Array, factors: tuple[Array, Array, Array]) -> Array:
        outer, inner, half = factors
        psi = self._drift(psi * outer, half)
        psi *= inner
        psi = self._drift(psi, half)
        psi *= outer
        psi *= 1.0 / math.sqrt(float(np.vdot(psi, psi)) * self.grid.cell)
        return psi

    def _drift(self, psi: Array, factor: Array) -> Array:
        wave = scipy.fft.rfftn(psi)
        wave *= factor
        return np.asarray(scipy.fft.irfftn(wave, psi.shape, overwrite_x=True))

    def _measure(self, psi: Array) -> tuple[float, float, float]:
        """Energy, residual and kinetic energy."""
        bent = self._drift(psi, self.kinetic)
        kinetic = float(np.vdot(psi, bent)) * self.grid.cell
        bent += self.potential * psi
        energy = float(np.vdot(psi, bent)) * self.grid.cell
        bent -= energy * psi
        return energy, math.sqrt(float(np.vdot(bent, bent)) * self.grid.cell), kinetic
