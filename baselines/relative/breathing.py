"""A grid that breathes with the cloud.

    psi(x, t) = b^(-1/2) exp(i mass b' x^2/(2 hbar b)) phi(x/b, t)                  per relative coordinate

turns the Hamiltonian into

    H' = -(hbar^2/(2 mass b^2)) d^2/dy^2 + V(b y, t) + (mass/2) b b'' y^2

for any smooth b(t). What an expanding cloud needs is then not the largest extent times the largest momentum,
but the largest momentum left over after the common expansion. That is least when b follows the EDGE of the
cloud; following its root-mean-square width would be no gain at all, because strong repulsion throws a few
particles far. The edge is foreseen by classical trajectories from the quantum distribution at the start
(truncated Wigner).

Shapes: `K` trajectories, `N` particles, `D` dimensions, `T` times.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import BSpline, make_lsq_spline

from baselines.classical import leapfrog, time_scale, wigner_sample
from dsmsim.system import InitialState, System

Array = NDArray[np.float64]

# numbers that make one cloud, whatever the number of particles
COORDINATES = 120_000
# fraction of the cloud that lies beyond its edge
BEYOND = 2e-4
# of a leap-frog step and between the knots of b(t), in units of the time scale of the motion
STEP, KNOT = 0.05, 2.0
MOST_STEPS = 4000
MOST_KNOTS = 60
MOMENTS = 200


@dataclass(frozen=True)
class Breathing:
    """b(t) of one Cartesian axis, with max b = 1, and how far the cloud then reaches.

    Attributes:
        scale: b, b' and b'' at a time.
        is_static: b = 1 at all times.
        reach: edge of the cloud in y = x/b, a length.
        wavenumber: edge of the momentum distribution of phi(y), divided by hbar.
        lab_wavenumber: edge of that of psi(x).
    """

    scale: Callable[[float], tuple[float, float, float]]
    is_static: bool
    reach: float
    wavenumber: float
    lab_wavenumber: float

    def drift(self, start: float, stop: float) -> float:
        """Integral of dt/b^2."""
        if self.is_static:
            return stop - start
        middle, half = 0.5 * (start + stop), 0.5 * (stop - start)
        return half * sum(
            weight / self.scale(middle + half * node)[0] ** 2
            for node, weight in zip(_NODES, _WEIGHTS, strict=True)
        )


_NODES, _WEIGHTS = (part.tolist() for part in np.polynomial.legendre.leggauss(5))


def _resting(t: float) -> tuple[float, float, float]:
    return 1.0, 0.0, 0.0


@dataclass(frozen=True)
class Cloud:
    """Classical relative coordinates (T, D, R) and momenta per hbar, R of them, at times (T,)."""

    times: Array
    x: NDArray[np.float32]
    k: NDArray[np.float32]
    time_scale: float


def breathing(cloud: Cloud, axis: int, system: System, *, moving: bool | None = None) -> Breathing:
    """The frame for one Cartesian axis.

    Args:
        cloud: the classical cloud.
        axis: Cartesian axis.
        system: for hbar and mass.
        moving: whether b may change; None: where that needs clearly fewer points.
    """
    x, k = cloud.x[:, axis], cloud.k[:, axis]
    edge = _edge(x)
    fastest = float(_edge(k).max())
    rest = Breathing(_resting, True, float(edge.max()), fastest, fastest)
    if moving is False or len(cloud.times) < 16:
        return rest
    spline = _smooth(cloud, np.log(edge))
    slope, curvature = spline.derivative(), spline.derivative(2)
    top = float(spline(np.linspace(0.0, cloud.times[-1], 1001)).max())

    def scale(t: float) -> tuple[float, float, float]:
        b, rate = math.exp(float(spline(t)) - top), float(slope(t))
        return b, b * rate, b * (float(curvature(t)) + rate * rate)

    at = [scale(t) for t in cloud.times]
    unit = system.mass / system.hbar
    left_over = [float(_edge(b * k[j] - unit * b_dot * x[j])) for j, (b, b_dot, _) in enumerate(at)]
    reach = max(float(edge[j]) / b for j, (b, _, _) in enumerate(at))
    frame = Breathing(scale, False, reach, max(left_over), fastest)
    gain = rest.reach * rest.wavenumber / (frame.reach * frame.wavenumber)
    return frame if moving or gain > 1.2 else rest


def _edge(values: NDArray[np.float32]) -> Array:
    """The quantile of |values| along the last dimension."""
    size = values.shape[-1]
    place = size - 1 - int(BEYOND * size)
    return np.partition(np.abs(values), place, axis=-1)[..., place].astype(np.float64)


def _smooth(cloud: Cloud, values: Array) -> BSpline:
    """A least-squares quintic spline."""
    times = cloud.times
    spacing = KNOT * cloud.time_scale
    pieces = max(2, min(MOST_KNOTS, len(times) // 6, math.ceil(times[-1] / spacing)))
    inner = np.linspace(0.0, times[-1], pieces + 1)[1:-1]
    knots = np.concatenate([np.zeros(6), inner, np.full(6, times[-1])])
    return make_lsq_spline(times, values, knots, k=5)


def classical_cloud(system: System, initial: InitialState, end: float) -> Cloud:
    """Relative coordinates of classical trajectories.

    Args:
        system, initial: of the problem; the initial state is a Gaussian, the same for all particles.
        end: last time.
    """
    particles, dimensions = system.particles, system.dimensions
    x, p = wigner_sample(system, initial, max(64, COORDINATES // particles**2))

    def look(t: float, x: Array, p: Array) -> tuple[float, Array, Array]:
        shape = (-1, particles, dimensions)
        return t, _relative(x.reshape(shape)), _relative(p.reshape(shape))

    fastest = time_scale(system, x, p)
    found = [look(0.0, x, p)]
    stops = (0.0, *(point for point in system.breakpoints if point < end), end)
    for start, stop in itertools.pairwise(stops):
        share = (stop - start) / end
        steps = max(8, math.ceil(share * min(MOST_STEPS, max(32, math.ceil(end / (STEP * fastest))))))
        kept = max(1, math.ceil(steps / max(1.0, MOMENTS * share)))
        path = leapfrog(system, x, p, start, stop, steps)
        for index, (t, x, p) in enumerate(path, 1):
            if index % kept == 0 or index == steps:
                found.append(look(t, x, p))
    moments, positions, momenta = zip(*found, strict=True)
    return Cloud(
        np.array(moments),
        np.array(positions, dtype=np.float32),
        (np.array(momenta) / system.hbar).astype(np.float32),
        fastest,
    )


def _relative(x: Array) -> Array:
    """(D, R): differences of pairs and distances from the centre, scaled to orthonormal coordinates."""
    particles = x.shape[1]
    first, second = np.triu_indices(particles, 1)
    pairs = (x[:, first] - x[:, second]) / math.sqrt(2.0)
    own = (x - x.mean(axis=1, keepdims=True)) * math.sqrt(particles / (particles - 1.0))
    return np.concatenate([pairs, own], axis=1).reshape(-1, x.shape[2]).T
