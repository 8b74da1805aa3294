"""How a tensor-decomposed matrix is best applied: rebuilt and multiplied, or one core after the other.

Multiply-adds alone do not decide: a dense product runs at the machine's peak, the products with cores are
thin and live on memory traffic. A step of `work.steps` is therefore priced, in multiply-adds of a dense
product, at

    f n (p q s + ELEMENT (p + q) s)         what is computed, and what is read and written
      + f n THIN (p + q) s                  where 1 < s < 16: batched products are slow, so columns are copied
      + n GRADIENT p q                      with a backward pass and s > 1: one gradient of the matrix each

and a rebuilt matrix at f (its multiply-adds + COPY O I), with f = 3 if a backward pass follows, else 1. The
constants were measured with torch 2.13 on one core of an x86 processor with AVX-512, widths 512 and 1024,
ranks 1 .. 32 (`tools/bench/tensor_layers.py`).

Shapes: O outputs, I inputs; n, p, q, s as in `work`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from dsmsim.tensor_shapes.work import (
    DIRECTIONS,
    Chain,
    Direction,
    Sizes,
    Step,
    chain,
    groupings,
    product_work,
    steps,
)

Kind = Literal["rebuild", "sequential"]
Choice = Literal["auto", "rebuild", "sequential"]

ELEMENT = 8.0
THIN = 22.0
GRADIENT = 40.0
COPY = 16.0
THIN_BELOW = 16
CHUNK_ELEMENTS = 2**19  # of the widest intermediate: what a core's second-level cache holds


@dataclass(frozen=True)
class Strategy:
    """How to apply a matrix to so many rows, and what it costs.

    Attributes:
        kind: rebuild W and take a dense product, or apply the cores one after the other.
        grouping: sizes of the groups of neighbouring cores that are merged first.
        direction: the end from which the cores are applied (no meaning when W is rebuilt).
        multiply_adds: of everything, for all rows; three times the forward pass if a backward pass follows.
        dense_multiply_adds: of `nn.Linear`, likewise.
        time: what it is expected to take, in units of `nn.Linear`.
        chunk_rows: rows to be applied at a time.
    """

    kind: Kind
    grouping: Sizes
    direction: Direction
    multiply_adds: int
    dense_multiply_adds: int
    time: float
    chunk_rows: int

    def __str__(self) -> str:
        share = self.multiply_adds / self.dense_multiply_adds
        how = "rebuilt" if self.kind == "rebuild" else f"cores {self.grouping} from {self.direction}"
        return f"{how}: {share:.2g} of the multiply-adds of a dense layer, about {self.time:.2g} of its time"


def is_thin(columns: int) -> bool:
    """Whether matrices of so many columns are too thin for a batched product."""
    return 1 < columns < THIN_BELOW


@lru_cache(maxsize=4096)
def plan(
    format: str,
    modes_out: Sizes,
    modes_in: Sizes,
    ranks: Sizes,
    rows: int,
    backward: bool,
    kept: bool = False,
    choice: Choice = "auto",
) -> Strategy:
    """The strategy that should be fastest.

    Args:
        format, modes_out, modes_in, ranks: as in `work.chain`.
        rows: number of vectors that the matrix is applied to.
        backward: whether derivatives with respect to input and cores are going to be taken.
        kept: whether W is at hand already and need not be rebuilt.
        choice: "auto", or the kind that it has to be.
    """
    rows, times = max(rows, 1), 3 if backward else 1
    dense = Step(rows, math.prod(modes_out), math.prod(modes_in), 1)
    found = []
    for grouping in groupings(format, len(modes_out)):
        cores = chain(format, modes_out, modes_in, ranks, grouping)
        if len(grouping) == 2 and choice != "sequential":
            found.append(_rebuild(cores, grouping, dense, times, kept))
        if choice != "rebuild":
            found += [_sequential(cores, grouping, dense, times, direction) for direction in DIRECTIONS]
    return min(found, key=lambda strategy: strategy.time)


def _rebuild(cores: Chain, grouping: Sizes, dense: Step, times: int, kept: bool) -> Strategy:
    work = 0 if kept else cores.multiply_adds + product_work(cores)
    copies = 0.0 if kept else COPY * dense.p * dense.q
    price = _price(dense, times)
    whole = times * (work + dense.multiply_adds)
    time = 1.0 + times * (work + copies) / price
    return Strategy("rebuild", grouping, "left to right", whole, times * dense.multiply_adds, time, dense.n)


def _sequential(cores: Chain, grouping: Sizes, dense: Step, times: int, direction: Direction) -> Strategy:
    rows, own = dense.n, steps(cores, direction)
    widest = max(_elements(step, times) for step in own)
    chunk = min(rows, max(1, int(CHUNK_ELEMENTS / widest)))
    work = cores.multiply_adds + rows * sum(step.multiply_adds for step in own)
    price = times * cores.multiply_adds + rows * sum(_price(step, times) for step in own)
    if chunk < rows:  # the chunks are put together again
        price += times * ELEMENT * rows * (dense.p + dense.q)
    time = price / _price(dense, times)
    return Strategy("sequential", grouping, direction, times * work, times * dense.multiply_adds, time, chunk)


def _price(step: Step, times: int) -> float:
    """What a step costs, in multiply-adds of a dense product."""
    n, p, q, s = step
    traffic = (ELEMENT + (THIN if is_thin(s) else 0.0)) * (p + q) * s
    gradient = GRADIENT * p * q if times > 1 and s >= THIN_BELOW else 0.0
    return n * (times * (p * q * s + traffic) + gradient)


def _elements(step: Step, times: int) -> int:
    """Entries that a row needs at a step: the result, or the gradients of the matrix."""
    n, p, q, s = step
    return n * max(p * s, q * s, p * q if times > 1 and s >= THIN_BELOW else 0)
