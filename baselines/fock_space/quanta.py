"""How many quanta a classical cloud has in a frame: a measure of the basis that is needed, before it is made.

In the frame a trajectory has the oscillator energy

    e = sum over coordinates of (z/a)^2/2 + (a (p - mass c z)/hbar)^2/2 - 1/2,

z and p measured from the frame's centre and its momentum. At the worst time 99 % of the trajectories have
less than what is returned.

Shapes: `T` times, `K` trajectories.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from baselines.frame import Cloud, Frame

Array = NDArray[np.float64]

# share of classical states whose quanta a first cutoff should hold
MOST_CLASSICAL = 0.99


def relative_quanta(cloud: Cloud, frame: Frame, hbar: float, mass: float) -> float:
    """Of motion relative to the mean of the cloud."""
    worst = 0.0
    for index, t in enumerate(cloud.times):
        state = frame(float(t))
        square, shear = state.length**2, mass * state.shear
        momentum = cloud.momentum_squares[index] - 2.0 * shear * cloud.products[index]
        momentum = momentum + shear**2 * cloud.position_squares[index]
        worst = max(worst, _most(cloud.position_squares[index], momentum, square, hbar, cloud.coordinates))
    return worst


def resting_quanta(cloud: Cloud, center: float, length: float, hbar: float) -> float:
    """Of all motion, in a frame at rest.

    A cloud holds squares of distances from its mean alone. The sum of the distances themselves is taken to be
    the root of the sum of squares, as it is for independent particles on average, of one sign in one half of
    the trajectories and of the other in the other half.
    """
    sign = np.where(np.arange(cloud.position_squares.shape[1]) % 2 == 0, 1.0, -1.0)
    number, worst = cloud.coordinates, 0.0
    for index in range(len(cloud.times)):
        zz, pp = cloud.position_squares[index], cloud.momentum_squares[index]
        distance, momentum = float(cloud.mean[index]) - center, float(cloud.momentum[index])
        position = zz + 2.0 * sign * distance * np.sqrt(zz) + number * distance**2
        pushed = pp + 2.0 * sign * momentum * np.sqrt(pp) + number * momentum**2
        worst = max(worst, _most(position, pushed, length**2, hbar, number))
    return worst


def _most(position: Array, momentum: Array, square: float, hbar: float, coordinates: int) -> float:
    twice = position / square + momentum * square / hbar**2
    return float(np.quantile(0.5 * (twice - coordinates), MOST_CLASSICAL))
