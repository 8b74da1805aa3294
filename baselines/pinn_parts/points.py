"""Where the residual is asked to vanish: points that follow |psi|^2, at stratified times.

The first points lie on classical trajectories (the truncated Wigner approximation), before the network knows
anything. From then on they are low-discrepancy starts of |psi_0|^2 that move with the current velocity of the
network itself, dx/dt = v(x, t), in fourth-order steps; at the times in between they are interpolated by the
cubic through positions and velocities. A trajectory that leaves the range of the classical ones with a wide
margin is replaced by a classical one: a network that is not trained yet may send it anywhere.

Shapes: G times, M trajectories, n coordinates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import qmc
from torch import Tensor

from baselines.pinn_parts.log_wave import LogWave, Points, classical_path
from baselines.wave.wave_function import Array
from dsmsim.parallel import random_stream

TRAJECTORIES = 512
SLICES = 256  # of time; one time in each
FLOW_STEPS = 16
GROUPS = 32  # different times in one step of the training


@dataclass(frozen=True)
class Pool:
    """Points to choose from: positions (SLICES, TRAJECTORIES, n) at increasing times (SLICES,)."""

    times: Tensor
    positions: Tensor

    def draw(self, wave: LogWave, count: int, rng: np.random.Generator) -> Points:
        """About `count` points: the same trajectories at GROUPS stratified times."""
        each = max(2, min(count // GROUPS, TRAJECTORIES))
        stride = SLICES // GROUPS
        rows = torch.from_numpy(np.arange(GROUPS) * stride + rng.integers(0, stride, GROUPS))
        chosen = torch.from_numpy(rng.choice(TRAJECTORIES, each, replace=False))
        return wave.points(self.positions[rows][:, chosen], self.times[rows])


def make_pool(wave: LogWave, seed: int, number: int) -> Pool:
    """Points for pool number 0, 1, ...: the first classical, the others by the flow of the wave function."""
    rng = random_stream(seed, "pinn points", number)
    end = wave.units.time
    times = end * (np.arange(SLICES) + rng.random(SLICES)) / SLICES
    path = classical_path(wave.system, wave.initial, TRAJECTORIES, end, int(rng.integers(2**31)))
    positions = np.stack([path(float(t)) for t in times])
    if number > 0:
        moved = _flow(wave, times, int(rng.integers(2**31)))
        with np.errstate(invalid="ignore"):
            inside = ((moved > wave.units.low) & (moved < wave.units.high)).all(axis=(0, 2))
        positions[:, inside] = moved[:, inside]
    return Pool(torch.from_numpy(times), torch.from_numpy(positions))


def _flow(wave: LogWave, times: Array, seed: int) -> Array:
    """Positions (G, M, n) at increasing times."""
    sobol = qmc.Sobol(wave.initial.coordinates, scramble=True, seed=seed)
    starts = sobol.random_base2(math.ceil(math.log2(TRAJECTORIES)))[:TRAJECTORIES]
    x = torch.from_numpy(wave.initial.quantiles(np.asarray(starts)))
    h = wave.units.time / FLOW_STEPS
    v = wave.velocity(x, 0.0)
    found: list[Tensor] = []
    for step in range(FLOW_STEPS):
        t = step * h
        second = wave.velocity(x + 0.5 * h * v, t + 0.5 * h)
        third = wave.velocity(x + 0.5 * h * second, t + 0.5 * h)
        fourth = wave.velocity(x + h * third, t + h)
        after = x + (h / 6.0) * (v + 2.0 * second + 2.0 * third + fourth)
        v_after = wave.velocity(after, t + h)
        last = math.inf if step == FLOW_STEPS - 1 else (step + 1) * h
        for time in times[(times >= t) & (times < last)]:
            s = (float(time) - t) / h
            r = 1.0 - s
            slopes = h * s * r * (r * v - s * v_after)
            found.append(r * r * (1.0 + 2.0 * s) * x + s * s * (1.0 + 2.0 * r) * after + slopes)
        x, v = after, v_after
    return np.asarray(torch.stack(found).numpy())
