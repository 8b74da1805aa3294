"""Names, colours and markers of tensor formats, the same in all tables and pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from dsmsim.analysis.figures import canvas
from tools.reproduce.chapter import Grid, Picture, Words

Columns = Mapping[str, NDArray[Any]]
Block = Words | Grid | Picture

NAMES = {
    "dense": "dense",
    "tt": "tensor train",
    "tr": "ring",
    "lowrank": "low rank",
    "cp": "CP",
    "tucker": "Tucker",
    "blockterm": "block terms",
}
COLORS = {
    "dense": canvas.BLACK,
    "tt": canvas.BLUE,
    "tr": canvas.VERMILION,
    "lowrank": canvas.GREEN,
    "cp": canvas.PURPLE,
    "tucker": canvas.ORANGE,
    "blockterm": canvas.SKY,
}
MARKERS = {
    "dense": "o",
    "tt": "s",
    "tr": "^",
    "lowrank": "v",
    "cp": "D",
    "tucker": "P",
    "blockterm": "X",
}
