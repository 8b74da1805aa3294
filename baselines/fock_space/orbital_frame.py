"""Frames for all of the motion of a cloud: one that follows its mean and its width, and one at rest.

The following frame is that of `baselines.frame` with two additions: at t = 0 it has the shear of the start,
and its centre moves with the mean of the cloud, in such a way that its velocity is continuous where V jumps
(the momentum mass x0' is part of the wave function).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import BSpline, CubicHermiteSpline, make_interp_spline
from scipy.optimize import minimize_scalar

from baselines.fock_space.orbital_state import one_boson_start
from baselines.fock_space.quanta import resting_quanta
from baselines.frame import Cloud, Frame, FrameState, following_frame, resting_frame
from dsmsim.system import InitialState, System

Array = NDArray[np.float64]

# points and half width, in standard deviations, of integrals over the start
START_POINTS, START_REACH = 20001, 12.0
# a mean that moves by less, in standard deviations of the cloud, rests
AT_REST = 1e-9
# the length of a resting frame, as factors of that of the start
SHORTEST, LONGEST = 0.2, 5.0


@dataclass(frozen=True)
class StartFit:
    """Length a and shear c of the frame in which the start has the fewest quanta.

    For a Gaussian of variance s they are sqrt(2 s) and 0. `kinetic` is the energy of one boson at the start.
    """

    length: float
    shear: float
    kinetic: float


def fit_start(system: System, initial: InitialState) -> StartFit:
    """From the second moments of position and momentum: a^2 = hbar sigma_x/sigma_p without the shear."""
    mean, width = float(initial.mean[0]), math.sqrt(float(initial.variance[0]))
    x = np.linspace(mean - START_REACH * width, mean + START_REACH * width, START_POINTS)
    psi = one_boson_start(initial, x)
    slope = np.gradient(psi, x, edge_order=2)
    density = np.abs(psi) ** 2
    total = density.sum()
    velocity = system.hbar / system.mass * np.imag(psi.conj() * slope)
    mean_velocity = float(velocity.sum() / total)
    square = (system.hbar / system.mass) ** 2 * float((np.abs(slope) ** 2).sum() / total)
    center = float(x @ density / total)
    variance = float((x - center) ** 2 @ density / total)
    shear = float((x - center) @ velocity / total) / variance
    spread = square - mean_velocity**2 - shear**2 * variance
    length = math.sqrt(system.hbar / system.mass * math.sqrt(variance / spread))
    return StartFit(length, shear, 0.5 * system.mass * square)


def moving_frame(cloud: Cloud, system: System, start: StartFit) -> Frame:
    """The frame that follows a cloud, its centre included."""
    shape = following_frame(cloud, system.hbar, system.mass, start_length=start.length, moving_center=False)
    width = math.sqrt(float(cloud.position_variance.min()))
    if float(np.abs(cloud.mean - cloud.mean[0]).max()) < AT_REST * width:
        resting = float(cloud.mean[0])
        return lambda t: _at(shape(t), start.shear, (resting, 0.0, 0.0))
    path = _Path(cloud, system.mass)
    return lambda t: _at(shape(t), start.shear, path(t))


def best_resting_frame(
    cloud: Cloud, system: System, start: StartFit, wells: tuple[float, float]
) -> tuple[Frame, float]:
    """The frame at rest in which the cloud has the fewest quanta, and how many these are.

    Args:
        cloud: classical trajectories.
        system: of the problem.
        start: of the problem.
        wells: lowest and highest x that the basis has to reach.
    """
    center = 0.5 * (wells[0] + wells[1])
    width = math.sqrt(float(cloud.position_variance.min()))
    if abs(center - float(cloud.mean[0])) < 1e-6 * width:
        center = float(cloud.mean[0])

    def quanta(log_length: float) -> float:
        length = math.exp(log_length)
        far = wells_quanta(lambda t: FrameState(length, 0, 0, 0, center, 0, 0), np.zeros(1), wells)
        return max(resting_quanta(cloud, center, length, system.hbar), far)

    limits = math.log(SHORTEST * start.length), math.log(LONGEST * start.length)
    found = minimize_scalar(quanta, bounds=limits, method="bounded", options={"xatol": 1e-3})
    return resting_frame(math.exp(float(found.x)), center), float(found.fun)


def wells_quanta(frame: Frame, times: Array, wells: tuple[float, float]) -> float:
    """Quanta of the orbitals that reach from lowest to highest x in a frame, at the worst time."""
    worst = 0.0
    for t in times:
        state = frame(float(t))
        far = max(abs(x - state.center) for x in wells)
        worst = max(worst, 0.5 * (far / state.length) ** 2)
    return worst


def _at(shape: FrameState, shear: float, center: tuple[float, float, float]) -> FrameState:
    x, velocity, acceleration = center
    return replace(shape, shear=shape.shear + shear, center=x, velocity=velocity, acceleration=acceleration)


class _Path:
    """The mean of a cloud: position, velocity and acceleration, the first two continuous everywhere."""

    def __init__(self, cloud: Cloud, mass: float) -> None:
        # a breakpoint is there twice: one spline ends there and the next begins
        cuts = 1 + np.nonzero(np.diff(cloud.times) == 0.0)[0]
        self._starts: list[float] = []
        self._pieces: list[tuple[BSpline, CubicHermiteSpline]] = []
        columns = (np.split(values, cuts) for values in (cloud.times, cloud.mean, cloud.momentum / mass))
        for times, mean, velocity in zip(*columns, strict=True):
            spline = make_interp_spline(times, mean, k=5)
            ends = times[[0, -1]]
            # the little that the slopes at the ends miss
            rest = velocity[[0, -1]] - spline(ends, nu=1)
            self._starts.append(float(times[0]))
            self._pieces.append((spline, CubicHermiteSpline(ends, np.zeros(2), rest)))

    def __call__(self, t: float) -> tuple[float, float, float]:
        index = max(0, int(np.searchsorted(self._starts, t, side="right")) - 1)
        spline, correction = self._pieces[index]
        x, velocity, acceleration = (float(spline(t, nu=nu) + correction(t, nu=nu)) for nu in range(3))
        return x, velocity, acceleration
