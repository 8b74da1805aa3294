"""The form "published": a network for Re psi and Im psi, everything else in the loss.

    psi(x, t) = a + i b,   (a, b) = net(x, t)

    L = mean |(-hbar db/dt - H a, hbar da/dt - H b)|^2  over uniform points of a box and of [0, T]
      + mean over points of its faces of (a^2 + b^2)/2  +  the same of psi - psi_0 at t = 0

with H = -(hbar^2/2m) Lap + V. One particle: two hidden tanh layers. Several, in one dimension: their
positions are sorted first; tanh, a block tanh-tanh with a skip connection, tanh. For two bosons the published
program puts the two outputs back in the order of the unsorted particles (`restore_order`). But the outputs
are real and imaginary part, not one number for each particle: at x_1 > x_2 they change places, and no network
can fit psi_0 on both sides. psi is 0 outside of the box.

Source: Orlova et al., "Deep Stochastic Mechanics", ICML (2024), and its program.

Shapes: B points, n coordinates, K = n + 3 streams (value, derivatives along x, d/dt, Laplacian), C all
collocation points.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import qmc
from torch import Tensor

from baselines.pinn_parts.network import tanh_layer
from baselines.pinn_parts.training import History
from baselines.wave.wave_function import Array, Local
from dsmsim.config import Config
from dsmsim.errors import ConfigError
from dsmsim.parallel import random_stream
from dsmsim.system import InitialState, System

CHUNK = 2048  # points at a time, where nothing has to be kept


class PublishedWave:
    """psi = a + i b inside of a box.

    Args:
        system, initial: of the input.
        box: its half width (length).
        width: of the hidden layers.
        restore_order: whether outputs are put back in the order of two unsorted particles.
        rng: draws the first weights.
        dtype: of the weights.
    """

    def __init__(
        self,
        system: System,
        initial: InitialState,
        box: float,
        width: int,
        restore_order: bool,
        rng: np.random.Generator,
        dtype: torch.dtype,
    ) -> None:
        self.system, self.initial, self.box = system, initial, box
        self.sorts = system.particles > 1
        self.restores = restore_order and system.particles == 2
        sizes = [(system.coordinates + 1, width), (width, width), (width, width), (width, 2)]
        if not self.sorts:
            del sizes[1]
        self.weights: dict[str, Tensor] = {}
        for layer, (columns, rows) in enumerate(sizes):
            limit = 1.0 / math.sqrt(columns)
            for name, shape in ((f"weight_{layer}", (rows, columns)), (f"bias_{layer}", (rows,))):
                self.weights[name] = torch.tensor(rng.uniform(-limit, limit, shape), dtype=dtype)

    def values(self, x: Tensor, t: Tensor) -> Tensor:
        """(a, b) at x (B, n), t (B, 1): (B, 2)."""
        return self.jets(x, t, directions=0)[:, 0]

    def jets(self, x: Tensor, t: Tensor, directions: int | None = None) -> Tensor:
        """(a, b) at x (B, n), t (B, 1): (B, n + 3, 2); derivatives along the sorted positions.

        With fewer `directions` than n there are as many fewer derivatives.
        """
        batch, n = x.shape
        directions = n if directions is None else directions
        z = x.new_zeros(batch, directions + 3, n + 1)
        z[:, 0, :n] = x.sort(dim=1).values if self.sorts else x
        z[:, 0, n] = t[:, 0]
        for direction in range(directions):
            z[:, 1 + direction, direction] = 1.0
        z[:, -2, n] = 1.0
        w, last = self.weights, len(self.weights) // 2 - 1
        z = tanh_layer(z @ w["weight_0"].mT, w["bias_0"])
        if self.sorts:
            inner = tanh_layer(z @ w["weight_1"].mT, w["bias_1"])
            z = z + tanh_layer(inner @ w["weight_2"].mT, w["bias_2"])
            z = tanh_layer(z, torch.zeros_like(w["bias_2"]))
        else:
            z = tanh_layer(z @ w["weight_1"].mT, w["bias_1"])
        out = z @ w[f"weight_{last}"].mT
        out = torch.cat([out[:, :1] + w[f"bias_{last}"], out[:, 1:]], dim=1)
        if self.restores:
            out = torch.where((x[:, 0] > x[:, 1])[:, None, None], out.flip(2), out)
        return out

    def residual(self, x: Tensor, t: Tensor, potential: Tensor) -> Tensor:
        """i hbar d/dt psi - H psi at x (B, n), t (B, 1) with V (B,): real and imaginary part (B, 2)."""
        jets = self.jets(x, t)
        hbar = self.system.hbar
        half = hbar**2 / (2.0 * self.system.mass)
        turned = jets[:, -2].flip(1) * jets.new_tensor([-hbar, hbar])
        return turned + half * jets[:, -1] - potential.unsqueeze(1) * jets[:, 0]

    @torch.no_grad()
    def local(self, x: Array, t: float) -> Local:
        """log psi and its derivatives at x (W, n); outside of the box it is -infinity, its derivatives 0."""
        inside = self._inside(x)
        rows = torch.from_numpy(x).to(self.weights["bias_0"])
        jets = self.jets(rows, rows.new_full((len(x), 1), t)).double()
        psi = torch.view_as_complex(jets.contiguous()).numpy()
        with np.errstate(all="ignore"):
            gradient = psi[:, 1:-2] / psi[:, :1]
            laplacian = psi[:, -1] / psi[:, 0] - (gradient**2).sum(1)
            log_psi = np.where(inside, np.log(psi[:, 0]), -np.inf)
        if self.sorts:  # back to the order of the particles
            place = np.argsort(np.argsort(x, axis=1, kind="stable"), axis=1, kind="stable")
            gradient = np.take_along_axis(gradient, place, axis=1)
        return Local(
            log_psi,
            np.where(inside[:, None], gradient, 0.0),
            np.where(inside, laplacian, 0.0),
        )

    @torch.no_grad()
    def log_density(self, x: Array, t: float) -> Array:
        """log |psi|^2 (W,), -infinity outside of the box."""
        rows = torch.from_numpy(x).to(self.weights["bias_0"])
        psi = self.values(rows, rows.new_full((len(x), 1), t)).double()
        squares = psi.square().sum(1).numpy()
        with np.errstate(divide="ignore"):
            return np.where(self._inside(x), np.log(squares), -np.inf)

    def _inside(self, x: Array) -> np.ndarray:
        return np.asarray((np.abs(x) <= self.box).all(axis=1))


def make_published_wave(config: Config, system: System, initial: InitialState) -> PublishedWave:
    """The published network, not trained.

    Raises:
        ConfigError: several particles in more than one dimension, or Gauss-Newton.
    """
    table = config.baselines.pinn
    if system.particles > 1 and system.dimensions > 1:
        raise ConfigError(
            'baselines.pinn.form = "published": sorts its particles, which needs one dimension; '
            'write form = "hard"',
            key="baselines.pinn.form",
        )
    if table.optimizer != "adam":
        raise ConfigError(
            f'baselines.pinn.optimizer = "{table.optimizer}": form = "published" is trained by adam alone; '
            'write optimizer = "adam", or form = "hard"',
            key="baselines.pinn.optimizer",
        )
    return PublishedWave(
        system,
        initial,
        (1.5 if system.particles > 1 else 2.0) if table.box == "auto" else float(table.box),
        table.width,
        table.restore_order,
        random_stream(config.seed, "pinn weights"),
        getattr(torch, table.precision),
    )


@dataclass(frozen=True)
class _Fixed:
    """What the loss is made of: points and values, drawn once.

    Attributes:
        points, potential: (C, n + 1) positions and times in the box, V there (C,).
        start, start_value: (I, n) positions at t = 0 and (Re, Im) of psi_0 there (I, 2).
        faces: (F, n + 1) points on the box's faces.
    """

    points: Tensor
    potential: Tensor
    start: Tensor
    start_value: Tensor
    faces: Tensor


def _fixed(config: Config, wave: PublishedWave) -> _Fixed:
    table, n, box = config.baselines.pinn, wave.system.coordinates, wave.box
    rng, end = random_stream(config.seed, "pinn points"), config.time.end
    low, high = np.array([-box] * n + [0.0]), np.array([box] * n + [end])
    unit = qmc.LatinHypercube(n + 1, seed=int(rng.integers(2**31))).random(table.collocation)
    points = torch.from_numpy(low + (high - low) * unit)
    potential = wave.system.potential(points[:, :n], points[:, n:])
    start = torch.from_numpy(rng.uniform(-box, box, (table.initial_points, n)))
    with torch.no_grad():
        size = torch.exp(0.5 * wave.initial.log_density(start))
        phase = wave.initial.phase(start)
    value = torch.stack([size * torch.cos(phase), size * torch.sin(phase)], dim=1)
    each = max(1, table.boundary_points // (2 * n))
    faces = []
    for coordinate in range(n):
        for edge in (-box, box):
            face = rng.uniform(low, high, (each, n + 1))
            face[:, coordinate] = edge
            faces.append(face)
    parts = (points, potential, start, value, torch.from_numpy(np.concatenate(faces)))
    return _Fixed(*(part.detach().to(wave.weights["bias_0"].dtype) for part in parts))


def train_published(
    wave: PublishedWave, config: Config, progress: Callable[[int, float], None]
) -> tuple[History, float]:
    """Train in place; the history, and a bound on the error of psi in the box (no unit).

    Raises:
        DivergedError: the loss is not finite.
    """
    table, n = config.baselines.pinn, wave.system.coordinates
    rate = 1e-3 if wave.system.particles == 1 else 5e-5
    if table.learning_rate != "auto":
        rate = float(table.learning_rate)
    fixed, rng = _fixed(config, wave), random_stream(config.seed, "pinn batches")
    adam = torch.optim.Adam([tensor.requires_grad_() for tensor in wave.weights.values()], lr=rate)
    history, zero = History(), fixed.start.new_zeros(len(fixed.start), 1)
    for epoch in range(table.epochs):
        batch = rng.choice(table.collocation, min(table.points, table.collocation), replace=False)
        rows = torch.from_numpy(batch)
        points = fixed.points[rows]
        residual = wave.residual(points[:, :n], points[:, n:], fixed.potential[rows])
        at_start = wave.values(fixed.start, zero) - fixed.start_value
        on_faces = wave.values(fixed.faces[:, :n], fixed.faces[:, n:])
        loss = residual.square().sum(1).mean() + on_faces.square().mean() + at_start.square().mean()
        adam.zero_grad()
        torch.autograd.backward(loss)
        adam.step()
        history.add(epoch + 1, float(loss.detach()))
        progress(epoch + 1, history.loss[-1])
    return history, _error_bound(wave, config, fixed)


@torch.no_grad()
def _error_bound(wave: PublishedWave, config: Config, fixed: _Fixed) -> float:
    """|psi(0) - psi_0| + the integral of |i hbar d/dt psi - H psi| / hbar over time, in L2 of the box."""
    n, end = wave.system.coordinates, config.time.end
    volume = (2.0 * wave.box) ** n
    total = 0.0
    for first in range(0, len(fixed.points), CHUNK):
        points = fixed.points[first : first + CHUNK]
        potential = fixed.potential[first : first + CHUNK]
        residual = wave.residual(points[:, :n], points[:, n:], potential)
        total += float(residual.square().sum())
    rate = math.sqrt(volume * total / len(fixed.points)) / wave.system.hbar
    zero = fixed.start.new_zeros(len(fixed.start), 1)
    deviation = (wave.values(fixed.start, zero) - fixed.start_value).square().sum(1).mean()
    return math.sqrt(volume * float(deviation)) + end * rate
