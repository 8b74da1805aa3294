"""Epochs and CPU seconds of a training until the variance of a coordinate is right, against d.

After some epochs samples of |psi_0|^2 move with the current velocity that has been learnt, dx/dt = v(x, t),
which carries |psi_0|^2 into the |psi(t)|^2 of the network; what their variance becomes is written down.
Starts are low-discrepancy points, and only the growth of their own variance counts, so that some hundred
samples do. Measuring is not counted in the seconds.

Shapes: D values of d, K measured epochs, T times, B samples, n coordinates.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.stats import qmc
from torch import Tensor

from baselines.pinn_parts.log_wave import make_log_wave
from baselines.pinn_parts.training import train as train_pinn
from dsmsim.config import Config
from dsmsim.networks import Fields, standing_still
from dsmsim.parallel import StopRequest, World
from dsmsim.system import InitialState, build_initial, build_system, closed_form
from dsmsim.training.loop import Hooks, train
from dsmsim.training.state import new_state
from tools.reproduce.measurements.scaling_problems import METHODS, NETWORKS, config_of
from tools.reproduce.measuring import Columns

Array = NDArray[np.float64]
Velocity = Callable[[Tensor, float], Tensor]
"""v at x (B, n) float64 and a time: (B, n) float64."""

STEPS = 8  # of fourth order, over [0, end]; the times of the results are their ends


class Measuring:
    """Watches a training and measures after some of its epochs."""

    def __init__(self, config: Config, velocity: Velocity, at: Sequence[int], samples: int) -> None:
        self.velocity, self.at, self.end = velocity, frozenset(at), config.time.end
        self.starts = low_discrepancy(build_initial(config), samples, config.seed)
        self.seconds: list[float] = []
        self.growth: list[Array] = []
        self._measuring, self._began = 0.0, time.process_time()

    def progress(self, epoch: int, loss: float) -> None:
        """Called after every epoch."""
        if epoch not in self.at:
            return
        began = time.process_time()
        self.seconds.append(began - self._began - self._measuring)
        self.growth.append(growth_of_variance(self.velocity, self.starts, self.end))
        self._measuring += time.process_time() - began


def measure(
    directory: Path,
    *,
    problem: str,
    method: str,
    particles: Sequence[int],
    at: Sequence[int],
    samples: int,
    seed: int,
) -> Columns:
    """Train once for each d and measure on the way.

    Args:
        problem: of `scaling_problems`.
        method: one of its METHODS.
        particles: the values of d.
        at: the epochs after which is measured; the last one ends the training.
        samples: B.
        seed: of the run.

    Returns:
        d, parameters (D,); epoch (K,); seconds (D, K); variance (D, K, T), relative to its start; time (T,);
        exact (D, T), of the closed form, NaN where there is none.
    """
    changes = METHODS[method] | {"seed": seed, "train.epochs": at[-1], "baselines.pinn.epochs": at[-1]}
    if method == "mlp":
        changes |= {"train.warmup": min(50, at[-1] // 4)}
    trained = _train_dsm if method in NETWORKS else _train_pinn
    found = [trained(config_of(problem, d, changes), at, samples) for d in particles]
    config = config_of(problem, particles[0])
    times = np.linspace(0.0, config.time.end, STEPS + 1)
    values: dict[str, ArrayLike] = {
        "d": list(particles),
        "parameters": [parameters for _, parameters in found],
        "epoch": list(at),
        "seconds": np.array([watch.seconds for watch, _ in found]),
        "variance": np.array([watch.growth for watch, _ in found]),
        "time": times,
        "exact": np.array([exact_growth(config_of(problem, d), times) for d in particles]),
    }
    return Columns(values, {"seconds": "s", "time": "time"})


def exact_growth(config: Config, times: Array) -> Array:
    """The same of the closed form, (T,); NaN where there is none."""
    known = closed_form(config)
    if known is None:
        return np.full(len(times), math.nan)
    variance = known.variance(times).mean(axis=(1, 2))
    return np.asarray(variance / variance[0])


def _train_dsm(config: Config, at: Sequence[int], samples: int) -> tuple[Measuring, int]:
    world = World()
    state = new_state(config, world)
    watch = Measuring(config, velocity_of(state.fields), at, samples)
    train(config, state, world, StopRequest(None), Hooks(lambda entry: None, watch.progress, lambda: None))
    return watch, sum(parameter.numel() for parameter in state.fields.parameters())


def _train_pinn(config: Config, at: Sequence[int], samples: int) -> tuple[Measuring, int]:
    wave = make_log_wave(config, build_system(config), build_initial(config))
    watch = Measuring(config, wave.velocity, at, samples)
    train_pinn(wave, config.baselines.pinn, config.seed, watch.progress)
    return watch, sum(tensor.numel() for tensor in wave.network.weights.values())


def velocity_of(fields: Fields) -> Velocity:
    """The current velocity of trained fields."""
    like = fields.frame.center

    @torch.no_grad()
    def velocity(x: Tensor, t: float) -> Tensor:
        y = x.to(like)
        with standing_still(fields):
            v: Tensor = fields(y, y.new_full((len(y), 1), t))[1]
        return v.double()

    return velocity


def low_discrepancy(initial: InitialState, samples: int, seed: int) -> Tensor:
    """Starts (B, n) float64 that follow |psi_0|^2; B is rounded up to a power of 2."""
    sobol = qmc.Sobol(initial.coordinates, scramble=True, seed=seed)
    points = sobol.random_base2(math.ceil(math.log2(samples)))
    return torch.as_tensor(initial.quantiles(points), dtype=torch.float64)


def growth_of_variance(velocity: Velocity, starts: Tensor, end: float) -> Array:
    """Variance of a coordinate, mean over all, at STEPS + 1 equal times, relative to the first: (T,).

    Samples that run away make it infinite or NaN, no error.
    """
    x, h = starts, end / STEPS
    found = [x.var(0).mean()]
    for step in range(STEPS):
        t = step * h
        first = velocity(x, t)
        second = velocity(x + 0.5 * h * first, t + 0.5 * h)
        third = velocity(x + 0.5 * h * second, t + 0.5 * h)
        fourth = velocity(x + h * third, t + h)
        x = x + (h / 6.0) * (first + 2.0 * second + 2.0 * third + fourth)
        found.append(x.var(0).mean())
    growth = torch.stack(found)
    return np.asarray((growth / growth[0]).numpy())
