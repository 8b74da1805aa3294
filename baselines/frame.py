"""A frame that follows the cloud: which widths and which linear velocity field a basis or a grid should have.

    psi(z) = a^(-1/2) exp(i mass c z^2/(2 hbar)) phi(z/a)           z: distance from the mean, per coordinate

turns H = p^2/(2 mass) + V(z, t) into, with y = z/a and q = -i d/dy,

    H' = hbar^2 q^2/(2 mass a^2) + hbar (c - a'/a) (y q + q y)/2 + mass a^2 (c' + c^2) y^2/2 + V(a y, t)

for ANY smooth a(t) and c(t): a good choice only makes phi simple. Where the cloud will go is foreseen well
enough by classical trajectories (`baselines.classical`). In the frame each has the oscillator energy

    e = sum over coordinates of (z/a)^2/2 + (a (p - mass c z)/hbar)^2/2

and a basis with an energy cutoff fails in the tail of e, not at its mean. So a and c minimise the mean of
e^8. (Five bosons, g = 1: at equal cutoff the density is then ten times closer to the truth than with the
mean of e, which is the frame of the second moments; following the width alone, c = a'/a, is far worse than
no frame.)

Shapes: `N` particles, `D` dimensions, `n = N D`, `K` trajectories, `T` times.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import BSpline, make_interp_spline
from scipy.optimize import minimize

from baselines.classical import leapfrog, time_scale, wigner_sample
from dsmsim.system import InitialState, System

Array = NDArray[np.float64]

TRAJECTORIES = 4096
# of a leap-frog step, in units of the shortest time in which force, velocity or spreading matter
STEP = 0.05
# leap-frog steps between two of the times at which the cloud is looked at, and how many of these at least
STEPS_PER_LOOK = 8
FEWEST_LOOKS = 16
MOST_STEPS = 4000
# the power of the energy whose mean is minimised
TAIL = 8.0


@dataclass(frozen=True)
class FrameState:
    """A frame at one time: length a, its logarithmic rate a'/a, shear c, its rate c', and the moving centre.

    `center`, `velocity`, `acceleration` are of the mean position; 0 where the motion of the centre of mass is
    treated apart.
    """

    length: float
    stretch: float
    shear: float
    shear_rate: float
    center: float
    velocity: float
    acceleration: float


Frame = Callable[[float], FrameState]


def resting_frame(length: float, center: float = 0.0) -> Frame:
    """The frame of a fixed basis of oscillator length `length`."""
    state = FrameState(length, 0.0, 0.0, 0.0, center, 0.0, 0.0)
    return lambda t: state


@dataclass(frozen=True)
class Cloud:
    """Classical trajectories along one axis, looked at from time to time.

    Attributes:
        times: (T,) from 0 to the end; a breakpoint of V is there twice.
        mean, momentum: (T,) of one particle.
        coordinates: number of coordinates that the sums below run over.
        position_squares, momentum_squares, products: (T, K) sums over the coordinates that the frame is for,
            of z^2, p^2 and z p.
    """

    times: Array
    mean: Array
    momentum: Array
    coordinates: int
    position_squares: Array
    momentum_squares: Array
    products: Array

    @property
    def position_variance(self) -> Array:
        """<z^2> (T,)."""
        return np.asarray(self.position_squares.mean(1) / self.coordinates)

    @property
    def momentum_variance(self) -> Array:
        """<p^2> (T,)."""
        return np.asarray(self.momentum_squares.mean(1) / self.coordinates)

    @property
    def covariance(self) -> Array:
        """<z p> (T,)."""
        return np.asarray(self.products.mean(1) / self.coordinates)


def classical_cloud(
    system: System, initial: InitialState, end: float, *, relative: bool, axis: int = 0, seed: int = 0
) -> Cloud:
    """Trajectories of classical particles from the Wigner distribution of the initial state.

    Args:
        system, initial: of the problem.
        end: last time.
        relative: look at the N - 1 relative coordinates alone, else at all N, from their mean.
        axis: which one is looked at.
        seed: of the trajectories.
    """
    x, p = wigner_sample(system, initial, TRAJECTORIES, seed)
    step = time_scale(system, x, p) * STEP
    looker = _Looker(system.particles, system.dimensions, relative, axis)
    stops = [0.0, *(b for b in system.breakpoints if b < end), end]
    for first, last in itertools.pairwise(stops):
        looks = max(FEWEST_LOOKS, math.ceil((last - first) / (step * STEPS_PER_LOOK)))
        steps = min(max(1, MOST_STEPS // looks), math.ceil((last - first) / (step * looks)))
        looker.look(first, x, p)
        path = leapfrog(system, x, p, first, last, looks * steps)
        for index, (t, x, p) in enumerate(path, 1):
            if index % steps == 0:
                looker.look(t, x, p)
    return looker.cloud()


def following_frame(
    cloud: Cloud, hbar: float, mass: float, *, start_length: float, moving_center: bool
) -> Frame:
    """The frame that holds a cloud best (see the head of this module), smooth between breakpoints.

    Args:
        cloud: what to follow.
        hbar, mass: of the system.
        start_length: a at t = 0, where c is 0: sampling noise is taken off there, and so at all times.
        moving_center: also follow the mean.
    """
    best = [math.log(start_length), 0.0]
    fitted = np.empty((len(cloud.times), 2))
    for index in range(len(cloud.times)):
        best = _best_length_and_shear(cloud, index, hbar, mass, best)
        fitted[index] = best
    fitted += np.array([math.log(start_length), 0.0]) - fitted[0]
    length_of, shear_of = (_Spline(cloud.times, column) for column in fitted.T)
    mean_of = _Spline(cloud.times, cloud.mean) if moving_center else lambda t: (0.0, 0.0, 0.0)

    def state(t: float) -> FrameState:
        (log_a, stretch, _), (c, c_dot, _) = length_of(t), shear_of(t)
        return FrameState(math.exp(log_a), stretch, c, c_dot, *mean_of(t))

    return state


def _best_length_and_shear(
    cloud: Cloud, index: int, hbar: float, mass: float, guess: list[float]
) -> list[float]:
    """log a and c that minimise the mean of e^8 at one time."""
    zz, pp, zp = (rows[index] for rows in (cloud.position_squares, cloud.momentum_squares, cloud.products))

    def tail(parameters: Array) -> float:
        square, shear = math.exp(2.0 * parameters[0]), mass * parameters[1]
        energy = zz / square + (pp - 2.0 * shear * zp + shear**2 * zz) * (square / hbar**2)
        mean = float(energy.mean())
        return math.log(mean) + math.log(float(((energy / mean) ** TAIL).mean())) / TAIL

    options = {"xatol": 1e-7, "fatol": 1e-12, "maxiter": 2000}
    found = minimize(tail, np.array(guess), method="Nelder-Mead", options=options)  # type: ignore[call-overload]
    return [float(value) for value in found.x]


class _Spline:
    """Quintic splines between breakpoints: value, first and second derivative."""

    def __init__(self, times: Array, values: Array) -> None:
        # a breakpoint is there twice: one spline ends there and the next begins
        cuts = 1 + np.nonzero(np.diff(times) == 0.0)[0]
        self._starts: list[float] = []
        self._splines: list[tuple[BSpline, BSpline, BSpline]] = []
        for piece, own in zip(np.split(times, cuts), np.split(values, cuts), strict=True):
            spline = make_interp_spline(piece, own, k=5)
            self._starts.append(float(piece[0]))
            self._splines.append((spline, spline.derivative(), spline.derivative(2)))

    def __call__(self, t: float) -> tuple[float, float, float]:
        index = max(0, int(np.searchsorted(self._starts, t, side="right")) - 1)
        value, slope, curvature = (float(spline(t)) for spline in self._splines[index])
        return value, slope, curvature


class _Looker:
    """Writes down the sums of a cloud."""

    def __init__(self, particles: int, dimensions: int, relative: bool, axis: int) -> None:
        self._shape = (-1, particles, dimensions)
        self._relative, self._axis = relative, axis
        self._rows: list[tuple[float, float, float, Array, Array, Array]] = []

    def look(self, t: float, x: Array, p: Array) -> None:
        positions, momenta = (v.reshape(self._shape)[..., self._axis] for v in (x, p))
        mean_x, mean_p = float(positions.mean()), float(momenta.mean())
        if self._relative:
            positions = positions - positions.mean(1, keepdims=True)
            momenta = momenta - momenta.mean(1, keepdims=True)
        else:
            positions, momenta = positions - mean_x, momenta - mean_p
        sums = ((positions**2).sum(1), (momenta**2).sum(1), (positions * momenta).sum(1))
        self._rows.append((t, mean_x, mean_p, *sums))

    def cloud(self) -> Cloud:
        times, mean, momentum, zz, pp, zp = (np.array(column) for column in zip(*self._rows, strict=True))
        coordinates = self._shape[1] - 1 if self._relative else self._shape[1]
        return Cloud(times, mean, momentum, coordinates, zz, pp, zp)
