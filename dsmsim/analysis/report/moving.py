"""Drawings that move with a slider: a frame for every time, with what of the figure changes.

Shapes: T times, C cells or points, S shots, N particles, D axes; K frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsmsim.analysis.profiles import Profile
from dsmsim.analysis.report.charts import (
    BLUE,
    ORANGE,
    REFERENCES,
    VERMILION,
    Block,
    Chart,
    Figure,
    Trace,
    empty,
    heat,
    largest,
    line,
    shades,
    values_of,
)

Array = NDArray[np.float64]
Indices = NDArray[np.int_]

FAINT = 2e-3  # of the largest value: beyond it an axis is cut off
MOST_FRAMES = 201  # positions of a slider
MOST_SHOTS = 40
MAP_HEIGHT, SQUARE_HEIGHT = 300, 350  # pixels


def frames_of(count: int) -> Indices:
    """(K,) indices of the times at which a slider stops."""
    return np.unique(np.linspace(0, count - 1, min(count, MOST_FRAMES)).round().astype(int))


def times_of(time: Array) -> list[float]:
    """The times at which a slider stops, of all times (T,)."""
    return [float(time[k]) for k in frames_of(len(time))]


def profile_block(
    title: str,
    words: str,
    profile: Profile,
    label: str,
    position: str,
    *,
    smooth: Profile | None = None,
) -> Block:
    """A quantity over position and time: a cut at the slider's time, its map, and what it is wrong by.

    Args:
        title, words: of the block.
        profile: (T, C).
        label: of the quantity, with its unit.
        position: title of the axis of x, with its unit.
        smooth: the same quantity, estimated in another way.
    """
    limits = _limits(profile)
    middle = 0.0 if np.nanmin(profile.values) < -1e-3 * largest(profile.values) else None
    maps = []
    if len(profile.time) > 1:
        maps.append(Chart("the run over time", _map(profile, profile.values, middle, position, limits)))
    if profile.true is not None and np.isfinite(profile.true).any(axis=1).sum() > 1:
        difference = _map(profile, profile.values - profile.true, 0.0, position, limits)
        maps.append(Chart(f"the run minus {profile.reference}", difference))
    cut = _cut(profile, smooth, label, position, limits)
    # two drawings stand beside each other, of three the first has a row of its own
    charts = [Chart(f"{label} at one time", cut, wide=len(maps) != 1), *maps]
    return Block(title, words, charts, times_of(profile.time))


def _limits(profile: Profile) -> list[float]:
    """Where along x there is something to be seen at any time."""
    size = np.nanmax(np.abs(profile.values), axis=0)
    seen = np.flatnonzero(size > FAINT * np.nanmax(size))
    ends = (seen[0], seen[-1]) if len(seen) else (0, -1)
    return [float(profile.x[k]) for k in ends]


def _cut(profile: Profile, smooth: Profile | None, label: str, position: str, limits: list[float]) -> Figure:
    chosen = frames_of(len(profile.time))
    drawn: list[tuple[Array, Array, Array | None, str, str, str]] = [
        (profile.x, profile.values, profile.stderr, "run", BLUE, "solid")
    ]
    if smooth is not None:
        drawn.append((smooth.x, smooth.values, smooth.stderr, "run, smooth", ORANGE, "solid"))
    if profile.true is not None:
        drawn.append((profile.x, profile.true, None, profile.reference, *REFERENCES[0]))

    def at(stderr: Array | None, k: int) -> Array | None:
        return None if stderr is None else stderr[k]

    def values(k: int) -> list[Trace]:
        return [trace for _, y, stderr, *_ in drawn for trace in values_of(y[k], at(stderr, k))]

    figure = empty(position, label)
    for x, y, stderr, name, color, dash in drawn:
        figure["data"] += line(x, y[chosen[-1]], name, color, stderr=at(stderr, chosen[-1]), dash=dash)
    low = min(0.0, float(np.nanmin(profile.values)))
    high = max(0.0, float(np.nanmax(profile.values)))
    figure["layout"]["yaxis"]["range"] = [1.05 * low, 1.08 * high if high > low else 1.0]
    figure["layout"]["xaxis"]["range"] = limits
    figure["frames"] = _frames([values(k) for k in chosen])
    return figure


def _frames(data: Sequence[list[Trace]]) -> list[dict[str, Any]]:
    """Frames "0", "1", ... that change all traces of a figure."""
    return [
        {"name": str(k), "data": traces, "traces": list(range(len(traces)))} for k, traces in enumerate(data)
    ]


def _map(profile: Profile, values: Array, middle: float | None, position: str, limits: list[float]) -> Figure:
    """Values (T, C) over time and position, with a line at the slider's time."""
    figure = empty("time t", position, MAP_HEIGHT, hovermode="closest")
    known = np.isfinite(values).any(axis=1)  # a reference may know a few of the times only
    figure["data"] = [heat(profile.time[known], profile.x, values[known].T, ("t", "x"), middle)]
    figure["layout"]["yaxis"]["range"] = limits
    marks = [_mark(time) for time in times_of(profile.time)]
    figure["layout"]["shapes"] = [marks[-1]]
    figure["frames"] = [{"name": str(k), "layout": {"shapes": [mark]}} for k, mark in enumerate(marks)]
    return figure


def _mark(time: float) -> dict[str, Any]:
    where = {"x0": time, "x1": time, "yref": "paper", "y0": 0, "y1": 1}
    return {"type": "line", **where, "line": {"color": VERMILION, "width": 2}}


def square_charts(caption: str, profile: Profile, unit: str, middle: float | None = None) -> list[Chart]:
    """A function of two positions (T, C, C): maps of it and of what it is wrong by.

    Args:
        caption: what it is.
        profile: (T, C, C).
        unit: of the function; empty for a pure number.
        middle: the value in the middle of the colours, which go from 0 to its double at most; None for a
            density, whose colours begin at 0 and end at its largest value.
    """
    beside = f" ({unit})" if unit else ""
    most = np.inf if middle is None else middle
    charts = [Chart(caption + beside, _square(profile, profile.values, middle, most), square=True)]
    if profile.true is not None and np.isfinite(profile.true).any():
        # where next to nothing is known of either, an error has no bounds
        most = min(most, largest(profile.values))
        difference = _square(profile, profile.values - profile.true, 0.0, most)
        charts.append(Chart(f"{caption}, minus {profile.reference}{beside}", difference, square=True))
    return charts


def _square(profile: Profile, values: Array, middle: float | None, most: float = np.inf) -> Figure:
    figure = empty("x (length)", "x' (length)", SQUARE_HEIGHT, hovermode="closest")
    # the colours are those of all times
    whole = heat(profile.x, profile.x, values, ("x", "x'"), middle, most)
    figure["data"] = [{**whole, "z": values[-1]}]
    figure["frames"] = _frames([[{"type": "heatmap", "z": values[k]}] for k in frames_of(len(values))])
    return figure


def shots_chart(position: Array) -> Chart:
    """Positions (T, S, N, D) of N particles in S shots: a row for each shot, or a plane of two axes."""
    position = position[:, :MOST_SHOTS]
    shots, dimensions = position.shape[1], position.shape[3]
    flat = position.reshape(len(position), -1, dimensions)
    rows = np.repeat(np.arange(shots), position.shape[2])
    in_rows = dimensions == 1

    def values(k: int) -> Trace:
        return {"x": flat[k, :, 0], "y": rows if in_rows else flat[k, :, 1]}

    figure = empty("x (length)", "shot" if in_rows else "y (length)", hovermode="closest")
    style = {
        "type": "scatter",
        "mode": "markers",
        "marker": {"size": 7, "color": BLUE if in_rows else [shades(shots)[row] for row in rows]},
        "customdata": rows,
        "hovertemplate": "shot %{customdata:d}: x = %{x:.4g}<extra></extra>",
    }
    figure["data"] = [{**style, **values(-1)}]
    figure["layout"]["xaxis"]["range"] = _around(flat[..., 0])
    figure["layout"]["yaxis"]["range"] = [-1, shots] if in_rows else _around(flat[..., 1])
    figure["frames"] = _frames([[values(k)] for k in frames_of(len(flat))])
    return Chart("positions at the time of the slider", figure, wide=True)


def _around(values: Array) -> list[float]:
    low, high = float(values.min()), float(values.max())
    room = 0.05 * (high - low) or 1.0
    return [low - room, high + room]
