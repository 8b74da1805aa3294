"""The drawings of how a solution was found: march, propagation, training; and of its errors over time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsmsim.analysis.loading import RunToPlot
from dsmsim.analysis.report.charts import (
    BLACK,
    BLUE,
    COLORS,
    GREEN,
    ORANGE,
    SKY,
    VERMILION,
    Block,
    Chart,
    curves,
    line,
    over_time,
)

Group = Mapping[str, NDArray[Any]]

MOST_BONDS = 12  # bonds of tensor layers that get a line


def history_blocks(run: RunToPlot) -> list[Block]:
    """How the solution was found: march, propagation, training."""
    found = [_march(run), _propagation(run), _training(run)]
    return [block for block in found if block is not None]


def error_chart(errors: Group, reference: str) -> Chart | None:
    """Errors against a reference over time; None where there are none."""
    if "time" not in errors:
        return None
    known: dict[str, NDArray[Any]] = {"time": errors["time"]}
    for name in ("density_l1", "variance_error"):
        if name in errors:
            size = np.abs(errors[name])
            known[name] = np.where(size > 0.0, size, np.nan)  # a zero has no logarithm
    if "density_l1_floor" in errors:
        known["floor"] = np.full(len(errors["time"]), float(errors["density_l1_floor"]))
    names = (
        ("density_l1", "density, L1", BLUE),
        ("floor", "its sampling floor", SKY),
        ("variance_error", "variance", VERMILION),
    )
    figure = over_time(known, names, "error", log=True)
    return (
        None
        if figure is None
        else Chart(
            f"errors against {reference} over time: densities in L1, variance relative", figure, wide=True
        )
    )


def _march(run: RunToPlot) -> Block | None:
    group = run.results.get("march")
    if group is None or "step_time" not in group:
        return None
    known = {**group, "time": group["step_time"]}
    panels = (
        ("residual", "residual", "part of the equations of motion that no parameter follows"),
        ("energy", "energy", "energy of the walkers"),
        ("energy_deviation", "energy", "rms fluctuation of the local energy"),
        ("effective_fraction", "fraction", "effective fraction of the walkers"),
    )
    charts = [
        Chart(caption, figure)
        for name, label, caption in panels
        if (figure := over_time(known, [(name, name, BLUE)], label)) is not None
    ]
    return Block("The march", "What the fields did step by step in time.", charts)


def _propagation(run: RunToPlot) -> Block | None:
    group = run.results.get("propagation")
    if group is None or "step_time" not in group:
        return None
    known = {**group, "time": group["step_time"]}
    charts = [
        Chart(caption, figure)
        for name, caption in (
            ("residual", "part of the local energy's fluctuation that no parameter follows"),
            ("energy_deviation", "rms fluctuation of the local energy"),
        )
        if (figure := over_time(known, [(name, name, BLUE)], name)) is not None
    ]
    return (
        Block("The propagation", "What the parameters did step by step in time.", charts) if charts else None
    )


def _training(run: RunToPlot) -> Block | None:
    group = run.results.get("training")
    if group is None or "loss" not in group or len(group["epoch"]) < 2:
        return None
    epoch = np.asarray(group["epoch"], dtype=np.float64)

    def drawn(names: tuple[tuple[str, str, str], ...]) -> list[list[Any]]:
        # a zero has no logarithm
        return [
            line(epoch, np.where(group[name] > 0.0, group[name], np.nan), legend, color)
            for name, legend, color in names
            if name in group and np.any(group[name] > 0.0)
        ]

    losses = drawn(
        (
            ("loss", "total", BLACK),
            ("loss_newton", "Newton", BLUE),
            ("loss_score", "score", ORANGE),
            ("loss_initial", "initial", GREEN),
        )
    )
    charts = [Chart("loss", curves(epoch, losses, "epoch", "loss", log=True), wide=True)]
    for name, caption in (("gradient_norm", "norm of the gradient"), ("learning_rate", "learning rate")):
        lines = drawn(((name, caption, BLUE),))
        if lines:
            figure = curves(epoch, lines, "epoch", caption, log=name == "gradient_norm")
            charts.append(Chart(caption, figure))
    if "rank" in group and group["rank"].shape[1] <= MOST_BONDS:
        ranks = [
            line(epoch, group["rank"][:, k], str(name), COLORS[k % len(COLORS)])
            for k, name in enumerate(group["bond"])
        ]
        charts.append(Chart("ranks of the bonds of tensor layers", curves(epoch, ranks, "epoch", "rank")))
    return Block("The training", "", charts)
