"""What a small ensemble finds out before samples are measured, the same on every rank.

It finds the range of the histograms, the linear companion for control variates (`companion.py`), and whether
velocities that are no gradients by construction have a curl (`measure/curl.py`).

Shapes: B trajectories, n = N D coordinates, K steps of the integrator, T saved times.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dsmsim.errors import DivergedError
from dsmsim.measure import Check, Extent, curl_checks, density_edges
from dsmsim.parallel import World
from dsmsim.training.companion import slopes
from dsmsim.training.draws import SampleBlock

if TYPE_CHECKING:
    from dsmsim.training.evaluate import Course

Array = npt.NDArray[np.float64]

SIZE = 2000  # trajectories
MARGIN = 0.25  # of a range, added on both sides
CURLED = 64  # trajectories at which the curl is looked at, at so many times:
CURL_TIMES = 5
RAN_AWAY = "trajectories of the trained process run to infinity: raise train.epochs or time.steps"


@dataclass(frozen=True)
class Pilot:
    """What was found.

    Attributes:
        edges: cell edges of the density along each axis: the range of the ensemble with a margin.
        slopes: (K + 1, 2, D) of the drift, see `companion.py`.
        extent: where samples are at every saved time.
        checks: of the curl, where it does not vanish by construction.
    """

    edges: list[Array]
    slopes: Array
    extent: Extent
    checks: list[Check]


@torch.no_grad()
def pilot(course: Course, world: World) -> Pilot:
    """Sample a small ensemble.

    Raises:
        DivergedError: a trajectory left for infinity.
    """
    config, solution = course.config, course.state
    system, fields = solution.system, solution.fields
    size = min(SIZE, config.evaluation.samples)
    looked = set(np.linspace(0, len(course.grid) - 1, CURL_TIMES).round().astype(int).tolist())
    ranges, rates, points = [], [], []
    for k, point in enumerate(course.points(SampleBlock(0, 0, size, 1, "independent", purpose="pilot"))):
        now = point.x, point.u, point.v
        ranges.append(_Range.of(now, system.particles, solution.initial.mean, system.mass))
        rates.append(slopes(point.x, point.v + course.process.nu * point.u, system.particles))
        if k in looked:
            points.append((point.x[:CURLED], point.time))
    checks = [] if course.wave_at(0.0) is not None else curl_checks(fields, points, solution.initial.variance)
    ranges, rate, checks = world.broadcast_object((ranges, np.stack(rates), checks))
    if not all(np.isfinite(one.low).all() and np.isfinite(one.high).all() for one in ranges):
        raise DivergedError(RAN_AWAY)
    extent = _extent(ranges, course.grid, np.asarray(config.time.save_times))
    low, high = np.min([one.low for one in ranges], 0), np.max([one.high for one in ranges], 0)
    margin = MARGIN * (high - low)
    ends = zip(low - margin, high + margin, strict=True)
    return Pilot([density_edges(a, b, config.evaluation.bins) for a, b in ends], rate, extent, checks)


@dataclass(frozen=True)
class _Range:
    """Where an ensemble is at one time: see `Extent`, (D,) along each axis."""

    low: Array
    high: Array
    center: tuple[float, float]
    distance: float
    reach: float
    momentum: tuple[float, float]

    @classmethod
    def of(cls, point: tuple[Tensor, Tensor, Tensor], particles: int, start: Array, mass: float) -> _Range:
        """Of positions and velocities u, v, (B, n) each; `start` (n,) are the initial means."""
        x, u, v = (a.double().reshape(len(a), particles, -1) for a in point)
        first, last = x.amin(1), x.amax(1)
        center = x[:, :, 0].mean(1)
        arm = x - torch.as_tensor(start, device=x.device).reshape(x.shape[1:])
        mean, square = v[..., 0].mean(), (u[..., 0].square() + v[..., 0].square()).mean()
        return cls(
            first.amin(0).cpu().numpy(),
            last.amax(0).cpu().numpy(),
            (float(center.min()), float(center.max())),
            float((last - first).square().sum(1).max().sqrt()),
            float(arm.square().sum(2).max().sqrt()),
            (mass * float(mean), mass * float((square - mean.square()).clamp(min=0.0).sqrt())),
        )


def _extent(ranges: list[_Range], grid: Array, times: Array) -> Extent:
    """That of the saved times (T,), from ranges at the times of the grid (K + 1,)."""
    low, high, momentum = (np.array([getattr(r, k) for r in ranges]) for k in ("low", "high", "momentum"))
    after = np.searchsorted(grid, times).clip(max=len(grid) - 1)
    before = np.where(grid[after] > times, np.maximum(after - 1, 0), after)
    bottom, top = np.minimum(low[before], low[after]), np.maximum(high[before], high[after])
    left, right = min(r.center[0] for r in ranges), max(r.center[1] for r in ranges)
    margin, more = MARGIN * (top - bottom), MARGIN * (right - left)
    return Extent(
        bottom - margin,
        top + margin,
        left - more,
        right + more,
        (1.0 + 2.0 * MARGIN) * max(r.distance for r in ranges),
        max(r.reach for r in ranges),
        *(np.interp(times, grid, column) for column in momentum.T),
    )
