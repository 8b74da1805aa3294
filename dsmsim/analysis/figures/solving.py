"""How a solution came about: training, ranks of tensor layers, and the steps of a march.

Shapes: E recorded epochs, S steps, P parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dsmsim.analysis.figures import canvas

if TYPE_CHECKING:
    from dsmsim.analysis.loading import RunToPlot

Group = Mapping[str, NDArray[Any]]

PANEL = 1.0  # inches
FEW = 20  # points, which are marked
LEAST_RATIO = 5.0  # of the values on a logarithmic axis, which has few labels for less

# label, scale, and curves: name in results.h5, legend, colour
_TRAINING: tuple[tuple[str, str, dict[str, tuple[str, str]]], ...] = (
    (
        "loss",
        "log",
        {
            "loss": ("total", canvas.BLACK),
            "loss_newton": ("Newton", canvas.BLUE),
            "loss_score": ("score", canvas.ORANGE),
            "loss_initial": ("initial", canvas.GREEN),
        },
    ),
    ("learning rate", "linear", {"learning_rate": ("", canvas.BLUE)}),
    ("gradient norm", "log", {"gradient_norm": ("", canvas.BLUE)}),
)
_MARCH: tuple[tuple[str, str, dict[str, tuple[str, str]]], ...] = (
    ("residual", "log", {"residual": ("", canvas.BLUE)}),
    (
        "step",
        "log",
        {"dt": ("length (time)", canvas.BLUE), "step_error": ("error", canvas.ORANGE)},
    ),
    (
        "fraction",
        "linear",
        {
            "effective_fraction": ("effective walkers", canvas.BLUE),
            "acceptance": ("accepted steps", canvas.ORANGE),
        },
    ),
    ("energy of\nthe walkers", "linear", {"energy": ("", canvas.BLUE)}),
    (
        "eigenvalues",
        "log",
        {
            "eigenvalue_largest": ("largest", canvas.BLUE),
            "eigenvalue_smallest": ("smallest kept", canvas.ORANGE),
        },
    ),
    ("kept\ndirections", "linear", {"rank": ("", canvas.BLUE)}),
)


def training_figure(run: RunToPlot) -> Figure | None:
    """Loss and its parts (mean squares of the residuals), learning rate and gradient norm over epochs."""
    group = run.results.get("training")
    if group is None or "loss" not in group:
        return None
    drawn = _drawable(group, _TRAINING)
    figure, body = canvas.canvas(run, PANEL * (len(drawn) + 1.0) + 0.5, bands=False)
    axes = body.subplots(
        len(drawn), 1, sharex=True, squeeze=False, height_ratios=[2.0, *[1.0] * (len(drawn) - 1)]
    )[:, 0]
    _draw(axes, group, "epoch", drawn)
    axes[-1].set_xlabel("epoch")
    axes[-1].xaxis.get_major_locator().set_params(integer=True)
    if "seconds" in group:
        seconds = float(group["seconds"][-1])
        axes[0].set_title(f"{len(group['epoch'])} records, {seconds:.4g} s", loc="right")
    body.align_ylabels(axes)
    return figure


def march_figure(run: RunToPlot) -> Figure | None:
    """Residual, steps, walkers, energy and eigenvalues along a march or another propagation."""
    group = run.results.get("march") or run.results.get("propagation")
    if group is None or "step_time" not in group:
        return None
    drawn = _drawable(group, _MARCH)
    figure, body = canvas.canvas(run, PANEL * len(drawn) + 0.4, bands=False)
    axes = body.subplots(len(drawn), 1, sharex=True, squeeze=False)[:, 0]
    _draw(axes, group, "step_time", drawn)
    if "drawn_anew" in group:
        for time in group["step_time"][1:][np.diff(group["drawn_anew"]) > 0]:
            for ax in axes:
                ax.axvline(time, color=canvas.GREY, linewidth=0.6, linestyle=":")
    axes[-1].set_xlabel("time $t$ (dotted: walkers drawn anew)" if _anew(group) else "time $t$")
    axes[-1].set_xlim(group["step_time"][0], group["step_time"][-1])
    body.align_ylabels(axes)
    return figure


def ranks_figure(run: RunToPlot) -> Figure | None:
    """Ranks and entropies of the bonds of tensor layers, over epochs; None where no layer has bonds."""
    group = run.results.get("training")
    if group is None or "rank" not in group:
        return None
    figure, body = canvas.canvas(run, 3.4, bands=False)
    axes = body.subplots(2, 1, sharex=True)
    labels = group["bond"] if len(group["bond"]) <= canvas.MOST_LINES else [None] * len(group["bond"])
    for number, label in enumerate(labels):
        line = {
            "color": canvas.COLORS[number % len(canvas.COLORS)],
            "linestyle": ("-", "--", ":")[number // len(canvas.COLORS) % 3],
            "drawstyle": "steps-post",
            "marker": _marker(group["epoch"]),
        }
        for ax, name in zip(axes, ("rank", "bond_entropy"), strict=True):
            ax.plot(group["epoch"], group[name][:, number], label=label, **line)
    axes[0].set_ylabel("rank of a bond")
    axes[1].set(ylabel="entropy of a bond (nats)", xlabel="epoch")
    axes[1].xaxis.get_major_locator().set_params(integer=True)
    for ax in axes:
        ax.set_ylim(bottom=0.0)
    axes[0].yaxis.get_major_locator().set_params(integer=True)
    canvas.legend_above(body, axes)
    body.align_ylabels(axes)
    return figure


def _drawable(
    group: Group, panels: tuple[tuple[str, str, dict[str, tuple[str, str]]], ...]
) -> list[tuple[str, str, dict[str, tuple[str, str]]]]:
    """The panels, without curves that are missing, never finite, or never positive on a logarithmic axis."""
    found = []
    for label, scale, curves in panels:
        there = {
            name: look
            for name, look in curves.items()
            if name in group and np.any(group[name] > 0.0 if scale == "log" else np.isfinite(group[name]))
        }
        if there:
            found.append((label, scale, there))
    return found


def _draw(
    axes: NDArray[Any], group: Group, x: str, panels: list[tuple[str, str, dict[str, tuple[str, str]]]]
) -> None:
    for ax, (label, scale, curves) in zip(axes, panels, strict=True):
        for name, (legend, color) in curves.items():
            values = group[name]
            if scale == "log":
                values = np.where(values > 0.0, values, np.nan)  # a zero has no logarithm
            line = {"color": color, "linewidth": 0.9, "marker": _marker(group[x])}
            ax.plot(group[x], values, label=legend or None, **line)
        ax.set_ylabel(label)
        shown = np.concatenate([group[name] for name in curves])
        shown = shown[shown > 0.0]
        wide = scale == "log" and shown.max() > LEAST_RATIO * shown.min()
        ax.set_yscale("log" if wide else "linear")
        if len(curves) > 1:
            ax.legend(loc="best", ncols=len(curves))
        if "rank" in curves:
            ax.yaxis.get_major_locator().set_params(integer=True)


def _marker(points: NDArray[Any]) -> str | None:
    return "." if len(points) <= FEW else None


def _anew(group: Group) -> bool:
    return "drawn_anew" in group and bool(group["drawn_anew"][-1] > group["drawn_anew"][0])
