"""Published counts of numbers, bytes of gradients, and what was published and cannot be run here.

Shapes: R rows of a measurement.
"""

from __future__ import annotations

import numpy as np

from tools.reproduce.chapter import Grid, Words
from tools.reproduce.measurements.layers_table import NUMBERS
from tools.reproduce.sections.tensor_styles import NAMES, Block, Columns

PUBLISHED_ONLY = (
    (
        "bi-LSTM, IMDB",
        "dense; TT, rank 16, three shapes; ring, rank 16",
        "0.886; 0.871, 0.888, 0.897; 0.869, 0.872, 0.884",
    ),
    ("bi-LSTM, SST", "dense; TT; ring", "0.374; 0.415, 0.411, 0.399; 0.427, 0.411, 0.394"),
    ("GRU, UCF11 video", "dense, 44,236,800 numbers; TT-GRU, 3,232", "0.488; 0.813"),
    ("VGG-16 and VGG-19, CIFAR-10", "MPO, about 0.0005 of the linear part", "93.76 %, 93.80 %"),
    ("convolutional network, CIFAR-10", "TT convolutions, 2.02 times fewer numbers", "89.9 %"),
    ("convolutional network, CIFAR-10", "dense convolutions, TT fully connected, 10.7 times fewer", "90.3 %"),
)


def count_blocks(counts: Columns | None) -> list[Block]:
    """Published counts beside those of the layers."""
    if counts is None:
        return []
    cells = []
    for k, what in enumerate(counts["what"]):
        value = float(counts["value"][k])
        figure = f"{value:.2g}" if value < 1.0 else f"{value:,.0f}" if what == NUMBERS else f"{value:.1f}"
        cells.append(
            [
                str(counts["layer"][k]),
                str(counts["shape"][k]),
                str(counts["rank"][k]),
                f"{counts['dense'][k]:,}",
                f"{counts['ours'][k]:,}",
                str(counts["published"][k]) or "-",
                f"{figure} {what}",
                str(counts["met"][k]) or "-",
                str(counts["source"][k]),
            ]
        )
    met = list(counts["met"])
    published = len(met) - met.count("")
    words = (
        "### Counts\n\nLayers of `dsmsim.tensor` are made in the published shapes and ranks and their "
        f"numbers counted. {met.count('yes')} of {published} published figures are met to their last digit. "
    )
    missed = [k for k, each in enumerate(met) if each == "no"]
    if any("ring" in str(counts["layer"][k]) for k in missed):
        words += "Those of rings at rank 16 do not follow from one rank at all bonds, those at rank 8 do. "
    if any("VGG" in str(counts["layer"][k]) for k in missed):
        words += 'The share of VGG-16 is published as "about". '
    header = ("layer", "shape", "rank", "dense", "ours", "published", "which is", "same", "source")
    return [Words(words), Grid(header, cells)]


def byte_blocks(sums: Columns | None) -> list[Block]:
    """Bytes of a step against the width."""
    if sums is None:
        return []
    cells = []
    for width in np.unique(sums["width"]):
        own = [k for k, each in enumerate(sums["width"]) if each == width]
        by_format = {str(sums["format"][k]): int(sums["bytes"][k]) for k in own}
        dense = by_format.get("dense")
        line = [f"{width}", "-" if dense is None else f"{dense:,}"]
        for form in ("tt", "tr", "lowrank"):
            size = by_format.get(form)
            times = "" if dense is None or size is None else f" ({dense / size:.1f} times less)"
            line.append("-" if size is None else f"{size:,}{times}")
        cells.append(line)
    ranks = {str(form): int(rank) for form, rank in zip(sums["format"], sums["rank"], strict=True)}
    header = [
        "width",
        "dense",
        *(f"{NAMES[form]}, rank {ranks.get(form, 0)}" for form in ("tt", "tr", "lowrank")),
    ]
    words = (
        "### Gradients between ranks\n\nBytes that ranks sum in one step of training (three hidden layers, "
        "single precision), counted in a real step."
    )
    return [Words(words), Grid(header, cells)]


def not_run() -> list[Block]:
    """Published accuracies whose data are not at hand."""
    words = (
        "### Published, not run\n\nThese accuracies need texts, videos and images that do not come with any "
        "package this program uses. They are quoted, so that nobody looks for them in vain; the layers are "
        "there (`TTEmbedding`, `TREmbedding`, `TTLSTM`, `TTGRU`, `TTConv2d`), and their counts stand above."
    )
    cells = [[*each, "not run: data not at hand"] for each in PUBLISHED_ONLY]
    return [Words(words), Grid(("what", "layers", "published accuracy", "ours"), cells)]
