"""[network.tensor]: hidden layers whose weight is decomposed, with ranks given or found in training.

The width x width matrix W is made of the cores of `dsmsim.tensor_shapes.core_shapes`; for a tensor train

    W((o_1..o_d), (i_1..i_d)) = G_1[o_1, i_1] ... G_d[o_d, i_d],  core k of shape (r_{k-1}, out_k, in_k, r_k)

with o_k of modes_out and i_k of modes_in.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field, PlainValidator

from dsmsim.config.fields import Positive, Table, broken_rule, is_number
from dsmsim.tensor_shapes import balanced_modes, core_shapes

LARGEST_RANK = 65_536
# what `dsmsim.tensor.adaptation` offers, and what it does where it is not told (tests compare both)
ADAPTERS = ("rounding", "growth", "shrinkage")
DEFAULT_ADAPTER = "rounding"
DEFAULT_TOLERANCE = 0.2
START_RANKS = {"rounding": 16, "growth": 1, "shrinkage": 16}
ADAPTATIONS = 20  # in a training, where adapt_every = "auto"
CHAINS = ("tt", "tr")  # the formats whose bonds have ranks of their own, which training can change
Shape = tuple[int, ...]


def _count(value: object) -> int | Literal["auto"]:
    if value == "auto":
        return "auto"
    fix = 'write a number, e.g. 8, or "auto"'
    if isinstance(value, bool) or not isinstance(value, int):
        raise broken_rule('must be an integer, without quotes, or "auto"', fix)
    if not 1 <= value <= LARGEST_RANK:
        raise broken_rule(f'must be >= 1 and at most {LARGEST_RANK}, or "auto"', fix)
    return value


def _factor(value: object) -> float | Literal["auto"]:
    if value == "auto":
        return "auto"
    if not isinstance(value, int | float) or not is_number(value) or value <= 0:
        raise broken_rule('must be a finite number > 0, without quotes, or "auto"', "write e.g. 3.0")
    return float(value)


Count: TypeAlias = Annotated[int | Literal["auto"], PlainValidator(_count)]
Factor: TypeAlias = Annotated[float | Literal["auto"], PlainValidator(_factor)]


class TensorTable(Table):
    """[network.tensor]: decomposed hidden layers; absent: dense."""

    format: Literal["tt", "tr", "lowrank", "cp", "tucker", "blockterm"] = Field(
        default="tt",
        description="tt: tensor train (matrix product operator); tr: tensor ring; lowrank: product of two "
        "matrices; cp: sum of products of one factor per mode; tucker: one factor per mode and a core; "
        "blockterm: a sum of such",
    )
    rank: Count = Field(
        description='rank of every bond, cut to the largest that can matter there; "auto": training finds '
        "the rank of every bond (tt and tr)",
        examples=[8],
    )
    modes_out: list[int] | None = Field(
        default=None,
        description="factors of the width for the output of a layer; absent: factorised evenly",
        examples=[[4, 5]],
    )
    modes_in: list[int] | None = Field(
        default=None,
        description="factors of the width for the input of a layer; absent: factorised evenly",
        examples=[[4, 5]],
    )
    blocks: int = Field(default=2, ge=1, le=LARGEST_RANK, description="terms of the sum (blockterm)")
    strategy: Literal["auto", "rebuild", "sequential"] = Field(
        default="auto",
        description="how a layer is applied: weights rebuilt and then dense products, or one core after the "
        "other; auto: what takes less arithmetic (velocity networks; a potential's are always rebuilt)",
    )
    core_rate: Factor = Field(
        default="auto",
        description='learning rate of the cores over that of the other parameters, > 0; "auto": 3 for adam, '
        "1 for soap",
    )
    tolerance: Positive = Field(
        default=DEFAULT_TOLERANCE,
        description="error of a weight, relative to its Frobenius norm, for which ranks are given up, from 0 "
        'to 1 (rank = "auto")',
    )
    rank_start: Count = Field(
        default="auto",
        description='rank of every bond before the first adaptation (rank = "auto"); "auto": what suits the '
        "adapter",
    )
    rank_most: int = Field(
        default=64, ge=1, le=LARGEST_RANK, description='largest rank of a bond (rank = "auto")'
    )
    adapt_every: Count = Field(
        default="auto",
        description='epochs between adaptations (rank = "auto"); "auto": a twentieth of train.epochs',
    )
    adapter: Literal["auto", "rounding", "growth", "shrinkage"] = Field(
        default="auto",
        description="how ranks are found: by rounding alone; by growth along the gradient and rounding; by a "
        'shrinkage prior; auto: the first (rank = "auto")',
    )

    @property
    def adaptive(self) -> bool:
        """Whether training changes the ranks."""
        return self.rank == "auto"

    @property
    def adapter_name(self) -> str:
        """`adapter`, with "auto" resolved."""
        return DEFAULT_ADAPTER if self.adapter == "auto" else self.adapter

    @property
    def first_rank(self) -> int:
        """The rank with which training begins."""
        if self.rank != "auto":
            return self.rank
        wanted = START_RANKS[self.adapter_name] if self.rank_start == "auto" else self.rank_start
        return min(wanted, self.rank_most)

    def epochs_between(self, epochs: int) -> int:
        """`adapt_every`, with "auto" resolved for a training of so many epochs."""
        return max(1, epochs // ADAPTATIONS) if self.adapt_every == "auto" else self.adapt_every

    def modes(self, width: int) -> tuple[list[int], list[int]]:
        """Modes (out, in) of a layer of this width; of a product of two matrices the width itself."""
        if self.format == "lowrank":
            return [width], [width]
        return self.modes_out or balanced_modes(width), self.modes_in or balanced_modes(width)

    def core_shapes(self, width: int) -> list[Shape]:
        """Shapes of the cores of one layer, with the ranks with which training begins."""
        return core_shapes(self.format, *self.modes(width), self.first_rank, self.blocks)

    def ranks(self, width: int) -> tuple[int, ...]:
        """Those ranks alone: r_0 .. r_d of a chain, cut to what each bond can have; the sizes of the core of
        tucker, after the number of blocks of blockterm; else one.
        """
        first, *others = self.core_shapes(width)
        if self.format in CHAINS:
            return (first[0], first[-1], *(shape[-1] for shape in others))
        return first if self.format in ("tucker", "blockterm") else (first[-1],)
