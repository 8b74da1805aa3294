"""Bosons: errors of networks of few numbers, dense and as tensors, against the exact solution."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dsmsim.analysis import Entry
from dsmsim.analysis.figures import canvas
from tools.reproduce.chapter import Grid, Picture, Words
from tools.reproduce.rows import Value, over_seeds
from tools.reproduce.sections.tensor_styles import COLORS, MARKERS, NAMES, Block
from tools.reproduce.task import Task
from tools.reproduce.wording import number, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ALIKE = 0.15  # networks whose numbers differ by less are compared with each other
ASIDE = {"tr": 1.03, "lowrank": 1.06}  # in the picture, so that as many numbers do not hide each other


@dataclass(frozen=True)
class Trained:
    """A network of bosons with its errors, over the seeds that were run.

    Attributes:
        label, format: for tables and for colours.
        parameters, gradient_bytes: None where nothing was run.
        variance, density, u, v: relative error of Var x_1 in per cent and L1 distance of the density, both
            averaged over time, and relative L2 errors of the osmotic and the current velocity.
        floor: of the density: what an exact sampler of as many samples would show.
        seconds, training: CPU seconds of everything, and of training alone.
    """

    label: str
    format: str
    parameters: int | None = None
    gradient_bytes: int | None = None
    variance: Value | None = None
    density: Value | None = None
    u: Value | None = None
    v: Value | None = None
    floor: float | None = None
    seconds: float | None = None
    training: float | None = None

    @classmethod
    def of(cls, label: str, format: str, found: Sequence[Entry | None]) -> Trained:
        """From the runs of all seeds; None where one is missing."""
        entries = [entry for entry in found if entry is not None]
        if not entries:
            return cls(label, format)
        about = entries[0].stored.attributes
        networks = [
            value["parameters"]
            for key, value in about.items()
            if key.startswith("model/") and "parameters" in value
        ]

        def error(name: str, scale: float = 1.0) -> Value | None:
            values = [scale * float(entry.errors[name]) for entry in entries if name in entry.errors]
            bars = [
                scale * float(entry.errors[f"{name}_stderr"])
                for entry in entries
                if f"{name}_stderr" in entry.errors
            ]
            return over_seeds(values, bars[0] if bars else None)

        density = error("density_l1_floor")
        costs = [entry.cpu_seconds for entry in entries if entry.cpu_seconds is not None]
        solving = [entry.solve_cpu_seconds for entry in entries if entry.solve_cpu_seconds is not None]
        return cls(
            label,
            format,
            int(sum(networks)),
            int(about["training"]["gradient_bytes"]),
            error("variance_error_mean", 100.0),
            error("density_l1_mean"),
            error("E_u"),
            error("E_v_field"),
            None if density is None else density.value,
            float(np.mean(costs)) if costs else None,
            float(np.mean(solving)) if solving else None,
        )


@dataclass(frozen=True)
class Problem:
    """One problem of bosons: its title, a run whose command is shown, and its networks."""

    title: str
    example: Task
    networks: Sequence[Trained]


def boson_blocks(problems: Sequence[Problem]) -> list[Block]:
    """Errors, numbers, gradient bytes and seconds for every problem, and one picture."""
    there = [problem for problem in problems if any(each.parameters for each in problem.networks)]
    if not there:
        return []
    blocks: list[Block] = [
        Words(
            "### Bosons\n\nNetworks of as many numbers, dense and with decomposed hidden layers, trained "
            "alike. Errors are against the exact solution: Var x₁ and density averaged over time, and of the "
            "osmotic and the current velocity u, v over samples. ± is the deviation over seeds, or for one "
            "seed the standard error where there is one. Gradient: what ranks sum in every step of a "
            "first-order optimiser. Factors below the tables are errors over those of the dense network of "
            "as many numbers, below 1 in favour of tensors."
        )
    ]
    header = (
        *("network", "numbers", "gradient, bytes", "Var x₁, %", "density L1", "sampling alone"),
        *("u, relative L2", "v, relative L2", "CPU s (training)", "seeds"),
    )
    for problem in there:
        cells = [
            [
                each.label,
                "-" if each.parameters is None else f"{each.parameters:,}",
                "-" if each.gradient_bytes is None else f"{each.gradient_bytes:,}",
                number(each.variance),
                number(each.density),
                "-" if each.floor is None else f"{each.floor:.2g}",
                number(each.u),
                number(each.v),
                f"{shown(each.seconds)} ({shown(each.training)})" if each.seconds else "-",
                "-" if each.density is None else str(each.density.count),
            ]
            for each in sorted(problem.networks, key=lambda each: each.parameters or 0)
        ]
        blocks += [
            Words(f"### {problem.title}\n\n`{problem.example.command}` and likewise:"),
            Grid(header, cells),
        ]
        said = boson_sentence(problem.networks)
        blocks += [Words(said)] if said else []
    caption = (
        "Errors against the number of parameters: Var x₁, density (dotted: what sampling alone shows), and "
        "osmotic velocity u; bars: deviation over seeds, or for one seed the standard "
        "error; networks of as many numbers are drawn a little aside"
    )
    return [*blocks, Picture("tensors_bosons", caption, boson_figure(there))]


def boson_sentence(networks: Sequence[Trained]) -> str:
    """Tensor layers beside the dense network of as many numbers: said for every one of them."""
    dense = [each for each in networks if each.format == "dense" and each.parameters]
    sentences = []
    for each in networks:
        if each.format == "dense" or not each.parameters or each.density is None:
            continue
        size = each.parameters
        near = [own for own in dense if abs((own.parameters or 0) - size) <= ALIKE * size]
        if not near:
            continue
        own = min(near, key=lambda own: abs((own.parameters or 0) - size))
        parts = [
            f"{compared(ours, theirs)} {word}"
            for word, ours, theirs in (
                ("density", each.density, own.density),
                ("Var x₁", each.variance, own.variance),
                ("velocity u", each.u, own.u),
            )
            if ours is not None and theirs is not None
        ]
        cost = each.training / own.training if each.training and own.training else None
        seconds = "" if cost is None else f", at {cost:.2g} times the CPU seconds of training"
        sentences.append(f"{each.label} against {own.label}: {', '.join(parts)}{seconds}.")
    return "\n".join(f"- {sentence}" for sentence in sentences)


def compared(ours: Value, theirs: Value) -> str:
    """The ratio of two errors, with its own bar where both have one."""
    ratio = ours.value / theirs.value
    if ours.bar and theirs.bar:
        bar = ratio * float(np.hypot(ours.bar / ours.value, theirs.bar / theirs.value))
        return f"{ratio:.2f} ± {bar:.2f} in"
    return f"{ratio:.2f} in"


def boson_figure(problems: Sequence[Problem]) -> Figure:
    """A row of panels for every error, a column for every problem."""
    figure = Figure(figsize=(7.0, 5.4), layout="constrained")
    panels: NDArray[Any] = figure.subplots(3, len(problems), sharex="col", squeeze=False)
    seen: dict[str, Any] = {}
    for column, problem in enumerate(problems):
        for row, name in enumerate(("variance", "density", "u")):
            axes: Axes = panels[row, column]
            for each in problem.networks:
                value: Value | None = getattr(each, name)
                if value is None or each.parameters is None:
                    continue
                seen[each.format] = axes.errorbar(
                    [each.parameters * ASIDE.get(each.format, 1.0)],
                    [value.value],
                    None if value.bar is None else [value.bar],
                    color=COLORS[each.format],
                    marker=MARKERS[each.format],
                    linestyle="",
                    capsize=2.0,
                )
            axes.set_ylim(0.0, 1.1 * max(axes.get_ylim()[1], sys.float_info.min))
            axes.margins(x=0.2)
        panels[0, column].set_title(problem.title)
        panels[2, column].set_xlabel("numbers in the network")
        floors = [each.floor for each in problem.networks if each.floor is not None]
        if floors:
            panels[1, column].axhline(floors[0], color=canvas.GREY, linestyle=":")
    for row, label in enumerate(
        ("Var x$_1$, relative error, %", "density, L1 distance", "u, relative error")
    ):
        panels[row, 0].set_ylabel(label)
    handles = [seen[form] for form in NAMES if form in seen]
    figure.legend(
        handles, [NAMES[form] for form in NAMES if form in seen], loc="outside lower center", ncols=5
    )
    return figure
