"""The drawings of a report, as data for plotly's script, which draws them in the browser.

A figure is what `Plotly.newPlot` takes, {"data": [...], "layout": {...}}, with numpy arrays in it; figures
that move (`moving.py`) have frames, too. Colours are those of Okabe & Ito and the maps cividis and PuOr,
which colour-blind readers can tell apart. Bands are two standard errors wide to each side.

Shapes: T times, C cells or points.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Figure: TypeAlias = dict[str, Any]
Trace: TypeAlias = dict[str, Any]

BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILION, PURPLE, GREY = "#0072B2", "#D55E00", "#CC79A7", "#767676"
REFERENCES = ((BLACK, "dash"), (VERMILION, "dot"), (GREEN, "dashdot"), (PURPLE, "longdash"))
COLORS = (BLUE, ORANGE, GREEN, PURPLE, VERMILION, SKY, BLACK)
BAND = 2.0  # standard errors to each side
MAP, DIFFERENCE = "Cividis", "PuOr_r"
HEIGHT = 330  # pixels
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
_AXIS = {
    "gridcolor": "#e6e6e6",
    "linecolor": GREY,
    "zeroline": False,
    "ticks": "outside",
    "tickcolor": GREY,
    "automargin": True,
    "fixedrange": True,  # so that a finger on the drawing scrolls the page
    "showline": True,
    "exponentformat": "power",
}


@dataclass(frozen=True)
class Chart:
    """One drawing.

    Attributes:
        caption: what it shows.
        figure: with one frame for each time of its block, or without frames.
        wide: whether it takes the whole width of the page.
        square: whether it is to be about as wide as it is high.
    """

    caption: str
    figure: Figure
    wide: bool = False
    square: bool = False

    @property
    def legend(self) -> list[tuple[str, str, str]]:
        """Name, colour and dash of each curve; empty where there is only one."""
        named = [trace for trace in self.figure["data"] if trace.get("name")]
        entries = [(trace["name"], trace["line"]["color"], trace["line"]["dash"]) for trace in named]
        return entries if len(entries) > 1 else []

    @property
    def json(self) -> str:
        """The figure as JSON that may stand inside a page."""
        text = json.dumps(self.figure, default=_packed, allow_nan=False, separators=(",", ":"))
        return text.replace("<", "\\u003c")


@dataclass(frozen=True)
class Block:
    """Drawings that belong together, and the times of their common slider.

    Attributes:
        title: the heading.
        words: a sentence or two about what is seen.
        charts: the drawings.
        times: at which the frames are, the last one shown first; empty without a slider.
    """

    title: str
    words: str
    charts: Sequence[Chart]
    times: Sequence[float] = ()


def _packed(values: Any) -> dict[str, str]:
    """An array as plotly's script unpacks it; seven digits are more than a screen shows."""
    if not isinstance(values, np.ndarray):
        raise TypeError(f"a figure cannot hold {type(values).__name__}")
    data = np.ascontiguousarray(values, dtype="<f4")
    packed = {"dtype": "f4", "bdata": base64.b64encode(data.tobytes()).decode()}
    return packed if data.ndim == 1 else {**packed, "shape": ", ".join(map(str, data.shape))}


def empty(x: str, y: str, height: int = HEIGHT, **layout: Any) -> Figure:
    """A figure without data, in the style of the page.

    Args:
        x, y: titles of the axes.
        height: pixels.
        **layout: more of plotly's layout.
    """
    return {
        "data": [],
        "layout": {
            "height": height,
            "autosize": True,
            "margin": {"l": 8, "r": 12, "t": 8, "b": 8},
            "paper_bgcolor": "white",
            "plot_bgcolor": "white",
            "font": {"family": FONT, "size": 13, "color": "#1a1a1a"},
            "xaxis": {**_AXIS, "title": {"text": x}},
            "yaxis": {**_AXIS, "title": {"text": y}},
            "hovermode": "x unified",
            "dragmode": False,
            "showlegend": False,  # the page writes it, which wraps on narrow screens
            **layout,
        },
    }


def line(
    x: Array, y: Array, name: str, color: str, *, stderr: Array | None = None, dash: str = "solid"
) -> list[Trace]:
    """A curve, and below it the band of its standard error if there is one: one trace or two."""
    curve: Trace = {
        "type": "scatter",
        "mode": "lines" if len(x) > 1 else "markers",
        "x": x,
        "name": name,
        "line": {"color": color, "width": 2, "dash": dash},
        "marker": {"color": color},
        "hovertemplate": "%{y:.4g}" if stderr is None else "%{y:.4g} ± %{customdata:.2g}",
    }
    if stderr is None:
        return [{**curve, **values} for values in values_of(y)]
    band: Trace = {
        "type": "scatter",
        "mode": "lines",
        "x": np.concatenate((x, x[::-1])),
        "fill": "toself",
        "fillcolor": color,
        "opacity": 0.25,
        "line": {"width": 0},
        "hoverinfo": "skip",
    }
    return [{**style, **values} for style, values in zip((band, curve), values_of(y, stderr), strict=True)]


def values_of(y: Array, stderr: Array | None = None) -> list[Trace]:
    """What of the traces of `line` are values: of a band its outline, without width where it is unknown."""
    if stderr is None:
        return [{"y": y}]
    half = BAND * np.nan_to_num(stderr)
    return [{"y": np.concatenate((y + half, (y - half)[::-1]))}, {"y": y, "customdata": stderr}]


def curves(
    x: Array, lines: Sequence[Sequence[Trace]], xlabel: str, ylabel: str, *, log: bool = False
) -> Figure:
    """A figure of curves made by `line`, over the range of x."""
    figure = empty(xlabel, ylabel)
    figure["data"] = [trace for traces in lines for trace in traces]
    figure["layout"]["xaxis"]["range"] = [float(x[0]), float(x[-1])]
    if log:
        figure["layout"]["yaxis"] |= {"type": "log", "dtick": 1}
    return figure


def widen(figure: Figure, least: float) -> None:
    """Let the axis of y span `least` at least, so that noise around a constant looks like what it is."""
    values = np.concatenate([trace["y"] for trace in figure["data"]])
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    if high - low < least:
        middle = 0.5 * (low + high)
        figure["layout"]["yaxis"]["range"] = [middle - 0.5 * least, middle + 0.5 * least]


def over_time(
    group: Mapping[str, NDArray[Any]],
    names: Sequence[tuple[str, str, str]],
    ylabel: str,
    *,
    log: bool = False,
) -> Figure | None:
    """Those of the variables (T,) that a group has, with their errors; None if it has none.

    Args:
        group: with `time`.
        names: of a variable, its legend and its colour.
        ylabel: title of the axis.
        log: whether the axis is logarithmic.
    """
    time = np.asarray(group["time"], dtype=np.float64)
    drawn = [
        line(time, group[name], legend, color, stderr=group.get(f"{name}_stderr"))
        for name, legend, color in names
        if name in group
    ]
    return curves(time, drawn, "time t", ylabel, log=log) if drawn else None


def heat(
    x: Array, y: Array, values: Array, names: tuple[str, str], middle: float | None, most: float = np.inf
) -> Trace:
    """A map of values (len(y), len(x)).

    Args:
        names: of x and y.
        middle: the value in the middle of the colours; None where they begin at 0.
        most: the largest distance from there that has a colour of its own.
    """
    from plotly.colors import get_colorscale

    top = min(most, largest(values if middle is None else values - middle))
    return {
        "type": "heatmap",
        "x": x,
        "y": y,
        "z": values,
        "zmin": 0.0 if middle is None else middle - top,
        "zmax": top if middle is None else middle + top,
        "colorscale": get_colorscale(MAP if middle is None else DIFFERENCE),
        "colorbar": {"thickness": 10, "outlinewidth": 0, "exponentformat": "power"},
        "hovertemplate": f"{names[0]} = %{{x:.4g}}<br>{names[1]} = %{{y:.4g}}<br>%{{z:.4g}}<extra></extra>",
    }


def largest(values: Array) -> float:
    """The largest size of the values that are known; 1 where they are all 0 or unknown."""
    known = np.abs(values[np.isfinite(values)])
    top = float(known.max()) if len(known) else 0.0
    return top if top > 0.0 else 1.0


def shades(count: int) -> list[str]:
    """Colours of levels that have an order, from dark to light but never too light for a line."""
    from plotly.colors import sample_colorscale

    return list(sample_colorscale(MAP, np.linspace(0.0, 0.85, count).tolist()))
