"""Handwritten digits: accuracy against the share of the weights.

Shapes: R rows of a measurement, S seeds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dsmsim.analysis.figures import canvas
from tools.reproduce.chapter import Grid, Picture, Words
from tools.reproduce.rows import Value, over_seeds
from tools.reproduce.sections.tensor_styles import COLORS, MARKERS, NAMES, Block, Columns
from tools.reproduce.wording import number, shown

# Gao et al. (2020), LeNet-5 on MNIST, dense and as MPO: per cent, its bar, share of the weights
LENET_DENSE, LENET_MPO = (99.17, 0.04, 1.0), (99.17, 0.02, 0.05)
BAYESIAN = 137.0  # Hawkins and Zhang (2019), MNIST: times fewer numbers with ranks found in training


def digit_blocks(images: Mapping[str, Columns | None], ranks: Columns | None) -> list[Block]:
    """Accuracy of digits against numbers."""
    dense, there = images.get("dense"), {form: each for form, each in images.items() if each is not None}
    if not there:
        return []
    cells = []
    for form, each in there.items():
        for k, rank in enumerate(each["rank"]):
            if form == "dense" and rank < 256:
                continue  # narrow networks stand beside the tensors
            narrow = None if form == "dense" else narrow_of(dense, int(each["parameters"][k]))
            cells.append(
                [
                    NAMES[form],
                    "-" if form == "dense" else str(rank),
                    f"{each['weights'][k]:,}",
                    f"{each['share'][k]:.4f}",
                    accuracy_of(each["accuracy"][k]),
                    shown(float(each["seconds"][k])),
                    "-" if narrow is None else narrow[0],
                    "-" if narrow is None else number(narrow[1]),
                ]
            )
    if ranks is not None:
        for k, adapter in enumerate(ranks["adapter"]):
            weights, share = ranks["weights"][k], float(np.mean(ranks["share"][k]))
            cells.append(
                [
                    "tensor train, rank found",
                    str(adapter),
                    f"{np.mean(weights):,.0f}",
                    f"{share:.4f}",
                    accuracy_of(ranks["accuracy"][k]),
                    shown(float(ranks["seconds"][k])),
                    "-",
                    "-",
                ]
            )
    for title, (value, bar, share) in (("dense", LENET_DENSE), ("MPO", LENET_MPO)):
        label = f"published: {title} LeNet-5, MNIST"
        cells.append([label, "-", "-", f"{share:g}", f"{value} ± {bar}", "-", "-", "-"])
    header = (
        "network",
        "rank",
        "weights",
        "share",
        "accuracy, %",
        "CPU s",
        "as many numbers, narrow dense",
        "its accuracy, %",
    )
    words = (
        "### Handwritten digits\n\n784 → 256 → 10, both matrices in the MPO shapes (4, 7, 7, 4) x "
        "(4, 4, 4, 4) and (4, 4, 4, 4) x (1, 10, 1, 1) of FC2 of Gao et al. (2020). The images are "
        "scikit-learn's 1,797 of 8 x 8 pixels, enlarged: they come with the package. The published lines are "
        "of other data (MNIST) and another network, and stand there for orientation only. ± is the deviation "
        "over seeds. "
        "Share: weights over those of the dense network."
    )
    blocks: list[Block] = [Words(words), Grid(header, cells), Words(digits_sentence(there, ranks))]
    return [*blocks, Picture("tensors_digits", digits_caption(there), digits_figure(there))]


def narrow_of(dense: Columns | None, parameters: int) -> tuple[str, Value | None] | None:
    """The narrowest dense network with no fewer numbers: its hidden units in words, and its accuracy."""
    if dense is None:
        return None
    fits = [k for k, size in enumerate(dense["parameters"]) if size >= parameters]
    if not fits:
        return None
    k = min(fits, key=lambda k: int(dense["parameters"][k]))
    units = int(dense["rank"][k])
    words = f"{dense['parameters'][k]:,} ({units} unit{'s' if units > 1 else ''})"
    return words, percent(dense["accuracy"][k])


def accuracy_of(accuracies: NDArray[Any]) -> str:
    """For the table: a tenth of a per cent is less than one image."""
    value = percent(accuracies)
    return "-" if value is None else number(value) if value.bar else f"{value.value:.1f}"


def percent(accuracies: NDArray[Any]) -> Value | None:
    """Mean and deviation over seeds, in per cent."""
    return over_seeds([100.0 * float(each) for each in accuracies])


def digits_sentence(there: Mapping[str, Columns], ranks: Columns | None) -> str:
    """What the table says: the best network below one hundredth of the weights, beside the dense ones."""
    small = [
        (float(each["accuracy"][k].mean()), form, k)
        for form, each in there.items()
        for k, share in enumerate(each["share"])
        if share < 0.01
    ]
    sentences = []
    if small:
        accuracy, form, k = max(small)
        each = there[form]
        text = (
            f"Below one hundredth of the weights the best is {NAMES[form]} of {each['weights'][k]:,} "
            f"weights: {100.0 * accuracy:.1f} %"
        )
        narrow = narrow_of(there.get("dense"), int(each["parameters"][k]))
        if form != "dense" and narrow is not None and narrow[1] is not None:
            text += f", where a dense network of {narrow[0]} has {narrow[1].value:.1f} %"
        if "dense" in there:
            whole = float(there["dense"]["accuracy"][-1].mean())
            text += f" and the dense network of 256 units {100.0 * whole:.1f} %"
        sentences.append(text + ".")
    if ranks is not None:
        k = int(np.argmin(ranks["share"].mean(axis=1)))
        sentences.append(
            f"Where the ranks find themselves, the {ranks['adapter'][k]} adapter leaves "
            f"{1.0 / float(ranks['share'][k].mean()):.0f} times fewer weights at "
            f"{100.0 * float(ranks['accuracy'][k].mean()):.1f} % (published, on MNIST: {BAYESIAN:g} times, "
            "Hawkins and Zhang 2019)."
        )
    return " ".join(sentences)


def digits_caption(there: Mapping[str, Columns]) -> str:
    """What is drawn."""
    seeds = max(each["accuracy"].shape[1] for each in there.values())
    return (
        f"Digits read wrongly against the share of the weights, mean and deviation over {seeds} seed"
        f"{'s' if seeds > 1 else ''}; dashed line: the dense network of 256 units; star: the published MPO "
        "LeNet-5 (other data and network)"
    )


def digits_figure(there: Mapping[str, Columns]) -> Figure:
    """Error against share, every format."""
    figure = Figure(figsize=(7.0, 3.4), layout="constrained")
    axes = figure.subplots()
    least = 0.05  # per cent: what stands for no error at all on a logarithmic axis
    for form, each in there.items():
        wrong = 100.0 * (1.0 - each["accuracy"])
        kept = each["rank"] < 256 if form == "dense" else np.full(len(wrong), True)
        mean, spread = wrong.mean(axis=1), wrong.std(axis=1)
        order = np.argsort(each["share"][kept])
        x, y, bar = (values[kept][order] for values in (each["share"], mean, spread))
        axes.errorbar(
            x,
            np.maximum(y, least),
            np.minimum(bar, 0.9 * np.maximum(y, least)),
            color=COLORS[form],
            marker=MARKERS[form],
            label="narrow dense" if form == "dense" else NAMES[form],
            capsize=2.0,
        )
        if form == "dense" and not kept.all():
            axes.axhline(max(float(mean[~kept][0]), least), color=canvas.BLACK, linestyle="--", linewidth=0.8)
    axes.plot(
        LENET_MPO[2],
        100.0 - LENET_MPO[0],
        "*",
        color=canvas.GREY,
        markersize=9,
        label="published MPO LeNet-5",
    )
    axes.set(
        xscale="log", yscale="log", xlabel="share of the weights of the dense network", ylabel="wrong, %"
    )
    for axis, ticks in (
        (axes.xaxis, (0.002, 0.005, 0.01, 0.02, 0.05)),
        (axes.yaxis, (1, 2, 5, 10, 20, 50, 90)),
    ):
        axis.set_ticks(ticks, [f"{tick:g}" for tick in ticks])
        axis.set_ticks([], minor=True)
    axes.legend(loc="upper right", ncols=2)
    return figure
