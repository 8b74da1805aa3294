"""The convergence theorem, measured: how far trained trajectories stray from exact ones, against the loss.

Theorem (Orlova et al., "Deep Stochastic Mechanics", ICML 2024), for two processes with one start and one
Brownian path, X driven by the exact fields and X_theta by the trained ones,

    sup_{t <= T} E |X(t) - X_theta(t)|^2 <= C_T L(u_theta, v_theta) .

L is the loss as trained, every weight 1, on points that training has not seen, in double precision:

    L = L_score + L_newton + L_initial

    L_score, L_newton   (1/T) int_0^T E |r(X_theta(t), t)|^2 / n dt of the residuals of Nelson's two equations
                        (`dsmsim.residuals.nelson`), in units of U/T
    L_initial           E |u_theta - u_0|^2 / n + E |v_theta - v_0|^2 / n over X(0), at t = 0, in units of U

with the natural velocity U of `dsmsim.networks.frame` and n coordinates. A network of log psi = R + i S is
trained on another form of the equations; its residuals here are (hbar/m) times the gradients of those.

What the constant is where the exact drift b = u + v is linear (a Gaussian in a harmonic trap), to first order
in the residuals: with the slope b' = (s' - hbar/m) / (2 s) of one coordinate of variance s(t),

    X - X_theta = int_0^t exp(int_tau^t b') (b - b_theta) dtau
    sqrt(s(t)) |delta(t)| <= sqrt(s_0) |delta(0)| + int_0^t sqrt(s) |r| dtau

where |delta|^2 is the mean square error of u plus that of v, and |r|^2 the same of their residuals. The first
line is the variation of constants. The second holds for fields without curl: for psi_theta = psi (1 + chi)
they are wrong by (hbar/m) grad chi; sqrt(s) psi grad chi is the annihilation operator of the moving Gaussian
applied to psi chi, and that obeys Schroedinger's equation again, with the residuals as its source. Both
together give, for the root D of the mean square distance, D <= sqrt(2) (int k |r| dtau + k(t, 0) |delta(0)|)
with the kernel

    k(t, tau) = sqrt(s(tau)) int_tau^t exp(int_x^t b') / sqrt(s(x)) dx ,

and Cauchy and Schwarz give C_T.

Shapes: B trajectories, n coordinates, K steps.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsmsim.config import Config, load_config
from dsmsim.networks import FieldPair, Fields, PotentialFields, standing_still
from dsmsim.parallel import StopRequest, World, random_stream
from dsmsim.residuals.fused import applies, fused_loss
from dsmsim.residuals.loss import initial_deviations, residual_loss
from dsmsim.residuals.madelung import madelung_residuals
from dsmsim.sampler import Process, trajectories
from dsmsim.system import ClosedForm, System, closed_form
from dsmsim.training.loop import Hooks, train
from dsmsim.training.state import new_state
from tools.reproduce.measuring import Columns
from tools.reproduce.task import ROOT, toml

Array = NDArray[np.float64]

STRATA = 16  # residual points of one trajectory, one in each equal slice of time
FEW = 0.01  # of the trajectories: how much of the loss is theirs
CHUNK = 1024  # residual points at a time: more fall out of the cache
NEIGHBOUR = 1e-3  # step of differences in units of the first width: their error is some 1e-12
FINE = 400  # points of the integrals in the constant


@dataclass(frozen=True)
class Noise:
    """Starts and a Brownian path, the same whenever they are asked for.

    Attributes:
        start: (B, n) starting points.
        normals: (K, B, n) standard normal numbers.
    """

    start: Tensor
    normals: Tensor

    def coarser(self) -> Noise:
        """The same Brownian path, seen at every other time."""
        pairs = self.normals.reshape(-1, 2, *self.normals.shape[1:])
        return Noise(self.start, pairs.sum(1) / math.sqrt(2.0))


@dataclass(frozen=True)
class Distance:
    """sup_t E |X - X_theta|^2 / n.

    Attributes:
        value: the largest mean over all times, length^2.
        error: its standard error over trajectories.
        time: where it is.
    """

    value: float
    error: float
    time: float


def exact_fields(exact: ClosedForm) -> FieldPair:
    """(x, t) -> (u, v) of a closed form."""
    return lambda x, t: (exact.u(x, t), exact.v(x, t))


def paths(fields: FieldPair, system: System, end: float, noise: Noise) -> Tensor:
    """Trajectories of Nelson's process at equal steps, starts included: (K + 1, B, n)."""
    steps = len(noise.normals)
    grid = torch.linspace(0.0, end, steps + 1, dtype=torch.float64)[None]
    walk = trajectories(fields, system, Process("heun", 1.0), noise.start, grid, lambda k: noise.normals[k])
    return torch.stack([noise.start, *(x for x, _ in walk)])


def distance(one: Tensor, other: Tensor, end: float) -> Distance:
    """Of two sets of paths (K + 1, B, n) with the same noise."""
    squares = (one - other).square().mean(-1)
    means = squares.mean(1)
    k = int(means.argmax())
    error = float(squares[k].std() / math.sqrt(squares.shape[1]))
    return Distance(float(means[k]), error, end * k / (len(means) - 1))


def squared_residuals(fields: Fields, system: System, x: Tensor, t: Tensor) -> Tensor:
    """Squares of the (score, newton) residuals at x (P, n), t (P, 1), in units of U/T, over n: (P, 2)."""
    if isinstance(fields, PotentialFields):
        # r_R and r_S come in units of m U sigma / (hbar T); hbar/m times their gradients in those of U/T
        step = NEIGHBOUR * fields.length
        slopes = gradient(lambda y: madelung_residuals(fields, system, y, t), x, step)
        return (fields.length * slopes).square().mean(-1)
    engine = fused_loss if applies(fields) else residual_loss
    with torch.enable_grad():
        return torch.stack(engine(fields, system, "gradient")(x, t), -1).detach() / x.shape[1]


@torch.no_grad()
def gradient(function: Callable[[Tensor], Tensor], x: Tensor, step: float) -> Tensor:
    """Central differences of order 4 of function(x) (P, k) at x (P, n): (P, k, n)."""
    slopes = []
    for direction in step * torch.eye(x.shape[1], dtype=x.dtype):
        near, far = (function(x + j * direction) - function(x - j * direction) for j in (1, 2))
        slopes.append((8.0 * near - far) / (12.0 * step))
    return torch.stack(slopes, -1)


def loss(
    fields: Fields, system: System, end: float, walk: Tensor, rng: np.random.Generator
) -> dict[str, float]:
    """L and its parts on paths (K + 1, B, n) of these fields, with standard errors over trajectories.

    "few" is the share of L that comes from the hundredth of the trajectories with the largest residuals.
    """
    last, count, n = len(walk) - 1, walk.shape[1], walk.shape[2]
    clocks = (np.arange(STRATA) + rng.random((count, STRATA))) / STRATA
    steps = torch.as_tensor(np.rint(clocks * last).astype(np.int64))
    x = walk[steps, torch.arange(count)[:, None]].reshape(-1, n)
    t = (end / last * steps).to(x).reshape(-1, 1)
    chunks = [slice(first, first + CHUNK) for first in range(0, len(x), CHUNK)]
    found = torch.cat([squared_residuals(fields, system, x[chunk], t[chunk]) for chunk in chunks])
    equations = found.reshape(count, STRATA, 2).mean(1)
    initial = initial_deviations(fields, fields, walk[0]).square().sum(1).mean(-1).detach()
    each = {"score": equations[:, 0], "newton": equations[:, 1], "initial": initial}
    each["loss"] = equations.sum(1) + initial
    values = {name: float(squares.mean()) for name, squares in each.items()}
    errors = {f"{name}_error": float(squares.std() / math.sqrt(count)) for name, squares in each.items()}
    largest = each["loss"].topk(math.ceil(FEW * count)).values
    return values | errors | {"few": float(largest.sum() / each["loss"].sum())}


def constants(exact: ClosedForm, system: System, velocity: float, end: float) -> tuple[float, float]:
    """C_T of the module's docstring in units of the initial variance, and the same by Groenwall's lemma.

    The lemma knows of the exact fields no more than their largest slope |b'| and their largest and smallest
    width: k(t, tau) <= sqrt(s_max / s_min) (exp(|b'| (t - tau)) - 1) / |b'|.

    Args:
        velocity: the natural velocity U.

    Returns:
        C with sup_t E |X - X_theta|^2 / (n s_0) <= C L, to first order; and the larger one.
    """
    t = np.linspace(0.0, end, FINE + 1)
    s = exact.variance(t)[:, 0, 0]
    slope = (np.gradient(s, t, edge_order=2) - system.hbar / system.mass) / (2.0 * s)
    below = integral(slope, t)
    inner = integral(np.exp(-below) / np.sqrt(s), t)

    def from_kernel(kernel: Callable[[int], Array]) -> float:
        """sup over t of 2 (U^2/T int k^2 + U^2 k(t, 0)^2) / s_0."""
        sums = []
        for last in range(1, FINE + 1):
            k = kernel(last)
            sums.append(np.trapezoid(k**2, t[: last + 1]) / end + k[0] ** 2)
        return float(2.0 * velocity**2 * max(sums) / s[0])

    def linear(last: int) -> Array:
        own = slice(0, last + 1)
        return np.asarray(np.sqrt(s[own]) * np.exp(below[last]) * (inner[last] - inner[own]))

    steepest = float(np.abs(slope).max())

    def groenwall(last: int) -> Array:
        passed = t[last] - t[: last + 1]
        return np.asarray(np.sqrt(s.max() / s.min()) * np.expm1(steepest * passed) / steepest)

    return from_kernel(linear), from_kernel(groenwall)


def integral(values: Array, t: Array) -> Array:
    """From the first time to each, by the trapezoidal rule: as long as `t`."""
    return np.concatenate([[0.0], np.cumsum(0.5 * (values[1:] + values[:-1]) * np.diff(t))])


def epochs_to_measure(epochs: int, count: int) -> list[int]:
    """About `count` epochs from 0 to the last, equally spaced on a logarithmic scale."""
    spaced = np.geomspace(1, epochs, count - 1).round().astype(int)
    return [0, *np.unique(spaced).tolist()]


def along_training(
    directory: Path,
    *,
    input: str,
    changes: Mapping[str, Any],
    points: int,
    samples: int,
    steps: int,
    halved: int,
) -> Columns:
    """Train, and at some epochs measure L and sup_t E |X - X_theta|^2.

    Args:
        directory: not used; nothing but the columns is kept.
        input: of the problem; must have a closed form.
        changes: of the input, by dotted key.
        points: about how many epochs are measured.
        samples: trajectories, which give both.
        steps: of the integrator over [0, T].
        halved: at how many of the epochs the distance is measured with steps of half the length as well.
    """
    config = changed_config(input, changes)
    exact, state = closed_form(config), new_state(config, World())
    assert exact is not None, f"{input} has no closed form"
    end, system, n = config.time.end, state.system, state.initial.coordinates
    rng = random_stream(config.seed, "measure", 0, 0)
    start = torch.as_tensor(state.initial.sample(rng, samples))
    fine = Noise(start, torch.as_tensor(rng.standard_normal((2 * steps, samples, n))))
    noise = fine.coarser()
    truth = paths(exact_fields(exact), system, end, noise)
    true_fine = paths(exact_fields(exact), system, end, fine)
    wanted = epochs_to_measure(config.train.epochs, points)
    both = set(np.asarray(wanted)[np.linspace(0, len(wanted) - 1, halved).round().astype(int)].tolist())
    unit = float(np.mean(state.initial.variance))
    rows: list[dict[str, float]] = []

    def measure(epoch: int) -> None:
        if epoch not in wanted:
            return
        fields = copy.deepcopy(state.fields).double()
        with torch.no_grad(), standing_still(fields):
            walk = paths(fields, system, end, noise)
            halved_walk = paths(fields, system, end, fine) if epoch in both else None
            row = loss(fields, system, end, walk, random_stream(config.seed, "points", epoch, 0))
        far = distance(truth, walk, end)
        row |= {"epoch": epoch, "distance": far.value / unit, "distance_error": far.error / unit}
        row |= {"time": far.time, "distance_halved": np.nan}
        if halved_walk is not None:
            row["distance_halved"] = distance(true_fine, halved_walk, end).value / unit
        rows.append(row)

    measure(0)
    hooks = Hooks(lambda entry: None, lambda epoch, value: measure(epoch), lambda: None)
    with StopRequest() as stop:
        train(config, state, World(), stop, hooks)
    linear, lemma = constants(exact, system, state.fields.frame.velocity, end)
    columns: dict[str, Any] = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    columns |= {"constant": linear, "constant_groenwall": lemma, "variance": unit, "coordinates": n}
    columns |= {"seconds": state.seconds, "samples": samples, "steps": steps}
    units = {"time": "time", "variance": "length^2", "seconds": "s"}
    return Columns(columns, units)


def changed_config(input: str, changes: Mapping[str, Any]) -> Config:
    """The input with other values at some dotted keys."""
    return load_config(ROOT / input, [f"{key}={toml(value)}" for key, value in changes.items()])
