"""How a tensor-decomposed matrix is best applied: rebuilt and multiplied, or one core after the other.

Multiply-adds alone do not decide: a dense product runs at the machine's peak, the products with cores are
thin and live on memory traffic and calls. Everything is therefore priced in multiply-adds of a dense product,
with f = 3 if a backward pass follows, else 1. A step of `work.steps` costs

    f (n s (p q + ELEMENT (p + q) + VECTOR) + CALL)     where s = 1: one product; a dense layer is such a step
    the same + f n s COPY (p + q)                       where 1 < s < 16: batched products are slow there, so
                                                        the columns are copied to be one product
    f (n (p q s + ELEMENT (p + q) s + MATRIX) + CALL)   else: a batched product
      + n GRADIENT p q                                  with f = 3: a gradient of the matrix for each of them

and making W costs f (its multiply-adds + COPY O I + CALL for each of the d - 1 products). The constants were
measured with torch 2.13 on one core of an x86 processor with AVX-512: single steps of 4 .. 256 rows and
columns, then whole layers of width 128 .. 1024 (`tools/bench/tensor_layers.py`), whose times they give to
about 15 % at 256 to 4,096 rows, and too low (down to 0.6) at 16,384. For other devices they are a guess;
rows are taken in chunks on processors only.

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

ELEMENT = 8.0  # reading or writing an entry
VECTOR = 350.0  # a row of a product
MATRIX = 2800.0  # a matrix of a batched product
GRADIENT = 40.0  # writing and adding up an entry of a gradient
COPY = 18.0  # of an entry, into another order
CALL = 1e6  # of a few functions of torch: 20 microseconds
THIN = 16
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
        chunk_rows: rows to be applied at a time on a processor, so that what is between stays in its cache.
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
    return 1 < columns < THIN


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
    extra = 0.0 if kept else work + COPY * dense.p * dense.q + CALL * (sum(grouping) - 1)
    time = 1.0 + times * extra / _price(dense, times)
    dense_work = times * dense.multiply_adds
    return Strategy(
        "rebuild", grouping, "left to right", times * work + dense_work, dense_work, time, dense.n
    )


def _sequential(cores: Chain, grouping: Sizes, dense: Step, times: int, direction: Direction) -> Strategy:
    rows = dense.n
    own = [Step(rows * n, p, q, s) for n, p, q, s in steps(cores, direction)]
    chunk = min(rows, max(1, int(CHUNK_ELEMENTS * rows / max(_elements(step, times) for step in own))))
    work = cores.multiply_adds + sum(step.multiply_adds for step in own)
    price = times * (cores.multiply_adds + CALL * (sum(grouping) - len(grouping)))
    price += sum(_price(step, times, math.ceil(rows / chunk)) for step in own)
    if chunk < rows:  # the chunks are put together again
        price += times * ELEMENT * rows * (dense.p + dense.q)
    time = price / _price(dense, times)
    return Strategy("sequential", grouping, direction, times * work, times * dense.multiply_adds, time, chunk)


def _price(step: Step, times: int, calls: int = 1) -> float:
    """What a step costs in so many calls, in multiply-adds of a dense product."""
    n, p, q, s = step
    price = step.multiply_adds + ELEMENT * n * (p + q) * s + CALL * calls
    if 1 < s < THIN:
        price += COPY * n * (p + q) * s
    if s < THIN:
        return times * (price + VECTOR * n * s)
    return times * (price + MATRIX * n) + (GRADIENT * n * p * q if times > 1 else 0.0)


def _elements(step: Step, times: int) -> int:
    """Entries that a step needs: the result, or the gradients of the matrix."""
    n, p, q, s = step
    return n * max(p * s, q * s, p * q if times > 1 and s >= THIN else 0)
