"""Published counts of parameters of tensor layers, beside those of the layers of this program themselves.

Nothing is trained: every layer is made, and its numbers are counted. A published figure is met if ours,
rounded (or cut off) to as many digits, is the same.

Sources:
    Hrinchuk et al., "Tensorized embedding layers" (2020), and the tensor rings compared with them: tables of
    25,000 x 256
    Yang, Krompass and Tresp, "Tensor-train recurrent neural networks for video classification" (2017): frames
    of 160 x 120 x 3 into 256 hidden numbers at rank 4
    Garipov et al., "Ultimate tensorization" (2016): convolutions 3 x 3 of a network for CIFAR-10, with shapes
    and ranks of the authors' program (github.com/timgaripov/TensorNet-TF, nets/TT-conv.py). The article has
    2.02 for a whole network whose ranks are not those of the program.
    Gao et al., "Compressing deep neural networks by matrix product operators" (2020): the matrices of VGG-16,
    with shapes and rank of the authors' program (github.com/zfgao66/deeplearning-mpo)

Shapes: L layers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from dsmsim.tensor import TTGRU, TTLSTM, TREmbedding, TTConv2d, TTEmbedding, TTLinear
from tools.reproduce.measuring import Columns

ROWS, COLUMNS = 25000, 256
EMBEDDINGS: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = (
    ((25, 30, 40), (4, 8, 8)),
    ((10, 10, 15, 20), (4, 4, 4, 4)),
    ((5, 5, 5, 5, 6, 8), (2, 2, 2, 2, 4, 4)),
)
# how many times fewer numbers, by kind and rank, in the order of EMBEDDINGS
EMBEDDED: tuple[tuple[str, int, tuple[str, str, str]], ...] = (
    ("TT", 16, ("93", "232", "441")),
    ("TT", 8, ("341.9", "869.6", "1687.8")),
    ("ring", 16, ("45", "109", "215")),
    ("ring", 8, ("151.5", "454.5", "1041.7")),
)
# modes of the channels in and out, ranks, and how many such layers the network has
CONVOLUTIONS: tuple[tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], int], ...] = (
    ((4, 4, 4), (4, 4, 4), (22, 20, 20), 1),
    ((4, 4, 4), (4, 8, 4), (27, 22, 22), 1),
    ((4, 8, 4), (4, 8, 4), (23, 23, 23), 3),
)
MATRICES: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = (
    ((2, 8, 8, 8, 2), (2, 8, 8, 8, 2)),
    ((2, 8, 8, 8, 2), (2, 8, 8, 8, 2)),
    ((4, 4, 4, 4, 2), (4, 4, 8, 8, 4)),
    ((4, 4, 8, 8, 4), (4, 4, 8, 8, 4)),
    ((4, 4, 8, 8, 4), (1, 10, 1, 1, 1)),
)
TIMES, NUMBERS, SHARE = "times fewer numbers", "numbers", "share of the numbers"


@dataclass(frozen=True)
class Count:
    """A layer, or layers together, with what was published.

    Attributes:
        source: first author and year.
        layer: words for the table.
        shape: its modes, or its sizes.
        rank: words.
        dense, ours: numbers of the dense layers and of the tensor layers, without biases.
        what: which of TIMES, NUMBERS and SHARE was published.
        published: as it is written there; "" where there is nothing.
    """

    source: str
    layer: str
    shape: str
    rank: str
    dense: int
    ours: int
    what: str
    published: str

    @property
    def value(self) -> float:
        """Ours, of what was published."""
        return {TIMES: self.dense / self.ours, NUMBERS: self.ours, SHARE: self.ours / self.dense}[self.what]

    @property
    def met(self) -> str:
        """ "yes", "no", or "" where nothing was published."""
        if not self.published:
            return ""
        digits = len(self.published.partition(".")[2])
        scaled = self.value * 10.0**digits
        near = {math.floor(scaled), round(scaled)} if self.what == TIMES and digits == 0 else {round(scaled)}
        return "yes" if round(float(self.published.replace(",", "")) * 10.0**digits) in near else "no"


def counts(directory: Path) -> Columns:
    """All of them: a column for every attribute of `Count`, with `value` (L,) and `met` (L,)."""
    found = list(all_counts())
    columns = {name: [getattr(count, name) for count in found] for name in (*Count.__annotations__, "met")}
    return Columns(columns | {"value": [count.value for count in found]})


def all_counts() -> Iterator[Count]:
    """Every layer with a published count."""
    for kind, rank, figures in EMBEDDED:
        for (rows, columns), figure in zip(EMBEDDINGS, figures, strict=True):
            # all bonds have the rank, as published, also those that fewer would describe exactly
            bonds = [rank] * (len(rows) - 1 if kind == "TT" else len(rows) + 1)
            make = TTEmbedding if kind == "TT" else TREmbedding
            layer = make(ROWS, COLUMNS, rank=bonds, modes_rows=rows, modes_columns=columns)
            yield Count(
                "Hrinchuk 2020" if kind == "TT" else "rings after Hrinchuk 2020",
                f"{kind} embedding, 25,000 x 256",
                f"{modes(rows)} x {modes(columns)}",
                str(rank),
                ROWS * COLUMNS,
                numbers(layer),
                TIMES,
                figure,
            )
    for name, recurrent, published in (("TT-GRU", TTGRU, "3,232"), ("TT-LSTM", TTLSTM, "3,360")):
        net = recurrent(57600, 256, rank=4, modes_in=(8, 20, 20, 18), modes_hidden=(4, 4, 4, 4))
        matrix = net.get_submodule("weight_ih_l0")
        yield Count(
            "Yang 2017",
            f"{name}, 57,600 inputs, 256 hidden",
            "(8, 20, 20, 18) x (4, 4, 4, 4)",
            "4",
            57600 * 256 * net.gates,
            numbers(matrix),
            NUMBERS,
            published,
        )
    dense, own = 0, 0
    for channels_in, channels_out, ranks, times in CONVOLUTIONS:
        into, out = math.prod(channels_in), math.prod(channels_out)
        convolution = TTConv2d(
            into, out, 3, bias=False, rank=ranks, modes_in=channels_in, modes_out=channels_out
        )
        dense, own = dense + 9 * into * out * times, own + numbers(convolution) * times
        yield Count(
            "Garipov 2016, program",
            f"TT convolution 3 x 3, {into} to {out} channels",
            f"{modes(channels_in)} x {modes(channels_out)}",
            modes(ranks),
            9 * into * out,
            numbers(convolution),
            TIMES,
            "",
        )
    words = "the convolutions of the network together"
    yield Count("Garipov 2016, program", words, "the last one three times", "", dense, own, TIMES, "")
    dense, own = 0, 0
    for modes_in, modes_out in MATRICES:
        into, out = math.prod(modes_in), math.prod(modes_out)
        dense += into * out
        own += numbers(TTLinear(into, out, modes_in, modes_out, [4] * (len(modes_in) - 1), bias=False))
    yield Count(
        "Gao 2020, program",
        "the matrices of VGG-16 as MPOs",
        "five matrices",
        "4",
        dense,
        own,
        SHARE,
        "0.0005",
    )


def numbers(layer: nn.Module) -> int:
    """Parameters."""
    return sum(parameter.numel() for parameter in layer.parameters())


def modes(factors: Sequence[int]) -> str:
    """As they are printed."""
    return f"({', '.join(str(factor) for factor in factors)})"
